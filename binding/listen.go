package binding

import (
	"fmt"
	"net/netip"
	"slices"
)

// ListenEndpoint is one socket that the bindings need. HTTP.sys listens on all
// addresses of a port that has any binding; Options.Listen narrows it.
type ListenEndpoint struct {
	// IP is the zero Addr for all addresses, 0.0.0.0 for all IPv4 addresses (tcp4),
	// :: for all IPv6 addresses (tcp6, without IPv4), else one address.
	IP       netip.Addr
	Port     uint16
	Protocol Protocol
	// Bindings counts the bindings that are served here.
	Bindings int
	// Label names who needs the socket, for error messages, and Site is the site's
	// id, 0 for an endpoint.
	Label string
	Site  uint32
}

// String writes the address as a binding has it, such as "*:443".
func (e ListenEndpoint) String() string {
	switch {
	case !e.IP.IsValid():
		return fmt.Sprintf("*:%d", e.Port)
	default:
		return endpointText(e.IP, e.Port)
	}
}

// Endpoints returns the sockets that started sites and endpoints need, by port
// and address. The slice must not be changed.
func (t *Tables) Endpoints() []ListenEndpoint { return t.endpoints }

// front tells which protocol a port speaks: one on all addresses, or, if both
// are bound, one for each bound address.
type front struct {
	mixed    bool
	protocol Protocol
	ips      map[netip.Addr]Protocol // if mixed
}

func (f front) protocolOf(local netip.Addr) (Protocol, bool) {
	if !f.mixed {
		return f.protocol, true
	}
	addr := local.Unmap()
	if p, ok := f.ips[addr]; ok {
		return p, true
	}
	addr = addr.WithZone("")
	if p, ok := f.ips[addr]; ok {
		return p, true
	}
	if addr.Is6() {
		p, ok := f.ips[netip.IPv6Unspecified()]
		return p, ok
	}
	return 0, false
}

// listenList is Options.Listen in canonical form: empty is everything.
type listenList []netip.Addr

func newListenList(addrs []netip.Addr) listenList {
	var list listenList
	for _, addr := range addrs {
		addr = addr.Unmap()
		if !addr.IsValid() {
			return nil
		}
		list = append(list, addr)
	}
	v4, v6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	if slices.Contains(list, v4) && slices.Contains(list, v6) {
		return nil
	}
	// One socket for all addresses of a family takes the place of the single ones.
	any4, any6 := slices.Contains(list, v4), slices.Contains(list, v6)
	list = slices.DeleteFunc(list, func(a netip.Addr) bool {
		return any4 && a.Is4() && a != v4 || any6 && a.Is6() && a != v6
	})
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// covers tells whether a connection to this address can arrive.
func (l listenList) covers(addr netip.Addr) bool {
	if len(l) == 0 {
		return true
	}
	addr = addr.Unmap()
	for _, a := range l {
		if within(addr, a) {
			return true
		}
	}
	return false
}

// leaves returns a local address at which connections can arrive that come to ip as
// Binding.IP has it: ip, or one of the list within it. Of several it is one that fits.
func (l listenList) leaves(ip netip.Addr, fits func(netip.Addr) bool) netip.Addr {
	wide := netip.IPv4Unspecified()
	if ip.IsValid() {
		wide = ip
	}
	if l.covers(wide) {
		return wide
	}
	best := wide
	for _, a := range l {
		switch {
		case ip.IsValid() && !within(a, ip):
		case fits(a):
			return a
		case best == wide:
			best = a
		}
	}
	return best
}

// overlaps tells whether any connection can arrive for a binding to this IP.
func (l listenList) overlaps(ip netip.Addr) bool {
	if len(l) == 0 || !ip.IsValid() {
		return true
	}
	for _, a := range l {
		if within(ip, a) || within(a, ip) {
			return true
		}
	}
	return false
}

// within tells whether a is the address or range b: 0.0.0.0 is all of IPv4, ::
// all of IPv6, and an address without zone is the address in every zone.
func within(a, b netip.Addr) bool {
	switch {
	case a == b || a.WithZone("") == b:
		return true
	case b == netip.IPv4Unspecified():
		return a.Is4()
	case b == netip.IPv6Unspecified():
		return a.Is6()
	}
	return false
}

// claims is who needs a port, by protocol.
type claims [2]claim

type claim struct {
	bindings int
	first    owner                // of all
	v6       owner                // the first one on any IPv6 address
	all      owner                // the first one on *
	ips      map[netip.Addr]spot  // on concrete addresses and [::]
	zoned    map[netip.Addr]owner // the first one on any zone of the address
}

type spot struct {
	first    owner
	bindings int
}

// add notes that somebody needs an address as Binding.IP has it.
func (c *claim) add(ip netip.Addr, who owner) {
	c.bindings++
	if c.first.isZero() {
		c.first = who
	}
	if !ip.IsValid() {
		if c.all.isZero() {
			c.all = who
		}
		return
	}
	if ip.Is6() && c.v6.isZero() {
		c.v6 = who
	}
	if c.ips == nil {
		c.ips = make(map[netip.Addr]spot)
	}
	s := c.ips[ip]
	if s.bindings++; s.bindings == 1 {
		s.first = who
	}
	c.ips[ip] = s
	if bare := ip.WithZone(""); bare != ip {
		if c.zoned == nil {
			c.zoned = make(map[netip.Addr]owner)
		}
		if _, ok := c.zoned[bare]; !ok {
			c.zoned[bare] = who
		}
	}
}

// overlapping returns somebody whose address includes ip or is included in it.
func (c *claim) overlapping(ip netip.Addr) (owner, bool) {
	if c.first.isZero() {
		return owner{}, false
	}
	candidates := [...]owner{c.all, {}, {}, {}}
	switch {
	case !ip.IsValid():
		candidates[1] = c.first
	case ip == netip.IPv6Unspecified():
		candidates[1] = c.v6
	default:
		candidates[1] = c.ips[ip].first
		if bare := ip.WithZone(""); bare != ip {
			candidates[2] = c.ips[bare].first
		} else {
			candidates[2] = c.zoned[ip]
		}
		if ip.Is6() {
			candidates[3] = c.ips[netip.IPv6Unspecified()].first
		}
	}
	for _, who := range candidates {
		if !who.isZero() {
			return who, true
		}
	}
	return owner{}, false
}

// buildFronts turns the claims of all ports into sockets.
func (c *compiler) buildFronts() {
	c.t.fronts = make(map[uint16]front, len(c.claims))
	for port, cl := range c.claims {
		if !cl[HTTP].first.isZero() && !cl[HTTPS].first.isZero() {
			c.mixedFront(port, cl)
			continue
		}
		p := HTTP
		if cl[HTTP].first.isZero() {
			p = HTTPS
		}
		c.t.fronts[port] = front{protocol: p}
		ips := c.t.listen
		if len(ips) == 0 {
			ips = listenList{{}}
		}
		for _, ip := range ips {
			c.listenOn(ip, port, p, cl[p].first, cl[p].bindings)
		}
	}
	slices.SortFunc(c.t.endpoints, func(a, b ListenEndpoint) int {
		if a.Port != b.Port {
			return int(a.Port) - int(b.Port)
		}
		return a.IP.Compare(b.IP)
	})
}

// mixedFront gives each bound address of a port its own socket, because http and
// https are bound on different ones.
func (c *compiler) mixedFront(port uint16, cl *claims) {
	f := front{mixed: true, ips: make(map[netip.Addr]Protocol)}
	for _, p := range []Protocol{HTTP, HTTPS} {
		for ip, s := range cl[p].ips {
			f.ips[ip] = p
			for _, on := range c.t.listen.sockets(ip, cl[p].ips) {
				c.listenOn(on, port, p, s.first, s.bindings)
			}
		}
	}
	c.t.fronts[port] = f
}

// sockets returns the addresses to listen on for a binding to ip. An address
// that a wider one of the same protocol includes needs no socket of its own.
func (l listenList) sockets(ip netip.Addr, bound map[netip.Addr]spot) []netip.Addr {
	wider := func(a netip.Addr) bool {
		bare := a.WithZone("")
		if _, ok := bound[bare]; ok && a != bare {
			return true
		}
		_, ok := bound[netip.IPv6Unspecified()]
		return ok && a.Is6() && a != netip.IPv6Unspecified()
	}
	if wider(ip) {
		return nil
	}
	if len(l) == 0 {
		return []netip.Addr{ip}
	}
	var on []netip.Addr
	for _, a := range l {
		switch {
		case within(ip, a):
			return []netip.Addr{ip}
		case within(a, ip):
			on = append(on, a)
		}
	}
	return on
}

func (c *compiler) listenOn(ip netip.Addr, port uint16, p Protocol, first owner, bindings int) {
	label := first.String()
	if bindings > 1 {
		label = fmt.Sprintf("%s and %d more", label, bindings-1)
	}
	e := ListenEndpoint{IP: ip, Port: port, Protocol: p, Bindings: bindings, Label: label}
	if site := first.site(); site != nil {
		e.Site = site.ID
	}
	c.t.endpoints = append(c.t.endpoints, e)
}
