package serve

import (
	"crypto/tls"
	"net/netip"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/front"
)

// bindAutos tells the certificates that are for bindings which hosts have one: a look
// into the tables that serve at the moment.
func (a *Instance) bindAutos() {
	for name, source := range a.certificates {
		if auto, ok := source.(*certsel.Auto); ok {
			a.autos = append(a.autos, auto)
			auto.Bind(name, certsel.Bindings{
				Bound: func(host string, hello *tls.ClientHelloInfo) certsel.BoundBy {
					return a.bindsHost(a.Now(), host, name, hello)
				},
				Hosts: func() []string { return a.Now().hostsOf(name) },
			})
		}
	}
}

// bindsHost tells whether a host has a binding that a certificate serves: at the
// address that a client came to or, without one, anywhere.
func (a *Instance) bindsHost(sn *Snapshot, host, certificate string, hello *tls.ClientHelloInfo) certsel.BoundBy {
	name, ok := binding.Host(host)
	if !ok || name.String() != host {
		return certsel.NotBound // with a port, for example, it is no name
	}
	if hello != nil {
		local := cameTo(hello)
		by := sn.bindsHostAt(local, name, certificate)
		if by != certsel.NotBound || !sn.Tables.Certificate(local, host).Known {
			return by
		}
		// The record of a server name serves at all addresses (table D1), its binding
		// at its own.
	}
	found := certsel.NotBound
	for _, addr := range a.secureAddrsOf(sn.Tables) {
		switch by := sn.bindsHostAt(addr, name, certificate); by {
		case certsel.BoundByHost:
			return by
		case certsel.BoundByWildcard:
			found = by
		}
	}
	return found
}

func (sn *Snapshot) bindsHostAt(local netip.AddrPort, name binding.HostName, certificate string) certsel.BoundBy {
	match := sn.Tables.Site(local, binding.HTTPS, name)
	if match.Binding == nil || match.Binding.HeldBack() {
		return certsel.NotBound
	}
	by := certsel.BindsHost(match.Binding, certificate)
	if by == certsel.BoundByHost && match.Binding.Host != name.String() {
		return certsel.NotBound
	}
	return by
}

// cameTo is the address that the client of a handshake came to.
func cameTo(hello *tls.ClientHelloInfo) netip.AddrPort {
	if hello.Context() != nil {
		if conn := front.ConnOf(hello); conn != nil {
			return conn.Local
		}
	}
	if local, ok := hello.Conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		return local.AddrPort()
	}
	return netip.AddrPort{}
}

// hostsOf lists the hosts that a certificate serves.
func (sn *Snapshot) hostsOf(certificate string) []string {
	var bindings []*binding.BindingEntry
	for b := range sn.Tables.Bindings() {
		bindings = append(bindings, b)
	}
	return certsel.HostsOf(bindings, certificate)
}

// secureAddrs are the addresses that https bindings are for, of some tables.
type secureAddrs struct {
	tables *binding.Tables
	addrs  []netip.AddrPort
}

// secureAddrsOf lists them. They are looked up once for each state of the tables.
func (a *Instance) secureAddrsOf(tables *binding.Tables) []netip.AddrPort {
	if known := a.secureAddrs.Load(); known != nil && known.tables == tables {
		return known.addrs
	}
	seen := make(map[netip.AddrPort]bool)
	for b := range tables.Bindings() {
		if b.Protocol == binding.HTTPS {
			seen[tables.Arrival(b.IP, b.Port, b.Protocol)] = true
		}
	}
	found := &secureAddrs{tables: tables}
	for addr := range seen {
		found.addrs = append(found.addrs, addr)
	}
	a.secureAddrs.Store(found)
	return found.addrs
}

// bindingsChanged tells the certificates that are for bindings that hosts may have come
// or gone.
func (a *Instance) bindingsChanged() {
	for _, auto := range a.autos {
		auto.Changed()
	}
}
