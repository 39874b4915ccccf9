package caddyiis_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites"
)

// BenchmarkLiveScrape looks at the metrics of 100,000 sites, and changes one of them.
func BenchmarkLiveScrape(b *testing.B) {
	port, file := ts.FreePort(b), filepath.Join(b.TempDir(), "sites.db")
	rows := make([]sites.Change, 100_000)
	for i := range rows {
		rows[i] = sites.Change{ID: uint32(i + 1), Document: fmt.Appendf(nil, `{"server_bindings":[":%d:h%d.test"]}`, port, i)}
	}
	writeRows(b, file, rows)
	server := ts.Start(b, fmt.Sprintf("{\niis {\nsites_from bolt %q {\nallow {\nports %d\n}\n}\n}\n}\n", file, port))
	b.Run("metrics", func(b *testing.B) {
		for b.Loop() {
			if status, _ := server.Admin("GET", "/metrics", ""); status != 200 {
				b.Fatal(status)
			}
		}
	})
	b.Run("change", func(b *testing.B) {
		client, err := adminapi.New(server.AdminAddr())
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; b.Loop(); i++ {
			site := fmt.Appendf(nil, `{"name":"n%d","server_bindings":[":%d:h5.test"]}`, i, port)
			if _, err := client.ChangeSites(b.Context(), "", []adminapi.Change{{Op: adminapi.OpPut, ID: 6, Site: site}}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkLiveHeldPages lists 100,000 rows that are held back: a page of the list, a page of
// those of a state, and all pages.
func BenchmarkLiveHeldPages(b *testing.B) {
	port, file := ts.FreePort(b), filepath.Join(b.TempDir(), "sites.db")
	rows := make([]sites.Change, 100_000)
	for i := range rows {
		rows[i] = sites.Change{ID: uint32(i + 1), Document: fmt.Appendf(nil, `{"template":"gone","server_bindings":[":%d:h%d.test"]}`, port, i)}
	}
	writeRows(b, file, rows)
	server := ts.Start(b, fmt.Sprintf("{\niis {\nsites_from bolt %q {\nallow {\nports %d\n}\n}\n}\n}\n", file, port))
	for name, query := range map[string]string{"page": "", "page of a state": "&state=held_back"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if status, _ := server.Admin("GET", "/iis/sites?limit=1000&after=50000"+query, ""); status != 200 {
					b.Fatal(status)
				}
			}
		})
	}
	b.Run("all pages", func(b *testing.B) {
		client, err := adminapi.New(server.AdminAddr())
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			n := 0
			for _, err := range client.Sites(b.Context()) {
				if n++; err != nil {
					b.Fatal(err)
				}
			}
			if n != len(rows) {
				b.Fatal(n)
			}
		}
	})
}
