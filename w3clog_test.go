package caddyiis_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// wantLines waits until a site has so many lines, and compares them.
func wantLines(t *testing.T, dir string, site int, want ...string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(ts.W3CLines(dir, site)) < len(want) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	got := ts.W3CLines(dir, site)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("site %d: got\n%s\nwant\n%s", site, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestW3CLogs(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	port, secure := ts.FreePort(t), ts.FreePort(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("hiccup"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	startIIS(t, certificates(t, "D")+fmt.Sprintf(`
		w3c_log %[1]s
		defaults {
			w3c_log {
				fields date time cs-method cs-uri-stem sc-status sc-substatus time-taken
			}
			respond "default"
		}
		template quiet {
			w3c_log off
			respond "quiet"
		}
		site 1 {
			server_bindings :%[3]d:all.test
			secure_bindings :%[4]d:all.test
			certificate D
			rewrite /old /new
			log_skip /skipped
			route {
				iis_filter {
					hidden_segments secret
				}
				respond "some text"
			}
		}
		site 2 {
			server_bindings :%[3]d:default.test
		}
		site 3 {
			server_bindings :%[3]d:quiet.test
			template quiet
		}
		site 4 {
			server_bindings :%[3]d:own.test
			w3c_log %[2]s {
				fields date time c-ip cs-version cs-host cs(X-Two) sc(Content-Type) sc-bytes cs-bytes time-taken
				period monthly
			}
			respond "0123456789"
		}
		site 5 {
			server_bindings :%[3]d:locked.test
			secure_bindings :%[4]d:locked.test
			certificate D
			require_ssl
			w3c_log {
				fields date time sc-status sc-substatus time-taken
			}
		}
		site 6 {
			server_bindings :%[3]d:off.test
			w3c_log off
			respond "off"
		}
		site 7 {
			server_bindings :%[3]d:aborts.test
			w3c_log {
				fields date time sc-status sc-win32-status time-taken
			}
			abort
		}
		site 8 {
			server_bindings :%[3]d:user.test
			w3c_log {
				fields date time cs-username sc-status time-taken
			}
			basic_auth {
				bob %[5]s
			}
		}
	`, dir, other, port, secure, hash))
	get := func(host, path string, headers ...string) {
		t.Helper()
		h := make(http.Header)
		for i := 0; i < len(headers); i += 2 {
			h.Add(headers[i], headers[i+1])
		}
		if _, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Plain: true, Host: host, Path: path, Header: h}); err != nil && host != "aborts.test" {
			t.Errorf("%s%s: %v", host, path, err)
		}
	}
	agent := "Go-http-client/1.1"
	var want []string
	line := func(path string, port int, agent, more string) {
		want = append(want, fmt.Sprintf("127.0.0.1 GET %s %d - 127.0.0.1 %s %s", path, port, agent, more))
	}
	get("all.test", "/a%20b%0d%0a2026-01-01?x=1&y=%20", "User-Agent", "An agent\twith blanks", "Referer", "http://a.test/")
	line("/a+b++2026-01-01 x=1&y=%20", port, "An+agent+with+blanks", "http://a.test/ 400 0 0") // iis_filter takes no control characters
	get("all.test", "/old")
	line("/old -", port, agent, "- 200 0 0")
	get("all.test", "/skipped")
	get("all.test", "/secret/x")
	line("/secret/x -", port, agent, "- 404 8 0")
	for _, proto := range protocols {
		if _, err := ts.Do(ts.Request{Addr: at("127.0.0.1", secure), SNI: "all.test", Proto: proto, Path: "/" + proto, Header: http.Header{"User-Agent": {"A"}}}); err != nil {
			t.Fatal(err)
		}
		line("/"+proto+" -", secure, "A", "- 200 0 0")
	}
	wantLines(t, dir, 1, want...)

	get("default.test", "/d")
	wantLines(t, dir, 2, "GET /d 200 0")
	get("quiet.test", "/")
	get("off.test", "/")
	get("own.test", "/", "X-Two", "one", "X-Two", "two")
	locked := func() { get("locked.test", "/") }
	locked()
	wantLines(t, dir, 5, "403 4")
	get("aborts.test", "/")
	wantLines(t, dir, 7, "0 1236")
	get("user.test", "/", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("bob:hiccup")))
	get("user.test", "/")
	wantLines(t, dir, 8, "bob 200", "- 401")
	waitFor(t, "the line of site 4", func() bool { return len(ts.W3CLines(other, 4)) == 1 })
	if got := ts.W3CLines(other, 4)[0]; !regexp.MustCompile(`^127\.0\.0\.1 HTTP/1\.1 own\.test one,\+two text/plain;\+charset=utf-8 \d{2,3} \d{2,3}$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	name := filepath.Join(other, "W3SVC4", time.Now().UTC().Format("u_ex0601_x.log"))
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
	for _, site := range []int{3, 6} {
		if got := ts.W3CLines(dir, site); len(got) > 0 {
			t.Errorf("site %d: got %q", site, got)
		}
	}
}

// TestW3CLogLoads: a load with the same folder goes on with its files, without
// another header; other fields begin one; and what waits is written when the
// folder has gone from the configuration.
func TestW3CLogLoads(t *testing.T) {
	dir := t.TempDir()
	port := ts.FreePort(t)
	config := func(log, body string) string {
		return iisConfig(fmt.Sprintf("site 1 {\nserver_bindings :%d:\n%s\nrespond %s\n}", port, log, body))
	}
	log := func(fields string) string {
		return fmt.Sprintf("w3c_log %s {\nfields date time %s time-taken\n}", dir, fields)
	}
	s := ts.Start(t, config(log("cs-uri-stem"), "a"))
	get := func(path string) {
		t.Helper()
		if _, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Plain: true, Path: path}); err != nil {
			t.Fatal(err)
		}
	}
	load := func(config string) {
		t.Helper()
		if err := s.Load(config); err != nil {
			t.Fatal(err)
		}
	}
	get("/1")
	load(config(log("cs-uri-stem"), "b"))
	get("/2")
	load(config(log("cs-uri-stem sc-status"), "b"))
	get("/3")
	load(config("", "b"))
	wantLines(t, dir, 1, "/1", "/2", "/3 200")
	raw, err := os.ReadFile(filepath.Join(dir, "W3SVC1", time.Now().UTC().Format("u_ex060102.log")))
	if err != nil || strings.Count(string(raw), "#Fields:") != 2 {
		t.Errorf("%v: got %s", err, raw)
	}
}

// TestW3CLogUnwritable: logs that cannot be written keep nothing from being
// served. They are findings, a line of the log, and counted.
func TestW3CLogUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	port := ts.FreePort(t)
	ts.Logs.Reset()
	s := startIIS(t, fmt.Sprintf(`
		w3c_log %s/logs
		site 1 {
			server_bindings :%d:
			respond "served"
		}
		site 2 {
			server_bindings :%[2]d:two.test
			w3c_log C:\inetpub\logs\LogFiles
			respond "served"
		}
		site 3 {
			server_bindings :%[2]d:three.test
			w3c_log {env.NO_SUCH_VARIABLE_HERE}/logs
			respond "served"
		}
	`, file, port), "metrics")
	for _, host := range []string{"", "two.test", "three.test"} {
		exchange{name: host, request: ts.Request{Addr: at("127.0.0.1", port), Plain: true, Host: host}, body: "served"}.check(t)
	}
	waitFor(t, "the finding", func() bool { return finding(t, s, "w3c-log-not-written", file, "not a directory") != nil })
	if finding(t, s, "w3c-log-folder", `C:\inetpub`, "of Windows") == nil || finding(t, s, "w3c-log-folder", "NO_SUCH_VARIABLE_HERE") == nil {
		t.Errorf("got %+v", findings(t, s))
	}
	waitFor(t, "the count", func() bool {
		return metric(t, s, "caddy_iis_w3c_log_lines_total", `folder="`+file+`/logs"`, `result="failed"`) == "1"
	})
	if n := len(ts.Logs.Lines("W3C logs cannot be written")); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
}

// TestW3CLogLive: sites of a source have logs where the configuration says, and
// may have none; where they are written they cannot say.
func TestW3CLogLive(t *testing.T) {
	dir := t.TempDir()
	l := startLive(t, "", fmt.Sprintf("w3c_log %s {\nfields date time cs-uri-stem time-taken\n}", dir))
	l.want(201, "PUT", "sites/10", l.site("A", "a.wild.test"))
	l.want(201, "PUT", "sites/11", l.site("B", "b.wild.test", `"w3c_log":{"off":true}`))
	l.refused(422, "PUT", "sites/12", l.site("C", "c.wild.test", `"w3c_log":{"folder":"/etc/cron.d"}`), "only")
	for _, host := range []string{"b.wild.test", "a.wild.test"} {
		if _, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Plain: true, Host: host, Path: "/live"}); err != nil {
			t.Fatal(err)
		}
	}
	wantLines(t, dir, 10, "/live")
	if got := ts.W3CLines(dir, 11); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

// TestW3CLogRefused: what is wrong with the settings is said at load.
func TestW3CLogRefused(t *testing.T) {
	port := ts.FreePort(t)
	site := fmt.Sprintf("site 1 {\nserver_bindings :%d:\n%%s\n}", port)
	s := startIIS(t, fmt.Sprintf(site, ""))
	refusedLoad(t, s, "no folder", iisConfig(fmt.Sprintf(site, "w3c_log {\nperiod hourly\n}")), "site 1", "no folder")
	refusedLoad(t, s, "template", iisConfig("template x {\nw3c_log {\nfields data\n}\n}"), "unknown field", "data")
	for json, want := range map[string]string{
		`{"folder":"/x","fields":["nothing"]}`:                                     "unknown field",
		`{"folder":"/x","period":"yearly"}`:                                        "unknown word",
		`{"folder":"/x","period":"hourly","max_size":5}`:                           "for period none",
		`{"folder":"/x","custom_fields":[{"name":"a","source":"x","header":"A"}]}`: "unknown source",
	} {
		raw := fmt.Sprintf(`{"admin":{"listen":%q},"apps":{"iis":{"defaults":{"w3c_log":%s}}}}`, s.AdminAddr(), json)
		if err := s.LoadJSON([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", json, err, want)
		}
	}
}
