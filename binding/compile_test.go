package binding

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestEntries(t *testing.T) {
	reject := Reject
	e := endpoint("10.0.0.5:443", "E")
	e.TLS, e.SNIMissing = "strict", &reject
	tables := compile(t, []Site{
		site(30, "https *:443:c cert=W flags=4 tls=x", "http *:80:c"),
		site(10, "https *:443:a", "https 10.0.0.5:443:a"),
		stopped(site(20, "https *:443:s flags=1 cert=S", "https *:443:*.s flags=1 cert=S", "https *:443:t flags=3")),
	}, []Endpoint{e}, Options{CentralStore: true, SNIUnmatched: Reject})

	var ids []uint32
	for i, s := range tables.Sites() {
		ids = append(ids, s.ID)
		if s.Index != i || tables.SiteByID(s.ID) != s {
			t.Errorf("site %d has index %d, want %d", s.ID, s.Index, i)
		}
		for j := range s.Bindings {
			if b := &s.Bindings[j]; b.Site != s {
				t.Errorf("binding %s of site %d has site %d", b.Binding, s.ID, b.Site.ID)
			}
		}
	}
	if !slices.Equal(ids, []uint32{10, 20, 30}) {
		t.Errorf("sites %v, want them in order of id", ids)
	}
	if tables.SiteByID(11) != nil {
		t.Error("there is a site 11")
	}
	if _, ok := tables.State(11); ok {
		t.Error("site 11 has a state")
	}
	if s, _ := tables.State(20); s.Started || s.Code != 0 || s.Reason == "" {
		t.Errorf("state of the stopped site: %+v", s)
	}

	var records []string
	sites := tables.RecordSites()
	for r := range tables.Records() {
		if r.Index != len(records) {
			t.Errorf("record %s has index %d, want %d", r.Key(), r.Index, len(records))
		}
		records = append(records, fmt.Sprintf("%s %s cert=%s tls=%s flags=%d sites=%v %v %v",
			r.Kind, r.Key(), r.Certificate, r.TLS, r.Flags, sites[r.Index], r.SNIMissing, r.SNIUnmatched))
	}
	if tables.SiteSlots() != 3 || tables.RecordSlots() != len(records) {
		t.Errorf("%d slots for sites, %d for records", tables.SiteSlots(), tables.RecordSlots())
	}
	want := []string{
		"ipport 10.0.0.5:443 cert=E tls=strict flags=0 sites=[10] reject reject",
		"hostnameport s:443 cert=S tls= flags=0 sites=[20] fallback reject",
		"hostnameport *.s:443 cert=S tls= flags=0 sites=[20] fallback reject",
		"ccs ccs:443 cert= tls= flags=0 sites=[20] fallback reject",
		"ipport 0.0.0.0:443 cert=W tls=x flags=4 sites=[10 30] fallback reject",
	}
	if !slices.Equal(records, want) {
		t.Errorf("records:\n%s\nwant:\n%s", strings.Join(records, "\n"), strings.Join(want, "\n"))
	}
}

func TestRecordOfBinding(t *testing.T) {
	tables := compile(t, []Site{
		site(1, "https *:443: cert=D", "https [::]:443: cert=V6", "https 10.0.0.5:443: cert=E", "http *:80:"),
		site(2, "https *:443:a flags=1 cert=A", "https *:443:*.w flags=1 cert=W", "https *:443:s flags=2"),
		site(3, "https 10.0.0.5:443:a flags=1", "https 10.0.0.6:443:a", "https *:443:x.w", "https 10.0.0.6:443:*.w"),
		site(4, "https *:444: cert=D", "https 10.0.0.6:444:", "https [2001:db8::1]:444:", "https *:444:q flags=1"),
		site(5, "https [fe80::1]:443: cert=L", "https [fe80::1%e0]:443:q"),
	}, nil, Options{CentralStore: true})
	want := map[string]string{
		"1 *:443:": "0.0.0.0:443", "1 [::]:443:": "[::]:443", "1 10.0.0.5:443:": "10.0.0.5:443", "1 *:80:": "-",
		"2 *:443:a": "a:443", "2 *:443:*.w": "*.w:443", "2 *:443:s": "ccs:443",
		"3 10.0.0.5:443:a": "10.0.0.5:443", "3 10.0.0.6:443:a": "a:443", "3 *:443:x.w": "*.w:443", "3 10.0.0.6:443:*.w": "*.w:443",
		"4 *:444:": "0.0.0.0:444", "4 10.0.0.6:444:": "0.0.0.0:444", "4 [2001:db8::1]:444:": "0.0.0.0:444", "4 *:444:q": "0.0.0.0:444",
		"5 [fe80::1]:443:": "[fe80::1]:443", "5 [fe80::1%e0]:443:q": "[fe80::1]:443",
	}
	for b := range tables.Bindings() {
		got := "-"
		if b.Record != nil {
			got = b.Record.Key()
		}
		name := fmt.Sprintf("%d %s", b.Site.ID, b.Binding)
		if got != want[name] {
			t.Errorf("binding %s has record %s, want %q", name, got, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("bindings that are not there: %v", want)
	}
}

func TestRecordSitesAreSorted(t *testing.T) {
	tables := compile(t, []Site{
		site(1, "https *:443:a"), site(2, "https *:443:b", "https *:443:c", "https 10.0.0.1:443:c"),
		site(3, "https *:443:d cert=A"), site(4, "https *:443:e", "https *:443:f cert=A"),
		site(5, "https 10.0.0.1:443:g"), // has no record of its own
	}, nil, Options{})
	if got := tables.RecordSites()[0]; !slices.Equal(got, []uint32{1, 2, 3, 4, 5}) {
		t.Errorf("sites %v", got)
	}
}

func TestEndpoints(t *testing.T) {
	addr := netip.MustParseAddr
	v4, v6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	single := []Site{site(1, "http *:80:a", "https 10.0.0.5:443:a cert=A"), site(2, "http 10.0.0.5:80:b")}
	mixed := []Site{
		site(1, "http 10.0.0.1:80:", "http 10.0.0.1:80:a"),
		site(2, "https 10.0.0.2:80: cert=A"),
		site(3, "https [2001:db8::1]:80: cert=B", "https [::]:80:x"),
		site(4, "https [::]:80: cert=C"),
	}
	zoned := []Site{site(1, "http [fe80::1%e0]:80:", "http [fe80::1]:80:a"), site(2, "https [fe80::2%e0]:80: cert=A")}
	for _, tc := range []struct {
		name      string
		sites     []Site
		endpoints []Endpoint
		listen    []netip.Addr
		want      string
	}{
		{"all addresses", single, nil, nil, "http *:80, https *:443"},
		{"listen", single, nil, []netip.Addr{addr("10.0.0.9"), addr("10.0.0.5"), addr("::ffff:10.0.0.5")}, "http 10.0.0.5:80, http 10.0.0.9:80, https 10.0.0.5:443, https 10.0.0.9:443"},
		{"listen on IPv4", single, nil, []netip.Addr{v4, addr("10.0.0.5"), addr("::1")}, "http 0.0.0.0:80, http [::1]:80, https 0.0.0.0:443, https [::1]:443"},
		{"listen on everything", single, nil, []netip.Addr{v4, v6, addr("10.0.0.5")}, "http *:80, https *:443"},
		{"listen with the zero address", single, nil, []netip.Addr{{}, addr("10.0.0.5")}, "http *:80, https *:443"},
		{"mixed", mixed, nil, nil, "http 10.0.0.1:80, https 10.0.0.2:80, https [::]:80"},
		{"mixed, listen", mixed, nil, []netip.Addr{addr("10.0.0.1"), addr("10.0.0.9"), addr("2001:db8::1"), addr("2001:db8::9")}, "http 10.0.0.1:80, https [2001:db8::1]:80, https [2001:db8::9]:80"},
		{"mixed, listen on IPv4", mixed, nil, []netip.Addr{v4}, "http 10.0.0.1:80, https 10.0.0.2:80"},
		{"mixed, listen on IPv6", mixed, nil, []netip.Addr{v6}, "https [::]:80"},
		{"mixed, zones", zoned, nil, nil, "http [fe80::1]:80, https [fe80::2%e0]:80"},
		{"stopped", []Site{stopped(site(1, "http *:80:", "https *:443: cert=A"))}, nil, nil, ""},
		{"endpoint", []Site{site(1, "http *:80:")}, []Endpoint{endpoint("10.0.0.5:8443", "E")}, nil, "http *:80, https *:8443"},
		{"endpoint beside http", []Site{site(1, "http 10.0.0.6:8443:")}, []Endpoint{endpoint("10.0.0.5:8443", "E")}, nil, "https 10.0.0.5:8443, http 10.0.0.6:8443"},
		{"endpoint without certificate", []Site{stopped(site(1, "https *:443: cert=A"))}, []Endpoint{{Port: 443}}, nil, ""},
	} {
		tables := compile(t, tc.sites, tc.endpoints, Options{Listen: tc.listen})
		var got []string
		for _, e := range tables.Endpoints() {
			got = append(got, e.Protocol.String()+" "+e.String())
			if e.Label == "" || e.Bindings == 0 {
				t.Errorf("%s: nobody needs %s: %+v", tc.name, e, e)
			}
		}
		if s := strings.Join(got, ", "); s != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, s, tc.want)
		}
	}
	tables := compile(t, single, nil, Options{})
	if got := tables.Endpoints()[0]; got.Label != `site 1 "S1", http binding *:80:a and 1 more` || got.Bindings != 2 {
		t.Errorf("label %q of %d bindings", got.Label, got.Bindings)
	}
}

func TestCovers(t *testing.T) {
	sites := []Site{
		site(1, "http *:80:a", "https 10.0.0.5:443: cert=A", "http [fe80::1%e0]:82:"),
		site(2, "http 10.0.0.1:81:"),
		site(3, "https 10.0.0.2:81: cert=A", "https [::]:81: cert=A", "https [fe80::1]:83: cert=A"),
		site(4, "https [fe80::1%e1]:82: cert=A", "http [fe80::2]:83:"),
		stopped(site(5, "http *:85:")),
	}
	all := compile(t, sites, []Endpoint{endpoint("10.0.0.1:84", "E")}, Options{})
	listen := compile(t, sites, nil, Options{Listen: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1")}})
	for _, tc := range []struct {
		tables *Tables
		to     string
		want   string
	}{
		{all, "10.0.0.9:80", "http"},
		{all, "[::ffff:10.0.0.9]:80", "http"},
		{all, "[2001:db8::1]:80", "http"},
		{all, "10.0.0.9:443", "https"}, // any address of a port, as HTTP.sys
		{all, "10.0.0.9:8080", "-"},
		{all, "10.0.0.1:81", "http"},
		{all, "[::ffff:10.0.0.1]:81", "http"},
		{all, "10.0.0.2:81", "https"},
		{all, "10.0.0.3:81", "-"},
		{all, "[2001:db8::1]:81", "https"},
		{all, "[fe80::1%e0]:82", "http"},
		{all, "[fe80::1%e1]:82", "https"},
		{all, "[fe80::1%e2]:82", "-"},
		{all, "[fe80::1%e2]:83", "https"},
		{all, "[fe80::2%e2]:83", "http"},
		{all, "10.0.0.9:84", "https"},
		{all, "10.0.0.9:85", "-"},
		{listen, "10.0.0.1:80", "http"},
		{listen, "[::ffff:10.0.0.1]:80", "http"},
		{listen, "[fe80::1%e7]:80", "http"},
		{listen, "10.0.0.9:80", "-"},
		{listen, "10.0.0.2:81", "-"},
	} {
		got := "-"
		if p, ok := tc.tables.Covers(local(tc.to)); ok {
			got = p.String()
		}
		if got != tc.want {
			t.Errorf("%s speaks %s, want %s", tc.to, got, tc.want)
		}
	}
}

func TestLint(t *testing.T) {
	store := Options{CentralStore: true}
	listen := Options{Listen: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
	endpoints := func(e ...Endpoint) []Endpoint { return e }
	for _, tc := range []struct {
		name      string
		sites     []Site
		endpoints []Endpoint
		opts      Options
		want      string // codes
		words     []string
	}{
		{"only SNI", []Site{site(1, "https *:443:a flags=1 cert=A")}, nil, Options{}, CodeNoDefault, []string{`site 1 "S1"`, "SNI", ":443", "add a default certificate", "endpoint 0.0.0.0:443"}},
		{"only store", []Site{site(1, "https *:443:a flags=2")}, nil, store, CodeNoDefault, []string{"refused on :443"}},
		{"SNI and default", []Site{site(1, "https *:443:a flags=1 cert=A"), site(2, "https *:443: cert=B")}, nil, Options{}, "", nil},
		{"SNI and endpoint", []Site{site(1, "https *:443:a flags=1 cert=A")}, endpoints(endpoint("0.0.0.0:443", "E")), Options{}, "", nil},
		{"SNI, default on another port", []Site{site(1, "https *:443:a flags=1 cert=A", "https *:444: cert=A")}, nil, Options{}, CodeNoDefault, []string{":443"}},
		{"SNI stopped", []Site{stopped(site(1, "https *:443:a flags=1 cert=A"))}, nil, Options{}, "", nil},
		{"SNI for IPv6, default for IPv6", []Site{site(1, "https [2001:db8::1]:443:a flags=1 cert=A", "https [::]:443: cert=A")}, nil, Options{}, "", nil},
		{"SNI for IPv4, default for IPv6", []Site{site(1, "https 10.0.0.1:443:a flags=1 cert=A", "https [::]:443: cert=A")}, nil, Options{}, CodeNoDefault, nil},
		{"address hides names", []Site{site(1, "https *:443:a flags=1 cert=A", "https *:443: cert=D"), site(2, "https 10.0.0.1:443:b cert=B")}, nil, Options{}, CodeShadowed, []string{"10.0.0.1:443", `"B"`, "*:443:a", `site 2 "S2"`}},
		{"address hides its own names", []Site{site(1, "https 10.0.0.1:443:a flags=1 cert=A", "https 10.0.0.1:443: cert=D")}, nil, Options{}, CodeShadowed, []string{"10.0.0.1:443:a"}},
		{"address hides second name", []Site{site(1, "https *:443:a flags=1 cert=A", "https *:443:b flags=1 cert=B", "https *:443: cert=D"), site(2, "https 10.0.0.1:443: cert=A")}, nil, Options{}, CodeShadowed, []string{"*:443:b"}},
		{"address hides the store", []Site{site(1, "https *:443:a flags=3", "https *:443: cert=D"), site(2, "https 10.0.0.1:443:b cert=B")}, nil, store, CodeShadowed, []string{"*:443:a"}},
		{"endpoint hides names", []Site{site(1, "https [::]:443:a flags=1 cert=A", "https *:443: cert=D")}, endpoints(endpoint("[2001:db8::1]:443", "E")), Options{}, CodeShadowed, []string{"endpoint [2001:db8::1]:443", "[::]:443:a"}},
		{"address with the same certificate", []Site{site(1, "https *:443:a flags=1 cert=A", "https *:443: cert=D"), site(2, "https 10.0.0.1:443:b cert=A")}, nil, Options{}, "", nil},
		{"names of another address", []Site{site(1, "https 10.0.0.2:443:a flags=1 cert=A", "https *:443: cert=D"), site(2, "https 10.0.0.1:443:b cert=B")}, nil, Options{}, "", nil},
		{"names of another port", []Site{site(1, "https *:444:a flags=1 cert=A", "https *:444: cert=D"), site(2, "https 10.0.0.1:443:b cert=B")}, nil, Options{}, "", nil},
		{"name without certificate", []Site{site(1, "https *:443:a flags=1", "https *:443: cert=D"), site(2, "https 10.0.0.1:443:b cert=B")}, nil, Options{}, "", nil},
		{"not in listen", []Site{site(1, "http 10.0.0.2:80:a", "http 10.0.0.1:80:a", "http *:80:a")}, nil, listen, CodeNotListening, []string{"10.0.0.2:80:a"}},
		{"IPv6 not in listen", []Site{site(1, "http [::]:80:a")}, nil, listen, CodeNotListening, []string{"[::]:80:a"}},
		{"endpoint not in listen", nil, endpoints(endpoint("10.0.0.2:443", "E")), listen, CodeNotListening, []string{"endpoint 10.0.0.2:443"}},
		{"settings without record", []Site{site(1, "https *:443: cert=D"), site(2, "https 10.0.0.1:443:b tls=x")}, nil, Options{}, CodeUnusedSettings, []string{`site 2 "S2"`, "0.0.0.0:443"}},
		{"flags without record", []Site{site(1, "https *:443: cert=D"), site(2, "https 10.0.0.1:443:b flags=4")}, nil, Options{}, CodeUnusedSettings, nil},
		{"stopped without certificate", []Site{stopped(site(1, "https *:443:a"))}, nil, Options{}, CodeNoCertificate, nil},
	} {
		_, findings, err := Compile(tc.sites, tc.endpoints, tc.opts)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if tc.want == "" {
			if len(findings) > 0 {
				t.Errorf("%s: unexpected %v", tc.name, findings)
			}
			continue
		}
		if len(findings) != 1 || !hasFinding(findings, Warning, tc.want, tc.words...) || findings[0].Fix == "" {
			t.Errorf("%s: %v, want one %s that mentions %q", tc.name, findings, tc.want, tc.words)
		}
	}
}
