// Package matcher holds the guest modules that let ordinary Caddy
// configuration ask what the bindings of the iis app decide.
package matcher

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/caddyserver/caddy/v2"
)

// decider is the part of the iis app that the matchers need.
type decider interface {
	ClaimsConnection(local netip.AddrPort, serverName string) bool
	SiteOf(r *http.Request) (id uint32, name string, ok bool)
}

// app finds the iis app of the configuration that a matcher belongs to, when
// it is needed first. Not earlier: a matcher that asked for it while it is
// provisioned would provision the iis app in the middle of the http or tls
// app, which the iis app needs whole.
type app struct {
	ctx   caddy.Context
	once  sync.Once
	found decider
	err   error
}

func (a *app) decider() (decider, error) {
	a.once.Do(func() {
		val, err := a.ctx.AppIfConfigured("iis")
		if errors.Is(err, caddy.ErrNotConfigured) {
			return // no bindings: nothing matches
		}
		if err != nil {
			a.err = fmt.Errorf("getting the iis app: %w", err)
			return
		}
		a.found, a.err = val.(decider), nil
	})
	return a.found, a.err
}

// localAddr is the local address of a connection in the form that the tables
// are asked with.
func localAddr(addr net.Addr) (netip.AddrPort, bool) {
	if addr == nil {
		return netip.AddrPort{}, false
	}
	local, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), true
}

func localOfHello(hello *tls.ClientHelloInfo) (netip.AddrPort, bool) {
	if hello.Conn == nil {
		return netip.AddrPort{}, false
	}
	return localAddr(hello.Conn.LocalAddr())
}
