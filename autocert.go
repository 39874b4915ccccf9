package caddyiis

import (
	"net/netip"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
)

// bindAutos tells the certificates that are for bindings which hosts have one: a look
// into the tables that serve at the moment.
func (a *App) bindAutos() {
	for name, source := range a.certificates {
		if auto, ok := source.(*certsel.Auto); ok {
			a.autos = append(a.autos, name)
			auto.Bind(func(host string) bool { return a.now().bindsHost(host, name) })
		}
	}
}

// bindsHost reports whether a host has a binding that a certificate serves.
func (sn *snapshot) bindsHost(host, certificate string) bool {
	name, ok := binding.Host(host)
	if !ok {
		return false
	}
	for _, addr := range sn.app.secureAddrsOf(sn.tables) {
		match := sn.tables.Site(addr, binding.HTTPS, name)
		if match.Binding != nil && match.Binding.Host == name.String() && certsel.BindsHost(match.Binding, certificate) {
			return true
		}
	}
	return false
}

// secureAddrs are the addresses that https bindings are for, of some tables.
type secureAddrs struct {
	tables *binding.Tables
	addrs  []netip.AddrPort
}

// secureAddrsOf lists them. They are looked up once for each state of the tables.
func (a *App) secureAddrsOf(tables *binding.Tables) []netip.AddrPort {
	if known := a.secureAddrs.Load(); known != nil && known.tables == tables {
		return known.addrs
	}
	seen := make(map[netip.AddrPort]bool)
	for b := range tables.Bindings() {
		if b.Protocol == binding.HTTPS {
			seen[addressOf(b.Binding)] = true
		}
	}
	found := &secureAddrs{tables: tables}
	for addr := range seen {
		found.addrs = append(found.addrs, addr)
	}
	a.secureAddrs.Store(found)
	return found.addrs
}

// followAutos has certificates obtained for hosts that have come, and dropped from
// memory for those that have gone. It looks at all bindings.
func (a *App) followAutos() {
	if len(a.autos) == 0 {
		return
	}
	a.followingAutos.Lock()
	defer a.followingAutos.Unlock()
	if a.sitesFile.ctx.Err() != nil || !a.committed.Load() {
		return
	}
	var bindings []*binding.BindingEntry
	for b := range a.now().tables.Bindings() {
		bindings = append(bindings, b)
	}
	for _, name := range a.autos {
		a.certificates[name].(*certsel.Auto).Follow(certsel.HostsOf(bindings, name))
	}
}
