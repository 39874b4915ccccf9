package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/internal/sharedmetrics"
	"github.com/caddy-iis/caddy-iis/internal/upgrades"
	"github.com/caddy-iis/caddy-iis/internal/w3clog"
)

// httpServers are the Caddy HTTP servers that handle the sites' requests. They
// listen nowhere: the front gives them each request.
//
// They and the handlers of the sites live in contexts of their own: Caddy cleans
// up the modules of a configuration as soon as it is replaced, while here they
// serve on until the last of their requests is answered, and those that have taken
// a connection over until that ends.
type httpServers struct {
	app    *caddyhttp.App
	ctx    caddy.Context
	cancel context.CancelFunc
	logger *zap.Logger
	store  *certsel.CentralStore // nil: there is none

	// The handlers of the sites, in groups, and what their contexts are derived from:
	// its end is that of what handlers do in the background.
	parent     caddy.Context
	background context.CancelFunc
	metrics    *sharedmetrics.Shared
	groups     []*upgrades.Group
	own        *upgrades.Group              // the one for the next site with handlers of its own
	ownSites   int                          // that have theirs in it
	rows       *ownroutes.Pool[ownHandlers] // those of rows
	groupSites int                          // how many of such sites a group has
	logs       *w3clog.Logs

	// The context in which servers are provisioned. Modules must not be loaded
	// in it any more once the configuration serves.
	provisioning caddy.Context

	beforeTLS, afterTLS []caddy.ListenerWrapper
	provisioned         bool

	// The contents that sites share: the defaults and the templates.
	shared map[sharedContent]*content
	may    map[*config.Content]deeds // of these
}

// serverClass tells apart what Caddy decides per server, not per site: whether
// requests are logged, and whether errors have routes.
type serverClass struct{ log, errors bool }

func (c serverClass) String() string {
	name := "iis"
	if c.log {
		name += "_log"
	}
	if c.errors {
		name += "_errors"
	}
	return name
}

// provisionHTTP makes the servers that the sites need.
func (a *Instance) provisionHTTP(sites []configured) error {
	if a.Server == nil {
		a.Server = new(caddyhttp.Server)
	}
	if err := config.CheckServer(a.Server); err != nil {
		return err
	}
	h := &httpServers{
		app:    &caddyhttp.App{Servers: make(map[string]*caddyhttp.Server)},
		logger: a.logger,
		store:  a.CentralStore,
		shared: make(map[sharedContent]*content),
		logs:   a.w3c,
		may:    make(map[*config.Content]deeds),
	}
	a.http = h
	parent := a.ctx
	parent.Context, h.background = context.WithCancel(context.WithoutCancel(a.ctx.Context))
	h.parent = parent
	h.ctx, h.cancel = caddy.NewContext(h.parent)
	var err error
	if h.metrics, err = sharedmetrics.New(a.ctx); err != nil {
		return err
	}
	h.metrics.Add(h.ctx)
	a.own = ownroutes.NewPool(makeOwn(a), h.newOwnGroup, a.Options.DrainUpgraded, a.logger)
	h.rows = a.own
	withOwn := 0
	for i := range sites {
		if cfg := sites[i].cfg; cfg.OwnRoutes == nil && (cfg.Routes != nil || cfg.Errors != nil) {
			withOwn++
		}
	}
	h.groupSites = max(minGroupSites, withOwn/maxHandlerGroups)

	if err := a.loadListenerWrappers(); err != nil {
		return err
	}
	for class := range a.serverClasses(sites) {
		srv, err := a.newServer(class)
		if err != nil {
			return fmt.Errorf("server: %w", err)
		}
		h.app.Servers[class.String()] = srv
	}
	a.itself = h.app.Servers[serverClass{log: a.AccessLog}.String()]
	// Loggers are named after the module that a context belongs to, and a
	// context made by NewContext belongs to none. This one belongs to the iis
	// app, and ends with the servers. Only what servers themselves load, their
	// trusted proxies, is cleaned up with the configuration.
	ctx := a.ctx
	ctx.Context = h.ctx.Context
	h.provisioning = ctx
	if err := h.app.Provision(ctx); err != nil {
		return err
	}
	h.provisioned = true
	return h.app.Validate()
}

func (a *Instance) serverClasses(sites []configured) map[serverClass]struct{} {
	classes := map[serverClass]struct{}{{log: a.AccessLog}: {}} // one at least: it answers requests that reach no site
	shared := []*config.Content{new(config.Content)}
	if a.Defaults != nil {
		shared = append(shared, a.Defaults)
	}
	for _, template := range a.Templates {
		if template != nil {
			shared = append(shared, template)
		}
	}
	for _, of := range shared {
		classes[a.classOf(new(config.Site), of)] = struct{}{}
		if a.sitesComeLater() { // sites will come that nobody knows of yet
			classes[a.classOf(&config.Site{AccessLog: true}, of)] = struct{}{}
		}
	}
	for i := range sites {
		cfg := sites[i].cfg
		classes[a.classOf(cfg, a.ContentFor(cfg))] = struct{}{}
	}
	if a.allowsRoutes() {
		for class := range maps.Clone(classes) {
			classes[serverClass{class.log, true}], classes[serverClass{class.log, false}] = struct{}{}, struct{}{}
		}
	}
	return classes
}

func (a *Instance) classOf(cfg *config.Site, of *config.Content) serverClass {
	return serverClass{
		log:    a.AccessLog || cfg.AccessLog,
		errors: of.Errors != nil && len(of.Errors.Routes) > 0,
	}
}

// loadListenerWrappers loads the wrappers for the front: the HTTP servers
// themselves listen nowhere.
func (a *Instance) loadListenerWrappers() error {
	mods, err := a.http.ctx.LoadModule(a.Server, "ListenerWrappersRaw")
	if err != nil {
		return fmt.Errorf("server: loading listener wrappers: %w", err)
	}
	list, _ := mods.([]any)
	for i, mod := range list {
		if mod.(caddy.Module).CaddyModule().ID == "caddy.listeners.tls" {
			switch {
			case i == 0:
				return errors.New("server: listener_wrappers: tls in first place changes nothing; leave it out")
			case len(a.http.beforeTLS) > 0:
				return errors.New("server: listener_wrappers: tls is there twice")
			}
			// Wrappers stand before TLS only where the tls wrapper follows.
			a.http.beforeTLS, a.http.afterTLS = a.http.afterTLS, nil
			continue
		}
		wrapper, ok := mod.(caddy.ListenerWrapper)
		if !ok {
			return fmt.Errorf("server: module %T is not a listener wrapper", mod)
		}
		a.http.afterTLS = append(a.http.afterTLS, wrapper)
	}
	return nil
}

func (a *Instance) newServer(class serverClass) (*caddyhttp.Server, error) {
	srv, err := cloneServer(a.Server)
	if err != nil {
		return nil, err
	}
	srv.AutoHTTPS = &caddyhttp.AutoHTTPSConfig{Disabled: true}
	// Caddy turns this on for a whole server as soon as one client must
	// show a certificate; clients without SNI would get 421 for every site.
	off := false
	srv.StrictSNIHost = &off
	srv.Logs = nil
	if class.log {
		srv.Logs = new(caddyhttp.ServerLogConfig)
		if a.Server.Logs != nil {
			srv.Logs.ShouldLogCredentials, srv.Logs.Trace = a.Server.Logs.ShouldLogCredentials, a.Server.Logs.Trace
		}
	}
	srv.Routes = caddyhttp.RouteList{{Handlers: []caddyhttp.MiddlewareHandler{siteRoutes{}}}}
	if class.errors {
		srv.Errors = &caddyhttp.HTTPErrorConfig{
			Routes: caddyhttp.RouteList{{Handlers: []caddyhttp.MiddlewareHandler{siteErrors{}}}},
		}
	}
	return srv, nil
}

func (h *httpServers) start() error { return h.app.Start() }

// retire cleans up when the last request has ended, or when requests have held
// the servers long enough. Connections that handlers have taken over may keep these
// for some time. It calls drained when no request is left.
func (h *httpServers) retire(requests <-chan struct{}, limit, keep time.Duration, drained func()) {
	select {
	case <-requests:
		h.cleanup(keep)
		go drained() // which may have to wait for a change that is being made
		return
	default:
	}
	go func() {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case <-requests:
		case <-timer.C:
			h.logger.Warn("requests still run in a configuration that was replaced; cleaning it up all the same",
				zap.Duration("drain", limit))
		}
		h.cleanup(keep)
		<-requests
		drained()
	}()
}

// cleanup ends the servers and what handlers do in the background, and cleans up
// those handlers that have no connection.
func (h *httpServers) cleanup(keep time.Duration) {
	if h.provisioned {
		if err := h.app.Stop(); err != nil {
			h.logger.Error("stopping the HTTP servers", zap.Error(err))
		}
	}
	h.background()
	if h.metrics != nil {
		h.metrics.Forget()
	}
	for _, g := range h.groups {
		g.Retire(keep)
	}
	if h.rows != nil {
		h.rows.End(keep)
	}
	h.groups, h.own = nil, nil
	h.cancel()
	if h.logs != nil {
		h.logs.Release()
	}
}

// cloneServer copies server settings by way of their JSON form, so that a
// field that Caddy adds one day is not lost. A caddyhttp.Server itself holds
// locks and must not be copied.
func cloneServer(src *caddyhttp.Server) (*caddyhttp.Server, error) {
	raw, err := json.Marshal(src)
	if err != nil {
		return nil, err
	}
	dst := new(caddyhttp.Server)
	return dst, json.Unmarshal(raw, dst)
}
