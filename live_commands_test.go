package caddyiis_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// run runs a caddy iis command against the Caddy of the test.
func (l *live) run(code int, args ...string) (out, errOut string) {
	l.t.Helper()
	var stdout, stderr bytes.Buffer
	if got := caddyiis.RunCommand(&stdout, &stderr, append(args, "--address", l.AdminAddr())...); got != code {
		l.t.Fatalf("caddy iis %q: exit code %d, want %d: %s%s", args, got, code, &stdout, &stderr)
	}
	return stdout.String(), stderr.String()
}

// TestLiveCommands: a change by a command is there after a restart with the same
// Caddyfile, and the command says where it is kept.
func TestLiveCommands(t *testing.T) {
	l := startLive(t, "", "")
	out, where := l.run(0, "add", "site", "Shop", "--http", fmt.Sprintf(":%d:shop.test", l.plain))
	if !strings.Contains(out, `site 2 "Shop": added`) || !strings.Contains(where, "kept in bolt") {
		t.Errorf("got %q, %q", out, where)
	}
	l.run(0, "add", "binding", "Shop", "https", fmt.Sprintf("*:%d:shop.test", l.secure), "--certificate", "wild.test")
	l.run(0, "set", "/w3svc/2/ServerComment", "Store")
	l.serves("shop.test", "default 2")
	if _, where := l.run(0, "set", "/w3svc/1/ServerComment", "Other"); !strings.Contains(where, "caddy reload") {
		t.Errorf("a site of the configuration: %q", where)
	}
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.serves("shop.test", "default 2")
	if out, _ := l.run(0, "show", "2"); !strings.Contains(out, "Store") {
		t.Errorf("got %q", out)
	}
	if out, _ := l.run(0, "enum", "/w3svc"); !strings.Contains(out, "[/w3svc/1]") || !strings.Contains(out, "[/w3svc/2]") {
		t.Errorf("got %q", out)
	}
	l.run(1, "add", "site", "Twice", "--id", "2", "--http", fmt.Sprintf(":%d:twice.test", l.plain))
	l.run(1, "add", "site", "Taken", "--http", fmt.Sprintf(":%d:shop.test", l.plain))
	for _, filter := range [][]string{{"--source", "bolt"}, {"--host", "shop.test"}, {"--certificate", "wild.test", "--source", "bolt"}, {"--state", "started", "--host", "SHOP.test"}} {
		if out, _ := l.run(0, append([]string{"list"}, filter...)...); !strings.Contains(out, "Store") || strings.Contains(out, "Other") {
			t.Errorf("list %q: got %q", filter, out)
		}
	}
	if out, _ := l.run(0, "list", "--host", "none.test"); !strings.Contains(out, "no such sites") {
		t.Errorf("got %q", out)
	}
	l.run(1, "list", "--state", "nonsense")
	l.run(0, "stop", "Store")
	l.serves("shop.test", "")
	l.run(0, "start", "2")
	l.serves("shop.test", "default 2")

	exported, _ := l.run(0, "sites", "export")
	if lines := strings.Split(strings.TrimSpace(exported), "\n"); len(lines) != 1 || !strings.HasPrefix(lines[0], `{"id":2,`) {
		t.Fatalf("got %q", exported)
	}
	backup := filepath.Join(t.TempDir(), "backup.jsonl")
	l.run(0, "sites", "export", "--output", backup)
	if written, err := os.ReadFile(backup); err != nil || string(written) != exported {
		t.Errorf("got %q, %v", written, err)
	}
	if _, errOut := l.run(1, "sites", "export", "--output", backup); !strings.Contains(errOut, "add --force to replace it") {
		t.Errorf("got %q", errOut)
	}
	l.run(0, "remove", "site", "2")
	l.serves("shop.test", "")
	file := filepath.Join(t.TempDir(), "sites.jsonl")
	more := exported + fmt.Sprintf("\n{\"id\":7,\"server_bindings\":[\":%d:seven.test\"]}\n", l.plain)
	if err := os.WriteFile(file, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ := l.run(0, "sites", "import", file); !strings.Contains(out, "2 sites, of which 2 were") {
		t.Errorf("got %q", out)
	}
	if out, _ := l.run(0, "sites", "import", file); !strings.Contains(out, "2 sites, of which 0 were") {
		t.Errorf("got %q", out)
	}
	l.serves("shop.test", "default 2")
	log, _ := l.run(0, "sites", "log")
	first := strings.Fields(strings.Split(log, "\n")[1])
	if !strings.Contains(log, "added 2, added 7") || !strings.Contains(log, "removed 2") {
		t.Errorf("got %q", log)
	}
	l.run(0, "sites", "revert", first[0])
	l.serves("shop.test", "")
	if err := os.WriteFile(file, []byte("{\"id\":8}\n{\"id\":0}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errOut := l.run(1, "sites", "import", file); !strings.Contains(errOut, "line 2") {
		t.Errorf("got %q", errOut)
	}
	l.run(2, "sites", "revert", "x")
	l.run(1, "sites", "export", "--source", "none")
}

// TestLiveImportConditions: an import into a source whose changes are conditional replaces
// what was there when it began, and nothing else.
func TestLiveImportConditions(t *testing.T) {
	l := startLive(t, "require_if_match", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"), "If-None-Match", "*")
	if err := l.Load(l.withSource(filepath.Join(t.TempDir(), "second.db"), "")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sites.jsonl")
	lines := fmt.Sprintf("{\"id\":10,%s\n{\"id\":11,%s\n", l.site("B", "a.test")[1:], l.site("C", "c.test")[1:])
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--source", "bolt"}, nil} {
		for _, changed := range []int{2, 0} {
			out, _ := l.run(0, append([]string{"sites", "import", file}, args...)...)
			if !strings.Contains(out, fmt.Sprintf("2 sites, of which %d were", changed)) {
				t.Errorf("%q: got %q", args, out)
			}
		}
		var site adminapi.Site
		l.ask("GET", "sites/10", "", &site)
		l.want(200, "PATCH", "sites/10", `{"name":"Other"}`, "If-Match", site.ETag)
		l.ask("GET", "sites/11", "", &site)
		l.want(200, "PATCH", "sites/11", `{"name":"Other"}`, "If-Match", site.ETag)
	}
	l.serves("a.test", "default 10")
	l.serves("c.test", "default 11")
	var e adminapi.WriteError
	if l.ask("GET", "export?revisions=2", "", &e); !strings.Contains(e.Message, "revisions") {
		t.Errorf("got %+v", e)
	}
	out := l.lines("export?revisions=1&source=bolt")
	var site adminapi.Site
	l.ask("GET", "sites/10", "", &site)
	if first, _, _ := strings.Cut(out, "\n"); first != fmt.Sprintf(`{"id":10,"revision":%d,"etag":%q}`, site.Revision, site.ETag) {
		t.Errorf("got %q", out)
	}
}

// TestLiveImportRestore: an import that has read what is there replaces nothing that comes
// under the same number of a revision, where a copy is put back meanwhile.
func TestLiveImportRestore(t *testing.T) {
	l := startLive(t, "require_if_match", "")
	made := l.want(201, "PUT", "sites/10", l.site("A", "a.test"), "If-None-Match", "*")
	db, away := l.file, filepath.Join(t.TempDir(), "away.db")
	closed := func(do func()) { // while no Caddy has the file open
		l.file = away
		err := l.Restart(l.config(""))
		do()
		l.file = db
		if err = errors.Join(err, l.Restart(l.config(""))); err != nil {
			t.Error(err)
		}
	}
	var copied []byte
	closed(func() { copied, _ = os.ReadFile(db) })
	lost := l.want(200, "PATCH", "sites/10", `{"name":"lost"}`, "If-Match", made.ETag)
	var kept adminapi.Written
	restored := false
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: l.AdminAddr()})
			r.Out.Header.Del("Origin")
		},
		ModifyResponse: func(r *http.Response) error {
			if r.Request.URL.Path != "/iis/export" || restored {
				return nil
			}
			answer, err := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(answer))
			closed(func() { err = errors.Join(err, os.WriteFile(db, copied, 0o600)) })
			if status := l.ask("PATCH", "sites/10", `{"name":"kept"}`, &kept, "If-Match", made.ETag); status != 200 {
				t.Errorf("after the copy is back: %d", status)
			}
			restored = true
			return err
		},
	})
	defer proxy.Close()
	file := filepath.Join(t.TempDir(), "sites.jsonl")
	if err := os.WriteFile(file, fmt.Appendf(nil, "{\"id\":10,%s\n", l.site("imported", "a.test")[1:]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errOut := offline(t, 1, "sites", "import", file, "--address", strings.TrimPrefix(proxy.URL, "http://")); !strings.Contains(errOut, "somebody has changed it") {
		t.Errorf("got %q", errOut)
	}
	if !restored || kept.Revision != lost.Revision {
		t.Errorf("%+v is lost, and %+v comes in its place", lost, kept)
	}
	var now adminapi.Site
	if l.ask("GET", "sites/10", "", &now); now.Name != "kept" {
		t.Errorf("got %+v", now)
	}
}

// lines reads an answer that is no JSON object.
func (l *live) lines(path string) string {
	l.t.Helper()
	_, answer := l.Admin("GET", "/iis/"+path, "")
	return answer
}
