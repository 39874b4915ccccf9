package binding

import (
	"strings"
	"testing"
)

// TestTableD1 has a case for each row that another outcome answers if the row is
// left out.
func TestTableD1(t *testing.T) {
	sites := []Site{
		site(1, "https *:443: cert=D"),
		site(2, "https *:443:www.contoso.com flags=1 cert=A"),
		site(3, "https 10.0.0.5:443:pay.contoso.com cert=E"),
		site(4, "https *:443:www.fabrikam.com flags=3", "https *:444:www.fabrikam.com flags=2"),
		site(5, "https *:443:*.contoso.com flags=1 cert=W"),
		site(6, "https [::]:443: cert=V6", "https [2001:db8::5]:443: cert=C6"),
		site(7, "https *:445:a.example flags=1 cert=A"),
		site(8, "https [::]:446: cert=V6"),
	}
	tables := compile(t, sites, nil, Options{CentralStore: true})
	for _, tc := range []struct{ name, to, sni, want string }{
		{"row 1 needs no name", "10.0.0.5:443", "", "D1.1 E"},
		{"row 1 before row 2", "10.0.0.5:443", "www.contoso.com", "D1.1 E"},
		{"row 1 before row 3", "10.0.0.5:443", "shop.contoso.com", "D1.1 E"},
		{"row 1 before row 5", "10.0.0.5:443", "unknown.org", "D1.1 E"},
		{"row 1 takes mapped addresses", "[::ffff:10.0.0.5]:443", "", "D1.1 E"},
		{"row 1 with IPv6", "[2001:db8::5]:443", "www.contoso.com", "D1.1 C6"},
		{"row 1 ignores the zone of the connection", "[2001:db8::5%eth0]:443", "", "D1.1 C6"},
		{"row 2", "10.0.0.9:443", "www.contoso.com", "D1.2 A"},
		{"row 2 in any case", "10.0.0.9:443", "WWW.Contoso.COM", "D1.2 A"},
		{"row 2 before row 6", "[2001:db8::9]:443", "www.contoso.com", "D1.2 A"},
		{"row 2 has a port", "10.0.0.9:445", "www.contoso.com", "D1.8 -"},
		{"row 3", "10.0.0.9:443", "shop.contoso.com", "D1.3 W"},
		{"row 3 in any case", "10.0.0.9:443", "SHOP.Contoso.com", "D1.3 W"},
		{"row 3 for one label only", "10.0.0.9:443", "a.shop.contoso.com", "D1.5 ccs:443"},
		{"row 3 not for the domain", "10.0.0.9:443", "contoso.com", "D1.5 ccs:443"},
		{"row 3 not for an empty label", "10.0.0.9:443", ".contoso.com", "D1.5 ccs:443"},
		{"row 3 not for the star", "10.0.0.9:443", "xcontoso.com", "D1.5 ccs:443"},
		{"row 5", "10.0.0.9:443", "www.fabrikam.com", "D1.5 ccs:443"},
		{"row 5 for any name", "10.0.0.9:444", "unknown.org", "D1.5 ccs:444"},
		{"row 5 before row 6", "[2001:db8::9]:443", "unknown.org", "D1.5 ccs:443"},
		{"row 5 needs a name", "10.0.0.9:444", "", "D1.8 -"},
		{"row 6", "[2001:db8::9]:443", "", "D1.6 V6"},
		{"row 6 for IPv6 only", "10.0.0.9:443", "", "D1.7 D"},
		{"row 6 not for mapped addresses", "[::ffff:10.0.0.9]:446", "", "D1.8 -"},
		{"row 7", "10.0.0.9:443", "", "D1.7 D"},
		{"row 8 without name", "10.0.0.9:445", "", "D1.8 -"},
		{"row 8 with a name", "10.0.0.9:445", "b.example", "D1.8 -"},
		{"row 8 without bindings", "10.0.0.9:8443", "a.example", "D1.8 -"},
		{"a name longer than any", "10.0.0.9:445", strings.Repeat("a.", 126) + "example", "D1.8 -"},
		{"a name longer than any, store", "10.0.0.9:443", strings.Repeat("A", 300), "D1.5 ccs:443"},
	} {
		if got := certificate(tables, tc.to, tc.sni); got != tc.want {
			t.Errorf("%s: to %s with %q: %s, want %s", tc.name, tc.to, tc.sni, got, tc.want)
		}
	}
}

func TestTableD1Row7ServesIPv6(t *testing.T) {
	tables := compile(t, []Site{site(1, "https *:443: cert=D")}, nil, Options{})
	if got := certificate(tables, "[2001:db8::9]:443", ""); got != "D1.7 D" {
		t.Errorf("got %s", got)
	}
}

func TestCertificateFallback(t *testing.T) {
	tables := compile(t, []Site{
		site(1, "https *:443: cert=D"),
		site(2, "https [::]:443: cert=V6"),
		site(3, "https *:443:a.example flags=1 cert=A", "https *:443:*.w.example flags=1 cert=W", "https *:443:s.example flags=3"),
		site(4, "https *:444:a.example flags=1 cert=A"),
		site(5, "https 10.0.0.5:443: cert=E"),
	}, nil, Options{CentralStore: true})
	for _, tc := range []struct {
		to, sni, want string
		rule          Rule
	}{
		{"10.0.0.9:443", "a.example", "D", D1_7},
		{"10.0.0.9:443", "b.w.example", "D", D1_7},
		{"10.0.0.9:443", "s.example", "D", D1_7},
		{"[2001:db8::9]:443", "a.example", "V6", D1_6},
		{"10.0.0.9:443", "", "", 0},
		{"10.0.0.5:443", "a.example", "", 0}, // row 1 decided
		{"10.0.0.9:444", "a.example", "", 0}, // nothing there
	} {
		m := tables.Certificate(local(tc.to), tc.sni)
		got := ""
		if m.Fallback != nil {
			got = m.Fallback.Certificate
		}
		if got != tc.want || m.FallbackRule != tc.rule {
			t.Errorf("to %s with %q: fallback %q by %v, want %q by %v", tc.to, tc.sni, got, m.FallbackRule, tc.want, tc.rule)
		}
	}
}

func TestKnown(t *testing.T) {
	tables := compile(t, []Site{
		site(1, "https *:443: cert=D", "https *:443:head.example", "https *:443:*.wild.example", "http *:80:plain.example"),
		site(2, "https 10.0.0.5:443:ip.example"),
		site(3, "https [::]:443:six.example"),
		stopped(site(4, "https *:443:stopped.example")),
		site(5, "https *:443:sni.example flags=1 cert=A", "https *:443:*.sniwild.example flags=1 cert=A"),
		site(6, "https *:444: cert=D"),
	}, nil, Options{})
	for _, tc := range []struct {
		to, sni string
		want    bool
	}{
		{"10.0.0.9:443", "head.example", true},
		{"10.0.0.9:443", "HEAD.example", true},
		{"10.0.0.9:443", "a.wild.example", true},
		{"10.0.0.9:443", "a.b.wild.example", false},
		{"10.0.0.9:443", "wild.example", false},
		{"10.0.0.9:443", "plain.example", false},
		{"10.0.0.5:443", "ip.example", true},
		{"10.0.0.9:443", "ip.example", false},
		{"[2001:db8::1]:443", "six.example", true},
		{"10.0.0.9:443", "six.example", false},
		{"10.0.0.9:443", "stopped.example", true},
		{"10.0.0.9:443", "sni.example", true},
		{"10.0.0.9:443", "a.sniwild.example", true},
		{"10.0.0.9:444", "head.example", false},
		{"10.0.0.9:443", "", false},
		{"10.0.0.9:443", "other.example", false},
	} {
		if got := tables.Certificate(local(tc.to), tc.sni).Known; got != tc.want {
			t.Errorf("to %s: %q known: %v, want %v", tc.to, tc.sni, got, tc.want)
		}
	}
}

func TestPolicies(t *testing.T) {
	reject, fallback := Reject, Fallback
	sites := []Site{
		site(1, "https *:443: cert=D", "https *:443:head.example"),
		site(2, "https *:443:sni.example flags=1 cert=A"),
		site(3, "https *:444:s.example flags=2"),
	}
	strict := endpoint("10.0.0.5:443", "E")
	strict.SNIMissing, strict.SNIUnmatched = &reject, &reject
	lax := endpoint("10.0.0.6:443", "F")
	lax.SNIMissing, lax.SNIUnmatched = &fallback, &fallback
	strictStore := endpoint("10.0.0.5:444", "G")
	strictStore.SNIUnmatched = &reject
	endpoints := []Endpoint{strict, lax, strictStore}

	for _, tc := range []struct {
		name, to, sni string
		opts          Options
		want          string
		reason        Reason
	}{
		{"default", "10.0.0.9:443", "", Options{}, "D1.7 D", ReasonNone},
		{"default", "10.0.0.9:443", "x.example", Options{}, "D1.7 D", ReasonNone},
		{"missing rejected", "10.0.0.9:443", "", Options{SNIMissing: Reject}, "D1.8 -", ReasonNameMissing},
		{"missing is not unmatched", "10.0.0.9:443", "", Options{SNIUnmatched: Reject}, "D1.7 D", ReasonNone},
		{"unmatched rejected", "10.0.0.9:443", "x.example", Options{SNIUnmatched: Reject}, "D1.8 -", ReasonNameUnmatched},
		{"unmatched is not missing", "10.0.0.9:443", "x.example", Options{SNIMissing: Reject}, "D1.7 D", ReasonNone},
		{"host header is matched", "10.0.0.9:443", "head.example", Options{SNIUnmatched: Reject}, "D1.7 D", ReasonNone},
		{"record is matched", "10.0.0.9:443", "sni.example", Options{SNIUnmatched: Reject}, "D1.2 A", ReasonNone},
		{"endpoint stricter", "10.0.0.5:443", "", Options{}, "D1.8 -", ReasonNameMissing},
		{"endpoint stricter", "10.0.0.5:443", "x.example", Options{}, "D1.8 -", ReasonNameUnmatched},
		{"endpoint stricter, known", "10.0.0.5:443", "sni.example", Options{}, "D1.1 E", ReasonNone},
		{"endpoint laxer", "10.0.0.6:443", "", Options{SNIMissing: Reject, SNIUnmatched: Reject}, "D1.1 F", ReasonNone},
		{"endpoint laxer", "10.0.0.6:443", "x.example", Options{SNIMissing: Reject, SNIUnmatched: Reject}, "D1.1 F", ReasonNone},
		{"store is asked", "10.0.0.5:444", "x.example", Options{}, "D1.5 ccs:444", ReasonNone},
		{"nothing there", "10.0.0.9:444", "", Options{}, "D1.8 -", ReasonNoRecord},
	} {
		tc.opts.CentralStore = true
		tables := compile(t, sites, endpoints, tc.opts)
		if got := certificate(tables, tc.to, tc.sni); got != tc.want {
			t.Errorf("%s: to %s with %q: %s, want %s", tc.name, tc.to, tc.sni, got, tc.want)
		}
		m := tables.Certificate(local(tc.to), tc.sni)
		if m.Reason != tc.reason {
			t.Errorf("%s: reason %q, want %q", tc.name, m.Reason, tc.reason)
		}
		if m.Rule == D1_5 && m.Fallback != nil {
			t.Errorf("%s: a rejected name falls back to %s", tc.name, m.Fallback.Key())
		}
	}
}

// TestTableD2 has a case for each row that another outcome answers if the row is
// left out, and for each pair of neighbours.
func TestTableD2(t *testing.T) {
	tables := compile(t, []Site{
		site(2, "http 10.0.0.5:80:both.example"),
		site(3, "http *:80:both.example", "http *:80:deep.sub.example"),
		site(4, "http 10.0.0.5:80:*.sub.example"),
		site(5, "http *:80:*.sub.example"),
		site(6, "http 10.0.0.5:80:"),
		site(7, "http *:80:"),
		site(16, "http [::]:80:both.example", "http [::]:80:*.sub.example", "http [::]:80:"),
		site(17, "http [2001:db8::5]:80:both.example", "http [2001:db8::5]:80:"),
		site(20, "http 10.0.0.5:81:only.example"),
		site(21, "https *:82: cert=A"),
		site(30, "http [fe80::1%eth0]:83:", "http [fe80::1]:83:zone.example"),
		site(31, "http [fe80::1]:83:", "http [fe80::1%eth0]:83:zone.example"),
	}, nil, Options{})
	for _, tc := range []struct{ name, to, host, want string }{
		{"row 0", "10.0.0.9:80", "both.example.", "D2.0 -"},
		{"row 2 before row 3", "10.0.0.5:80", "both.example", "D2.2 S2"},
		{"row 2 takes mapped addresses", "[::ffff:10.0.0.5]:80", "both.example", "D2.2 S2"},
		{"row 3", "10.0.0.9:80", "both.example", "D2.3 S3"},
		{"row 3 before row 4", "10.0.0.5:80", "deep.sub.example", "D2.3 S3"},
		{"row 4 before row 5", "10.0.0.5:80", "a.sub.example", "D2.4 S4"},
		{"row 5", "10.0.0.9:80", "a.sub.example", "D2.5 S5"},
		{"row 5 not for the domain", "10.0.0.9:80", "sub.example", "D2.7 S7"},
		{"row 5 for one label only", "10.0.0.9:80", "a.b.sub.example", "D2.7 S7"},
		{"row 6 before row 7", "10.0.0.5:80", "other.org", "D2.6 S6"},
		{"row 7", "10.0.0.9:80", "other.org", "D2.7 S7"},
		{"no host", "10.0.0.9:80", "", "D2.7 S7"},
		{"no host, address", "10.0.0.5:80", "", "D2.6 S6"},
		{"address as host", "10.0.0.5:80", "10.0.0.5", "D2.6 S6"},
		{"address as host", "10.0.0.9:80", "10.0.0.5", "D2.7 S7"},
		{"IPv6 address as host", "[2001:db8::9]:80", "[2001:db8::5]:80", "D2.6 S16"},
		{"row 8", "10.0.0.9:81", "only.example", "D2.8 -"},
		{"row 8", "10.0.0.5:81", "other.org", "D2.8 -"},
		{"row 8, no host", "10.0.0.5:81", "", "D2.8 -"},
		{"row 8, other protocol", "10.0.0.5:82", "other.org", "D2.8 -"},
		{"row 8, no such port", "10.0.0.5:8080", "other.org", "D2.8 -"},
		{"[::] before *", "[2001:db8::9]:80", "both.example", "D2.2 S16"},
		{"[::] before *, wildcard", "[2001:db8::9]:80", "a.sub.example", "D2.4 S16"},
		{"[::] before *, any host", "[2001:db8::9]:80", "other.org", "D2.6 S16"},
		{"[::] after * with a better host", "[2001:db8::9]:80", "deep.sub.example", "D2.3 S3"},
		{"[::] after its own address", "[2001:db8::5]:80", "both.example", "D2.2 S17"},
		{"[::] after its own address, any host", "[2001:db8::5]:80", "other.org", "D2.6 S17"},
		{"the zone before the address", "[fe80::1%eth0]:83", "other.org", "D2.6 S30"},
		{"the zone before the address, host", "[fe80::1%eth0]:83", "zone.example", "D2.2 S31"},
		{"another zone", "[fe80::1%eth1]:83", "other.org", "D2.6 S31"},
		{"another zone, host", "[fe80::1%eth1]:83", "zone.example", "D2.2 S30"},
		{"no zone", "[fe80::1]:83", "zone.example", "D2.2 S30"},
		{"case and port", "10.0.0.9:80", "BOTH.Example:8080", "D2.3 S3"},
	} {
		if got := route(tables, tc.to, HTTP, tc.host); got != tc.want {
			t.Errorf("%s: to %s, host %q: %s, want %s", tc.name, tc.to, tc.host, got, tc.want)
		}
	}
	if got := route(tables, "10.0.0.5:82", HTTPS, "other.org"); got != "D2.7 S21" {
		t.Errorf("https: %s", got)
	}
}

func TestWildcardDepth(t *testing.T) {
	tables := compile(t, []Site{
		site(1, "http *:80:*.example.org", "https *:443:*.example.org flags=1 cert=short"),
		site(2, "http *:80:*.a.example.org", "https *:443:*.a.example.org flags=1 cert=long"),
		site(3, "http 10.0.0.5:80:*.example.org"),
		site(4, "http *:80:", "https *:443: cert=D"),
	}, nil, Options{WildcardAnyDepth: true})
	for _, tc := range []struct{ to, host, site, cert string }{
		{"10.0.0.9", "b.a.example.org", "D2.5 S2", "D1.3 long"},
		{"10.0.0.9", "c.b.a.example.org", "D2.5 S2", "D1.3 long"},
		{"10.0.0.9", "a.example.org", "D2.5 S1", "D1.3 short"},
		{"10.0.0.9", "x.y.z.example.org", "D2.5 S1", "D1.3 short"},
		{"10.0.0.9", "example.org", "D2.7 S4", "D1.7 D"},
		// The longer suffix goes before the address.
		{"10.0.0.5", "b.a.example.org", "D2.5 S2", "D1.3 long"},
		{"10.0.0.5", "a.example.org", "D2.4 S3", "D1.3 short"},
	} {
		if got := route(tables, tc.to+":80", HTTP, tc.host); got != tc.site {
			t.Errorf("to %s, host %q: %s, want %s", tc.to, tc.host, got, tc.site)
		}
		if got := certificate(tables, tc.to+":443", tc.host); got != tc.cert {
			t.Errorf("to %s, server name %q: %s, want %s", tc.to, tc.host, got, tc.cert)
		}
	}
}

// TestPyramid is the order in which win-acme takes bindings for a name, with the
// depth that it assumes.
func TestPyramid(t *testing.T) {
	hosts := []string{"a.b.c.com", "*.b.c.com", "*.c.com", "*.com", ""}
	for i := range hosts {
		var sites []Site
		for j := len(hosts) - 1; j >= i; j-- {
			sites = append(sites, site(uint32(j+1), "http *:80:"+hosts[j]))
		}
		tables := compile(t, sites, nil, Options{WildcardAnyDepth: true})
		name, _ := Host("a.b.c.com")
		if m := tables.Site(local("10.0.0.1:80"), HTTP, name); m.Binding == nil || m.Binding.Host != hosts[i] {
			t.Errorf("with %v left, binding %+v, want host %q", hosts[i:], m.Binding, hosts[i])
		}
	}
}

func TestInvalidHostNeverRoutes(t *testing.T) {
	tables := compile(t, []Site{site(1, "http *:80:")}, nil, Options{})
	if m := tables.Site(local("10.0.0.1:80"), HTTP, HostName{}); m.Site != nil || m.Rule != D2_0 {
		t.Errorf("zero HostName: %+v", m)
	}
}

func TestRuleNames(t *testing.T) {
	if D1_2.String() != "D1 row 2: server name" || D2_8.String() != "D2 row 8: no site" || Rule(99).String() != "unknown rule" {
		t.Errorf("names: %v, %v, %v", D1_2, D2_8, Rule(99))
	}
	seen := make(map[string]bool)
	for r := Rule(0); r <= D2_8; r++ {
		if seen[r.String()] || r.String() == "" {
			t.Errorf("rule %d has no name of its own: %q", r, r)
		}
		seen[r.String()] = true
	}
}
