package iishttp

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

// BenchmarkContentTypes compares file_server alone, "stock", with what stands
// in front of it, without network and connections.
func BenchmarkContentTypes(b *testing.B) {
	root := b.TempDir()
	for i := range 500 {
		for _, dir := range []string{"Assets/Images", "Pages"} {
			name := filepath.Join(root, dir, fmt.Sprintf("File-%d.html", i))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(name, make([]byte, 4096), 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(root, "Pages", "index.html"), make([]byte, 4096), 0o600); err != nil {
		b.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for _, dir := range []string{"", "Assets", "Assets/Images", "Pages"} {
		if err := os.Chtimes(filepath.Join(root, dir), old, old); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	canonical := false
	files := &fileserver.FileServer{Root: root, CanonicalURIs: &canonical}
	ours := &ContentTypes{Root: root, Scripts: []string{"*.php"}, Closed: []string{"*.aspx", "*.asmx", "*.ashx", "*.axd"}}
	for _, module := range []caddy.Provisioner{files, ours} {
		if err := module.Provision(ctx); err != nil {
			b.Fatal(err)
		}
	}
	nothing := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	stock := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return files.ServeHTTP(w, r, nothing) })
	front := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return ours.ServeHTTP(w, r, stock) })
	server := new(caddyhttp.Server)
	for _, c := range []struct {
		name    string
		handler caddyhttp.Handler
		path    string
		found   bool
	}{
		{"stock/hit", stock, "/Assets/Images/File-7.html", true},
		{"iis/hit", front, "/Assets/Images/File-7.html", true},
		{"iis/other case", front, "/assets/images/FILE-7.html", true},
		{"stock/document", stock, "/Pages/", true},
		{"iis/document", front, "/Pages/", true},
		{"stock/missing", stock, "/Assets/Images/nothing.html", false},
		{"iis/missing", front, "/Assets/Images/nothing.html", false},
		{"iis/script", front, "/Assets/Images/nothing.php", false},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				r := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, c.path, nil), caddy.NewReplacer(), w, server)
				if err := c.handler.ServeHTTP(w, r); (err == nil) != c.found {
					b.Fatal(err)
				}
			}
		})
	}
}
