package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
)

// A handler can make requests of its own of the server that it finds under
// caddyhttp.ServerCtxKey, as templates does with httpInclude. They come with a
// context of their own, so that nothing tells which site they belong to: the
// server must know it. A server for each site and binding would be too much
// where there are 100,000 of them, so there is one where handlers are that may
// want it, from the first request on.

// includes are the servers of a site by which its handlers come back to it.
type includes struct {
	mu      sync.Mutex
	servers map[binding.Binding]*caddyhttp.Server
}

// withInclude gives the handlers of a request a server that finds its site again.
func (sr *siteRequest) withInclude(r *http.Request) (*http.Request, error) {
	if sr.site.includes == nil {
		return r, nil
	}
	srv, err := sr.site.includes.server(sr.site, sr.binding)
	if err != nil {
		return nil, caddyhttp.Error(http.StatusInternalServerError, err)
	}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.ServerCtxKey, srv)), nil
}

func (in *includes) server(s *site, b binding.Binding) (*caddyhttp.Server, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if srv := in.servers[b]; srv != nil {
		return srv, nil
	}
	srv, err := s.Content.http.newInclude(s, b)
	if err != nil {
		return nil, fmt.Errorf("site %d: making the server for requests that its handlers make: %w", s.id, err)
	}
	if in.servers == nil {
		in.servers = make(map[binding.Binding]*caddyhttp.Server)
	}
	in.servers[b] = srv
	return srv, nil
}

// newInclude makes a server that has one site. It is like the site's own, and
// loads no module: a configuration that serves must not.
func (h *httpServers) newInclude(s *site, b binding.Binding) (*caddyhttp.Server, error) {
	own := s.Content.server
	srv, err := cloneServer(own)
	if err != nil {
		return nil, err
	}
	srv.ListenerWrappersRaw, srv.TrustedProxiesRaw = nil, nil
	srv.Routes = caddyhttp.RouteList{{Handlers: []caddyhttp.MiddlewareHandler{includeRoutes{s, b}}}}
	if s.Content.errors != nil {
		srv.Errors = &caddyhttp.HTTPErrorConfig{
			Routes: caddyhttp.RouteList{{Handlers: []caddyhttp.MiddlewareHandler{includeErrors{s, b}}}},
		}
	}
	app := &caddyhttp.App{Servers: map[string]*caddyhttp.Server{own.Name(): srv}}
	return srv, app.Provision(h.provisioning)
}

// request is what is known of a request that a handler made: the site has
// admitted the one that the handler answers.
func (in includeRoutes) request(w http.ResponseWriter, r *http.Request) *http.Request {
	// Which proxies are trusted only the site's own server knows.
	own := caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, in.site.Content.server).Context()
	for _, key := range []string{caddyhttp.TrustedProxyVarKey, caddyhttp.ClientIPVarKey} {
		caddyhttp.SetVar(r.Context(), key, caddyhttp.GetVar(own, key))
	}
	return r.WithContext(&siteContext{r.Context(), siteRequest{site: in.site, binding: in.binding, admitted: true}})
}

// includeRoutes goes on with the routes of its site.
type includeRoutes struct {
	site    *site
	binding binding.Binding
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (in includeRoutes) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return siteRoutes{}.ServeHTTP(w, in.request(w, r), next)
}

// includeErrors goes on with the error routes of its site.
type includeErrors includeRoutes

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (in includeErrors) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return siteErrors{}.ServeHTTP(w, includeRoutes(in).request(w, r), next)
}

// makesRequests reports whether content has handlers that may make requests of
// their server. Those of Caddy itself do not, but for templates.
func makesRequests(c *config.Content) bool {
	for raw := range rawHandlers(c) {
		if mayMakeRequests(raw) {
			return true
		}
	}
	return false
}

// mayMakeRequests looks for the names of handlers, wherever they stand in
// others.
func mayMakeRequests(raw json.RawMessage) bool {
	key := []byte(`"handler"`)
	for {
		_, rest, found := bytes.Cut(raw, key)
		if !found {
			return false
		}
		raw = rest
		value, isKey := bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":"))
		if !isKey {
			continue
		}
		name, isName := bytes.CutPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte(`"`))
		if !isName {
			continue
		}
		name, _, _ = bytes.Cut(name, []byte(`"`))
		if !answersAlone(string(name)) {
			return true
		}
	}
}

// aloneHandlers remembers answersAlone by name.
var aloneHandlers sync.Map

// answersAlone reports whether a handler is known to make no requests of its
// server.
func answersAlone(name string) bool {
	if known, ok := aloneHandlers.Load(name); ok {
		return known.(bool)
	}
	alone := false
	if info, err := caddy.GetModule("http.handlers." + name); err == nil {
		module := reflect.TypeOf(info.New())
		for module.Kind() == reflect.Pointer {
			module = module.Elem()
		}
		pkg := module.PkgPath()
		alone = name != "templates" &&
			(strings.HasPrefix(pkg, "github.com/caddyserver/caddy/v2/") || strings.HasPrefix(pkg+"/", "github.com/caddy-iis/caddy-iis/"))
	}
	aloneHandlers.Store(name, alone)
	return alone
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = includeRoutes{}
	_ caddyhttp.MiddlewareHandler = includeErrors{}
)
