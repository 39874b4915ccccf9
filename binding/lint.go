package binding

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// lint warns of what works but surprises. Bindings of stopped sites surprise
// nobody.
func (c *compiler) lint(endpoints []Endpoint) {
	for i := range endpoints {
		c.lintEndpoint(&endpoints[i])
	}
	named := make(map[uint16]*namedBindings)
	c.eachBinding(func(b *BindingEntry) {
		if b.Site.State.Started {
			c.lintListen(b)
			c.collectNamed(named, b)
		}
	})
	for _, port := range slices.Sorted(maps.Keys(named)) {
		c.lintDefault(port, named[port])
	}
	c.lintShadows(named)
}

const fixListen = "add the address to listen, or use another one"

// lintListen warns of a binding to an address that Options.Listen leaves out.
func (c *compiler) lintListen(b *BindingEntry) {
	if c.t.listen.overlaps(b.IP) {
		return
	}
	c.report.add(Warning, CodeNotListening, func() Finding {
		return about(b, fmt.Sprintf("%s can never be reached: listen does not contain %s", bindingLabel(b), b.IP), fixListen)
	})
}

func (c *compiler) lintEndpoint(e *Endpoint) {
	ip := unassigned(e.IP)
	if c.t.listen.overlaps(ip) {
		return
	}
	c.report.add(Warning, CodeNotListening, func() Finding {
		return Finding{
			Binding: endpointText(ip, e.Port),
			Message: fmt.Sprintf("%s can never be reached: listen does not contain %s", owner{endpoint: e}, ip),
			Fix:     fixListen,
		}
	})
}

// namedBindings are the bindings of one port whose certificate is chosen by
// server name, grouped by the address they are bound to.
type namedBindings struct {
	groups map[netip.Addr]*namedGroup
	order  []netip.Addr
}

// namedGroup remembers a binding, and one with another certificate, so that any
// certificate can be compared with all of them.
type namedGroup struct {
	first, other *BindingEntry
	certificate  string // of first
}

// collectNamed adds a binding with a record of its own. The central store counts
// as a certificate that no other equals.
func (c *compiler) collectNamed(named map[uint16]*namedBindings, b *BindingEntry) {
	if b.Protocol != HTTPS || b.Flags.kind() == RecordIPPort {
		return
	}
	rec := c.t.own(b)
	if rec == nil {
		return
	}
	n := named[b.Port]
	if n == nil {
		n = &namedBindings{groups: make(map[netip.Addr]*namedGroup)}
		named[b.Port] = n
	}
	g := n.groups[b.IP]
	switch {
	case g == nil:
		n.groups[b.IP] = &namedGroup{first: b, certificate: rec.Certificate}
		n.order = append(n.order, b.IP)
	case g.other == nil && rec.Certificate != g.certificate:
		g.other = b
	}
}

// except returns a binding of the group whose clients should get something else
// than this certificate.
func (g *namedGroup) except(certificate string) *BindingEntry {
	switch {
	case g == nil:
		return nil
	case g.certificate != certificate:
		return g.first
	default:
		return g.other
	}
}

// lintDefault is the warning of IIS Manager: "No default SSL site has been
// created. To support browsers without SNI capabilities, it is recommended to
// create a default SSL site."
func (c *compiler) lintDefault(port uint16, named *namedBindings) {
	table := c.t.ports[HTTPS][port]
	if recordOf(table.all) != nil {
		return
	}
	for _, ip := range named.order {
		if recordOf(table.scope(ip)) != nil || ip.Is6() && recordOf(table.v6) != nil {
			continue
		}
		b := named.groups[ip].first
		c.report.add(Warning, CodeNoDefault, func() Finding {
			return about(b, fmt.Sprintf("clients that send no server name (SNI) are refused on :%d: its https bindings choose the certificate by name, such as %s",
				port, bindingLabel(b)),
				fmt.Sprintf("add a default certificate with endpoint %s, or a binding *:%d: without sni", endpointText(netip.Addr{}, port), port))
		})
		return
	}
}

// lintShadows warns of records for one IP address that hide server names: in
// table D1 the address goes before the name.
func (c *compiler) lintShadows(named map[uint16]*namedBindings) {
	records := slices.DeleteFunc(slices.Clone(c.records), func(r *Record) bool {
		return r.Kind != RecordIPPort || !r.IP.IsValid() || r.IP.IsUnspecified()
	})
	if len(records) == 0 {
		return
	}
	sites := c.t.RecordSites()
	siteOf := func(r *Record) uint32 { // that a finding about a record goes to
		if list := sites[r.Index]; len(list) > 0 {
			return list[0]
		}
		return 0
	}
	slices.SortFunc(records, func(a, b *Record) int {
		return cmp.Or(cmp.Compare(siteOf(a), siteOf(b)), cmp.Compare(a.Index, b.Index))
	})
	for _, rec := range records {
		n := named[rec.Port]
		if n == nil {
			continue
		}
		hidden := []netip.Addr{rec.IP, {}}
		if rec.IP.Is6() {
			hidden = append(hidden, netip.IPv6Unspecified())
		}
		for _, ip := range hidden {
			if b := n.groups[ip].except(rec.Certificate); b != nil {
				c.shadowed(rec, siteOf(rec), b)
				break
			}
		}
	}
}

func (c *compiler) shadowed(rec *Record, site uint32, b *BindingEntry) {
	c.report.add(Warning, CodeShadowed, func() Finding {
		return Finding{
			Site: site, Binding: rec.Key(),
			Message: fmt.Sprintf("clients that connect to %s always get certificate %q of %s, whatever server name they send: the certificate of %s is not served there",
				rec.Key(), rec.Certificate, c.makers[rec.Index].who, bindingLabel(b)),
			Fix: "set sni on the bindings of that IP address, use a certificate for all the names, or keep the names away from that address",
		}
	})
}
