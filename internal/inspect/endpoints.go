package inspect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/serve"
)

// endpointKey is an address and port that a binding, a certificate or the
// listen option names. The zero IP stands for all addresses.
type endpointKey struct {
	ip       netip.Addr
	port     uint16
	protocol binding.Protocol
}

func (k endpointKey) String() string {
	if !k.ip.IsValid() {
		return "*:" + strconv.Itoa(int(k.port))
	}
	return netip.AddrPortFrom(k.ip, k.port).String()
}

// compare orders endpoints by port, all addresses before single ones.
func (k endpointKey) compare(o endpointKey) int {
	return cmp.Or(cmp.Compare(k.port, o.port), k.ip.Compare(o.ip), cmp.Compare(k.protocol, o.protocol))
}

// endpointCounts is what bindings and records say about the endpoints.
type endpointCounts struct {
	bindings map[endpointKey]int // to exactly this address
	names    map[uint16]int      // server names with a record, by port
	stores   map[uint16]bool     // ports with a central store
	waiting  map[endpointKey]int // bindings of rows that are not served
	own      map[endpointKey]bool
}

func (sn view) countEndpoints() *endpointCounts {
	c := &endpointCounts{
		bindings: make(map[endpointKey]int), own: make(map[endpointKey]bool),
		names: make(map[uint16]int), stores: make(map[uint16]bool), waiting: make(map[endpointKey]int),
	}
	for row := range sn.unserved() {
		for _, b := range sn.waiting(row) {
			c.waiting[endpointKey{b.IP, b.Port, b.Protocol}]++
		}
	}
	for b := range sn.Tables.Bindings() {
		c.bindings[endpointKey{b.IP, b.Port, b.Protocol}]++
	}
	for rec := range sn.Tables.Records() {
		switch rec.Kind {
		case binding.RecordHostnamePort:
			c.names[rec.Port]++
		case binding.RecordStore:
			c.stores[rec.Port] = true
		default:
			c.own[endpointKey{rec.IP, rec.Port, binding.HTTPS}] = true
		}
	}
	return c
}

// keys lists all endpoints in order.
func (c *endpointCounts) keys(listen []binding.ListenEndpoint) []endpointKey {
	keys := make([]endpointKey, 0, len(c.bindings)+len(c.own)+len(c.waiting)+len(listen))
	for key := range c.bindings {
		keys = append(keys, key)
	}
	for key := range c.own {
		keys = append(keys, key)
	}
	for key := range c.waiting {
		keys = append(keys, key)
	}
	for _, l := range listen {
		keys = append(keys, endpointKey{l.IP, l.Port, l.Protocol})
	}
	slices.SortFunc(keys, endpointKey.compare)
	return slices.Compact(keys)
}

// endpointsView shows the addresses and ports by port.
func (sn view) endpointsView(q query) (any, error) {
	counts := sn.countEndpoints()
	keys := counts.keys(sn.Tables.Endpoints())
	start := func(after string) (int, error) {
		address, protocol, _ := strings.Cut(after, "/")
		ip, port, err := binding.ParseEndpoint(address)
		last := endpointKey{ip, port, binding.HTTPS}
		if protocol == "http" {
			last.protocol = binding.HTTP
		}
		return sort.Search(len(keys), func(i int) bool { return keys[i].compare(last) > 0 }), err
	}
	sockets, absent := sn.App.Sockets(), sn.absentAddresses()
	show := func(key endpointKey) adminapi.Endpoint { return sn.showEndpoint(key, counts, sockets, absent) }
	return page(q, keys, start, show, func(i int) string { return keys[i].String() + "/" + keys[i].protocol.String() })
}

func (sn view) showEndpoint(key endpointKey, counts *endpointCounts, sockets []front.SocketInfo, absent *absentAddresses) adminapi.Endpoint {
	e := adminapi.Endpoint{
		Address:  key.String(),
		Protocol: key.protocol.String(),
		Bindings: counts.bindings[key],
		Waiting:  counts.waiting[key],
	}
	e.Listening, e.Reason = sn.listens(key)
	if e.Listening {
		e.Sockets = socketsOf(key, sockets)
		if len(e.Sockets) == 0 {
			e.Listening, e.Reason = false, "no socket is open for it"
		} else if absent.has(key.ip) {
			e.Listening, e.Absent, e.Reason = false, true, "this machine does not have the address"
		}
	}
	if local := sn.arrival(key); !local.Addr().IsUnspecified() {
		e.Local = local.String()
	}
	if key.protocol == binding.HTTPS {
		e.WithoutSNI = sn.withoutSNI(key)
		if !key.ip.IsValid() || !counts.own[key] || key.ip == netip.IPv6Unspecified() {
			e.ServerNames, e.CentralStore = counts.names[key.port], counts.stores[key.port]
		}
	}
	for i := range sn.App.Ordinary {
		o := &sn.App.Ordinary[i]
		if o.Addr.Port() == key.port && o.Secure == (key.protocol == binding.HTTPS) && serve.Overlap(o.Addr.Addr(), key.ip) &&
			!slices.Contains(e.SharedWith, o.Server.Name) {
			e.SharedWith = append(e.SharedWith, o.Server.Name)
		}
	}
	return e
}

// arrival is the local address of a connection to an endpoint, where that listens.
func (sn view) arrival(key endpointKey) netip.AddrPort {
	return sn.Tables.Arrival(key.ip, key.port, key.protocol)
}

// listens tells whether the configuration needs a socket for an endpoint, and
// why not.
func (sn view) listens(key endpointKey) (bool, string) {
	spoken, ok := sn.Tables.Covers(sn.arrival(key))
	switch {
	case ok && spoken == key.protocol:
		return true, ""
	case ok:
		return false, fmt.Sprintf("connections to this address are %s", spoken)
	}
	b := sn.bindingAt(key)
	switch {
	case sn.hasEndpoint(key), b != nil && b.Site.State.Started:
		return false, "the listen option leaves this address out"
	case b != nil:
		return false, fmt.Sprintf("%s is stopped, and no started site needs it", config.SiteLabel(b.Site.ID, b.Site.Name))
	}
	if why := sn.whoWaitsAt(key); why != "" {
		return false, "no site that is served needs it: " + why
	}
	return false, "no binding of a started site and no certificate has this address and port"
}

// whoWaitsAt tells of a row that is not served and has a binding for connections to an
// endpoint, empty if there is none.
func (sn view) whoWaitsAt(key endpointKey) string {
	for row := range sn.unserved() {
		for _, b := range sn.waiting(row) {
			if b.Port == key.port && b.Protocol == key.protocol && (!b.IP.IsValid() || b.IP == key.ip) {
				return fmt.Sprintf("%s of %s is not served %s: %s", config.SiteLabel(row.id, sn.nameOf(row)), row.source.Name, row.asWritten(), row.whyNot())
			}
		}
	}
	return ""
}

// hasEndpoint reports whether the configuration gives exactly this address and port a
// certificate.
func (sn view) hasEndpoint(key endpointKey) bool {
	return slices.ContainsFunc(sn.App.BoundEndpoints, func(e binding.Endpoint) bool {
		return endpointKey{e.IP, e.Port, binding.HTTPS} == key
	})
}

// bindingAt returns a binding for connections to an endpoint, of a started site
// if there is any.
func (sn view) bindingAt(key endpointKey) *binding.BindingEntry {
	var found *binding.BindingEntry
	for b := range sn.Tables.Bindings() {
		if b.Port != key.port || b.Protocol != key.protocol || b.IP.IsValid() && b.IP != key.ip {
			continue
		}
		if b.Site.State.Started {
			return b
		}
		if found == nil {
			found = b
		}
	}
	return found
}

// withoutSNI is what table D1 has for a client who sends no server name.
func (sn view) withoutSNI(key endpointKey) *adminapi.Default {
	match := sn.Tables.Certificate(sn.arrival(key), "")
	d := &adminapi.Default{Rule: match.Rule.String()}
	if match.Record == nil {
		d.Reason = match.Reason.String()
	} else {
		d.Certificate = match.Record.Certificate
	}
	return d
}

// socketsOf returns the sockets that accept connections to an endpoint: those
// for its address, else those for all addresses. Without an address of its own
// it has all sockets of the port.
func socketsOf(key endpointKey, sockets []front.SocketInfo) []adminapi.Socket {
	all := ":" + strconv.Itoa(int(key.port))
	var own, others []adminapi.Socket
	for _, s := range sockets {
		shown := adminapi.Socket{Network: s.Network, Address: s.Address, Status: s.Status}
		addr, err := netip.ParseAddrPort(s.Address)
		switch {
		case s.Address == all:
			others = append(others, shown)
		case err != nil || addr.Port() != key.port:
		case !key.ip.IsValid() || addr.Addr() == key.ip:
			own = append(own, shown)
		case key.ip == netip.IPv6Unspecified() && addr.Addr().Is6():
			own = append(own, shown)
		}
	}
	if !key.ip.IsValid() {
		return append(others, own...)
	}
	if len(own) > 0 {
		return own
	}
	return others
}
