package serve

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/front"
)

// ordinaryEndpoints adds the ordinary servers' addresses to what the front
// serves. Settings of the listener can be only one server's: the bindings'
// have precedence if they were configured, and what differs is refused.
func (a *Instance) ordinaryEndpoints(endpoints []front.Endpoint) ([]front.Endpoint, error) {
	for _, o := range a.Ordinary {
		owner := fmt.Sprintf("http server %q, listening at %s", o.Server.Name, listenText(o.Addr))
		exact := false
		for i := range endpoints {
			e := &endpoints[i]
			if e.Addr.Port() != o.Addr.Port() || !Overlap(e.Addr.Addr(), o.Addr.Addr()) {
				continue
			}
			if e.TLS != o.Secure {
				return nil, fmt.Errorf("%s and %s share an address, but one is https and the other http: use another port or IP address for one of them", e.Owner, owner)
			}
			if e.Settings != o.settings {
				if a.serverConfigured {
					return nil, fmt.Errorf("%s and %s share a port, but have different settings of timeouts, header size, keep-alive or protocols: "+
						"make the servers option of iis and the global servers option alike", e.Owner, owner)
				}
				e.Settings = o.settings
			}
			exact = exact || e.Addr.Addr() == o.Addr.Addr()
		}
		if !exact {
			e := front.Endpoint{Addr: o.Addr, TLS: o.Secure, Settings: o.settings, Owner: owner}
			if !o.alone {
				e.BeforeTLS, e.AfterTLS = a.http.beforeTLS, a.http.afterTLS
			}
			endpoints = append(endpoints, e)
		}
	}
	return endpoints, nil
}

// checkOtherPorts refuses bindings on a port that an ordinary server has for
// itself: it is shared when a configuration is loaded, and only then.
func (a *Instance) checkOtherPorts(sn *Snapshot) error {
	for _, listen := range sn.Tables.Endpoints() {
		if server := a.otherPorts[listen.Port]; server != "" {
			return fmt.Errorf("%s%s wants port %d, where http server %q listens: use another port, or load Caddy's configuration again, which makes them share it",
				sn.place(listen.Site), listen.Label, listen.Port, server)
		}
	}
	return nil
}

// settingsOf are the listener settings of a provisioned server.
func settingsOf(srv *caddyhttp.Server, protocols []string, secure bool) front.Settings {
	has := func(p string) bool { return slices.Contains(protocols, p) }
	return front.Settings{
		ReadTimeout:       time.Duration(srv.ReadTimeout),
		ReadHeaderTimeout: time.Duration(srv.ReadHeaderTimeout),
		WriteTimeout:      time.Duration(srv.WriteTimeout),
		IdleTimeout:       time.Duration(srv.IdleTimeout),
		MaxHeaderBytes:    srv.MaxHeaderBytes,
		H1:                has("h1"),
		H2:                has("h2") && secure,
		H2C:               has("h2c"),
		H3:                has("h3") && secure,
		KeepAlive: net.KeepAliveConfig{
			Enable:   srv.KeepAliveInterval >= 0,
			Interval: time.Duration(srv.KeepAliveInterval),
			Idle:     time.Duration(srv.KeepAliveIdle),
			Count:    srv.KeepAliveCount,
		},
		Disallow0RTT: srv.Allow0RTT != nil && !*srv.Allow0RTT,
	}
}

// Overlap reports whether a connection can come to both addresses; an invalid one is for all.
func Overlap(x, y netip.Addr) bool { return !x.IsValid() || !y.IsValid() || x == y }

func listenText(addr netip.AddrPort) string {
	if !addr.Addr().IsValid() {
		return ":" + strconv.Itoa(int(addr.Port()))
	}
	return addr.String()
}
