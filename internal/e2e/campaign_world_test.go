package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

// The places of a campaign.
var (
	everywhere = netip.IPv4Unspecified()
	everyV6    = netip.IPv6Unspecified()
	loopbacks  = []netip.Addr{
		netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"),
		netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.4"), netip.IPv6Loopback(),
	}
)

// The names of a campaign: hosts of bindings, and those that the central store has
// files for.
var (
	bindingHosts = []string{
		"www.contoso.test", "shop.contoso.test", "api.contoso.test", "contoso.test", "a.b.contoso.test",
		"www.fabrikam.test", "pay.fabrikam.test", "fabrikam.test", "under_score.fabrikam.test",
		"xn--bcher-kva.test", "www.xn--bcher-kva.test", "single", "n1.many.test", "n2.many.test", "n3.many.test", "deep.one.two.many.test",
	}
	wildcardHosts = []string{"*.contoso.test", "*.b.contoso.test", "*.fabrikam.test", "*.xn--bcher-kva.test", "*.many.test", "*.two.many.test"}
	storeFiles    = map[string]string{ // certificates by the name that the file stands for
		"www.store.test": "store-exact", "*.store.test": "store-wildcard", "shop.contoso.test": "store-shop", "*.many.test": "store-many",
	}
)

// settings are the TLS settings of a record.
type settings struct {
	noHTTP2, noQUIC, noTLS13 bool // sslFlags
	only12, only13           bool
	auth                     string // the mode of client_auth, empty: clients are not asked
	ca                       string // whom client certificates must be from, in the modes that verify
}

// tlsRecord is what chooses a certificate: an address and port, a name and port, or
// the central store of a port.
type tlsRecord struct {
	ip    netip.Addr // everywhere for names and the store
	port  uint16
	host  string // exact or wildcard, of a record by name
	store bool

	reject bool
	cert   string // common name of the certificate
	set    settings

	endpoint           bool   // written as one
	missing, unmatched string // words of the endpoint, empty: those of the world
}

// siteBinding is one binding of a site.
type siteBinding struct {
	ip   netip.Addr
	port uint16
	host string     // empty: any
	rec  *tlsRecord // nil on http
}

type iisSite struct {
	id               int
	stopped, offline bool
	requireSSL       bool
	requireCert      bool
	misdirected      string
	bindings         []*siteBinding
}

// world is one configuration.
type world struct {
	seq                int
	anyDepth           bool
	missing, unmatched string
	unknownHost        int
	alias              map[string]string // what the configuration calls certificates, by common name
	records            []*tlsRecord
	sites              []*iisSite
}

// universe is what all worlds of a campaign have.
type universe struct {
	https []uint16
	http  uint16
	certs map[string][2]string // files by common name
	store string               // folder
	trust map[string]string    // files by authority
}

// chance is true once in n times.
func chance(rng *rand.Rand, n int) bool { return rng.IntN(n) == 0 }

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// newWorld makes up a configuration that does not contradict itself.
func (u *universe) newWorld(rng *rand.Rand, seq int) *world {
	w := &world{seq: seq, anyDepth: chance(rng, 3), missing: "fallback", unmatched: "fallback", unknownHost: pick(rng, []int{400, 404})}
	if chance(rng, 4) {
		w.missing = "reject"
	}
	if chance(rng, 4) {
		w.unmatched = "reject"
	}
	for id := range 9 {
		w.sites = append(w.sites, &iisSite{
			id: id + 1, stopped: id > 0 && chance(rng, 7), offline: chance(rng, 9), requireSSL: chance(rng, 3),
			misdirected: pick(rng, []string{"secure", "secure", "secure", "strict", "allow"}),
		})
	}
	names := make([]string, 0, len(u.certs))
	for name := range u.certs {
		names = append(names, name)
	}
	slices.Sort(names)
	w.alias = make(map[string]string)
	for i, at := range rng.Perm(len(names)) {
		w.alias[names[at]] = fmt.Sprintf("c%d", i)
	}
	for _, port := range u.https {
		u.addPort(rng, w, port, names)
	}
	for range 12 {
		w.bind(rng, pick(rng, append([]netip.Addr{everywhere, everywhere, everyV6}, loopbacks...)), u.http, pick(rng, append(append(slices.Clone(bindingHosts), wildcardHosts...), "", "", "")), nil)
	}
	w.tidy()
	for _, s := range w.sites {
		asked := 0
		for _, b := range s.bindings {
			if b.rec == nil {
				continue
			}
			switch w.clients(b).set.auth {
			case "", "request":
				asked = -1000
			default:
				asked++
			}
		}
		secure := slices.ContainsFunc(s.bindings, func(b *siteBinding) bool { return b.rec != nil && !b.rec.reject })
		s.requireSSL, s.requireCert = s.requireSSL && secure, secure && asked > 0 && chance(rng, 2)
	}
	return w
}

// tidy drops the bindings that would have the configuration refused, since a record of
// others rejects their clients, and the records that no binding makes any more.
func (w *world) tidy() {
	for changed := true; changed; {
		changed = false
		for _, s := range w.sites {
			n := len(s.bindings)
			s.bindings = slices.DeleteFunc(s.bindings, func(b *siteBinding) bool {
				return b.rec != nil && (!b.rec.reject || b.rec.endpoint) && w.rejects(b)
			})
			changed = changed || len(s.bindings) < n
		}
		n := len(w.records)
		w.records = slices.DeleteFunc(w.records, func(rec *tlsRecord) bool { return !rec.endpoint && !w.has(rec) })
		changed = changed || len(w.records) < n
	}
}

// has reports whether a binding makes a record.
func (w *world) has(rec *tlsRecord) bool {
	for _, s := range w.sites {
		for _, b := range s.bindings {
			if b.rec == rec {
				return true
			}
		}
	}
	return false
}

// rejects reports whether table D1 has a record that rejects for a binding's clients.
func (w *world) rejects(b *siteBinding) bool {
	rec := w.clients(b)
	return rec != nil && rec.reject
}

func (u *universe) someSettings(rng *rand.Rand, flags bool) (set settings) {
	if chance(rng, 2) {
		return set
	}
	if flags {
		set.noHTTP2, set.noQUIC, set.noTLS13 = chance(rng, 4), chance(rng, 4), chance(rng, 4)
	}
	switch {
	case chance(rng, 6):
		set.only12 = true
	case chance(rng, 6) && !set.noTLS13:
		set.only13 = true
	}
	if chance(rng, 2) {
		set.auth = pick(rng, []string{"request", "require", "verify_if_given", "verify_if_given", "require_and_verify"})
		if strings.Contains(set.auth, "verify") {
			set.ca = pick(rng, []string{"own", "other"})
		}
	}
	return set
}

func (u *universe) addPort(rng *rand.Rand, w *world, port uint16, certs []string) {
	addresses := []netip.Addr{}
	for _, ip := range append([]netip.Addr{everywhere, everyV6}, loopbacks...) {
		if ip == everywhere && !chance(rng, 6) || ip == everyV6 && chance(rng, 3) || chance(rng, 5) {
			addresses = append(addresses, ip)
		}
	}
	for _, ip := range addresses {
		rec := &tlsRecord{ip: ip, port: port, cert: pick(rng, certs), endpoint: chance(rng, 2)}
		rec.set = u.someSettings(rng, !rec.endpoint)
		if rec.endpoint {
			rec.missing, rec.unmatched = pick(rng, []string{"", "", "", "reject", "fallback"}), pick(rng, []string{"", "", "", "reject", "fallback"})
			if chance(rng, 12) {
				rec.reject, rec.cert, rec.set, rec.missing, rec.unmatched = true, "", settings{}, "", ""
			}
		}
		w.records = append(w.records, rec)
		if chance(rng, 2) || !rec.endpoint {
			w.bind(rng, ip, port, "", rec)
		}
		if !rec.reject && chance(rng, 3) {
			w.bind(rng, ip, port, pick(rng, bindingHosts), rec)
		}
	}
	for _, host := range append(slices.Clone(bindingHosts), wildcardHosts...) {
		if !chance(rng, 3) {
			continue
		}
		rec := &tlsRecord{ip: everywhere, port: port, host: host, cert: pick(rng, certs), set: u.someSettings(rng, true)}
		if chance(rng, 15) {
			rec.reject, rec.cert, rec.set = true, "", settings{}
		}
		w.records = append(w.records, rec)
		w.bind(rng, pick(rng, append([]netip.Addr{everywhere, everywhere, everywhere, everyV6}, loopbacks...)), port, host, rec)
		if chance(rng, 4) {
			w.bind(rng, pick(rng, loopbacks), port, host, rec)
		}
	}
	if chance(rng, 2) {
		rec := &tlsRecord{ip: everywhere, port: port, store: true, set: u.someSettings(rng, true)}
		if w.bind(rng, everywhere, port, pick(rng, []string{"www.store.test", "other.store.test", "nofile.test"}), rec) {
			w.records = append(w.records, rec)
		}
	}
}

// bind gives a site a binding, unless one has it.
func (w *world) bind(rng *rand.Rand, ip netip.Addr, port uint16, host string, rec *tlsRecord) bool {
	site := pick(rng, w.sites)
	if port != 0 && len(w.sites[0].bindings) == 0 {
		site = w.sites[0]
	}
	for _, other := range w.sites {
		for _, b := range other.bindings {
			if b.ip == ip && b.port == port && b.host == host {
				return false
			}
		}
	}
	site.bindings = append(site.bindings, &siteBinding{ip, port, host, rec})
	return true
}

func address(ip netip.Addr) string {
	switch {
	case ip == everywhere:
		return "*"
	case ip.Is6():
		return "[" + ip.String() + "]"
	}
	return ip.String()
}

func (u *universe) words(set settings) (text string) {
	for word, on := range map[string]bool{"disable_http2": set.noHTTP2, "disable_quic": set.noQUIC, "disable_tls13": set.noTLS13, "protocols tls1.2 tls1.2": set.only12, "protocols tls1.3 tls1.3": set.only13} {
		if on {
			text += word + "\n"
		}
	}
	if set.auth != "" {
		text += "client_auth {\nmode " + set.auth + "\n"
		if set.ca != "" {
			text += fmt.Sprintf("trust_pool file %q\n", u.trust[set.ca])
		}
		text += "}\n"
	}
	return text
}

// caddyfile writes the configuration down.
func (u *universe) caddyfile(w *world) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("{\niis {\nsni_missing %s\nsni_unmatched %s\nunknown_host %d", w.missing, w.unmatched, w.unknownHost)
	if w.anyDepth {
		line("wildcard_depth any")
	}
	line("central_store %q {\nrate 1000000\n}", u.store)
	for name, files := range u.certs {
		line("certificate %s %q %q", w.alias[name], files[0], files[1])
	}
	for _, rec := range w.records {
		if !rec.endpoint {
			continue
		}
		line("endpoint %s:%d {", address(rec.ip), rec.port)
		if rec.reject {
			line("reject")
		} else {
			line("certificate %s", w.alias[rec.cert])
		}
		if rec.missing != "" {
			line("sni_missing %s", rec.missing)
		}
		if rec.unmatched != "" {
			line("sni_unmatched %s", rec.unmatched)
		}
		line("%s}", u.words(rec.set))
	}
	for _, s := range w.sites {
		if len(s.bindings) > 0 {
			u.writeSite(line, w, s)
		}
	}
	line("}\n}")
	return b.String()
}

func (u *universe) writeSite(line func(string, ...any), w *world, s *iisSite) {
	line("site %d {\nmisdirected %s", s.id, s.misdirected)
	for word, on := range map[string]bool{"autostart off": s.stopped, "offline": s.offline, "require_ssl": s.requireSSL, "require_client_certificate": s.requireCert} {
		if on {
			line("%s", word)
		}
	}
	for _, binding := range s.bindings {
		where := fmt.Sprintf("%s:%d:%s", address(binding.ip), binding.port, binding.host)
		rec := binding.rec
		switch {
		case rec == nil:
			line("binding http %s", where)
			continue
		case rec.endpoint:
			line("binding https %s", where)
			continue
		}
		line("binding https %s {", where)
		switch {
		case rec.store:
			line("central_store")
		case rec.host != "":
			line("sni")
		}
		switch {
		case rec.reject:
			line("reject")
		case !rec.store:
			line("certificate %s", w.alias[rec.cert])
		}
		line("%s}", u.words(rec.set))
	}
	line("respond \"site %d of world %d\"\n}", s.id, w.seq)
}
