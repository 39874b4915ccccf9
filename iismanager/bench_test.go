package iismanager_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// manySites adds sites to the source, with a binding of each protocol.
func (m *manager) manySites(n int) {
	m.t.Helper()
	const step = 10_000
	for first := 0; first < n; first += step {
		var lines strings.Builder
		for i := first; i < min(n, first+step); i++ {
			fmt.Fprintf(&lines, `{"op": "put", "id": %d, "site": {"name": "Customer %[2]d", "server_bindings": [":%[3]d:c%[2]d.wild.test"], "secure_bindings": [":%[4]d:c%[2]d.wild.test"]}}`+"\n",
				1000+i, i, m.plain, m.secure)
		}
		if status, body := m.Admin(http.MethodPost, "/iis/changes", lines.String()); status != http.StatusOK {
			m.t.Fatalf("%d %s", status, body)
		}
	}
}

// BenchmarkPages measures the pages at 100,000 sites, over a connection of loopback and
// with what they weigh:
//
//	go test ./iismanager -run '^$' -bench Pages
func BenchmarkPages(b *testing.B) {
	const sites = 100_000
	m := startManager(b, "")
	m.manySites(sites)
	for _, page := range []struct{ name, path, part, text string }{
		{"first", "", "", "Next page"},
		{"next", "sites?after=50000", "", "Customer 49050"},
		{"search/host", "sites?q=c98765.wild", "results", "Customer 98765"},
		{"search/many", "sites?q=customer", "results", "100000 sites"},
		{"search/none", "sites?q=nobody", "results", "0 sites"},
		{"site", "sites/1500", "", "Customer 500"},
		{"bindings", "sites/1500/bindings", "", "Add a binding"},
		{"certificates", "certificates", "", "wild"},
		{"endpoints", "endpoints", "", "serving"},
		{"check", "check", "", "Check"},
	} {
		b.Run(page.name, func(b *testing.B) {
			size := 0
			for b.Loop() {
				a := m.do(http.MethodGet, m.open, page.path, nil, func(r *http.Request) {
					if page.part != "" {
						r.Header.Set("Iis-Part", page.part)
					}
				})
				a.want(b, http.StatusOK, page.text)
				size = len(a.body)
			}
			b.ReportMetric(float64(size)/1000, "kB")
		})
	}
}
