package serve

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// remainingRedirects is the server that Caddy's automatic HTTPS makes for
// redirects. The hosts there are those of other servers.
const remainingRedirects = "remaining_auto_https_redirects"

// takeOver takes the listen addresses that lie on a port with bindings away
// from the servers of the user's http app: from now on the front serves both.
func (a *Instance) takeOver(sn *Snapshot) error {
	val, err := a.ctx.AppIfConfigured("http")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil
	}
	if err != nil {
		return err
	}
	httpApp := val.(*caddyhttp.App)
	a.otherPorts = make(map[uint16]string)
	ports := make(map[uint16]bool)
	for _, listen := range sn.Tables.Endpoints() {
		ports[listen.Port] = true
	}
	claimed := maps.Clone(ports)
	for _, source := range a.Live {
		maps.Copy(claimed, source.Ports())
	}
	alone := a.portsAlone(httpApp, claimed)
	for _, name := range slices.Sorted(maps.Keys(httpApp.Servers)) {
		// A port that sites may come to is shared as well, if it can be.
		ports := ports
		if refuseWrappers(httpApp.Servers[name]) == nil {
			ports = claimed
		}
		if err := a.takeOverServer(httpApp, name, ports, alone); err != nil {
			return fmt.Errorf("http server %q: %w", name, err)
		}
	}
	return sn.checkOrdinaryHosts(sn.Tables.Bindings())
}

// portsAlone are the ports of ordinary servers that have no binding and are
// taken over all the same. A binding may come to such a port, or have left it:
// if the port changed hands between Caddy's sockets and the front's, connections
// would be lost. All that comes there is the server's. What the front cannot do
// for a server stays with Caddy: listener wrappers, several addresses on one port,
// and one family of addresses only.
func (a *Instance) portsAlone(httpApp *caddyhttp.App, shared map[uint16]bool) map[uint16]bool {
	addresses := make(map[uint16]int)
	for _, srv := range httpApp.Servers {
		wrapped := refuseWrappers(srv) != nil
		for _, address := range srv.Listen {
			parsed, err := caddy.ParseNetworkAddress(address)
			if err != nil || parsed.IsUnixNetwork() || parsed.IsFdNetwork() {
				continue
			}
			for port := parsed.StartPort; port <= parsed.EndPort; port++ {
				addresses[uint16(port)]++
				if wrapped || parsed.Network != "tcp" {
					addresses[uint16(port)]++ // so that it is not the only one
				}
			}
		}
	}
	maps.DeleteFunc(addresses, func(port uint16, n int) bool {
		return n > 1 || port == 0 || shared[port] || slices.ContainsFunc(a.foreign, func(l foreignListener) bool { return l.has(port) })
	})
	alone := make(map[uint16]bool, len(addresses))
	for port := range addresses {
		alone[port] = true
	}
	return alone
}

// takeOverServer splits a server's addresses into those that stay with Caddy
// and those that the front takes over, on shared ports and on others.
func (a *Instance) takeOverServer(httpApp *caddyhttp.App, name string, ports, portsAlone map[uint16]bool) error {
	srv := httpApp.Servers[name]
	var listen []string
	var listenProtocols [][]string
	var taken []ordinaryAddr
	for i, address := range srv.Listen {
		protocols := srv.Protocols
		if srv.ListenProtocols != nil && srv.ListenProtocols[i] != nil {
			protocols = srv.ListenProtocols[i]
		}
		parsed, err := caddy.ParseNetworkAddress(address)
		if err != nil {
			return err
		}
		keep := func(address string) {
			listen = append(listen, address)
			if srv.ListenProtocols != nil {
				listenProtocols = append(listenProtocols, srv.ListenProtocols[i])
			}
		}
		if !sharesPort(parsed, ports) && !sharesPort(parsed, portsAlone) {
			keep(address)
			a.keepPorts(parsed, name)
			continue
		}
		for _, single := range parsed.Expand() {
			port := uint16(single.StartPort)
			if !ports[port] {
				a.keepPorts(single, name)
			}
			if !ports[port] && !portsAlone[port] {
				keep(single.String())
				continue
			}
			addrs, err := ordinaryIPs(single)
			if err != nil {
				return err
			}
			secure := len(srv.TLSConnPolicies) > 0 && int(port) != httpPort(httpApp)
			for _, ip := range addrs {
				taken = append(taken, ordinaryAddr{
					Addr: netip.AddrPortFrom(ip, port), Secure: secure, alone: portsAlone[port],
					settings: settingsOf(srv, protocols, secure),
				})
			}
		}
	}
	if len(taken) == 0 {
		return nil
	}
	if err := refuseWrappers(srv); err != nil {
		return err
	}
	srv.Listen, srv.ListenProtocols = listen, listenProtocols
	ordinary := newOrdinaryServer(a.ctx, name, srv)
	ordinary.tickets = a.foreignTickets()
	ordinary.handshake = &handshake{in: a.identity, ordinary: new(identity)}
	for i := range taken {
		taken[i].Server = ordinary
		a.Ordinary = append(a.Ordinary, taken[i])
	}
	return nil
}

func sharesPort(address caddy.NetworkAddress, ports map[uint16]bool) bool {
	switch address.Network {
	case "", "tcp", "tcp4", "tcp6":
	default:
		return false // unix and fd sockets are nobody else's
	}
	for port := address.StartPort; port <= address.EndPort; port++ {
		if ports[uint16(port)] {
			return true
		}
	}
	return false
}

// ordinaryIPs returns the IPs of a listen address; the zero Addr stands for
// all of them. A host name means its first address, as for net.Listen.
func ordinaryIPs(address caddy.NetworkAddress) ([]netip.Addr, error) {
	if address.Host == "" {
		return []netip.Addr{{}}, nil
	}
	if ip, err := netip.ParseAddr(address.Host); err == nil {
		if ip.IsUnspecified() {
			return []netip.Addr{{}}, nil
		}
		return []netip.Addr{ip.Unmap()}, nil
	}
	resolved, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(address.Host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listen address %s: %w", address, err)
	}
	return []netip.Addr{resolved.AddrPort().Addr().Unmap()}, nil
}

func httpPort(app *caddyhttp.App) int {
	if app.HTTPPort > 0 {
		return app.HTTPPort
	}
	return caddyhttp.DefaultHTTPPort
}

// keepPorts notes the ports on which an ordinary server listens by itself.
func (a *Instance) keepPorts(addr caddy.NetworkAddress, server string) {
	if addr.IsUnixNetwork() || addr.IsFdNetwork() {
		return
	}
	for port := addr.StartPort; port <= addr.EndPort; port++ {
		a.otherPorts[uint16(port)] = server
	}
}

// refuseWrappers refuses a server with listener wrappers, or handlers that hook
// into its connections, on a shared port. Only the server itself could apply
// them; that there are some is all that can be seen from here.
func refuseWrappers(srv *caddyhttp.Server) error {
	for _, field := range []struct{ name, what, fix string }{
		{"listenerWrappers", "listener_wrappers", "move them into the servers option of iis, where they apply to both, or give the server another port"},
		{"packetConnWrappers", "packet_conn_wrappers", "give the server another port"},
		{"connContextFuncs", "handlers that register for its connections", "give the server another port"},
		{"connStateFuncs", "handlers that register for its connections", "give the server another port"},
	} {
		there, known := holds(srv, field.name)
		switch {
		case !known:
			return fmt.Errorf("this version of Caddy does not show whether the server has %s, "+
				"so it cannot share a port with bindings: give the server another port", field.what)
		case there:
			return fmt.Errorf("it has %s and shares a port with bindings, where they cannot be applied: %s", field.what, field.fix)
		}
	}
	return nil
}

// refuseHooks refuses sites with handlers that hook into the connections of
// their server: connections belong to no site here, and nobody would call them.
func (a *Instance) refuseHooks() error {
	for _, srv := range a.http.app.Servers {
		for _, field := range []string{"connContextFuncs", "connStateFuncs"} {
			if there, _ := holds(srv, field); there {
				return errors.New("a handler of a site registers for the connections of its server, which sites of iis cannot offer: " +
					"serve it from an ordinary site block on another port")
			}
		}
	}
	return nil
}

// holds reports whether a private list of a server has elements. Nothing else
// of it is read.
func holds(srv *caddyhttp.Server, field string) (there, known bool) {
	value := reflect.ValueOf(srv).Elem().FieldByName(field)
	if !value.IsValid() || value.Kind() != reflect.Slice {
		return false, false
	}
	return value.Len() > 0, true
}
