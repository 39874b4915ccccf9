package binding

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var sizes = []int{10, 1000, 100000}

// manyHosts makes sites with an http and an https binding each: half of the hosts
// have their own SNI record, and each tenth one is a wildcard.
func manyHosts(hosts int) []Site {
	sites := []Site{site(1, "http *:80:", "https *:443: cert=default")}
	for i := range hosts {
		host := fmt.Sprintf("www.customer-%d.example", i)
		if i%10 == 9 {
			host = fmt.Sprintf("*.customer-%d.example", i)
		}
		https := SiteBinding{Binding: Binding{Protocol: HTTPS, Port: 443, Host: host}}
		if i%2 == 1 {
			https.Flags, https.Certificate = FlagSNI, fmt.Sprintf("c%d", i)
		}
		sites = append(sites, Site{ID: uint32(i + 2), Name: host, Bindings: []SiteBinding{
			{Binding: Binding{Port: 80, Host: host}}, https,
		}})
	}
	return sites
}

// manyNames are names that clients ask for: exact, wildcard and unknown ones, and
// none, in an order that does not follow the tables.
func manyNames(hosts int) []string {
	names := make([]string, 1024)
	for i := range names {
		n := i * 7919 % hosts
		switch {
		case i%16 == 0:
			names[i] = ""
		case i%16 == 1:
			names[i] = "unknown.example.org"
		case n%10 == 9:
			names[i] = fmt.Sprintf("shop.customer-%d.example", n)
		default:
			names[i] = fmt.Sprintf("www.customer-%d.example", n)
		}
	}
	return names
}

func BenchmarkCertificate(b *testing.B) {
	for _, hosts := range sizes {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			tables := compile(b, manyHosts(hosts), nil, Options{})
			names := manyNames(hosts)
			to := local("10.0.0.9:443")
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if m := tables.Certificate(to, names[i%len(names)]); m.Record == nil {
					b.Fatal("no record")
				}
				i++
			}
		})
	}
}

func BenchmarkSite(b *testing.B) {
	for _, hosts := range sizes {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			tables := compile(b, manyHosts(hosts), nil, Options{})
			names := manyNames(hosts)
			to := local("10.0.0.9:80")
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				host, ok := Host(names[i%len(names)])
				if !ok {
					b.Fatal("invalid host")
				}
				if m := tables.Site(to, HTTP, host); m.Site == nil {
					b.Fatal("no site")
				}
				i++
			}
		})
	}
}

func BenchmarkHost(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Host("www.customer-12345.example:443"); !ok {
			b.Fatal("invalid host")
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, hosts := range sizes {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			sites := manyHosts(hosts)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Compile(sites, nil, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestLookupsDoNotAllocate covers each way through the look-ups.
func TestLookupsDoNotAllocate(t *testing.T) {
	long := strings.Repeat("LongLabel.", 20) + "Example"
	sites := manyHosts(100)
	sites = append(sites,
		site(1000, "https [::]:443: cert=V6", "http [::]:80:x", "https [fe80::1%e0]:443: cert=Z"),
		site(1001, "https 10.0.0.5:443: cert=E", "https *:443:s.example flags=3"),
		stopped(site(1002, "https *:443:stopped.example")))
	for _, anyDepth := range []bool{false, true} {
		tables := compile(t, sites, nil, Options{CentralStore: true, WildcardAnyDepth: anyDepth, SNIUnmatched: Reject})
		for _, ip := range []string{"10.0.0.9", "10.0.0.5", "::ffff:10.0.0.5", "2001:db8::1", "fe80::1%e0", "fe80::2%e0"} {
			addr := netip.MustParseAddr(ip)
			for _, name := range []string{"", "www.customer-1.example", "WWW.CUSTOMER-1.EXAMPLE", "shop.customer-9.example", "a.b.c.d.e.example", long, long + long, "s.example", "stopped.example"} {
				to := netip.AddrPortFrom(addr, 443)
				if n := testing.AllocsPerRun(20, func() { tables.Certificate(to, name) }); n != 0 {
					t.Errorf("Certificate(%s, %q): %v allocations", to, name, n)
				}
				host, _ := Host(name)
				if n := testing.AllocsPerRun(20, func() { tables.Site(to, HTTPS, host) }); n != 0 {
					t.Errorf("Site(%s, %q): %v allocations", to, name, n)
				}
				if n := testing.AllocsPerRun(20, func() { tables.Covers(to) }); n != 0 {
					t.Errorf("Covers(%s): %v allocations", to, n)
				}
			}
		}
	}
	for _, header := range []string{"", "www.example.com", "www.example.com:8080", "10.0.0.1:80", "[::1]:80", "a..b", "a b", strings.ToLower(long)} {
		if n := testing.AllocsPerRun(20, func() { Host(header) }); n != 0 {
			t.Errorf("Host(%q): %v allocations", header, n)
		}
	}
}

// TestCompileMany guards against costs that grow with the square of the
// bindings, sites that share a record, or conflicts.
func TestCompileMany(t *testing.T) {
	const n = 30000
	one := Site{ID: 1}
	var shared, conflicts []Site
	for i := range uint32(n) {
		host := fmt.Sprintf("h%d.example", i)
		https := Binding{Protocol: HTTPS, Port: 443, Host: host}
		one.Bindings = append(one.Bindings, SiteBinding{Binding: Binding{Port: 80, Host: host}})
		shared = append(shared, Site{ID: n - i, Bindings: []SiteBinding{{Binding: https}}})
		conflicts = append(conflicts, Site{ID: i + 1, Bindings: []SiteBinding{{Binding: Binding{Port: 80, Host: "same"}}, {Binding: https, Certificate: host}}})
	}
	shared[0].Bindings[0].Certificate = "A" // the last site in order of id
	start := time.Now()
	tables := compile(t, []Site{one}, nil, Options{})
	if got := len(slices.Collect(tables.Bindings())); got != n {
		t.Errorf("%d bindings", got)
	}
	tables = compile(t, shared, nil, Options{})
	if got := len(tables.RecordSites()[0]); got != n {
		t.Errorf("%d sites share the record", got)
	}
	tables = compile(t, conflicts, nil, Options{FirstWins: true})
	if s, _ := tables.State(n); s.Started {
		t.Errorf("last site: %+v", s)
	}
	// The square of n takes minutes.
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestMemory bounds what the tables keep for a site with two bindings.
func TestMemory(t *testing.T) {
	const hosts = 20000
	sites := manyHosts(hosts)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tables := compile(t, sites, nil, Options{})
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := int64(after.HeapAlloc-before.HeapAlloc) / hosts
	t.Logf("%d bytes a site", per)
	if per > 700 {
		t.Errorf("%d bytes a site", per)
	}
	runtime.KeepAlive(sites)
	runtime.KeepAlive(tables)
}

// BenchmarkSiteAnywhere asks for all hosts in an order that no cache knows.
func BenchmarkSiteAnywhere(b *testing.B) {
	for _, hosts := range sizes {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			tables := compile(b, manyHosts(hosts), nil, Options{})
			names := make([]HostName, hosts)
			for i := range names {
				names[i], _ = Host(fmt.Sprintf("www.customer-%d.example", i*7919%hosts))
			}
			to := local("10.0.0.9:80")
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if i++; i == hosts {
					i = 0
				}
				tables.Site(to, HTTP, names[i])
			}
		})
	}
}
