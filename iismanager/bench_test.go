package iismanager_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// manySites adds sites to the source, with a binding of each protocol. Their hosts are
// below a domain; if it is none of the certificate's, there is a finding about each site.
func (m *manager) manySites(n int, domain string) {
	m.t.Helper()
	const step = 10_000
	for first := 0; first < n; first += step {
		var lines strings.Builder
		for i := first; i < min(n, first+step); i++ {
			fmt.Fprintf(&lines, `{"op": "put", "id": %d, "site": {"name": "Customer %[2]d", "server_bindings": [":%[3]d:c%[2]d.%[5]s"], "secure_bindings": [":%[4]d:c%[2]d.%[5]s"]}}`+"\n",
				1000+i, i, m.plain, m.secure, domain)
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
	m.manySites(sites, "wild.test")
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

// BenchmarkFindings measures the pages that show findings at 100,000 sites with one each:
//
//	go test ./iismanager -run '^$' -bench Findings
func BenchmarkFindings(b *testing.B) {
	const sites = 100_000
	m := startManager(b, "")
	m.manySites(sites, "elsewhere.example")
	for _, page := range []struct{ name, path, text string }{
		{"first", "", "Next page"},
		{"certificates", "certificates", "and 99900 more"},
		{"check", "check", "100"},
	} {
		b.Run(page.name, func(b *testing.B) {
			for b.Loop() {
				m.get(m.open, page.path).want(b, http.StatusOK, page.text)
			}
		})
	}
}
