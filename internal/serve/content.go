package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/upgrades"
	"github.com/caddy-iis/caddy-iis/internal/w3clog"
)

// site is a configured site, ready to serve. What sites have in common they
// share: there may be very many of them.
type site struct {
	*common
	id          uint32
	name        string
	Certificate string // of bindings that name none
	vars        vars
	metrics     *siteMetrics // nil unless enabled
	includes    *includes    // nil unless handlers make requests of their own
	w3c         *w3clog.Log  // nil without W3C log
	logName     any          // for Caddy's access_logger_names variable; nil without access log
}

// common is what many sites have alike.
type common struct {
	Offline bool
	Source  string // that they are from; empty: the configuration
	Content *content
	Access  *access
}

// commons holds each of them once. Content that rows have brought goes with its site.
type commons map[common]*common

func (m commons) get(c common) *common {
	shared := m[c]
	if shared == nil {
		shared = &c
		if c.Content.own == nil {
			m[c] = shared
		}
	}
	return shared
}

// letGoOfShared forgets what sites share when it is far more than there are sites: rows may
// have something else with each change, and nobody notes when the last one has gone. Sites
// that come share among themselves from then on.
func (a *Instance) letGoOfShared(sites int) {
	if most := 2*sites + sharedAtLeast; len(a.commons) > most || len(a.demands) > most {
		clear(a.commons)
		clear(a.demands)
	}
}

// sharedAtLeast is how many there may be of what sites share, however few sites there are.
const sharedAtLeast = 1000

// Template is the name of the template that serves a site, empty if none does.
func (s *site) Template() string { return s.Content.template }

// Serves tells what serves a site, and what it demands.
func (s *site) Serves() *adminapi.Serves {
	shown := &adminapi.Serves{
		Template: s.Content.template, Defaults: s.Content.defaults, OwnRoutes: s.Content.own != nil,
		RequireClientCertificate: s.Access.requireCertificate,
		HSTS:                     s.Access.hsts, HSTSRedirects: s.Access.hstsRedirect,
		AccessLog: s.logName != nil,
	}
	switch {
	case s.Access.redirectSSL:
		shown.RequireSSL = adminapi.RequireSSLRedirect
	case s.Access.requireSSL:
		shown.RequireSSL = adminapi.RequireSSLOn
	}
	if s.vars != "" {
		shown.Vars = maps.Collect(s.vars.all())
	}
	if s.w3c != nil {
		shown.W3CLog = s.w3c.Dir()
	}
	return shown
}

// content is Content that has been compiled, for one of the servers.
type content struct {
	http   *httpServers
	group  *upgrades.Group // that the handlers are in
	own    *ownContent     // that rows have brought; nil: it is of the configuration
	server *caddyhttp.Server
	routes caddyhttp.Handler // nil: the server's empty handler
	errors caddyhttp.Handler // nil: the server's default

	template string // its name
	defaults bool   // it is that of defaults

	May deeds
}

// sharedContent is what shared content is compiled from and for.
type sharedContent struct {
	of    *config.Content
	class serverClass
}

// compileShared compiles the defaults and the templates. Sites that name them may
// come later, and what is wrong with a template is wrong when it is configured.
func (a *Instance) compileShared() error {
	for _, name := range SortedKeys(a.Templates) {
		if a.Templates[name] == nil {
			return fmt.Errorf("template %q is null: delete it, or give it routes", name)
		}
		if err := a.compileFor(&config.Site{Template: name}); err != nil {
			return fmt.Errorf("template %q: %w", name, err)
		}
	}
	if err := a.compileFor(new(config.Site)); err != nil {
		return fmt.Errorf("defaults: %w", err)
	}
	return nil
}

// compileFor compiles what serves sites like this one, with and without access
// log if there may be both.
func (a *Instance) compileFor(cfg *config.Site) error {
	for _, cfg.AccessLog = range []bool{false, true} {
		if cfg.AccessLog && (!a.sitesComeLater() || a.AccessLog) {
			continue
		}
		if _, err := a.contentOf(cfg); err != nil {
			return err
		}
	}
	return nil
}

// contentOf compiles what serves a site. Sites without routes of their own share
// what is compiled once.
func (a *Instance) contentOf(cfg *config.Site) (*content, error) {
	if err := a.CheckTemplate(cfg); err != nil {
		return nil, err
	}
	if cfg.OwnRoutes != nil {
		own, err := a.own.Ask(cfg.OwnRoutes)
		if err != nil {
			return nil, err
		}
		return own.Handlers().of(cfg), nil
	}
	h, of := a.http, a.ContentFor(cfg)
	class := a.classOf(cfg, of)
	key := sharedContent{of, class}
	if of != &cfg.Content {
		if shared := h.shared[key]; shared != nil {
			return shared, nil
		}
	}
	c := &content{http: h, server: h.app.Servers[class.String()], defaults: of == a.Defaults}
	if cfg.Template != "" {
		c.template = cfg.Template // one alone has this content
	}
	if of == &cfg.Content {
		c.May = deedsOf(of)
	} else {
		c.May = h.mayDo(of)
	}
	if of.Routes != nil || of.Errors != nil {
		c.group = h.groupFor(of != &cfg.Content)
	}
	if err := h.compile(c, of); err != nil {
		return nil, err
	}
	if of != &cfg.Content {
		h.shared[key] = c
	} else if of.Routes == nil && of.Errors == nil {
		return h.empty(class, c), nil
	}
	return c, nil
}

// empty returns the one content of all sites of a class that have none.
func (h *httpServers) empty(class serverClass, c *content) *content {
	key := sharedContent{nil, class}
	if shared := h.shared[key]; shared != nil {
		return shared
	}
	h.shared[key] = c
	return c
}

func (h *httpServers) compile(c *content, of *config.Content) error {
	if c.group == nil {
		return nil
	}
	ctx := c.group.Context()
	ctx.Context = context.WithValue(ctx.Context, caddyhttp.ServerCtxKey, c.server)
	if of.Routes != nil {
		if err := of.Routes.Provision(ctx); err != nil {
			return fmt.Errorf("routes: %w", err)
		}
		c.routes = of.Routes.Compile(endOfRoutes)
	}
	if of.Errors != nil && len(of.Errors.Routes) > 0 {
		if err := of.Errors.Routes.Provision(ctx); err != nil {
			return fmt.Errorf("error routes: %w", err)
		}
		c.errors = of.Errors.Routes.Compile(endOfErrors)
	}
	return nil
}

// deeds are what handlers may do.
type deeds struct {
	requests  bool // make requests of their server
	Redirects bool // redirect to https

	Unset      []string // variables of the environment that they name and that have no value
	NoUpstream bool     // pass requests on to nobody
}

func deedsOf(of *config.Content) deeds {
	return deeds{requests: makesRequests(of), Redirects: namesHTTPS(of), Unset: unsetVariables(of), NoUpstream: passesToNobody(of)}
}

// mayDo looks at content that sites share before it is provisioned for the first time, which takes away
// what tells.
func (h *httpServers) mayDo(of *config.Content) deeds {
	may, known := h.may[of]
	if !known {
		may = deedsOf(of)
		h.may[of] = may
	}
	return may
}

// namesHTTPS reports whether a handler has a URL of https, to which it may redirect.
func namesHTTPS(c *config.Content) bool {
	return slices.ContainsFunc(c.Routes, func(route caddyhttp.Route) bool {
		return slices.ContainsFunc(route.HandlersRaw, func(raw json.RawMessage) bool { return bytes.Contains(raw, []byte(`"https://`)) })
	})
}
