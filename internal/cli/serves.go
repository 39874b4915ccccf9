package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/world"
)

// sourceOf tells where a site is kept.
func sourceOf(site adminapi.Site) string {
	switch site.Source {
	case "":
		return "configuration"
	case adminapi.SourceSitesFile:
		return "sites file, and it is changed there"
	}
	return site.Source
}

// showServes tells what serves a site and what it demands.
func (e *Env) showServes(ctx context.Context, site adminapi.Site) error {
	s := site.Serves
	if s == nil { // it is not served
		return nil
	}
	raw, err := e.routesOf(ctx, site)
	if errors.Is(err, errUnreadable) {
		e.printf("served by: unknown, %v\n", err)
	} else if err != nil {
		return err
	} else {
		e.printf("served by: %s\n", servedBy(s, raw))
	}
	roots, upstreams := world.Of(raw)
	line := func(name, value string) {
		if value != "" {
			e.printf("%s: %s\n", name, value)
		}
	}
	line("root", strings.Join(roots, ", "))
	line("upstream", strings.Join(upstreams, ", "))
	for _, name := range slices.Sorted(maps.Keys(s.Vars)) {
		e.printf("variable: %s = %q\n", name, s.Vars[name])
	}
	line("require_ssl", map[string]string{
		adminapi.RequireSSLOn:       "on, http is answered with 403.4",
		adminapi.RequireSSLRedirect: "redirect, http is redirected to https",
	}[s.RequireSSL])
	if s.RequireClientCertificate {
		line("require_client_certificate", "yes, requests without one are answered with 403.7")
	}
	if s.HSTSRedirects {
		line("hsts", s.HSTS+", http is redirected to https")
	} else {
		line("hsts", s.HSTS)
	}
	if s.AccessLog {
		line("log", fmt.Sprintf("iis.log.access.%d", site.ID))
	}
	line("w3c_log", s.W3CLog)
	return nil
}

// servedBy says what serves a site, whose routes are given.
func servedBy(s *adminapi.Serves, routes json.RawMessage) string {
	switch {
	case s.Template != "":
		return fmt.Sprintf("template %q", s.Template)
	case s.Defaults:
		return "the defaults"
	case s.OwnRoutes || routes != nil:
		return "routes of its own"
	}
	return "nothing: every request gets an empty answer"
}

// errUnreadable is why routes are not known.
var errUnreadable = errors.New("since the routes cannot be read")

// routesOf is the JSON of the routes that serve a site, nil if there are none.
func (e *Env) routesOf(ctx context.Context, site adminapi.Site) (json.RawMessage, error) {
	const app = "/config/apps/iis/"
	raw, s := site.Document, site.Serves
	path := fmt.Sprintf("%ssites/%d", app, site.ID)
	switch {
	case s.Template != "":
		path = app + "templates/" + url.PathEscape(s.Template)
	case s.Defaults:
		path = app + "defaults"
	case site.Source != "":
		path = ""
	}
	if path != "" {
		err := e.Client.GetJSON(ctx, path, nil, &raw)
		if said, ok := errors.AsType[*adminapi.Error](err); ok {
			return nil, fmt.Errorf("%w at %s: %s", errUnreadable, path, said.Message)
		} else if err != nil {
			return nil, err
		}
		if string(raw) == "null" {
			return nil, fmt.Errorf("%w at %s: nothing is there any more", errUnreadable, path)
		}
	}
	var content struct {
		Routes json.RawMessage `json:"routes,omitempty"`
		Errors json.RawMessage `json:"errors,omitempty"`
	}
	if raw != nil {
		if err := json.Unmarshal(raw, &content); err != nil {
			return nil, fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}
	if content.Routes == nil && content.Errors == nil {
		return nil, nil
	}
	return json.Marshal(content)
}
