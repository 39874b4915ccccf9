package caddyiis_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// referenceBlock returns the first block in a language under a heading of the
// reference.
func referenceBlock(t *testing.T, heading, language string) string {
	t.Helper()
	reference, err := os.ReadFile("docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(reference), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("the reference has no heading %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	_, text, ok = strings.Cut(text, "```"+language+"\n")
	if !ok {
		t.Fatalf("no %s under %q", language, heading)
	}
	text, _, _ = strings.Cut(text, "```")
	return text
}

// TestSitesFileAsDocumented runs the example of the reference, with free ports
// and folders of the test.
func TestSitesFileAsDocumented(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "shop of ", r.Host)
	}))
	defer backend.Close()
	dir := t.TempDir()
	florist := filepath.Join(dir, "srv", "1002")
	if err := os.MkdirAll(florist, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(florist, "index.html"), []byte("flowers"), 0o600); err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := ts.PEM(t, "*.example.com", "*.example.com")
	http, https := ts.FreePort(t), ts.FreePort(t)
	lines := strings.NewReplacer(":80:", fmt.Sprintf(":%d:", http), ":443:", fmt.Sprintf(":%d:", https)).
		Replace(referenceBlock(t, "sites_file", "json"))
	if err := os.WriteFile(filepath.Join(dir, "sites.jsonl"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	ts.Start(t, strings.NewReplacer(
		"wildcard.pem", certFile, "wildcard.key", keyFile, "/srv/sites", filepath.Join(dir, "srv"), "/etc/caddy", dir,
		"shops-{iis.site.id}.internal:8080", backend.Listener.Addr().String(),
	).Replace(referenceBlock(t, "sites_file", "caddyfile")))

	for _, c := range []struct {
		request ts.Request
		want    string
	}{
		{ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", https), SNI: "bakery.example.com"}, "shop of bakery.example.com"},
		{ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", https), SNI: "florist.example.com"}, "flowers"},
		{ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", https), Host: "florist.example.com"}, "flowers"},
		{ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", http), Host: "florist.example.com", Plain: true}, "flowers"},
	} {
		if answer, err := ts.Do(c.request); err != nil || strings.Split(answer.Body, ":")[0] != c.want {
			t.Errorf("%+v: %+v, %v; want %q", c.request, answer, err, c.want)
		}
	}
}
