package serve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/idn"
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

func newOrdinaryServer(ctx caddy.Context, name string, srv *caddyhttp.Server) *OrdinaryServer {
	o := &OrdinaryServer{
		Name: name, srv: srv,
		hosts: make(map[string]struct{}), wildcards: make(map[string]struct{}),
	}
	if len(srv.TLSConnPolicies) > 0 {
		o.policies = srv.TLSConnPolicies.TLSConfig(ctx)
	}
	for _, policy := range srv.TLSConnPolicies {
		if policy.ClientAuthentication != nil {
			o.clientAuth = true
		}
	}
	for _, route := range srv.Routes {
		hosts, all := routeHosts(route)
		o.catchAll = o.catchAll || all
		for _, host := range hosts {
			o.addHost(host)
		}
	}
	return o
}

// routeHosts returns the hosts that a route is for, and whether it is also for
// requests to any other host.
func routeHosts(route caddyhttp.Route) (hosts []string, all bool) {
	if len(route.MatcherSets) == 0 {
		return nil, true
	}
	for _, set := range route.MatcherSets {
		named := false
		for _, matcher := range set {
			switch m := matcher.(type) {
			case caddyhttp.MatchProtocol:
				// The redirects of automatic HTTPS match so. Nobody wrote
				// them, so they answer only for hosts that somebody did.
				named = true
			case *caddyhttp.MatchHost:
				hosts, named = append(hosts, *m...), true
			case caddyhttp.MatchHost:
				hosts, named = append(hosts, m...), true
			}
		}
		all = all || !named
	}
	return hosts, all
}

func (o *OrdinaryServer) addHost(host string) {
	host = caddy.NewReplacer().ReplaceAll(strings.ToLower(host), "")
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		o.wildcards[rest] = struct{}{}
		return
	}
	o.hosts[host] = struct{}{}
}

// hostFindings points out hosts of ordinary servers that no client asks for: Caddy
// converts them to ASCII as they are written, browsers map them first.
func (f *fixed) hostFindings() []binding.Finding {
	var findings []binding.Finding
	seen := make(map[*OrdinaryServer]bool)
	for _, addr := range f.Ordinary {
		if seen[addr.Server] {
			continue
		}
		seen[addr.Server] = true
		for _, host := range SortedKeys(addr.Server.hosts) {
			if name, ok := idn.Reachable(host); ok {
				findings = append(findings, binding.Finding{
					Severity: binding.Warning, Code: codeUnreachableHost,
					Message: fmt.Sprintf("no browser asks for host %s of http server %q: written in this way, it asks for %s", host, addr.Server.Name, name),
					Fix:     "write the host in lower case, with letters in one part (Unicode NFC), or as " + name,
				})
			}
		}
	}
	return findings
}

// codeUnreachableHost is the finding about such a host.
const codeUnreachableHost = "host-not-as-browsers-write-it"

// has reports whether a route of the server names the host, which is in lower
// case and has no port.
func (o *OrdinaryServer) has(host string) bool {
	if host == "" {
		return false
	}
	if _, ok := o.hosts[host]; ok {
		return true
	}
	if _, rest, ok := strings.Cut(host, "."); ok {
		_, ok = o.wildcards[rest]
		return ok
	}
	return false
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

// keepPorts notes the ports on which an ordinary server listens by itself.
func (a *Instance) keepPorts(addr caddy.NetworkAddress, server string) {
	if addr.IsUnixNetwork() || addr.IsFdNetwork() {
		return
	}
	for port := addr.StartPort; port <= addr.EndPort; port++ {
		a.otherPorts[uint16(port)] = server
	}
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

// checkOrdinaryHosts refuses a host that both a binding and a site block claim
// at one address: whichever served it, somebody would be surprised.
func (sn *Snapshot) checkOrdinaryHosts(bindings iter.Seq[*binding.BindingEntry]) error {
	if len(sn.Ordinary) == 0 {
		return nil
	}
	var errs []error
	for entry := range bindings {
		if server := sn.ordinaryHas(entry.Binding); server != nil {
			errs = append(errs, fmt.Errorf(
				"%shost %s at port %d belongs to %s by its binding %s and to http server %q, a site block, as well: "+
					"remove it from one of them, or use another port or IP address",
				sn.place(entry.Site.ID), entry.Host, entry.Port, config.SiteLabel(entry.Site.ID, entry.Site.Name), entry.Binding, server.Name))
			if len(errs) == 20 {
				return errors.Join(errs...)
			}
		}
	}
	return errors.Join(errs...)
}

// ordinaryHas returns the ordinary server that has the host of a binding at its address,
// nil if there is none.
func (f *fixed) ordinaryHas(b binding.Binding) *OrdinaryServer {
	for _, o := range f.Ordinary {
		if b.Host != "" && sameAddress(b, o) && o.Server.Name != remainingRedirects && o.Server.names(b.Host) {
			return o.Server
		}
	}
	return nil
}

func sameAddress(b binding.Binding, o ordinaryAddr) bool {
	return b.Port == o.Addr.Port() && (b.Protocol == binding.HTTPS) == o.Secure &&
		(!b.IP.IsValid() || !o.Addr.Addr().IsValid() || b.IP == o.Addr.Addr())
}

// names reports whether a route of the server has exactly this host, and not
// only in order to redirect it to https.
func (o *OrdinaryServer) names(host string) bool {
	for _, route := range o.srv.Routes {
		for _, set := range route.MatcherSets {
			redirect := false
			var hosts caddyhttp.MatchHost
			for _, matcher := range set {
				switch m := matcher.(type) {
				case caddyhttp.MatchProtocol:
					redirect = true
				case *caddyhttp.MatchHost:
					hosts = *m
				}
			}
			if !redirect && slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
				return true
			}
		}
	}
	return false
}

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

// Overlap reports whether a connection can come to both addresses; an invalid one is for all.
func Overlap(x, y netip.Addr) bool { return !x.IsValid() || !y.IsValid() || x == y }

func listenText(addr netip.AddrPort) string {
	if !addr.Addr().IsValid() {
		return ":" + strconv.Itoa(int(addr.Port()))
	}
	return addr.String()
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

// foreignTickets are the configurations of an ordinary server.
func (a *Instance) foreignTickets() *policies.ForeignTickets {
	return &policies.ForeignTickets{
		TLS: a.tls, Keys: fronts.TicketKeys(),
		Instead: func(hello *tls.ClientHelloInfo) *tls.Certificate { return fronts.CertificateInstead(hello, a) },
	}
}
