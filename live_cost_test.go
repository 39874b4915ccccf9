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
