package iisimport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// httpOnly leaves the http bindings of a server, on a free port.
func httpOnly(t *testing.T, server *iisconfig.Server) (addr string) {
	port := ts.FreePort(t)
	server.Certificates = nil
	for _, s := range server.Sites {
		s.HSTS = nil
		var kept []*iisconfig.Binding
		for _, b := range s.Bindings {
			if b.Parsed != nil && b.Parsed.Protocol == binding.HTTP {
				b.Parsed.Port = uint16(port)
				b.Parsed.IP = binding.Binding{}.IP
				kept = append(kept, b)
			}
		}
		s.Bindings = kept
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// TestContent serves the content of testdata/content as IIS did.
func TestContent(t *testing.T) {
	server, err := iisconfig.ReadDir(os.DirFS("testdata/content"), iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr := httpOnly(t, server)
	dir := t.TempDir()
	for _, name := range []string{
		"main/start.html", "main/item.html", "main/web.config", "main/bin/a.dll", "main/x.aspx", "main/model.glb", "main/errors/missing.html",
		"main/list/a.txt", "main/private/a.txt", "images/pic.txt", "images/bin/x.txt", "my files/a b.txt",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "worker "+r.URL.Path) }))
	defer worker.Close()
	plan := iisimport.Import(server, iisimport.Options{
		Upstream: worker.Listener.Addr().String(),
		Folders:  []iisimport.Folder{{From: `C:\inetpub`, To: dir}, {From: `D:\my files`, To: filepath.Join(dir, "my files")}},
	})
	caddyfile := string(plan.Caddyfile())
	_, body, _ := cutBefore(caddyfile, "{\n\tiis")
	ts.Start(t, body)
	for _, c := range []struct {
		host, path string
		status     int
		body       string // or the target of a redirect
	}{
		{"www.example.com", "/", 200, "main/start.html"},
		{"www.example.com", "/gone/at/all", 410, ""},
		{"www.example.com", "/GONE/x", 410, ""},
		{"www.example.com", "/items/5", 200, "main/item.html"},
		{"www.example.com", "/items/x", 404, "main/errors/missing.html"},
		{"www.example.com", "/docs/a%20b?x=1", 302, "/help/a%20b"},
		{"www.example.com", "/web.config", 404, "main/errors/missing.html"},
		{"www.example.com", "/WEB.config", 404, "main/errors/missing.html"},
		{"www.example.com", "/bin/a.dll", 404, "main/errors/missing.html"},
		{"www.example.com", "/x.aspx", 404, "main/errors/missing.html"},
		{"www.example.com", "/model.glb", 200, "main/model.glb"},
		{"www.example.com", "/images?a=b", 301, "/images/?a=b"},
		{"www.example.com", "/images/pic.txt", 200, "images/pic.txt"},
		{"www.example.com", "/IMAGES/pic.txt", 301, "/images/pic.txt"}, // the rule lower
		{"www.example.com", "/images/bin/x.txt", 404, "main/errors/missing.html"},
		{"www.example.com", "/my%20files/a%20b.txt", 200, "my files/a b.txt"},
		{"www.example.com", "/shop", 200, "worker /shop"},
		{"www.example.com", "/shop/cart", 200, "worker /shop/cart"},
		{"www.example.com", "/shopping", 404, "main/errors/missing.html"},
		{"www.example.com", "/private/a.txt", 302, "https://www.example.com/no"},
		{"www.example.com", "/list/a.txt", 200, "main/list/a.txt"},
		{"old.example.com", "/a%20b?c=d", 301, "https://www.example.com/a%20b?c=d"},
		{"intranet", "/", 403, ""},
	} {
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: c.host, Path: c.path})
		if err != nil {
			t.Errorf("%s%s: %v", c.host, c.path, err)
			continue
		}
		got := a.Body
		if a.Status/100 == 3 {
			got = a.Header.Get("Location")
		}
		if a.Status != c.status || got != c.body {
			t.Errorf("%s%s: %d %q, want %d %q", c.host, c.path, a.Status, got, c.status, c.body)
		}
	}
	a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "www.example.com", Path: "/model.glb"})
	if err != nil || a.Header.Get("Content-Type") != "model/gltf-binary" || a.Header.Get("X-Frame-Options") != "DENY" || a.Header.Get("Cache-Control") != "max-age=604800" {
		t.Errorf("%v, %v", a.Header, err)
	}
}

// cutBefore cuts a text before a separator.
func cutBefore(s, sep string) (before, after string, ok bool) {
	for i := range s {
		if len(s)-i >= len(sep) && s[i:i+len(sep)] == sep {
			return s[:i], s[i:], true
		}
	}
	return s, "", false
}
