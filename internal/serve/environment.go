package serve

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/config"
)

// reEnvironment is a placeholder of the environment; one behind a backslash means itself.
var reEnvironment = regexp.MustCompile(`(\\?)\{env\.([^{}"\\]+)\}`)

// unsetVariables lists the variables of the environment that content names and that have no
// value: they are empty wherever they stand.
func unsetVariables(c *config.Content) (names []string) {
	for raw := range rawHandlers(c) {
		if !bytes.Contains(raw, []byte("{env.")) {
			continue
		}
		for _, m := range reEnvironment.FindAllSubmatch(raw, -1) {
			if name := string(m[2]); len(m[1]) == 0 && os.Getenv(name) == "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// passesToNobody tells whether content has a reverse_proxy without any upstream, as it is
// where a variable of a Caddyfile had no value.
func passesToNobody(c *config.Content) bool {
	for raw := range rawHandlers(c) {
		var handler any
		if bytes.Contains(raw, []byte(`"reverse_proxy"`)) && json.Unmarshal(raw, &handler) == nil && hasNoUpstream(handler) {
			return true
		}
	}
	return false
}

func hasNoUpstream(node any) bool {
	switch v := node.(type) {
	case []any:
		return slices.ContainsFunc(v, hasNoUpstream)
	case map[string]any:
		if upstreams, _ := v["upstreams"].([]any); v["handler"] == "reverse_proxy" && len(upstreams) == 0 && v["dynamic_upstreams"] == nil {
			return true
		}
		for _, kid := range v {
			if hasNoUpstream(kid) {
				return true
			}
		}
	}
	return false
}

// rawHandlers yields the handlers of content that is not provisioned yet, as they are
// configured.
func rawHandlers(c *config.Content) func(yield func(json.RawMessage) bool) {
	return func(yield func(json.RawMessage) bool) {
		lists := []caddyhttp.RouteList{c.Routes}
		if c.Errors != nil {
			lists = append(lists, c.Errors.Routes)
		}
		for _, list := range lists {
			for _, route := range list {
				for _, raw := range route.HandlersRaw {
					if !yield(raw) {
						return
					}
				}
			}
		}
	}
}
