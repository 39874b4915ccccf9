package caddyiis_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestSitesFileCopy: with a file that is broken, gone, or says what cannot be, Caddy
// starts and loads other changes; what it served last serves on, and a finding says so.
func TestSitesFileCopy(t *testing.T) {
	port := ts.FreePort(t)
	file := filepath.Join(t.TempDir(), "sites.jsonl")
	config := func(extra string) string {
		return iisConfig(fmt.Sprintf("sites_file %q\ndefaults {\nrespond {iis.site.name}\n}\nsite 1 one {\nserver_bindings :%d:one.test\n}\n%s", file, port, extra))
	}
	line := func(name, host, more string) []byte {
		return fmt.Appendf(nil, `{"id":10,"name":%q,"server_bindings":[":%d:%s"]%s}`+"\n", name, port, host, more)
	}
	serves := func(what, host, want string) {
		t.Helper()
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: host, Plain: true})
		if err != nil || answer.Body != want {
			t.Errorf("%s: %s: got %v, %v; want %q", what, host, answer, err, want)
		}
	}
	replace(t, file, []byte("broken\n"))
	s := ts.Start(t, "{\n}\n")
	refusedLoad(t, s, "there is no copy yet", config(""), "sites_file")
	replace(t, file, line("good", "ten.test", ""))
	if err := s.Load(config("")); err != nil {
		t.Fatal(err)
	}
	serves("the file", "ten.test", "good")
	for i, broken := range []func(){
		func() { replace(t, file, []byte("broken\n")) },
		func() {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		},
		func() { replace(t, file, line("bad", "ten.test", `,"template":"none"`)) },
		func() { replace(t, file, line("bad", "one.test", "")) },
		func() { replace(t, file, line("bad", "ten.test", `,"vars":{"x":"y"}`)) },
		func() { replace(t, file, line("bad", "ten.test", `,"require_ssl":"on"`)) },
	} {
		waitFor(t, "the copy", func() bool {
			found, _ := filepath.Glob(filepath.Join(os.Getenv("XDG_DATA_HOME"), "caddy", "iis", "sites", "*.jsonl"))
			for _, name := range found {
				if data, err := os.ReadFile(name); err == nil && string(data) == string(line("good", "ten.test", "")) {
					return true
				}
			}
			return false
		})
		broken()
		extra := fmt.Sprintf("site 2 two%d {\nserver_bindings :%d:two.test\n}", i, port)
		if err := s.Load(config(extra)); err != nil {
			t.Fatalf("%d: another change: %v", i, err)
		}
		serves("after a load", "two.test", fmt.Sprintf("two%d", i))
		serves("after a load", "ten.test", "good")
		if err := s.Restart(config("")); err != nil {
			t.Fatalf("%d: a start: %v", i, err)
		}
		serves("after a start", "ten.test", "good")
		var findings adminapi.Page[adminapi.Finding]
		if s.AdminJSON("/iis/check", &findings); len(findings.Items) == 0 || findings.Items[0].Code != "sites-file-refused" {
			t.Errorf("%d: findings: %+v", i, findings.Items)
		}
		refusedLoad(t, s, "a configuration that is wrong itself", config("site 3 three {\ntemplate none\n}"), "none")
		replace(t, file, line("better", "ten.test", ""))
		waitFor(t, "the file", func() bool {
			answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: "ten.test", Plain: true})
			return err == nil && answer.Body == "better"
		})
		replace(t, file, line("good", "ten.test", ""))
		waitFor(t, "the file", func() bool {
			answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: "ten.test", Plain: true})
			return err == nil && answer.Body == "good"
		})
	}
}
