package directives

import "github.com/caddy-iis/caddy-iis/internal/caddytext"

// exclusive is which routes of a block exclude each other. Caddy gives a group to all of
// the directives rewrite, handle and root that stand in a block, to each kind its own.
type exclusive struct {
	groups map[string]string // by the kind: rewrite, handle, root
	counts map[string]int
}

func exclusiveOf(routes []any) exclusive {
	e := exclusive{make(map[string]string), make(map[string]int)}
	for _, item := range routes {
		route, _ := item.(object)
		kind := kindOf(route)
		e.counts[kind]++
		if kind != "root" {
			e.counts["root"] += roots(route)
		}
		if group, ok := route["group"].(string); ok && e.groups[kind] == "" {
			e.groups[kind] = group
		}
	}
	return e
}

// roots counts the handlers of a route that set the root.
func roots(route object) (n int) {
	handlers, _ := route["handle"].([]any)
	for _, item := range handlers {
		if h, _ := item.(object); h["handler"] == "vars" && h["root"] != nil {
			n++
		}
	}
	return n
}

// kindOf is the directive that gives the group to a route.
func kindOf(route object) string {
	handlers, _ := route["handle"].([]any)
	if len(handlers) != 1 {
		return ""
	}
	h, _ := handlers[0].(object)
	switch {
	case h["handler"] == "rewrite" && h["uri"] != nil:
		return "rewrite"
	case h["handler"] == "subroute" && route["group"] != nil:
		return "handle"
	case h["handler"] == "vars" && h["root"] != nil:
		return "root"
	}
	return ""
}

// fits tells whether the group of a route is the one that Caddy would give to it.
func (e exclusive) fits(route object) bool {
	group, _ := route["group"].(string)
	if group == "" {
		return true
	}
	kind := kindOf(route)
	return kind != "" && group == e.groups[kind] && (kind == "rewrite" || e.counts[kind] > 1)
}

// vars writes variables.
func (e exclusive) vars(route, h object) []*line {
	var words []*line
	for _, name := range names(h) {
		if name == "handler" {
			continue
		}
		text, ok := caddytext.Word(h[name])
		if !ok {
			return nil
		}
		words = append(words, caddytext.New(name, text))
	}
	if len(words) == 0 {
		return nil
	}
	if len(words) > 1 {
		return []*line{{Words: []string{"vars"}, Block: words}}
	}
	word := words[0]
	alone := word.Behind("vars")
	switch word.Words[0] {
	case "root":
		if e.counts["root"] == 1 || route["group"] != nil {
			return []*line{caddytext.New("root", "*", word.Words[1]), caddytext.New("root", word.Words[1]), alone}
		}
	case "log_skip":
		return []*line{caddytext.New("log_skip"), alone}
	}
	return []*line{alone}
}
