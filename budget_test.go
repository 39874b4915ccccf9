package caddyiis_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// The tests here hold the costs that must not grow: allocations, which unlike
// time are the same on every machine. Each bound is what was measured and some
// margin; whoever goes beyond one has found a regression, or a reason to write
// down here.

// budgetConfig has the same site twice: under iis on one port, and as an
// ordinary site of Caddy on the other.
func budgetConfig(t *testing.T, s *ts.Server, iisPort, barePort int) []byte {
	t.Helper()
	cert, key := ts.PEM(t, "bare", "www.contoso.test")
	raw, err := s.Adapt(fmt.Sprintf(`{
		auto_https off
		iis {
			certificate wildcard %[3]s %[4]s
			site 1 Main {
				secure_bindings :%[1]d:www.contoso.test
				certificate wildcard
				respond "main"
			}
		}
	}
	https://www.contoso.test:%[2]d {
		tls %[3]s %[4]s
		respond "main"
	}`, iisPort, barePort, cert, key))
	if err != nil {
		t.Fatal(err)
	}
	return withoutLogging(t, raw)
}

// withoutLogging takes out the debug logs of tests, which allocate.
func withoutLogging(t testing.TB, raw []byte) []byte {
	t.Helper()
	var cfg map[string]any
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	delete(cfg, "logging")
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// allocations returns how many allocations, of client and server together, a
// call costs once it has been made a few times.
func allocations(call func()) float64 {
	const warm, calls = 50, 400
	for range warm {
		call()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range calls {
		call()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / calls
}

// TestBudgetOfRequestsAndHandshakes compares with Caddy's own site.
func TestBudgetOfRequestsAndHandshakes(t *testing.T) {
	iisPort, barePort := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, "{\n}\n")
	if err := s.LoadJSON(budgetConfig(t, s, iisPort, barePort)); err != nil {
		t.Fatal(err)
	}
	addr := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

	for _, tc := range []struct {
		name   string
		cost   func(addr string) float64
		budget float64 // above Caddy's own site
	}{
		{"request over HTTP/1.1", requestAllocations(t, "h1"), 4},
		{"request over HTTP/2", requestAllocations(t, "h2"), 4},
		{"handshake", handshakeAllocations(t, "www.contoso.test"), 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bare, iis := tc.cost(addr(barePort)), tc.cost(addr(iisPort))
			t.Logf("%.1f allocations, Caddy's own site has %.1f: %+.1f", iis, bare, iis-bare)
			if iis-bare > tc.budget {
				t.Errorf("%.1f allocations above Caddy's own site, the budget is %.1f", iis-bare, tc.budget)
			}
		})
	}
}

// TestBudgetOfUnknownNames: clients without server name, or with an unknown one,
// cost no more than others.
func TestBudgetOfUnknownNames(t *testing.T) {
	iisPort, barePort := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, "{\n}\n")
	if err := s.LoadJSON(budgetConfig(t, s, iisPort, barePort)); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", iisPort)
	known := handshakeAllocations(t, "www.contoso.test")(addr)
	for _, name := range []string{"unknown.test", ""} {
		got := handshakeAllocations(t, name)(addr)
		t.Logf("%q: %+.1f allocations", name, got-known)
		if got-known > 5 {
			t.Errorf("%q: %.1f allocations, a known name costs %.1f", name, got, known)
		}
	}
}

func requestAllocations(t *testing.T, proto string) func(addr string) float64 {
	return func(addr string) float64 {
		request := ts.Request{Addr: addr, SNI: "www.contoso.test", Proto: proto}
		client := ts.NewClient(request)
		defer client.Close()
		return allocations(func() {
			if answer, err := client.Do(request); err != nil || answer.Body != "main" {
				t.Fatalf("%+v, %v", answer, err)
			}
		})
	}
}

func handshakeAllocations(t *testing.T, name string) func(addr string) float64 {
	config := &tls.Config{InsecureSkipVerify: true, ServerName: name}
	return func(addr string) float64 {
		return allocations(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			client := tls.Client(conn, config)
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			client.Close()
		})
	}
}

// TestBudgetOfSites bounds what a site keeps in memory, and what a change of
// one among very many allocates.
func TestBudgetOfSites(t *testing.T) {
	const sites, perSite, perChange = 20_000, 620, 4 << 20
	f := &sitesFile{t: t, path: filepath.Join(t.TempDir(), "sites.jsonl"), http: ts.FreePort(t), https: ts.FreePort(t)}
	s := ts.Start(t, "{\n}\n")
	f.Server = s
	load := func(n int) {
		t.Helper()
		f.rename(manyLines(n, ""))
		raw, err := s.Adapt(f.config(""))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.LoadJSON(raw); err != nil {
			t.Fatal(err)
		}
		f.answers(fmt.Sprintf("n%d.contoso.test", n-1), fmt.Sprintf("%d n%d", n+9, n-1))
	}
	load(1)
	time.Sleep(3 * time.Second) // sockets linger, and hold what they served
	empty := liveHeap()
	load(sites)
	// What a load and the tests before leave behind goes a little later.
	full := liveHeap()
	for deadline := time.Now().Add(15 * time.Second); (full-empty)/sites > perSite && time.Now().Before(deadline); {
		time.Sleep(500 * time.Millisecond)
		full = min(full, liveHeap())
	}
	each := (full - empty) / sites
	t.Logf("%d bytes a site", each)
	if each > perSite {
		t.Errorf("a site keeps %d bytes, the budget is %d", each, perSite)
	}

	f.write(manyLines(sites, "a"))
	f.answers("na.contoso.test", "10 na")
	if got := f.allocatedBy(manyLines(sites, "b"), "the sites file has changed"); got > perChange {
		t.Errorf("a change allocates %d KiB, the budget is %d", got>>10, perChange>>10)
	} else {
		t.Logf("%d KiB for a change", got>>10)
	}
	f.answers("nb.contoso.test", "10 nb")
	for i := range 20 {
		name := fmt.Sprint("c", i)
		f.write(manyLines(sites, name))
		f.answers("n"+name+".contoso.test", "10 n"+name)
	}
	grown := liveHeap() - full
	for deadline := time.Now().Add(15 * time.Second); grown > 4<<20 && time.Now().Before(deadline); {
		time.Sleep(500 * time.Millisecond)
		grown = min(grown, liveHeap()-full)
	}
	if grown > 4<<20 {
		t.Errorf("20 changes have left %d KiB", grown>>10)
	}
}

// TestBudgetOfFindings: of a finding that is not shown no texts are made.
func TestBudgetOfFindings(t *testing.T) {
	const sites, each = 2000, 6
	f := &sitesFile{t: t, path: filepath.Join(t.TempDir(), "sites.jsonl"), http: ts.FreePort(t), https: ts.FreePort(t)}
	f.rename(strings.ReplaceAll(manyLines(sites, ""), ".contoso.test", ".elsewhere.test"))
	f.Server = ts.Start(t, f.config(""))
	f.answers("n1.elsewhere.test", "11 n1")
	got := allocations(func() {
		if status, body := f.Admin(http.MethodGet, "/iis/check?limit=1", ""); status != http.StatusOK || !strings.Contains(body, "certificate-name-mismatch") {
			t.Fatalf("%d %s", status, body)
		}
	}) / sites
	t.Logf("%.1f allocations a finding", got)
	if got > each {
		t.Errorf("%.1f allocations a finding, the budget is %d", got, each)
	}
}

// allocatedBy returns how many bytes are allocated until a change of the file is
// reported in the log.
func (f *sitesFile) allocatedBy(content, report string) uint64 {
	f.t.Helper()
	content = strings.NewReplacer("HTTPS", fmt.Sprint(f.https)).Replace(content)
	if err := os.WriteFile(f.path+".new", []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
	var before, after runtime.MemStats
	seen := len(ts.Logs.Lines(report))
	runtime.ReadMemStats(&before)
	if err := os.Rename(f.path+".new", f.path); err != nil {
		f.t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); len(ts.Logs.Lines(report)) == seen; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("waited in vain for %q", report)
		}
	}
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// manyLines is a sites file; the first host can have another name.
func manyLines(n int, first string) string {
	var b strings.Builder
	for i := range n {
		name := fmt.Sprint("n", i)
		if i == 0 && first != "" {
			name = "n" + first
		}
		fmt.Fprintf(&b, `{"id":%d,"name":"%s","secure_bindings":[":HTTPS:%s.contoso.test"],"certificate":"wildcard"}`+"\n", i+10, name, name)
	}
	return b.String()
}

func liveHeap() int64 {
	var m runtime.MemStats
	for range 4 {
		runtime.GC()
		time.Sleep(20 * time.Millisecond)
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
