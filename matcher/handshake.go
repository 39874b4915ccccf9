package matcher

import (
	"crypto/tls"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

func init() {
	caddy.RegisterModule(MatchHandshake{})
}

// MatchHandshake matches TLS connections that a binding or an endpoint of the
// iis app claims: there is a certificate for their local address, port and
// server name.
type MatchHandshake struct {
	app *app
}

// CaddyModule returns the Caddy module information.
func (MatchHandshake) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "tls.handshake_match.iis",
		New: func() caddy.Module { return new(MatchHandshake) },
	}
}

// Provision remembers the configuration that the matcher belongs to.
func (m *MatchHandshake) Provision(ctx caddy.Context) error {
	m.app = &app{ctx: ctx}
	return nil
}

// Match reports whether the iis app claims the connection.
func (m *MatchHandshake) Match(hello *tls.ClientHelloInfo) bool {
	decider, err := m.app.decider()
	if err != nil || decider == nil {
		return false
	}
	local, ok := localOfHello(hello)
	return ok && decider.ClaimsConnection(local, hello.ServerName)
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Syntax:
//
//	iis
func (m *MatchHandshake) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // matcher name
	if d.NextArg() || d.NextBlock(d.Nesting()) {
		return d.Errf("the iis matcher takes nothing, such as %q: bindings decide what it matches", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner          = (*MatchHandshake)(nil)
	_ caddyfile.Unmarshaler      = (*MatchHandshake)(nil)
	_ caddytls.ConnectionMatcher = (*MatchHandshake)(nil)
)
