package iishttp

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

func init() {
	guardModules["iis_rewrite"] = func() caddyhttp.MiddlewareHandler { return new(Rewrite) }
}

// TestFoldersOfSites: of the text of a folder, only the variables of sites are looked up
// for a request; what a client could choose is not.
func TestFoldersOfSites(t *testing.T) {
	const rule = "\nrule a {\nmatch .*\nfile_condition {REQUEST_FILENAME} file\naction redirect {REQUEST_FILENAME}\n}\n}"
	for _, c := range []struct{ folder, want string }{
		{"{iis.vars.root}/www", "C:%5Csites%5Ca%5Cwww%5Cx.txt"},
		{"{iis.vars.root}/{http.request.host}", "-"},
		{"{iis.vars.root}/{iis.vars.gone}", "-"},
	} {
		root := t.TempDir()
		for _, dir := range []string{"www", "h"} {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, dir, "x.txt"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		h := guard(t, "iis_rewrite {\nfolder / "+c.folder+` C:\sites\{iis.vars.name}\www`+rule)
		r := received(t, "/x.txt")
		repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		repl.Set("iis.vars.root", root)
		repl.Set("iis.vars.name", "a")
		w := httptest.NewRecorder()
		err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Location", "-")
			return nil
		}))
		if got := w.Header().Get("Location"); err != nil || !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: got %s, %v", c.folder, got, err)
		}
	}
	m := &Rewrite{Folders: []Folder{{URL: "/", Local: `D:\web\{iis.vars.root}`}}}
	if err := m.Provision(caddy.Context{Context: t.Context()}); err == nil || !strings.Contains(err.Error(), "write a slash") {
		t.Errorf("got %v", err)
	}
}

// TestFoldersOfManySites: each site gets its own folders, also when more were asked for than
// are kept, and while many ask at a time.
func TestFoldersOfManySites(t *testing.T) {
	v := newVaryingFolders([]winpath.Folder{{URL: "/", Local: "{iis.vars.root}/www", Windows: `C:\{iis.vars.name}\{iis.vars.root}`}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2*maxKnownFiles + 10 {
				repl := caddy.NewReplacer()
				repl.Set("iis.vars.root", fmt.Sprint("r", i))
				if i%2 == 0 {
					repl.Set("iis.vars.name", fmt.Sprint("n", i/7))
				}
				want := fmt.Sprintf(`C:\n%d\r%d\a`, i/7, i)
				if i%2 > 0 {
					want = fmt.Sprintf(`C:\{iis.vars.name}\r%d\a`, i)
				}
				for range 2 {
					if got, _ := v.of(repl).Physical("/a"); got != want {
						t.Errorf("%s, want %s", got, want)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if n := v.files.Load().count.Load(); n > maxKnownFiles+4 {
		t.Errorf("%d are kept", n)
	}
}

func BenchmarkFoldersOfSites(b *testing.B) {
	repl := caddy.NewReplacer()
	repl.Set("iis.vars.root", "/srv/sites/a")
	repl.Set("iis.vars.windows", `C:\sites\a`)
	v := newVaryingFolders([]winpath.Folder{{URL: "/", Local: "{iis.vars.root}/www", Windows: `{iis.vars.windows}\www`}})
	b.ReportAllocs()
	for b.Loop() {
		(&varyingFiles{folders: v, repl: repl}).of()
	}
}
