package iishttp

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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

func BenchmarkFoldersOfSites(b *testing.B) {
	repl := caddy.NewReplacer()
	repl.Set("iis.vars.root", "/srv/sites/a")
	folders := []winpath.Folder{{URL: "/", Local: "{iis.vars.root}/www", Windows: `C:\sites\a\www`}}
	b.ReportAllocs()
	for b.Loop() {
		(&varyingFiles{folders: folders, repl: repl}).of()
	}
}
