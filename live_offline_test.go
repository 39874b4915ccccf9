package caddyiis_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// offline runs a command that asks no Caddy.
func offline(t *testing.T, code int, args ...string) (out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if got := caddyiis.RunCommand(&stdout, &stderr, args...); got != code {
		t.Fatalf("caddy iis %q: exit code %d, want %d: %s%s", args, got, code, &stdout, &stderr)
	}
	return stdout.String(), stderr.String()
}

// TestSitesOffline: the file of a source is written and read without Caddy, which then serves
// what was written, and reverted; while Caddy has it open it is read, and not written.
func TestSitesOffline(t *testing.T) {
	l := startLive(t, "plain_keys", "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	db, lines := filepath.Join(t.TempDir(), "new.db"), filepath.Join(t.TempDir(), "sites.jsonl")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(lines, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := func(id int, host string) string {
		return fmt.Sprintf(`{"id":%d,"server_bindings":[":%d:%s"]}`+"\n", id, l.plain, host)
	}
	for _, command := range [][]string{{"export"}, {"log"}, {"revert", "1"}} {
		offline(t, 1, append(append([]string{"sites"}, command...), "--file", db)...)
	}
	if _, err := os.Stat(db); err == nil {
		t.Fatal("the file is made by who only looks")
	}
	write(site(10, "a.test") + site(11, "b.test"))
	for _, changed := range []int{2, 0} {
		if out, _ := offline(t, 0, "sites", "import", lines, "--file", db); out != fmt.Sprintf("2 sites, of which %d were new or different\n", changed) {
			t.Errorf("got %q", out)
		}
	}
	write(site(11, "c.test") + site(12, "d.test"))
	offline(t, 0, "sites", "import", lines, "--file", db)
	if out, _ := offline(t, 0, "sites", "export", "--file", db); out != site(10, "a.test")+site(11, "c.test")+site(12, "d.test") {
		t.Errorf("got %q", out)
	}
	log, _ := offline(t, 0, "sites", "log", "--file", db)
	if !strings.Contains(log, "added 10, added 11") || !strings.Contains(log, "changed 11, added 12") || strings.Count(log, "offline/") != 2 {
		t.Errorf("got %q", log)
	}
	for _, limit := range []string{"0", "-1", "1001", "many"} {
		if _, errOut := offline(t, cli.ExitUsage, "sites", "log", "--file", db, "--limit", limit); !strings.Contains(errOut, "--limit") {
			t.Errorf("--limit %s: got %q", limit, errOut)
		}
	}
	if log, _ := offline(t, 0, "sites", "log", "--file", db, "--limit", "1"); strings.Count(log, "offline/") != 1 {
		t.Errorf("got %q", log)
	}
	for text, mentions := range map[string]string{
		site(13, "e.test") + site(13, "f.test"): "site 13 is there twice",
		`{"id":13,"name":1,"name":2}` + "\n":    "twice",
		`{"id":0}` + "\n":                       "line 1",
		`{"id":13,"id":14}` + "\n":              `"id" is there twice`,
		`{"id":13} {}` + "\n":                   "more on it",
		`[]` + "\n":                             "no JSON object",
		fmt.Sprintf(`{"id":13,"name":%q}`+"\n", strings.Repeat("x", 66_000)): "65536",
	} {
		write(text)
		if _, errOut := offline(t, 1, "sites", "import", lines, "--file", db); !strings.Contains(errOut, mentions) {
			t.Errorf("got %q, want %q", errOut, mentions)
		}
	}
	for _, flag := range []string{"--source", "--address", "--config"} {
		if _, errOut := offline(t, 2, "sites", "export", "--file", db, flag, "x"); !strings.Contains(errOut, "exclude each other") {
			t.Errorf("got %q", errOut)
		}
	}

	l.file = db
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.plainly("c.test", "default 11")
	write(site(14, "g.test"))
	for _, command := range [][]string{{"import", lines}, {"revert", "1"}} {
		start := time.Now()
		_, errOut := offline(t, 1, append(append([]string{"sites"}, command...), "--file", db)...)
		if took := time.Since(start); !strings.Contains(errOut, "another process has it open: stop Caddy") || took > 20*time.Second {
			t.Errorf("got %q after %s", errOut, took)
		}
	}
	if out, _ := offline(t, 0, "sites", "export", "--file", db); strings.Count(out, "\n") != 3 {
		t.Errorf("got %q", out)
	}
	l.want(201, "PUT", "certificates/own", certificateJSON(issue(t, 10, nil, "own.test")))
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	log, _ = offline(t, 0, "sites", "log", "--file", db, "--json")
	if !strings.Contains(log, `"certificate": "own"`) && !strings.Contains(log, `"certificate":"own"`) || strings.Contains(log, "plain") {
		t.Errorf("got %q", log)
	}
	if _, errOut := offline(t, 1, "sites", "revert", "3", "--file", db); !strings.Contains(errOut, "certificate own") {
		t.Errorf("got %q", errOut)
	}
	if _, errOut := offline(t, 1, "sites", "revert", "9", "--file", db); !strings.Contains(errOut, "no revision 9") {
		t.Errorf("got %q", errOut)
	}
	if out, _ := offline(t, 0, "sites", "revert", "2", "--file", db); out != "revision 2 is taken back: 2 sites are as they were before it\n" {
		t.Errorf("got %q", out)
	}
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.plainly("b.test", "default 11")
	l.want(404, "GET", "sites/12", "")
}

// TestSitesOfflineSteps: an import makes steps of 10,000, each whole; a repeat goes on.
func TestSitesOfflineSteps(t *testing.T) {
	db, lines := filepath.Join(t.TempDir(), "sites.db"), filepath.Join(t.TempDir(), "sites.jsonl")
	const count = 25_000
	write := func(wrong int) {
		t.Helper()
		var text bytes.Buffer
		for id := 1; id <= count; id++ {
			if id == wrong {
				text.WriteString("{\n")
				continue
			}
			fmt.Fprintf(&text, `{"id":%d,"name":"s%[1]d"}`+"\n", id)
		}
		if err := os.WriteFile(lines, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(15_000)
	if _, errOut := offline(t, 1, "sites", "import", lines, "--file", db); !strings.Contains(errOut, "line 15000") || !strings.Contains(errOut, "10000 sites before it are imported") {
		t.Errorf("got %q", errOut)
	}
	if out, _ := offline(t, 0, "sites", "export", "--file", db); strings.Count(out, "\n") != 10_000 {
		t.Errorf("%d sites are there", strings.Count(out, "\n"))
	}
	write(0)
	if out, _ := offline(t, 0, "sites", "import", lines, "--file", db); out != "25000 sites, of which 15000 were new or different\n" {
		t.Errorf("got %q", out)
	}
	if log, _ := offline(t, 0, "sites", "log", "--file", db); strings.Count(log, "offline") != 3 {
		t.Errorf("got %q", log)
	}
}
