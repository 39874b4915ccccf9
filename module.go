// Package caddyiis is a Caddy app that serves many web sites on one IP address
// and port the way IIS does: the certificate is chosen by the connection
// (local address, port, server name), the site by the request (local address,
// port, Host), each from the sites' bindings.
//
// The two decisions, tables D1 and D2, are documented in package binding.
package caddyiis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/front"
	_ "github.com/caddy-iis/caddy-iis/iishttp" // registers the handlers
	_ "github.com/caddy-iis/caddy-iis/matcher" // registers the guest modules
)

func init() {
	caddy.RegisterModule(new(App))
}

// fronts holds the sockets and protocol servers of the process. They outlive
// configuration loads, so that none of these fails a request.
var fronts = front.NewManager()

// defaultDrain bounds how long requests in flight hold an unloaded
// configuration. It is the default shutdownTimeLimit of an IIS worker process.
const defaultDrain = 90 * time.Second

// defaultDrainUpgraded bounds how long upgraded connections hold the handlers of an
// unloaded configuration.
const defaultDrainUpgraded = time.Hour

// App serves web sites by IIS bindings. Its bindings alone decide on which
// addresses and ports Caddy listens for them.
type App struct {
	// The sites, keyed by site id: a decimal number from 1, as in the
	// metabase path /w3svc/1. Ids order sites wherever order matters.
	Sites map[string]*Site `json:"sites,omitempty"`

	// The certificates, keyed by the names that sites, bindings and endpoints
	// use for them.
	CertificatesRaw map[string]json.RawMessage `json:"certificates,omitempty" caddy:"namespace=iis.certificates inline_key=source"`

	// The central certificate store, for bindings with flag 2.
	CentralStore *certsel.CentralStore `json:"central_store,omitempty"`

	// Stores of certificates by host name, keyed by the names that sites and bindings
	// use for them. No certificate has the same name.
	StoresRaw map[string]json.RawMessage `json:"stores,omitempty" caddy:"namespace=iis.stores inline_key=store"`

	// Certificates by IP address and port, keyed as in "10.0.0.5:8443",
	// "*:8443" or "[::]:8443", like netsh http add sslcert ipport=. They
	// serve clients whose server name selects nothing, or who send none.
	Endpoints map[string]*Endpoint `json:"endpoints,omitempty"`

	// The IP addresses to listen on, as netsh http add iplisten. Default: all
	// addresses of each port that a binding names, as HTTP.sys does.
	Listen []string `json:"listen,omitempty"`

	// What a client gets that sends no server name: "fallback", the
	// certificate of the endpoint (default), or "reject", a refused handshake.
	SNIMissing string `json:"sni_missing,omitempty"`

	// What a client gets whose server name selects nothing here: "fallback",
	// the certificate of the endpoint (default), or "reject".
	SNIUnmatched string `json:"sni_unmatched,omitempty"`

	// The answer to a request for a host that no site has: "400" (default, as
	// HTTP.sys documents it), "404" (as it is seen to answer on ports 80 and
	// 443), "421", or "abort", which closes the connection without an answer.
	UnknownHost string `json:"unknown_host,omitempty"`

	// What happens when bindings contradict each other: "reject", the
	// configuration is refused (default), or "first_wins", the site with the
	// lower id has it and a warning is logged, as IIS 6 did.
	Conflicts string `json:"conflicts,omitempty"`

	// How many labels the asterisk of a wildcard host name stands for: "one"
	// (default) or "any" number of them.
	WildcardDepth string `json:"wildcard_depth,omitempty"`

	// What happens to a request on a connection that was made for another
	// host: "secure" answers 421 only if the site's own TLS settings would not
	// have allowed the connection as it was negotiated, or would have asked the
	// client for a certificate that it was never asked for (default), "strict"
	// answers 421 unless the server name selects the site, "allow" never does
	// (RFC 9110 section 15.5.20).
	Misdirected string `json:"misdirected,omitempty"`

	// Whether answers such as 403.4 carry the sub-status in the header
	// X-IIS-Substatus. Default: true.
	SubStatusHeader *bool `json:"substatus_header,omitempty"`

	// How long connections that handlers have taken over, such as WebSockets, may hold
	// these handlers when their configuration was replaced. What else it consists of
	// does not wait for them. They end at once if their site is removed or stopped, or
	// demands what they do not have. Default: 1h. 0: they end with the requests in
	// flight, as in Caddy.
	DrainUpgraded *caddy.Duration `json:"drain_upgraded,omitempty"`

	// How long requests in flight may hold a configuration that was replaced,
	// and how long Caddy waits for them when it exits. After a change nobody
	// waits: the new configuration serves meanwhile. Default: 90s, as an IIS
	// worker process has.
	Drain caddy.Duration `json:"drain,omitempty"`

	// Logs the server names that clients send and nobody has, clients that send
	// none, and handshakes that are refused, as a sample: with the logger iis.sni,
	// 10 lines at once and then one each second for each reason. They tell whom
	// sni_missing and sni_unmatched reject, or would. Default: false.
	LogSNI bool `json:"log_sni,omitempty"`

	// Enables the access log of all sites. A site's log is the logger
	// iis.log.access.<site id>.
	AccessLog bool `json:"access_log,omitempty"`

	// Counts requests by site and class of status, at Caddy's metrics endpoint.
	// Handshakes, unknown hosts, sites by state and the expiry of
	// certificates are there in any case.
	Metrics bool `json:"metrics,omitempty"`

	// What serves sites without routes of their own.
	Defaults *Content `json:"defaults,omitempty"`

	// What serves the sites that name it as their template.
	Templates map[string]*Content `json:"templates,omitempty"`

	// A file with further sites, one JSON object a line: a site as in sites,
	// with its id as the number "id" and a template instead of routes. The file
	// is watched. A change applies as a whole, as a difference and without a
	// load of Caddy's configuration; a file with an error changes nothing.
	SitesFile string `json:"sites_file,omitempty"`

	// Sources of further sites, which are changed while they serve: by the API, which
	// writes them, without a load of Caddy's configuration. Sites of the configuration
	// come before theirs, and theirs in the order of this list.
	SitesFromRaw []json.RawMessage `json:"sites_from,omitempty" caddy:"namespace=iis.sites inline_key=source"`

	// Settings of the HTTP servers of all bindings: timeouts, protocols,
	// trusted proxies, listener wrappers and so on, as in Caddy's http app.
	// What bindings, sites and certificates decide is refused here, such as
	// listen, routes and tls_connection_policies.
	Server *caddyhttp.Server `json:"server,omitempty"`

	ctx    caddy.Context
	logger *zap.Logger

	identity       *identity
	options        options
	certificates   map[string]certsel.Source
	challenges     *certsel.Challenges
	boundEndpoints []binding.Endpoint
	demands        demands
	sniLog         *sniLog // nil unless enabled
	policies       *policySet
	http           *httpServers
	tls            *caddytls.TLS
	metrics        *appMetrics
	ordinary       []ordinaryAddr    // addresses of ordinary servers on ports with bindings
	otherPorts     map[uint16]string // ports of ordinary servers without bindings, and the servers
	foreign        []foreignListener // who else listens
	takeBack       func()            // ends what lendSockets began; nil before

	snapshot  atomic.Pointer[snapshot]
	sitesFile sitesFile
	live      []*liveSource

	withoutRows *snapshot // while the app starts: what is served without rows that were read for it

	autos       []*certsel.Auto // certificates that are for bindings
	secureAddrs atomic.Pointer[secureAddrs]

	serverConfigured bool // there are settings of the HTTP servers
	prepared         bool
	settled          chan struct{} // closed when the configuration serves, or never will
	settle           func()
	unloaded         sync.Once
	committed        atomic.Bool
	findingsLog      findingsLog
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "iis",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision compiles the configuration. It opens no socket and changes
// nothing that serves.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.logger = ctx.Logger()
	a.identity = new(identity)
	a.demands = make(demands)
	a.settled = make(chan struct{})
	a.settle = sync.OnceFunc(func() { close(a.settled) })
	if a.LogSNI {
		a.sniLog = newSNILog(a.logger.Named("sni"))
	}
	if err := a.parseOptions(); err != nil {
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
func (a *App) provisionSites() error {
	if err := a.loadSources(); err != nil {
		return err
	}
	if err := a.checkSiteVars(); err != nil {
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
	a.snapshot.Store(now)
	if err := a.loadCertificates(); err != nil {
		return err
	}
	if err := a.provisionPolicies(); err != nil {
		return err
	}
	if err := now.makeRecords(nil); err != nil {
		return err
	}
	if err := a.provisionHTTP(sites); err != nil {
		return err
	}
	if err := a.compileShared(); err != nil {
		return err
	}
	if err := now.addSites(sites, nil); err != nil {
		return err
	}
	if err := a.refuseHooks(); err != nil {
		return err
	}
	a.compileClaims(now.tables.Inputs())
	if err := a.takeOver(); err != nil {
		return err
	}
	if err := now.makeState(); err != nil {
		return err
	}
	a.lendSockets()
	now.where = nil
	if err := a.projectOpen(); err != nil {
		return err
	}
	a.policies.later = a.sitesFile.ctx
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
func (a *App) Start() error {
	for _, name := range sortedKeys(a.certificates) {
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
	a.withoutRows = nil
	if err != nil {
		return err
	}
	a.prepared = true
	if err := a.http.start(); err != nil {
		return err
	}
	go a.watchCommit()
	return nil
}

// watchCommit guards against the day when Caddy no longer announces that a
// configuration has started, by an event that it calls experimental: a
// configuration that is active must serve.
func (a *App) watchCommit() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-a.settled:
			return
		case <-ticker.C:
		}
		if active, err := caddy.ActiveContext().AppIfConfigured("iis"); err == nil && active == a {
			a.logger.Error("this configuration is active, but Caddy has not announced that it started; serving it now; please report this")
			a.commit()
		}
	}
}

// commit lets the configuration serve. It is called when every app of the
// configuration has started, and cannot fail.
func (a *App) commit() {
	if a.committed.Swap(true) {
		return // Caddy's announcement came after watchCommit had lost patience
	}
	a.settle()
	// Once more: the configuration before may have dropped counters meanwhile.
	a.now().countPorts(nil)
	release := a.takeSourcesOver()
	fronts.Commit(a.now().state)
	release()
	upgradedConns.settle()
	a.takeBack()
	a.metrics.forgetRemoved()
	for _, source := range a.certificates {
		if starter, ok := source.(certsel.Starter); ok {
			starter.Commit()
		}
	}
	a.bindingsChanged()
	a.examine()
	a.followSitesFile()
	go a.keepGoodCopy()
	go a.keepSaved()
}

// Stop takes the configuration out of service. Requests in flight finish.
func (a *App) Stop() error {
	a.unloaded.Do(a.unload)
	return nil
}

// Cleanup releases what Provision and Start took. Caddy calls it alone when
// the configuration was refused late.
func (a *App) Cleanup() error { return a.Stop() }

func (a *App) unload() {
	a.findingsLog.end()
	a.releaseSources()
	a.sitesFile.end(func() {
		if a.policies != nil {
			a.policies.release()
		}
	})
	if a.metrics != nil && !a.committed.Load() {
		a.metrics.forgetRefused()
	}
	if a.settle != nil {
		a.settle()
	}
	if caddy.Exiting() { // what still comes is served, or waits for the process after this one
		upgradedConns.endAll()
		ctx, cancel := context.WithTimeout(context.Background(), a.options.drain)
		defer cancel()
		if err := fronts.Shutdown(ctx); err != nil {
			a.logger.Error("waiting for requests in flight", zap.Error(err))
		}
	}
	if a.prepared {
		fronts.Remove(a.now().state)
		upgradedConns.settle()
	}
	if a.takeBack != nil {
		a.takeBack()
	}
	if a.CentralStore != nil {
		_ = a.CentralStore.Cleanup()
	}
	keep := a.options.drainUpgraded
	if caddy.Exiting() {
		keep = 0
	}
	switch {
	case a.http == nil:
	case a.prepared:
		a.http.retire(a.sitesFile.drained(a.now().state), a.options.drain, keep, a.forget)
	default:
		a.http.cleanup(0)
	}
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
