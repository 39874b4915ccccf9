package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// paths returns the paths of the requests that log lines tell of, in order.
func paths(entries []ts.Entry) []string {
	var list []string
	for _, entry := range entries {
		request, _ := entry["request"].(map[string]any)
		list = append(list, fmt.Sprint(request["uri"]))
	}
	return list
}

// logFile reads a log.
func logFile(t *testing.T, file string) []ts.Entry {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var entries []ts.Entry
	for line := range bytes.Lines(raw) {
		var entry ts.Entry
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		entries = append(entries, entry)
	}
	return entries
}

func TestServeAccessLogs(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	iis := certificates(t, "D") + fmt.Sprintf(`
		site 1 {
			server_bindings :%[1]d:silent.test
			secure_bindings :%[2]d:silent.test
			certificate D
		}
		site 2 {
			server_bindings :%[1]d:logged.test
			secure_bindings :%[2]d:logged.test :%[2]d:*.logged.test
			log
		}
		site 3 Quiet {
			server_bindings :%[1]d:quiet.test
			log
			log_skip /health
			log_append extra {iis.site.name}
			handle_errors {
				respond "error"
			}
			error /fail 500
			respond "3"
		}
	`, httpPort, httpsPort) + exampleDefaults
	file := filepath.Join(needs.OpenFolder(t), "site2.log")
	s := startIIS(t, iis, fmt.Sprintf("log site2 {\noutput file %q\ninclude iis.log.access.2\n}", file))
	get := func(r ts.Request, path string) {
		t.Helper()
		r.Path = path
		if _, err := ts.Do(r); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	var want []string
	for _, proto := range protocols {
		path := "/" + proto
		get(ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "silent.test", Proto: proto}, path)
		get(ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "logged.test", Proto: proto}, path)
		get(ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "unknown.test", Proto: proto}, path)
		want = append(want, path)
	}
	get(ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "a.logged.test"}, "/wildcard")
	get(ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "logged.test"}, "/plain")
	get(ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "silent.test"}, "/plain")
	want = append(want, "/wildcard", "/plain")
	for _, path := range []string{"/one", "/health", "/fail"} {
		get(ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "quiet.test"}, path)
	}

	waitFor(t, "the log lines", func() bool {
		return len(logFile(t, file)) >= len(want) && len(ts.Logs.Logger("iis.log.access.3")) >= 2
	})
	// What a log of its own takes is not in the default log.
	entries := logFile(t, file)
	if got := paths(entries); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("site 2: got log lines for %q, want %q", got, want)
	}
	for i, entry := range entries {
		binding := fmt.Sprintf("*:%d:logged.test", httpsPort)
		switch want[i] {
		case "/wildcard":
			binding = fmt.Sprintf("*:%d:*.logged.test", httpsPort)
		case "/plain":
			binding = fmt.Sprintf("*:%d:logged.test", httpPort)
		}
		if entry["site"] != 2.0 || entry["binding"] != binding || entry["status"] != 200.0 || entry["msg"] != "handled request" {
			t.Errorf("%s: got site %v, binding %v, status %v, message %v; want 2, %s, 200, handled request",
				want[i], entry["site"], entry["binding"], entry["status"], entry["msg"], binding)
		}
	}
	entries = ts.Logs.Logger("iis.log.access.3")
	if got := paths(entries); fmt.Sprint(got) != "[/one /fail]" {
		t.Fatalf("site 3: got log lines for %q, want /one and /fail", got)
	}
	for i, status := range []float64{200, 500} {
		if entry := entries[i]; entry["status"] != status || entry["site"] != 3.0 || entry["extra"] != "Quiet" {
			t.Errorf("site 3: got status %v, site %v, extra %v; want %v, 3, Quiet", entry["status"], entry["site"], entry["extra"], status)
		}
	}
	for _, name := range []string{"iis.log.access", "iis.log.access.1", "iis.log.access.2"} {
		if entries := ts.Logs.Logger(name); len(entries) > 0 {
			t.Errorf("%s: got log lines for %q, want none", name, paths(entries))
		}
	}

	// log in iis is for all sites.
	ts.Logs.Reset()
	if err := s.Load(iisConfig("log\n" + iis)); err != nil {
		t.Fatal(err)
	}
	get(ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "silent.test"}, "/all")
	waitFor(t, "the log line of site 1", func() bool { return len(ts.Logs.Logger("iis.log.access.1")) == 1 })
}

// TestServeErrorLog: an error of a site's handlers is logged once, whether the
// site has an access log and error routes or not.
func TestServeErrorLog(t *testing.T) {
	port, dead := ts.FreePort(t), ts.FreePort(t)
	site := func(id int, more string) string {
		return fmt.Sprintf("site %[1]d {\nserver_bindings :%[2]d:s%[1]d.test\nreverse_proxy 127.0.0.1:%[3]d\n%[4]s\n}\n", id, port, dead, more)
	}
	const handled = "handle_errors {\nrespond sorry\n}"
	startIIS(t, site(1, "")+site(2, "log")+site(3, handled)+site(4, "log\n"+handled))
	for _, c := range []struct {
		site      int
		level     string // of the error; handled ones are no failures
		accessLog bool
	}{
		{1, "error", false}, {2, "error", true}, {3, "debug", false}, {4, "debug", true},
	} {
		ts.Logs.Reset()
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Plain: true, Host: fmt.Sprintf("s%d.test", c.site)})
		if err != nil || answer.Status != 502 {
			t.Errorf("site %d: got %v, %v; want status 502", c.site, answer, err)
			continue
		}
		log := fmt.Sprintf("iis.log.error.%d", c.site)
		if !c.accessLog {
			log = "iis.log.error"
		}
		waitFor(t, "the log line of the error", func() bool { return len(ts.Logs.Lines(`"logger":"iis.log.error`)) > 0 })
		entries := ts.Logs.Logger(log)
		if len(entries) != 1 || entries[0]["level"] != c.level || entries[0]["status"] != 502.0 {
			t.Errorf("site %d: got %v in %s, want one line at level %s with status 502", c.site, entries, log, c.level)
		}
		if lines := ts.Logs.Lines(`"logger":"iis.log.error`); len(lines) != 1 {
			t.Errorf("site %d: the error is logged %d times: %q", c.site, len(lines), lines)
		}
		if n := len(ts.Logs.Logger(fmt.Sprintf("iis.log.access.%d", c.site))); n != 1 && c.accessLog || n != 0 && !c.accessLog {
			t.Errorf("site %d: got %d lines in the access log; it has one: %v", c.site, n, c.accessLog)
		}
	}
}
