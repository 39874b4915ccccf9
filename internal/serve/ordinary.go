package serve

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/policies"
)

// OrdinaryServer is a server of Caddy's http app that listens on a port which
// bindings use too. The front accepts its connections; all else stays with it.
type OrdinaryServer struct {
	Name     string
	srv      *caddyhttp.Server
	policies *tls.Config // chooses among the server's connection policies
	tickets  *policies.ForeignTickets

	// The hosts that the server's routes name, by which it owns requests and
	// server names: exact ones, and wildcards as ".example.com".
	hosts, wildcards map[string]struct{}
	catchAll         bool // a route without host takes all others
	clientAuth       bool // some connection policy asks for client certificates

	handshake *handshake // what handshakes leave at their connections
}

// ordinaryAddr is an address at which an ordinary server listens.
type ordinaryAddr struct {
	Addr     netip.AddrPort // the zero IP stands for all addresses
	Secure   bool
	alone    bool // no binding is on the port
	Server   *OrdinaryServer
	settings front.Settings
}

// claims reports whether the server owns a server name: a route names it as
// host, or a connection policy is for it and not for everybody.
func (o *OrdinaryServer) claims(hello *tls.ClientHelloInfo) bool {
	if hello.ServerName == "" {
		return false
	}
	if o.has(strings.ToLower(hello.ServerName)) {
		return true
	}
	named, err := o.policies.GetConfigForClient(hello)
	if err != nil {
		return false
	}
	anonymous := *hello
	anonymous.ServerName = ""
	other, err := o.policies.GetConfigForClient(&anonymous)
	return err != nil || other != named
}

// configForClient chooses among the server's own connection policies.
func (o *OrdinaryServer) configForClient(hello *tls.ClientHelloInfo, conn *front.Conn) (*tls.Config, error) {
	conn.Handshake.Store(o.handshake)
	config, err := o.policies.GetConfigForClient(hello)
	if err != nil || config == nil {
		return config, err
	}
	return o.tickets.Refusing(config), nil
}

// owns reports whether a request is the server's that no binding names by host.
func (o *OrdinaryServer) owns(host binding.HostName, match binding.SiteMatch) bool {
	return o.has(host.String()) || match.Site == nil && o.catchAll
}

// Demand asks what a request gets in place of the server's routes: the one
// reading for live traffic and for explain.
func (o *OrdinaryServer) Demand(c *Connection) Answer {
	if o.clientAuth && c.state != nil && (c.made == nil || *c.made != *o.handshake) {
		return Answer{
			Status: http.StatusMisdirectedRequest,
			Reason: "the connection was not made under the server's own TLS settings, of which some ask clients for a certificate",
		}
	}
	return Answer{}
}

// OrdinaryAt returns the ordinary server that listens at a local address. The
// more specific listen address has it, as it would for the kernel. It is alone
// there if no binding has the port.
func (f *fixed) OrdinaryAt(local netip.AddrPort, secure bool) (_ *OrdinaryServer, alone bool) {
	var found *ordinaryAddr
	for i := range f.Ordinary {
		o := &f.Ordinary[i]
		if o.Addr.Port() != local.Port() || o.Secure != secure {
			continue
		}
		if o.Addr.Addr() == local.Addr() {
			return o.Server, o.alone
		}
		if !o.Addr.Addr().IsValid() {
			found = o
		}
	}
	if found == nil {
		return nil, false
	}
	return found.Server, found.alone
}

// foreignTickets are the configurations of an ordinary server.
func (a *Instance) foreignTickets() *policies.ForeignTickets {
	return &policies.ForeignTickets{
		TLS: a.tls, Keys: fronts.TicketKeys(),
		Instead: func(hello *tls.ClientHelloInfo) *tls.Certificate { return fronts.CertificateInstead(hello, a) },
	}
}
