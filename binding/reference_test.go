package binding

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// reference answers the same questions as Tables by scanning lists, without
// sharing code with it beyond the types of the configuration.
type reference struct {
	sites     []Site // in order of id
	endpoints []Endpoint
	opts      Options
	stopped   map[uint32]bool
	conflict  bool // something that only first_wins accepts
	hard      bool // something that nothing accepts

	recordList  []*refRecord
	bindingList []refBinding
}

func newReference(sites []Site, endpoints []Endpoint, opts Options) *reference {
	r := &reference{sites: slices.Clone(sites), endpoints: endpoints, opts: opts, stopped: make(map[uint32]bool)}
	slices.SortFunc(r.sites, func(a, b Site) int { return int(a.ID) - int(b.ID) })
	for _, s := range r.sites {
		for _, b := range s.Bindings {
			r.bindingList = append(r.bindingList, refBinding{s.ID, b})
		}
	}
	r.recordList = r.records()
	r.findRepeats()
	r.startSites()
	r.findRecordConflicts()
	r.findUnserved()
	return r
}

func (r *reference) findRepeats() {
	for _, s := range r.sites {
		for i, b := range s.Bindings {
			for _, o := range s.Bindings[:i] {
				if o.Binding == b.Binding {
					r.hard = true
				}
			}
		}
	}
}

// refOverlap tells whether one connection can belong to both addresses.
func refOverlap(a, b netip.Addr) bool {
	for _, ip := range []netip.Addr{
		netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.9"),
		netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::9"),
		netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::1%e0"), netip.MustParseAddr("fe80::1%e1"),
	} {
		if refAddress(a, ip) < 9 && refAddress(b, ip) < 9 {
			return true
		}
	}
	return false
}

// refAddress ranks how closely a binding's address fits a connection; 9 is not
// at all.
func refAddress(bound, conn netip.Addr) int {
	switch {
	case bound == conn && bound.Zone() != "":
		return 0
	case bound == conn.WithZone(""):
		return 1
	case bound.IsValid() && bound.IsUnspecified():
		if conn.Is6() {
			return 2
		}
	case !bound.IsValid():
		return 3
	}
	return 9
}

// refHost ranks how closely a binding's host fits: 0 exact, then wildcards by
// suffix, 1000 no host; 9999 is not at all.
func refHost(host, name string, anyDepth bool) int {
	if host == "" {
		return 1000
	}
	if name == "" {
		return 9999
	}
	suffix, wildcard := strings.CutPrefix(host, "*.")
	if !wildcard {
		if host == name {
			return 0
		}
		return 9999
	}
	rest, ok := strings.CutSuffix(name, "."+suffix)
	if !ok || rest == "" || strings.HasPrefix(rest, ".") || !anyDepth && strings.Contains(rest, ".") {
		return 9999
	}
	return 500 - len(suffix)
}

type refBinding struct {
	site uint32
	SiteBinding
}

// startSites starts site after site, and notes who cannot start beside those
// that run.
func (r *reference) startSites() {
	var running []refBinding
	for _, s := range r.sites {
		if s.Stopped {
			r.stopped[s.ID] = true
			continue
		}
		clash := r.clashes(s, running)
		for i, b := range s.Bindings {
			for _, o := range s.Bindings[:i] {
				if !clash && o.Port == b.Port && o.Protocol != b.Protocol && refOverlap(o.IP, b.IP) {
					r.hard = true
				}
			}
		}
		if clash {
			r.conflict = true
			if r.opts.FirstWins {
				r.stopped[s.ID] = true
				continue
			}
		}
		for _, b := range s.Bindings {
			running = append(running, refBinding{s.ID, b})
		}
	}
}

// clashes tells whether any binding of a site clashes with what runs already.
func (r *reference) clashes(s Site, running []refBinding) bool {
	for _, b := range s.Bindings {
		for _, o := range running {
			if o.Binding == b.Binding || o.Port == b.Port && o.Protocol != b.Protocol && refOverlap(o.IP, b.IP) {
				return true
			}
		}
		for _, e := range r.endpoints {
			if b.Protocol == HTTP && e.Port == b.Port && (e.Certificate != "" || e.Reject) && refOverlap(e.IP, b.IP) {
				return true
			}
		}
	}
	return false
}

// refKey is the record key of a binding as text.
func refKey(b SiteBinding) string {
	switch b.Flags & 3 {
	case 0:
		return fmt.Sprintf("ip %v %d", b.IP, b.Port)
	case 1:
		return fmt.Sprintf("name %s %d", b.Host, b.Port)
	default:
		return fmt.Sprintf("store %d", b.Port)
	}
}

// refRecord is a record by its key.
type refRecord struct {
	key, certificate   string
	kind               Flags
	ip                 netip.Addr
	port               uint16
	host               string
	missing, unmatched Policy
	hasEndpoint        bool
	reject, settled    bool // settled: somebody has said whether it rejects
	endpointTLS        string
}

// records builds all records: the first certificate of a key stays.
func (r *reference) records() []*refRecord {
	var list []*refRecord
	find := func(key string) *refRecord {
		for _, rec := range list {
			if rec.key == key {
				return rec
			}
		}
		return nil
	}
	for _, e := range r.endpoints {
		rec := &refRecord{
			key: refKey(SiteBinding{Binding: Binding{IP: e.IP, Port: e.Port}}), certificate: e.Certificate,
			ip: e.IP, port: e.Port, missing: r.opts.SNIMissing, unmatched: r.opts.SNIUnmatched, hasEndpoint: true, endpointTLS: e.TLS,
			reject: e.Reject, settled: e.Reject,
		}
		if e.SNIMissing != nil {
			rec.missing = *e.SNIMissing
		}
		if e.SNIUnmatched != nil {
			rec.unmatched = *e.SNIUnmatched
		}
		list = append(list, rec)
	}
	for _, b := range r.bindingList {
		rejects := b.Flags&FlagReject != 0
		if b.Protocol != HTTPS || b.Certificate == "" && b.Flags&2 == 0 && !rejects {
			continue
		}
		rec := find(refKey(b.SiteBinding))
		if rec != nil && !rec.settled && (!rejects || rec.certificate == "") {
			rec.reject, rec.settled = rejects, true
		}
		switch {
		case rec == nil:
			rec = &refRecord{
				key: refKey(b.SiteBinding), certificate: b.Certificate, kind: b.Flags & 3, port: b.Port,
				missing: r.opts.SNIMissing, unmatched: r.opts.SNIUnmatched, reject: rejects, settled: true,
			}
			switch b.Flags & 3 {
			case 0:
				rec.ip = b.IP
			case 1:
				rec.host = b.Host
			}
			list = append(list, rec)
		case rec.certificate == "":
			rec.certificate = b.Certificate
		}
	}
	return list
}

// findRecordConflicts compares all that have a say about one record.
func (r *reference) findRecordConflicts() {
	for _, rec := range r.recordList {
		certificates, tls, flags := map[string]bool{}, map[string]bool{}, map[Flags]bool{}
		if rec.hasEndpoint {
			certificates[rec.certificate] = true
			if rec.endpointTLS != "" {
				tls[rec.endpointTLS] = true
			}
		}
		for _, e := range r.endpoints {
			if e.Reject && refKey(SiteBinding{Binding: Binding{IP: e.IP, Port: e.Port}}) == rec.key {
				flags[FlagReject] = true
			}
		}
		for _, b := range r.bindingList {
			if b.Protocol != HTTPS || refKey(b.SiteBinding) != rec.key {
				continue
			}
			if b.Certificate != "" {
				certificates[b.Certificate] = true
			}
			if b.Certificate == "" && b.Flags&2 == 0 && b.TLS == "" && b.Flags&^3 == 0 {
				continue
			}
			if b.TLS == "" && rec.endpointTLS != "" {
				tls[rec.endpointTLS] = true
			} else {
				tls[b.TLS] = true
			}
			flags[b.Flags&^3] = true
			if b.Flags&FlagReject != 0 && rec.certificate != "" {
				r.conflict = true
			}
		}
		if len(certificates) > 1 || len(tls) > 1 || len(flags) > 1 {
			r.conflict = true
		}
		if rec.certificate == "" && rec.kind == 0 && !rec.reject {
			r.hard = true // an endpoint without a certificate
		}
	}
}

// findUnserved notes https bindings of running sites that nothing serves.
func (r *reference) findUnserved() {
	records := r.recordList
	for _, b := range r.bindingList {
		if b.Protocol != HTTPS || r.stopped[b.site] {
			continue
		}
		served := false
		for _, rec := range records {
			if rec.port != b.Port {
				continue
			}
			switch {
			case rec.key == refKey(b.SiteBinding), rec.kind&2 != 0:
				served = true
			case rec.kind == 1:
				name := b.Host
				if rec.host == name || refHost(rec.host, strings.TrimPrefix(name, "*."), r.opts.WildcardAnyDepth) < 1000 && !strings.HasPrefix(name, "*.") {
					served = true
				}
				if strings.HasPrefix(name, "*.") && r.opts.WildcardAnyDepth && refHost(rec.host, "x"+name[1:], true) < 1000 && rec.host[0] == '*' {
					served = true
				}
			default:
				if refAddress(rec.ip, b.IP) < 9 && b.IP.IsValid() || !rec.ip.IsValid() || !b.IP.IsValid() && rec.ip.IsUnspecified() {
					served = true
				}
			}
		}
		if !served || !r.opts.FirstWins && b.Flags&FlagReject == 0 && r.rejected(b.SiteBinding) {
			r.hard = true
		}
	}
}

// rejected tells whether the clients of a binding meet a record that rejects.
func (r *reference) rejected(b SiteBinding) bool {
	name := b.Host
	if strings.HasPrefix(name, "*") {
		name = "zz" + name[1:]
	}
	ip := b.IP
	if !ip.IsValid() {
		ip = netip.MustParseAddr("10.0.0.9")
	} else if ip.IsUnspecified() {
		ip = netip.MustParseAddr("2001:db8::9")
	}
	own, exact, wildcard, store, v6, all := r.rows(netip.AddrPortFrom(ip, b.Port), name)
	if !b.IP.IsValid() && all == nil {
		_, _, _, _, v6, _ = r.rows(netip.AddrPortFrom(netip.MustParseAddr("2001:db8::9"), b.Port), name)
	}
	for _, rec := range []*refRecord{own, exact, wildcard, store, v6, all} {
		if rec != nil {
			return rec.reject
		}
	}
	return false
}

// rows are the records of table D1 that are open to a client.
func (r *reference) rows(to netip.AddrPort, name string) (own, exact, wildcard, store, v6, all *refRecord) {
	addr := to.Addr().Unmap()
	ownRank, wildRank := 9, 9999
	for _, rec := range r.recordList {
		if rec.port != to.Port() {
			continue
		}
		switch {
		case rec.kind == 1:
			switch rank := refHost(rec.host, name, r.opts.WildcardAnyDepth); {
			case rank == 0:
				exact = rec
			case rank < 1000 && rank < wildRank:
				wildcard, wildRank = rec, rank
			}
		case rec.kind&2 != 0:
			if name != "" {
				store = rec
			}
		default:
			switch rank := refAddress(rec.ip, addr); {
			case rank < 2 && rank < ownRank:
				own, ownRank = rec, rank
			case rank == 2:
				v6 = rec
			case rank == 3:
				all = rec
			}
		}
	}
	return own, exact, wildcard, store, v6, all
}

// certificate is the outcome of table D1 as text.
func (r *reference) certificate(to netip.AddrPort, sni string) string {
	name := strings.ToLower(sni)
	addr := to.Addr().Unmap()
	own, exact, wildcard, store, v6, all := r.rows(to, name)
	known := exact != nil || wildcard != nil
	for _, b := range r.bindingList {
		if b.Protocol == HTTPS && b.Port == to.Port() && refAddress(b.IP, addr) < 9 && refHost(b.Host, name, r.opts.WildcardAnyDepth) < 1000 {
			known = true
		}
	}
	first := func(list ...*refRecord) *refRecord {
		for _, rec := range list {
			if rec != nil {
				return rec
			}
		}
		return nil
	}
	missing, unmatched := r.opts.SNIMissing, r.opts.SNIUnmatched
	if rec := first(own, v6, all); rec != nil {
		missing, unmatched = rec.missing, rec.unmatched
	}
	reason := ReasonNoRecord
	switch {
	case name == "" && missing == Reject:
		own, v6, all, reason = nil, nil, nil, ReasonNameMissing
	case name != "" && !known && unmatched == Reject:
		own, v6, all, reason = nil, nil, nil, ReasonNameUnmatched
	}
	rows := []struct {
		rule Rule
		rec  *refRecord
	}{{D1_1, own}, {D1_2, exact}, {D1_3, wildcard}, {D1_5, store}, {D1_6, v6}, {D1_7, all}}
	for i, row := range rows {
		if row.rec == nil {
			continue
		}
		if row.rec.reject {
			return fmt.Sprintf("%v %q known %v", row.rule, ReasonRejected, known)
		}
		fallback := ""
		if i >= 1 && i <= 3 {
			if rec := first(v6, all); rec != nil && !rec.reject {
				fallback = rec.key + "=" + rec.certificate
			}
		}
		return fmt.Sprintf("%v %s=%s fallback %q known %v", row.rule, row.rec.key, row.rec.certificate, fallback, known)
	}
	return fmt.Sprintf("%v %q known %v", D1_8, reason, known)
}

// site is the outcome of table D2 as text.
func (r *reference) site(to netip.AddrPort, p Protocol, host string, named bool) string {
	name := host
	if !named {
		name = ""
	}
	best, bestHost, bestAddr := "", 9999, 9
	for _, b := range r.bindingList {
		if r.stopped[b.site] || b.Protocol != p || b.Port != to.Port() {
			continue
		}
		h, a := refHost(b.Host, name, r.opts.WildcardAnyDepth), refAddress(b.IP, to.Addr().Unmap())
		if h == 9999 || a == 9 || h > bestHost || h == bestHost && a >= bestAddr {
			continue
		}
		rule := D2_6
		switch {
		case h == 0:
			rule = D2_2
		case h < 1000:
			rule = D2_4
		}
		if a == 3 {
			rule++
		}
		best, bestHost, bestAddr = fmt.Sprintf("%v site %d binding %s", rule, b.site, b.Binding), h, a
	}
	if best == "" {
		return D2_8.String()
	}
	return best
}
