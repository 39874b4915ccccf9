package serve

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/front"
)

// makeState puts together what the front serves for this configuration.
func (a *Instance) makeState(sn *Snapshot) error {
	// Each of the provisioned servers has Caddy's defaults filled in; they are
	// all alike in what concerns listeners.
	srv := a.itself
	var endpoints []front.Endpoint
	for _, listen := range sn.Tables.Endpoints() {
		secure := listen.Protocol == binding.HTTPS
		endpoints = append(endpoints, front.Endpoint{
			Addr:      netip.AddrPortFrom(listen.IP, listen.Port),
			TLS:       secure,
			Settings:  settingsOf(srv, srv.Protocols, secure),
			BeforeTLS: wrappersFor(secure, a.http.beforeTLS),
			AfterTLS:  wrappersFor(secure, a.http.afterTLS),
			Owner:     sn.place(listen.Site) + listen.Label,
		})
	}
	endpoints, err := a.ordinaryEndpoints(endpoints)
	if err != nil {
		return err
	}
	if err := a.checkListeners(endpoints); err != nil {
		return err
	}
	if !front.QUICKnowsAddress(runtime.GOOS) {
		sn.Findings = append(sn.Findings, sn.withoutQUIC(endpoints)...)
	}
	sn.state = &front.State{
		Endpoints: endpoints,
		TLS:       a.configForClient,
		Handler:   a,
		Logger:    a.logger,

		EncryptedClientHelloKeys: a.ech.keys,
	}
	return nil
}

// wrappersFor leaves http_redirect out where there is no TLS: it takes what is
// not TLS for a client that should use https, which is everybody there.
func wrappersFor(secure bool, wrappers []caddy.ListenerWrapper) []caddy.ListenerWrapper {
	if secure {
		return wrappers
	}
	return slices.DeleteFunc(slices.Clone(wrappers), func(w caddy.ListenerWrapper) bool {
		_, ok := w.(*caddyhttp.HTTPRedirectListenerWrapper)
		return ok
	})
}

// withoutQUIC turns HTTP/3 off on ports where the local address decides: there,
// clients would get the certificate and the site of another address.
func (sn *Snapshot) withoutQUIC(endpoints []front.Endpoint) []binding.Finding {
	var findings []binding.Finding
	byAddress := make(map[uint16]bool)
	for b := range sn.Tables.Bindings() {
		byAddress[b.Port] = byAddress[b.Port] || b.IP.IsValid()
	}
	for rec := range sn.Tables.Records() {
		byAddress[rec.Port] = byAddress[rec.Port] || rec.IP.IsValid()
	}
	for _, o := range sn.Ordinary {
		byAddress[o.Addr.Port()] = byAddress[o.Addr.Port()] || o.Addr.Addr().IsValid()
	}
	for i := range endpoints {
		if port := endpoints[i].Addr.Port(); byAddress[port] && endpoints[i].Settings.H3 {
			endpoints[i].Settings.H3 = false
			findings = append(findings, binding.Finding{
				Severity: binding.Info, Code: "no-quic-by-address",
				Message: fmt.Sprintf("HTTP/3 is off on port %d: on this operating system it does not tell to which address a client came, and bindings there depend on it", port),
			})
		}
	}
	return findings
}

// SpeaksH3 tells whether HTTP/3 is served at a local address.
func (sn *Snapshot) SpeaksH3(local netip.AddrPort) bool {
	return slices.ContainsFunc(sn.state.Endpoints, func(e front.Endpoint) bool {
		ip := e.Addr.Addr()
		return e.TLS && e.Settings.H3 && e.Addr.Port() == local.Port() && (!ip.IsValid() || ip.IsUnspecified() || ip == local.Addr())
	})
}

// alpn lists the protocols that a TLS connection can choose from.
func (a *Instance) alpn() []string {
	if a.Server == nil || len(a.Server.Protocols) == 0 {
		return []string{"h2", "http/1.1"}
	}
	var protocols []string
	if slices.Contains(a.Server.Protocols, "h2") {
		protocols = append(protocols, "h2")
	}
	if slices.Contains(a.Server.Protocols, "h1") {
		protocols = append(protocols, "http/1.1")
	}
	return protocols
}

// subscribe has commit called when every app of the configuration has started:
// should one fail, this configuration has never served a request.
func (a *Instance) subscribe() error {
	app, err := a.ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting events app: %w", err)
	}
	return app.(*caddyevents.App).On("started", startedHandler{a})
}

// startedHandler waits for Caddy's event.
type startedHandler struct{ app *Instance }

// Handle implements caddyevents.Handler.
func (h startedHandler) Handle(context.Context, caddy.Event) error {
	h.app.commit()
	return nil
}
