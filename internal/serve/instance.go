package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/internal/policies"
	"github.com/caddy-iis/caddy-iis/internal/upgrades"
	"github.com/caddy-iis/caddy-iis/internal/w3clog"
)

// fronts holds the sockets and protocol servers of the process. They outlive
// configuration loads, so that none of these fails a request.
var fronts = front.NewManager()

// Instance is what a configuration of the app comes to: it serves from the moment when
// all apps of the configuration have started until it is replaced.
type Instance struct {
	*config.App
	*fixed

	ctx caddy.Context

	identity       *identity
	certificates   map[string]certsel.Source
	challenges     *certsel.Challenges
	BoundEndpoints []binding.Endpoint
	demands        demands
	commons        commons
	policies       *policies.Set
	challenge      *tls.Config // of ACME TLS-ALPN
	http           *httpServers
	tls            *caddytls.TLS
	metrics        *appMetrics
	otherPorts     map[uint16]string // ports of ordinary servers without bindings, and the servers
	foreign        []foreignListener // who else listens
	takeBack       func()            // ends what lendSockets began; nil before

	snapshot  atomic.Pointer[Snapshot]
	sitesFile sitesFile
	Live      live.Sources
	own       *ownroutes.Pool[ownHandlers]
	w3c       *w3clog.Logs

	ownSites *Snapshot // while the app starts: what is served without rows

	autos       []*certsel.Auto // certificates that are for bindings
	secureAddrs atomic.Pointer[secureAddrs]

	serverConfigured bool // there are settings of the HTTP servers
	life             *life
	observe          func(*Instance, *zap.Logger) Observer
	observer         Observer // nil before it is provisioned
}

// fixed is what handshakes and requests need of a configuration beside what changes with
// its sites: all of its snapshots have it. It is complete before the first one is published,
// and does not change from then on.
type fixed struct {
	Options  config.Options
	Ordinary []ordinaryAddr // addresses of ordinary servers on ports with bindings
	logger   *zap.Logger
	sniLog   *sniLog // nil unless enabled
	ech      encryptedHello
	itself   *caddyhttp.Server // for requests that reach no site
	bySite   bool              // requests are counted by site
}

// Of returns the instance of the app that a configuration of Caddy has.
func Of(ctx caddy.Context) (*Instance, error) {
	val, err := ctx.AppIfConfigured("iis")
	if err != nil {
		return nil, err
	}
	return val.(interface{ Instance() *Instance }).Instance(), nil
}

// Observer is told what there may be something new to say about. It must not wait.
type Observer interface {
	// Examine is called when the configuration begins to serve, with the number of its
	// sites and certificates.
	Examine(parts int)
	// Reloaded is called when certificates have changed, or more than some sites.
	Reloaded()
	// Changed is called when some sites have changed, or were removed.
	Changed(now *Snapshot, sites, removed []uint32)
	// End is called when the configuration ends, also if it has never served.
	End()
}

// New returns what a configuration comes to, once it is provisioned.
func New(cfg *config.App, observer func(*Instance, *zap.Logger) Observer) *Instance {
	return &Instance{App: cfg, fixed: new(fixed), w3c: new(w3clog.Logs), observe: observer, life: newLife()}
}

// Provision compiles the configuration. It opens no socket and changes
// nothing that serves.
func (a *Instance) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	a.observer = a.observe(a, a.logger)
	a.identity = new(identity)
	a.demands, a.commons = make(demands), make(commons)
	a.bySite = a.Metrics
	if a.LogSNI {
		a.sniLog = newSNILog(a.logger.Named("sni"))
	}
	var err error
	if a.Options, err = a.ParseOptions(); err != nil {
		return err
	}
	if err := provisionOtherApps(ctx); err != nil {
		return err
	}
	a.findListeners()
	tlsApp, err := ctx.App("tls")
	if err != nil {
		return err
	}
	a.tls = tlsApp.(*caddytls.TLS)
	a.serverConfigured = a.Server != nil
	if err := a.provisionSites(); err != nil {
		return err
	}
	return a.subscribe()
}

// provisionSites makes what the app serves first.
func (a *Instance) provisionSites() error {
	if err := a.loadSources(); err != nil {
		return err
	}
	if err := a.CheckSiteVars(); err != nil {
		return err
	}
	if err := a.w3c.Provision(a.App); err != nil {
		return err
	}
	sites, err := a.configuredSites()
	if err != nil {
		return err
	}
	sites, now, err := a.compileWithFile(sites)
	if err != nil {
		return err
	}
	if err := a.loadCertificates(); err != nil {
		return err
	}
	if err := a.provisionPolicies(); err != nil {
		return err
	}
	if err := a.makeRecords(now, nil); err != nil {
		return err
	}
	if err := a.provisionHTTP(sites); err != nil {
		return err
	}
	if err := a.compileShared(); err != nil {
		return err
	}
	if err := a.addSites(now, sites, nil); err != nil {
		return err
	}
	if err := a.refuseHooks(); err != nil {
		return err
	}
	a.Live.CompileClaims(now.Tables.Inputs(), a.BoundEndpoints, a.Options.Listen)
	if err := a.takeOver(now); err != nil {
		return err
	}
	if err := a.makeState(now); err != nil {
		return err
	}
	a.lendSockets()
	now.where = nil
	a.snapshot.Store(now)
	if err := a.projectOpen(); err != nil {
		return err
	}
	a.policies.Later(a.sitesFile.ctx)
	a.Sites = nil // allow GC to deallocate
	return a.provisionMetrics()
}

// provisionOtherApps loads the other configured apps before any site's
// handlers refer to them: an app that is first asked for by a handler would be
// cleaned up with the site's handlers, not with the configuration.
func provisionOtherApps(ctx caddy.Context) error {
	for _, mod := range caddy.GetModules("") {
		if mod.ID == "iis" {
			continue
		}
		if _, err := ctx.AppIfConfigured(string(mod.ID)); err != nil && !errors.Is(err, caddy.ErrNotConfigured) {
			return err
		}
	}
	return nil
}

// Start makes certificates and sockets ready. The configuration serves from
// the moment when all other apps have started as well.
func (a *Instance) Start() error {
	for _, name := range SortedKeys(a.certificates) {
		if starter, ok := a.certificates[name].(certsel.Starter); ok {
			if err := starter.Start(); err != nil {
				return fmt.Errorf("certificate %q: %w", name, err)
			}
		}
	}
	if err := a.openSources(); err != nil {
		return err
	}
	err := a.prepareSockets()
	a.ownSites = nil
	if err != nil {
		return err
	}
	a.life.prepare()
	if err := a.http.start(); err != nil {
		return err
	}
	go a.watchCommit()
	return nil
}

// watchCommit guards against the day when Caddy no longer announces that a
// configuration has started, by an event that it calls experimental: a
// configuration that is active must serve.
func (a *Instance) watchCommit() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-a.life.decided:
			return
		case <-ticker.C:
		}
		if active, err := Of(caddy.ActiveContext()); err == nil && active == a {
			a.logger.Error("this configuration is active, but Caddy has not announced that it started; serving it now; please report this")
			a.commit()
		}
	}
}

// commit lets the configuration serve. It is called when every app of the
// configuration has started, and cannot fail.
func (a *Instance) commit() {
	if !a.life.serve() {
		return // Caddy's announcement came after watchCommit had lost patience
	}
	// Once more: the configuration before may have dropped counters meanwhile.
	a.countAllPorts()
	release := a.takeSourcesOver()
	fronts.Commit(a.Now().state)
	release()
	upgrades.Settle()
	a.locked(func() { a.settleOwn(a.Now()) })
	a.takeBack()
	a.metrics.forgetRemoved()
	for _, source := range a.certificates {
		if starter, ok := source.(certsel.Starter); ok {
			starter.Commit()
		}
	}
	a.bindingsChanged()
	a.w3c.Probe()
	a.observer.Examine(len(a.certificates) + a.Now().Tables.SiteCount())
	a.followSitesFile()
	go a.keepGoodCopy()
	go a.keepSaved()
}

// End takes the configuration out of service, and releases what Provision and Start
// took. Requests in flight finish.
func (a *Instance) End() {
	if was, first := a.life.end(); first {
		a.unload(was)
	}
}

func (a *Instance) unload(was stage) {
	if a.observer != nil {
		a.observer.End()
	}
	a.releaseSources()
	a.sitesFile.end(func() {
		if a.policies != nil {
			a.policies.Release()
		}
	})
	if a.metrics != nil && was < serving {
		a.metrics.forgetRefused()
	}
	if caddy.Exiting() { // what still comes is served, or waits for the process after this one
		upgrades.EndAll()
		ctx, cancel := context.WithTimeout(context.Background(), a.Options.Drain)
		defer cancel()
		if err := fronts.Shutdown(ctx); err != nil {
			a.logger.Error("waiting for requests in flight", zap.Error(err))
		}
	}
	if was >= prepared {
		fronts.Remove(a.Now().state)
		upgrades.Settle()
	}
	if a.takeBack != nil {
		a.takeBack()
	}
	if a.CentralStore != nil {
		_ = a.CentralStore.Cleanup()
	}
	keep := a.Options.DrainUpgraded
	if caddy.Exiting() {
		keep = 0
	}
	switch {
	case a.http == nil:
	case was >= prepared:
		a.http.retire(a.sitesFile.drained(a.Now().state), a.Options.Drain, keep, a.forget)
	default:
		a.http.cleanup(0)
	}
	switch {
	case caddy.Exiting():
		a.w3c.Flush()
	case a.http == nil:
		a.w3c.Release()
	}
}

// Serves reports whether the configuration has begun to serve.
func (a *Instance) Serves() bool { return a.life.served() }

// Sockets describes the sockets of the process.
func (a *Instance) Sockets() []front.SocketInfo { return fronts.Listening() }

// ListenerWrappers are those through which connections come.
func (a *Instance) ListenerWrappers() []caddy.ListenerWrapper {
	return slices.Concat(a.http.beforeTLS, a.http.afterTLS)
}
