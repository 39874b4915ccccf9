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
	if err != nil {
		return err
	}
	roots, upstreams := world.Of(raw)
	by := "nothing: every request gets an empty answer"
	switch {
	case s.Template != "":
		by = fmt.Sprintf("template %q", s.Template)
	case s.Defaults:
		by = "the defaults"
	case len(raw) > 0:
		by = "routes of its own"
	}
	e.printf("served by: %s\n", by)
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

// routesOf is the JSON of the routes that serve a site, empty if there are none.
func (e *Env) routesOf(ctx context.Context, site adminapi.Site) (json.RawMessage, error) {
	const app = "/config/apps/iis/"
	path := fmt.Sprintf("%ssites/%d", app, site.ID)
	switch {
	case site.Serves.Template != "":
		path = app + "templates/" + url.PathEscape(site.Serves.Template)
	case site.Serves.Defaults:
		path = app + "defaults"
	case site.Source != "":
		return nil, nil // only sites of the configuration have routes
	}
	var content struct {
		Routes, Errors json.RawMessage
	}
	err := e.Client.GetJSON(ctx, path, nil, &content)
	if _, said := errors.AsType[*adminapi.Error](err); said {
		return nil, nil // the configuration is another one by now
	}
	if err != nil || content.Routes == nil && content.Errors == nil {
		return nil, err
	}
	return json.Marshal([]json.RawMessage{or(content.Routes), or(content.Errors)})
}

func or(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}
