package binding

import (
	"iter"
	"net/netip"
)

// CertificateMatch is the outcome of table D1.
type CertificateMatch struct {
	Rule Rule
	// Record is nil if the handshake must be refused; Reason says why.
	Record *Record
	Reason Reason
	// Fallback serves instead of a record of rows 2 to 5 that has no certificate
	// yet, or for which the central store has no file: the record of row 6 or 7, as
	// FallbackRule tells, or nil.
	Fallback     *Record
	FallbackRule Rule
	// Known says that the server name selects something on this address and port:
	// a record of its own, or the host of an https binding, of a stopped site too.
	Known bool
}

// Reason is why a client gets no record.
type Reason uint8

// The reasons to refuse a handshake.
const (
	ReasonNone          Reason = iota // it is not refused
	ReasonNoRecord                    // no row of table D1 has a record
	ReasonNameMissing                 // Options.SNIMissing is Reject
	ReasonNameUnmatched               // Options.SNIUnmatched is Reject
	ReasonRejected                    // the record rejects its clients
)

// String explains the reason in words.
func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return ""
	case ReasonNameMissing:
		return "the client sent no server name, and sni_missing is reject"
	case ReasonNameUnmatched:
		return "no binding has this server name, and sni_unmatched is reject"
	case ReasonRejected:
		return "the record of this address or server name rejects its clients"
	default:
		return "no TLS record for this address, port and server name"
	}
}

// MarshalText writes what String returns.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// SiteMatch is the outcome of table D2.
type SiteMatch struct {
	Rule    Rule
	Site    *SiteEntry // nil if no site answers
	Binding *BindingEntry
}

// Certificate chooses the TLS record for a connection (table D1). The server name
// is taken in any case; "" means that the client sent none.
func (t *Tables) Certificate(local netip.AddrPort, serverName string) CertificateMatch {
	var q certQuery
	q.init(t, local, serverName)
	return q.match()
}

// AddressRecord returns the record of a local address, that of rows 1, 6 and 7 of
// table D1, nil if there is none.
func (t *Tables) AddressRecord(local netip.AddrPort) *Record {
	q := certQuery{t: t, at: t.place(local, HTTPS)}
	if rec := q.row(D1_1); rec != nil {
		return rec
	}
	rec, _ := q.fallback()
	return rec
}

// ClientRecord returns the record that a client meets who connects to where an https
// binding is found, as Arrival has it, and sends its host as server name: nil if there is
// none. It is not BindingEntry.Record where listen leaves only addresses with records of
// their own. Whether the client is refused is not asked.
func (t *Tables) ClientRecord(b *BindingEntry) *Record {
	if b.Protocol != HTTPS {
		return nil
	}
	var q certQuery
	q.init(t, t.Arrival(b.IP, b.Port, HTTPS), b.Host)
	for rule := D1_1; rule < D1_8; rule++ {
		if rec := q.row(rule); rec != nil {
			return rec
		}
	}
	return b.Record // for some clients only, such as those by IPv6
}

// HasAddressRecord reports whether there is a record for exactly this address,
// as Record.IP has it, and port.
func (t *Tables) HasAddressRecord(ip netip.Addr, port uint16) bool {
	table := t.port(HTTPS, port)
	return table != nil && recordOf(table.scope(ip)) != nil
}

// AddressRecords returns the TLS records of whole addresses and ports, of which there are
// few beside those of names.
func (t *Tables) AddressRecords() iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		for _, table := range t.ports[HTTPS] {
			for _, s := range table.scopes() {
				if rec := recordOf(s); rec != nil && !yield(rec) {
					return
				}
			}
		}
	}
}

// Site chooses the site for a request (table D2).
func (t *Tables) Site(local netip.AddrPort, protocol Protocol, host HostName) SiteMatch {
	q := siteQuery{t: t, at: t.place(local, protocol), host: host}
	return q.match()
}

// place is where a connection arrived, resolved to the scopes of its port in the
// order in which they are asked. Scopes without bindings and records are nil.
type place struct {
	port   *portTable
	addr   netip.Addr // without zone
	scopes [4]*scope
}

// The scopes of a place. All but the last are bound to an address.
const (
	scopeZone = iota // the local address with its zone
	scopeAddr        // the local address
	scopeV6          // [::]
	scopeAll         // *
)

func (t *Tables) place(local netip.AddrPort, protocol Protocol) place {
	addr := local.Addr().Unmap()
	bare := addr.WithZone("")
	p := place{port: t.port(protocol, local.Port()), addr: bare}
	if p.port == nil {
		return p
	}
	if len(p.port.concrete) > 0 {
		if addr != bare {
			p.scopes[scopeZone] = p.port.concrete[addr]
		}
		p.scopes[scopeAddr] = p.port.concrete[bare]
	}
	if bare.Is6() {
		p.scopes[scopeV6] = p.port.v6
	}
	p.scopes[scopeAll] = p.port.all
	return p
}

// certQuery is one look-up in table D1. The name is in an array, because a slice
// of the caller's would escape to the heap.
type certQuery struct {
	t     *Tables
	at    place
	named bool // the client sent a name
	lower [maxHost]byte
	size  int // of the name in lower; 0 if it is too long to be anybody's

	exact, wildcard *Record // rows 2 and 3
}

func (q *certQuery) init(t *Tables, local netip.AddrPort, serverName string) {
	q.t, q.at, q.named = t, t.place(local, HTTPS), serverName != ""
	if len(serverName) <= maxHost {
		q.size = copyLower(&q.lower, serverName)
	}
	if p := q.at.port; p != nil && q.size > 0 {
		q.exact = p.names.getBytes(q.name())
		if q.exact == nil { // nobody asks for row 3 behind row 2
			q.wildcard = wildcardOf(p.wildcards, q.name(), t.opts.WildcardAnyDepth)
		}
	}
}

// name is the server name in lower case.
func (q *certQuery) name() []byte { return q.lower[:q.size] }

// row returns the record that a row of table D1 finds.
func (q *certQuery) row(r Rule) *Record {
	if q.at.port == nil {
		return nil
	}
	switch r {
	case D1_1:
		if rec := recordOf(q.at.scopes[scopeZone]); rec != nil {
			return rec
		}
		return recordOf(q.at.scopes[scopeAddr])
	case D1_2:
		return q.exact
	case D1_3:
		return q.wildcard
	case D1_5:
		if q.named {
			return q.at.port.store
		}
	case D1_6:
		return recordOf(q.at.scopes[scopeV6])
	case D1_7:
		return recordOf(q.at.scopes[scopeAll])
	}
	return nil
}

func recordOf(s *scope) *Record {
	if s == nil {
		return nil
	}
	return s.record
}

// match walks table D1.
func (q *certQuery) match() CertificateMatch {
	known := q.known()
	refused := q.refusal(known)
	m := CertificateMatch{Rule: D1_8, Reason: refused, Known: known}
	for rule := D1_1; rule < D1_8; rule++ {
		rec := q.row(rule)
		if rec == nil || rule.byAddress() && refused != ReasonNone {
			continue
		}
		if rec.Flags.rejects() {
			m.Rule, m.Reason = rule, ReasonRejected
			return m
		}
		m.Rule, m.Record, m.Reason = rule, rec, ReasonNone
		if !rule.byAddress() && refused == ReasonNone {
			if rec, rule := q.fallback(); rec != nil && !rec.Flags.rejects() {
				m.Fallback, m.FallbackRule = rec, rule
			}
		}
		return m
	}
	if refused == ReasonNone {
		m.Reason = ReasonNoRecord
	}
	return m
}

// fallback returns the record that serves everybody on the address.
func (q *certQuery) fallback() (*Record, Rule) {
	for rule := D1_6; rule <= D1_7; rule++ {
		if rec := q.row(rule); rec != nil {
			return rec, rule
		}
	}
	return nil, 0
}

// refusal tells whether the rows that look at the address alone are closed to
// this client. The record of the address decides, which is the first one among
// those rows: a record for one address can be stricter or laxer than the rest.
func (q *certQuery) refusal(known bool) Reason {
	if q.named && known {
		return ReasonNone
	}
	missing, unmatched := q.t.opts.SNIMissing, q.t.opts.SNIUnmatched
	rec := q.row(D1_1)
	if rec == nil {
		rec, _ = q.fallback()
	}
	if rec != nil {
		missing, unmatched = rec.SNIMissing, rec.SNIUnmatched
	}
	switch {
	case !q.named && missing == Reject:
		return ReasonNameMissing
	case q.named && unmatched == Reject:
		return ReasonNameUnmatched
	}
	return ReasonNone
}

// known tells whether the name has a record or is the host of an https binding.
func (q *certQuery) known() bool {
	if q.exact != nil || q.wildcard != nil {
		return true
	}
	if q.size == 0 {
		return false
	}
	for _, s := range q.at.scopes {
		if s == nil {
			continue
		}
		if s.hosts.getBytes(q.name()) != nil || wildcardOf(s.wildcards, q.name(), q.t.opts.WildcardAnyDepth) != nil {
			return true
		}
	}
	return false
}

// wildcardOf returns what *.d has in a map keyed by d: d is the name without its
// first label, or at any depth the longest suffix that the map has.
func wildcardOf[V any](m map[string]*V, name []byte, anyDepth bool) *V {
	if len(m) == 0 {
		return nil
	}
	for i := nextLabel(name, 0); i > 1; i = nextLabel(name, i) {
		if v := m[string(name[i:])]; v != nil || !anyDepth {
			return v
		}
	}
	return nil
}

// nextLabel returns where the label after the one at i starts, 0 if there is none.
func nextLabel[N string | []byte](name N, i int) int {
	for ; i < len(name); i++ {
		if name[i] == '.' {
			return i + 1
		}
	}
	return 0
}

// copyLower copies a name that fits, in lower case, and returns its length.
func copyLower(buf *[maxHost]byte, s string) int {
	n := copy(buf[:], s)
	for i, c := range buf[:n] {
		if 'A' <= c && c <= 'Z' {
			buf[i] = c + ('a' - 'A')
		}
	}
	return n
}

// siteQuery is one look-up in table D2.
type siteQuery struct {
	t    *Tables
	at   place
	host HostName
}

// match walks table D2: hosts before wildcard hosts before no host, and each of
// them from the most specific address on.
func (q *siteQuery) match() SiteMatch {
	if q.host.kind == hostInvalid {
		return SiteMatch{Rule: D2_0}
	}
	if q.host.kind == hostNamed {
		for i := range q.at.scopes {
			if b := q.exact(i); b != nil {
				return found(i, D2_2, D2_3, b)
			}
		}
		for from := q.suffix(0); from > 0; from = q.suffix(from) {
			for i := range q.at.scopes {
				if b := q.wildcard(i, from); b != nil {
					return found(i, D2_4, D2_5, b)
				}
			}
		}
	}
	for i := range q.at.scopes {
		if b := q.any(i); b != nil {
			return found(i, D2_6, D2_7, b)
		}
	}
	return SiteMatch{Rule: D2_8}
}

func found(scope int, byAddress, all Rule, b *BindingEntry) SiteMatch {
	rule := byAddress
	if scope == scopeAll {
		rule = all
	}
	return SiteMatch{Rule: rule, Site: b.Site, Binding: b}
}

// exact returns the started binding of a scope that has the host.
func (q *siteQuery) exact(scope int) *BindingEntry {
	s := q.at.scopes[scope]
	if s == nil {
		return nil
	}
	return started(s.hosts.get(q.host.name))
}

// suffix returns where the next suffix of the host starts for which a wildcard
// host may stand; 0 if there is none.
func (q *siteQuery) suffix(from int) int {
	if from > 0 && !q.t.opts.WildcardAnyDepth {
		return 0
	}
	return nextLabel(q.host.name, from)
}

// wildcard returns the started binding of a scope for *. and the host from there.
func (q *siteQuery) wildcard(scope, from int) *BindingEntry {
	s := q.at.scopes[scope]
	if s == nil || len(s.wildcards) == 0 {
		return nil
	}
	return started(s.wildcards[q.host.name[from:]])
}

// any returns the started binding of a scope that has no host.
func (q *siteQuery) any(scope int) *BindingEntry {
	s := q.at.scopes[scope]
	if s == nil {
		return nil
	}
	return started(s.any)
}

func started(b *BindingEntry) *BindingEntry {
	if b == nil || !b.Site.State.Started {
		return nil
	}
	return b
}

// Covers tells whether a connection to this local address is served at all, and
// with which protocol.
func (t *Tables) Covers(local netip.AddrPort) (Protocol, bool) {
	f, ok := t.fronts[local.Port()]
	if !ok || !t.listen.covers(local.Addr()) {
		return 0, false
	}
	return f.protocolOf(local.Addr())
}

// Arrival is the local address of a connection to ip, as Binding.IP has it, and port:
// ip itself or, for all addresses, one that nothing else is bound to. Where listen
// leaves no such address, it is another one that listen leaves.
func (t *Tables) Arrival(ip netip.Addr, port uint16, protocol Protocol) netip.AddrPort {
	unbound := func(a netip.Addr) bool {
		at := t.place(netip.AddrPortFrom(a, port), protocol)
		return at.scopes[scopeZone] == nil && at.scopes[scopeAddr] == nil && (ip.IsValid() || at.scopes[scopeV6] == nil)
	}
	return netip.AddrPortFrom(t.listen.leaves(ip, unbound), port)
}
