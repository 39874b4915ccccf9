package serve

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/front"
)

// ClaimsConnection reports whether a binding or an endpoint has a certificate
// for a TLS connection to this local address with this server name.
func (a *Instance) ClaimsConnection(local netip.AddrPort, serverName string) bool {
	_, now := a.Serving()
	return now.Tables.Certificate(local, serverName).Record != nil
}

// SiteOf returns the site that the bindings route a request to. The request
// need not have come through a binding's port; it is then asked for what the
// bindings say about its local address, scheme and Host.
func (a *Instance) SiteOf(r *http.Request) (id uint32, name string, ok bool) {
	if req, ok := siteRequestOf(r.Context()); ok {
		return req.site.id, req.site.name, true
	}
	local, ok := localOf(r)
	if !ok {
		return 0, "", false
	}
	host, ok := binding.Host(r.Host)
	if !ok {
		return 0, "", false
	}
	protocol := binding.HTTP
	if r.TLS != nil {
		protocol = binding.HTTPS
	}
	_, now := a.Serving()
	match := now.Tables.Site(local, protocol, host)
	if match.Site == nil || match.Binding.HeldBack() {
		return 0, "", false
	}
	return match.Site.ID, match.Site.Name, true
}

func localOf(r *http.Request) (netip.AddrPort, bool) {
	if conn := front.ConnFrom(r.Context()); conn != nil {
		return conn.Local, true
	}
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.AddrPort{}, false
	}
	local, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), true
}
