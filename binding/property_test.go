package binding

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// A universe small enough that bindings meet all the time.
var (
	someIPs = []netip.Addr{
		{},
		{},
		{},
		netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.IPv6Unspecified(),
		netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::1%e0"),
	}
	someHosts  = []string{"", "", "x", "a.x", "b.x", "a.b.x", "*.x", "*.b.x", "*.a.b.x"}
	someLocals = []string{
		"10.0.0.1", "10.0.0.2", "10.0.0.9", "::ffff:10.0.0.1", "2001:db8::1", "2001:db8::9", "fe80::1", "fe80::1%e0", "fe80::1%e1",
	}
	someNames = []string{"", "x", "a.x", "A.X", "c.x", "a.b.x", "c.b.x", "q.a.b.x", "r.q.a.b.x", "y", ".x", "10.0.0.1"}
)

func drawSites(t *rapid.T, tidy bool) []Site {
	n := rapid.IntRange(0, 5).Draw(t, "sites")
	sites := make([]Site, 0, n)
	for i := range n {
		s := Site{ID: uint32(n - i), Name: "s", Stopped: rapid.IntRange(0, 4).Draw(t, "stopped") == 0}
		for range rapid.IntRange(0, 4).Draw(t, "bindings") {
			b := SiteBinding{Binding: Binding{
				Protocol: Protocol(rapid.IntRange(0, 1).Draw(t, "protocol")),
				IP:       rapid.SampledFrom(someIPs).Draw(t, "ip"),
				Port:     uint16(rapid.IntRange(80, 81).Draw(t, "port")),
				Host:     rapid.SampledFrom(someHosts).Draw(t, "host"),
			}}
			if tidy { // one protocol on each port
				b.Protocol = Protocol(b.Port - 80)
			}
			if b.Protocol == HTTPS {
				drawTLS(t, &b, tidy)
			}
			s.Bindings = append(s.Bindings, b)
		}
		sites = append(sites, s)
	}
	return sites
}

func drawTLS(t *rapid.T, b *SiteBinding, tidy bool) {
	if b.Host != "" {
		b.Flags = Flags(rapid.IntRange(0, 3).Draw(t, "flags"))
	}
	if b.Flags&FlagCentralStore == 0 {
		b.Certificate = rapid.SampledFrom([]string{"A", "B", "A", ""}).Draw(t, "certificate")
		if b.Certificate == "" && rapid.IntRange(0, 2).Draw(t, "reject") == 0 {
			b.Flags |= FlagReject
		}
	}
	if !tidy {
		b.TLS = rapid.SampledFrom([]string{"", "", "", "", "t"}).Draw(t, "tls")
		b.Flags |= rapid.SampledFrom([]Flags{0, 0, 0, 0, FlagNoHTTP2}).Draw(t, "setting")
	}
}

func drawEndpoints(t *rapid.T) []Endpoint {
	policies := []*Policy{nil, nil, new(Policy), new(Policy)}
	*policies[3] = Reject
	var endpoints []Endpoint
	seen := make(map[netip.AddrPort]bool)
	for range rapid.IntRange(0, 2).Draw(t, "endpoints") {
		e := Endpoint{
			IP:           rapid.SampledFrom(someIPs).Draw(t, "endpoint ip"),
			Port:         81,
			Certificate:  rapid.SampledFrom([]string{"E", "A", "A", ""}).Draw(t, "endpoint certificate"),
			TLS:          rapid.SampledFrom([]string{"", "", "t"}).Draw(t, "endpoint tls"),
			SNIMissing:   rapid.SampledFrom(policies).Draw(t, "endpoint missing"),
			SNIUnmatched: rapid.SampledFrom(policies).Draw(t, "endpoint unmatched"),
		}
		e.Reject = e.Certificate == "" && rapid.Bool().Draw(t, "endpoint reject")
		if key := netip.AddrPortFrom(e.IP, e.Port); !seen[key] {
			seen[key] = true
			endpoints = append(endpoints, e)
		}
	}
	return endpoints
}

func drawOptions(t *rapid.T) Options {
	return Options{
		SNIMissing:       Policy(rapid.IntRange(0, 1).Draw(t, "missing")),
		SNIUnmatched:     Policy(rapid.IntRange(0, 1).Draw(t, "unmatched")),
		WildcardAnyDepth: rapid.Bool().Draw(t, "any depth"),
		CentralStore:     true,
	}
}

// TestCompileAgreesWithReference compares which configurations are refused.
func TestCompileAgreesWithReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sites, endpoints, opts := drawSites(t, false), drawEndpoints(t), drawOptions(t)
		opts.FirstWins = rapid.Bool().Draw(t, "first wins")
		ref := newReference(sites, endpoints, opts)
		tables, findings, err := Compile(sites, endpoints, opts)
		want := ref.hard || ref.conflict && !opts.FirstWins
		if (err != nil) != want || (tables == nil) != want {
			t.Fatalf("refused: %v, the reference says %v (conflict %v, hard %v)\n%v", err, want, ref.conflict, ref.hard, findings)
		}
		if err != nil {
			return
		}
		for _, s := range tables.Sites() {
			if s.State.Started == ref.stopped[s.ID] {
				t.Fatalf("site %d: %+v, the reference says stopped: %v", s.ID, s.State, ref.stopped[s.ID])
			}
		}
	})
}

// TestLookupsAgree compares every question about a configuration with the
// reference, and with the explanations.
func TestLookupsAgree(t *testing.T) {
	served := 0
	rapid.Check(t, func(t *rapid.T) {
		sites, endpoints, opts := drawSites(t, rapid.IntRange(0, 3).Draw(t, "tidy") > 0), drawEndpoints(t), drawOptions(t)
		opts.FirstWins = true
		tables, _, err := Compile(sites, endpoints, opts)
		if err != nil {
			return
		}
		served++
		ref := newReference(sites, endpoints, opts)
		for _, ip := range someLocals {
			for port := uint16(80); port <= 81; port++ {
				to := netip.AddrPortFrom(netip.MustParseAddr(ip), port)
				checkCovers(t, tables, ref, to)
				for _, name := range someNames {
					checkCertificate(t, tables, ref, to, name)
					checkSite(t, tables, ref, to, HTTP, name)
					checkSite(t, tables, ref, to, HTTPS, name)
				}
			}
		}
	})
	if served == 0 {
		t.Error("no configuration was accepted")
	}
}

func checkCertificate(t *rapid.T, tables *Tables, ref *reference, to netip.AddrPort, name string) {
	m := tables.Certificate(to, name)
	got := fmt.Sprintf("%v %q known %v", m.Rule, m.Reason, m.Known)
	if m.Record != nil {
		fallback := ""
		if m.Fallback != nil {
			fallback = recordText(m.Fallback)
		}
		got = fmt.Sprintf("%v %s fallback %q known %v", m.Rule, recordText(m.Record), fallback, m.Known)
	}
	if want := ref.certificate(to, name); got != want {
		t.Fatalf("certificate for %q to %s:\n%s, the reference says\n%s", name, to, got, want)
	}
	e := tables.ExplainCertificate(to, name)
	checkExplanation(t, e, m.Rule, D1_1)
	if e.Certificate != m {
		t.Fatalf("explained %+v, got %+v", e.Certificate, m)
	}
	if m.Record != nil && e.Steps[len(e.Steps)-1].Key != m.Record.Key() {
		t.Fatalf("explained by %+v, got %s", e.Steps[len(e.Steps)-1], m.Record.Key())
	}
}

func recordText(r *Record) string {
	b := SiteBinding{Binding: Binding{IP: r.IP, Port: r.Port, Host: r.Host}, Flags: Flags(r.Kind)}
	return refKey(b) + "=" + r.Certificate
}

func checkSite(t *rapid.T, tables *Tables, ref *reference, to netip.AddrPort, p Protocol, header string) {
	host, ok := Host(header)
	m := tables.Site(to, p, host)
	got := m.Rule.String()
	if m.Site != nil {
		got = fmt.Sprintf("%v site %d binding %s", m.Rule, m.Site.ID, m.Binding.Binding)
	}
	want := D2_0.String()
	if ok {
		want = ref.site(to, p, host.String(), !host.IsIP())
	}
	if got != want {
		t.Fatalf("site for %q to %s %s: %s, the reference says %s", header, p, to, got, want)
	}
	e := tables.ExplainSite(to, p, header)
	checkExplanation(t, e, m.Rule, D2_0)
	if e.Site != m {
		t.Fatalf("explained %+v, got %+v", e.Site, m)
	}
	if m.Binding != nil && e.Steps[len(e.Steps)-1].Key != m.Binding.Binding.String() {
		t.Fatalf("explained by %+v, got %s", e.Steps[len(e.Steps)-1], m.Binding.Binding)
	}
}

// checkExplanation: the last step is the one that hit, and the steps before it
// missed, in the order of the table, and each of them gives a reason.
func checkExplanation(t *rapid.T, e Explanation, rule, first Rule) {
	if e.Rule != rule || len(e.Steps) == 0 {
		t.Fatalf("explained by %v, decided by %v: %+v", e.Rule, rule, e.Steps)
	}
	seen := make(map[Rule]bool)
	for i, s := range e.Steps {
		last := i == len(e.Steps)-1
		if s.Hit != last || last && s.Rule != rule || s.Reason == "" {
			t.Fatalf("step %d of %+v does not lead to %v", i, e.Steps, rule)
		}
		seen[s.Rule] = true
	}
	if rule == D2_0 {
		return
	}
	if first == D2_0 {
		first = D2_1
	}
	for r := first; r < rule; r++ {
		if !seen[r] {
			t.Fatalf("%v is not in %+v", r, e.Steps)
		}
	}
}

func checkCovers(t *rapid.T, tables *Tables, ref *reference, to netip.AddrPort) {
	var bound [2]bool // somebody's address fits
	var used [2]bool  // somebody uses the port
	note := func(p Protocol, ip netip.Addr, port uint16) {
		if port != to.Port() {
			return
		}
		used[p] = true
		if refAddress(ip, to.Addr().Unmap()) < 9 {
			bound[p] = true
		}
	}
	for _, b := range ref.bindingList {
		if !ref.stopped[b.site] {
			note(b.Protocol, b.IP, b.Port)
		}
	}
	for _, e := range ref.endpoints {
		if e.Certificate != "" || e.Reject {
			note(HTTPS, e.IP, e.Port)
		}
	}
	want := "nothing"
	for p := HTTP; p <= HTTPS; p++ {
		if used[p] && (!used[1-p] || bound[p]) {
			want = p.String()
		}
	}
	got := "nothing"
	if p, ok := tables.Covers(to); ok {
		got = p.String()
	}
	if got != want {
		t.Fatalf("%s speaks %s, the reference says %s", to, got, want)
	}
}

// TestConfiguredHostsCanBeAskedFor: whatever ParseHost accepts is a valid host of
// a request, and selects its binding.
func TestConfiguredHostsCanBeAskedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		host, err := ParseHost(rapid.StringMatching(`([a-zA-Z0-9_äßé-]{1,8}\.){0,3}[a-zA-Z0-9_ü-]{1,8}`).Draw(t, "host"))
		if err != nil {
			return
		}
		name, ok := Host(host)
		if !ok || name.String() != host || name.IsIP() {
			t.Fatalf("Host(%q) = %q, %v", host, name, ok)
		}
		tables, _, err := Compile([]Site{{ID: 1, Bindings: []SiteBinding{{Binding: Binding{Port: 80, Host: host}}}}}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if m := tables.Site(local("10.0.0.1:80"), HTTP, name); m.Rule != D2_3 {
			t.Fatalf("%q is answered by %v", host, m.Rule)
		}
	})
}
