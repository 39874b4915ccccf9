//go:build unix

package caddyiis_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/testpg"
)

// TestImportTo follows the guide for sites that are beside the Caddyfile, in each of the
// places: import, start, import of the sites, requests.
func TestImportTo(t *testing.T) {
	blocks := guideBlocks(t, "Sites beside the Caddyfile", "sh")
	for _, to := range []string{"sites-file", "bolt", "postgres"} {
		t.Run(to, func(t *testing.T) {
			r := newRoad(t)
			r.write(filepath.Join(r.dir, "export"), r.export())
			r.write(filepath.Join(r.dir, "srv", "www"), map[string][]byte{
				"main/start.html": []byte("main"), "main/private/x.txt": []byte("private"), "main/index.html": []byte("wrong"), "shop/index.html": []byte("wrong"),
			})
			r.env = append(r.env, "IIS_PFX_PASSWORD=secret", "IIS_UPSTREAM="+r.worker)
			if to == "postgres" {
				connection := testpg.Start(t).Database("sites")
				r.run("caddy iis sites init postgres " + connection)
				r.env = append(r.env, "IIS_SITES_DATABASE="+connection)
			}
			r.run(strings.Replace(blocks[0], "--to bolt", "--to "+to, 1))
			caddyfile, sites := r.file("Caddyfile"), r.file("sites.jsonl")
			if strings.Contains(caddyfile, "\tsite ") || strings.Count(sites, "\n") != 3 {
				t.Errorf("the Caddyfile\n%s\nthe sites\n%s", caddyfile, sites)
			}
			if to == "sites-file" {
				r.serve(blocks[1])
				return
			}
			r.serve(blocks[1], blocks[2])
			r.serve(blocks[1]) // and again: the sites have stayed
		})
	}
}
