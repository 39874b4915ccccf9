package caddyiis_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

const tenLine = `{"id":10,"name":"Ten","secure_bindings":[":HTTPS:ten.contoso.test"],"certificate":"wildcard"}`

// TestSitesFileMistakesInCommon: a mistake that very many sites share makes a
// message of a few lines.
func TestSitesFileMistakesInCommon(t *testing.T) {
	f := startSitesFile(t, "", tenLine)
	var lines []string
	for i := range 3000 {
		lines = append(lines, fmt.Sprintf(`{"id":%d,"secure_bindings":[":HTTPS:h%d.test"],"certificate":"mistyped"}`, i+10, i))
	}
	f.write(lines...)
	f.findings("sites.jsonl, line 20: site 29", "and 2980 more errors")
	f.write(`{"id":11,"server_bindings":["` + strings.Repeat(`","`, 300_000) + `"]}`)
	f.findings("line 1: site 11", "and 299981 more errors")
	var check adminapi.Page[adminapi.Finding]
	if f.AdminJSON("/iis/check", &check); len(check.Items[0].Message) > 10_000 {
		t.Errorf("a message of %d bytes", len(check.Items[0].Message))
	}
	f.write(strings.Repeat("x\n", 200_000))
	f.findings("line 20: invalid character", "and more lines like these")
	f.answers("ten.contoso.test", "10 Ten")
}

// TestSitesFileThatHangs: a change that waits for somebody else's server holds
// up nobody: not the API, not a load, not what is served.
func TestSitesFileThatHangs(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	f := startSitesFile(t, "", tenLine)
	f.write(tenLine, fmt.Sprintf(`{"id":11,"bindings":[{"protocol":"https","binding":"*:HTTPS:g.contoso.test","flags":1,"certificate":"wildcard",`+
		`"tls":{"client_authentication":{"mode":"require_and_verify","ca":{"provider":"http","endpoints":["http://%s/"]}}}}]}`, silent.Addr()))
	conn, err := silent.Accept() // it has been asked
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f.write(tenLine)
	done := make(chan error, 1)
	go func() {
		if status, body, err := f.TryAdmin(http.MethodGet, "/iis/check", ""); err != nil || status != 200 {
			done <- fmt.Errorf("%d %s: %w", status, body, err)
			return
		}
		done <- f.Load(f.config("drain 61s"))
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a load waits for a change that hangs")
	}
	f.answers("ten.contoso.test", "10 Ten")
}

// TestSitesFileEmptyAtLoad: a file that was cut to nothing drops no site by a load
// either. It is refused where there is no copy of what was served yet.
func TestSitesFileEmptyAtLoad(t *testing.T) {
	f := startSitesFile(t, "", tenLine)
	f.rename("")
	f.findings("is empty")
	if err := f.Load(f.config("drain 61s")); err != nil && !strings.Contains(err.Error(), "is empty") {
		t.Errorf("loaded: %v", err)
	}
	f.findings("is empty")
	f.answers("ten.contoso.test", "10 Ten")
}

// TestTemplatesAreCompiledAtLoad: what is wrong with a template is refused when
// it is configured, whether a site names it or not.
func TestTemplatesAreCompiledAtLoad(t *testing.T) {
	f := startSitesFile(t, "", tenLine)
	for _, tc := range []struct{ template, want string }{
		{`{"routes":[{"handle":[{"handler":"nonexistent"}]}]}`, `template "bad": routes: route 0: `},
		{`{"routes":[{"handle":[{"handler":"test_hook"}]}]}`, "registers for the connections of its server"},
		{`null`, `template "bad" is null`},
	} {
		raw, err := f.Adapt(f.config(""))
		if err != nil {
			t.Fatal(err)
		}
		var cfg map[string]any
		if err := json.Unmarshal(raw, &cfg); err != nil {
			t.Fatal(err)
		}
		cfg["apps"].(map[string]any)["iis"].(map[string]any)["templates"].(map[string]any)["bad"] = json.RawMessage(tc.template)
		if raw, err = json.Marshal(cfg); err != nil {
			t.Fatal(err)
		}
		if err := f.LoadJSON(raw); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.template, err)
		}
	}
	f.answers("ten.contoso.test", "10 Ten")
}

// TestSitesFileReadsAuthoritiesAgain: a site that goes and comes again is
// verified by the authority that its file names now.
func TestSitesFileReadsAuthoritiesAgain(t *testing.T) {
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	put := func(a *authority) {
		replace(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	}
	put(first)
	guarded := fmt.Sprintf(`{"id":11,"require_client_certificate":true,"bindings":[{"protocol":"https","binding":"*:HTTPS:g.contoso.test","flags":1,"certificate":"wildcard","tls":{"client_authentication":{"mode":"require_and_verify","ca":{"provider":"file","pem_files":[%q]}}}}]}`, ca)
	ts.Logs.Reset()
	f := startSitesFile(t, "", guarded)
	status := func(a *authority) int {
		answer, err := ts.Do(ts.Request{Addr: f.addr(), SNI: "g.contoso.test", TLS: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{a.client(t)}}})
		if err != nil {
			return 0
		}
		return answer.Status
	}
	waitFor(t, "the certificate", func() bool { return status(first) == 200 })
	put(second)
	f.write(tenLine)
	f.answers("ten.contoso.test", "10 Ten")
	f.write(guarded)
	waitFor(t, "the site to come again", func() bool { return status(second) == 200 })
	if got := status(first); got == 200 {
		t.Error("a client of the authority that was replaced is let in")
	}
}

// TestSitesFilePlaces: each message has the file and the line.
func TestSitesFilePlaces(t *testing.T) {
	f := &sitesFile{t: t, path: filepath.Join(t.TempDir(), "sites.jsonl"), http: ts.FreePort(t), https: ts.FreePort(t)}
	siteBlock := ts.FreePort(t)
	if last := max(f.http, f.https, siteBlock); last == f.http {
		f.http, siteBlock = siteBlock, last
	} else if last == f.https {
		f.https, siteBlock = siteBlock, last // the front listens there already, last of all
	}
	f.write(tenLine)
	busy, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	f.Server = ts.Start(t, f.config(fmt.Sprintf("site 500 High {\nsecure_bindings :%d:high.contoso.test\n}\n", f.https))+
		fmt.Sprintf("\nhttp://site.block.test:%d {\nrespond x\n}\nhttp://shared.block.test:%d {\nrespond x\n}\n", siteBlock, f.http))
	for name, tc := range map[string]struct{ line, want string }{
		"a host of a later site":         {`{"id":5,"secure_bindings":[":HTTPS:high.contoso.test"]}`, `site 500 "High"`},
		"a host of a later line":         {`{"id":6,"secure_bindings":[":HTTPS:ten.contoso.test"]}`, `site 10 "Ten"`},
		"bad TLS settings":               {`{"id":12,"bindings":[{"protocol":"https","binding":"*:HTTPS:x.contoso.test","flags":1,"certificate":"wildcard","tls":{"protocol_min":"tls9"}}]}`, "site 12"},
		"bad TLS settings, and a demand": {`{"id":12,"require_client_certificate":true,"bindings":[{"protocol":"https","binding":"*:HTTPS:x.contoso.test","flags":1,"certificate":"wildcard","tls":{"protocol_min":"tls9"}}]}`, "site 12"},
		"TLS settings of bad type":       {`{"id":12,"bindings":[{"protocol":"https","binding":"*:HTTPS:x","tls":7}]}`, `field "bindings.tls" is a number: expected an object`},
		"a missing authority":            {`{"id":13,"require_client_certificate":true,"bindings":[{"protocol":"https","binding":"*:HTTPS:x.contoso.test","flags":1,"certificate":"wildcard","tls":{"client_authentication":{"mode":"require_and_verify","ca":{"provider":"file","pem_files":["/nonexistent"]}}}}]}`, "site 13"},
		"a port that is in use":          {fmt.Sprintf(`{"id":14,"server_bindings":[":%d:x.test"]}`, busy.Addr().(*net.TCPAddr).Port), "(this is tried again)"},
		"an ordinary server's port":      {fmt.Sprintf(`{"id":15,"server_bindings":[":%d:x.test"]}`, siteBlock), "load Caddy's configuration again"},
		"an ordinary server's host":      {`{"id":16,"server_bindings":[":HTTP:shared.block.test"]}`, "shared.block.test"},
	} {
		t.Run(name, func(t *testing.T) {
			f.write(tenLine, "", tc.line)
			// Of two lines with the same host, the one with the higher id is named.
			f.findings("sites.jsonl, line ", tc.want)
			f.write(tenLine)
			f.findings()
		})
	}
	// It is applied when the port is free.
	port := busy.Addr().(*net.TCPAddr).Port
	f.write(tenLine, fmt.Sprintf(`{"id":14,"name":"Port","server_bindings":[":%d:"]}`, port))
	f.findings("in use")
	if _, body := f.Admin(http.MethodGet, "/metrics", ""); strings.Contains(body, fmt.Sprintf(`port="%d"`, port)) {
		t.Error("a port that is not served has metrics")
	}
	busy.Close()
	waitFor(t, "the port to be served", func() bool {
		answer, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", port), Plain: true, Host: "any.test"})
		return err == nil && answer.Body == "14 Port"
	})
}

// TestSitesFileFindings: what single changes bring is logged as at a load, and
// again if it was mended meanwhile.
func TestSitesFileFindings(t *testing.T) {
	ts.Logs.Reset()
	f := startSitesFile(t, "", tenLine)
	f.answers("ten.contoso.test", "10 Ten")
	wrong := `{"id":11,"name":"Wrong","secure_bindings":[":HTTPS:wrong.fabrikam.test"],"certificate":"wildcard"}`
	for i := range 2 {
		f.write(tenLine, wrong)
		f.answers("wrong.fabrikam.test", "11 Wrong")
		waitFor(t, "the finding", func() bool {
			return len(ts.Logs.Lines("browsers will show a name error for wrong.fabrikam.test")) == i+1
		})
		f.write(tenLine, strings.ReplaceAll(wrong, "wrong.fabrikam", "right.contoso"))
		f.answers("right.contoso.test", "11 Wrong")
	}
	f.write(tenLine, `{"id":12,"name":"Old","bindings":[{"protocol":"https","binding":"*:HTTPS:old.contoso.test","flags":1,"certificate":"wildcard","legacy_tls":true}]}`)
	f.answers("old.contoso.test", "12 Old")
	waitFor(t, "the finding", func() bool {
		return len(ts.Logs.Lines("TLS 1.0 and 1.1, which are broken, are on for old.contoso.test")) == 1
	})
	var lines []string
	for i := range 60 {
		lines = append(lines, fmt.Sprintf(`{"id":%d,"name":"n%d","secure_bindings":[":HTTPS:n%d.fabrikam.test"],"certificate":"wildcard"}`, i+20, i, i))
	}
	f.write(append(lines, tenLine)...)
	waitFor(t, "the rest to be counted", func() bool { return len(ts.Logs.Lines("there are more findings")) == 1 })
}

// TestSitesFileForgetsCounters: a request that ends after its site has gone does
// not bring its counter back.
func TestSitesFileForgetsCounters(t *testing.T) {
	f := startSitesFile(t, "template slow {\ntest_slow 1s\nrespond slow\n}\n", tenLine,
		`{"id":11,"secure_bindings":[":HTTPS:slow.contoso.test"],"template":"slow"}`)
	f.answers("ten.contoso.test", "10 Ten")
	before := slowStats.started.Load()
	done := make(chan error, 1)
	go func() {
		answer, err := ts.Do(ts.Request{Addr: f.addr(), SNI: "slow.contoso.test"})
		if err == nil && answer.Body != "slow" {
			err = fmt.Errorf("%+v", answer)
		}
		done <- err
	}()
	waitFor(t, "the request", func() bool { return slowStats.started.Load() > before })
	f.write(tenLine)
	if err := <-done; err != nil {
		t.Error(err)
	}
	waitFor(t, "the site to go", func() bool {
		answer, err := ts.Do(ts.Request{Addr: f.addr(), SNI: "slow.contoso.test"})
		return err == nil && answer.Status == 400
	})
	if got := metric(t, f.Server, "caddy_iis_requests_total", `site="11"`); got != "" {
		t.Errorf("the removed site is counted: %s", got)
	}
}

// TestSitesFileCountsPortsOfALoad: while a configuration is being loaded that has
// a binding on a port, the sites of the file leave that port. It is counted
// nevertheless once the configuration serves.
func TestSitesFileCountsPortsOfALoad(t *testing.T) {
	ts.Logs.Reset()
	f := startSitesFile(t, "")
	port := ts.FreePort(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	f.write(fmt.Sprintf(`{"id":10,"server_bindings":[":%d:a.test"]}`, port))
	waitFor(t, "the port", func() bool {
		_, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test"})
		return err == nil
	})
	raw, err := f.Adapt(f.config(fmt.Sprintf("site 12 {\nserver_bindings :%d:b.test\n}", port)))
	if err != nil {
		t.Fatal(err)
	}
	finish := loadBlocked(t, f.Server, raw)
	f.write("")
	waitFor(t, "the file", func() bool { return len(ts.Logs.Lines("the sites file has changed")) == 2 })
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if answer, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "unknown.test"}); err != nil || answer.Status != 400 {
			t.Fatalf("%+v, %v", answer, err)
		}
	}
	if got := metric(t, f.Server, "caddy_iis_unknown_host_requests_total", fmt.Sprintf(`port="%d"`, port)); got != "3" {
		t.Errorf("3 requests for unknown hosts are counted as %q", got)
	}
}

// TestSitesFileAndCommands: a new site of the configuration gets an id that no
// site of the file has; those are shown, and not changed.
func TestSitesFileAndCommands(t *testing.T) {
	f := startSitesFile(t, "", `{"id":2,"name":"Two","secure_bindings":[":HTTPS:two.contoso.test"],"certificate":"wildcard"}`)
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := caddyiis.RunCommand(&out, &out, append(args, "--address", f.AdminAddr())...)
		return code, out.String()
	}
	if code, out := run("add", "site", "New", "--http", fmt.Sprintf(":%d:new.test", f.http)); code != 0 || !strings.Contains(out, "site 3") {
		t.Errorf("add site: %d %s", code, out)
	}
	f.answers("two.contoso.test", "2 Two")
	if code, out := run("list"); code != 0 || !strings.Contains(out, "Two") || !strings.Contains(out, "New") {
		t.Errorf("list: %d %s", code, out)
	}
	for want, args := range map[string][]string{
		`site 2 "Two" is in the sites file: change it there`:                                    {"stop", "2"},
		`site 2 "Two" is in the sites file: caddy iis show 2 shows it, and it is changed there`: {"get", "w3svc/2/SecureBindings"},
		"site 9999: caddy iis list shows the sites":                                             {"stop", "9999"},
		"caddy iis list shows the sites; their paths are as in /w3svc/1":                        {"get", "w3svc/9999/SecureBindings"},
	} {
		if code, out := run(args...); code == 0 || !strings.Contains(out, want) {
			t.Errorf("%q: %d %s, want %s", args, code, out, want)
		}
	}
	if code, out := run("show", "Two"); code != 0 || !strings.Contains(out, "sites file, and it is changed there") {
		t.Errorf("show: %d %s", code, out)
	}
}

// TestSitesFileLongRequests: requests that last for days, one begun after each
// change, do not hold the tables of their time.
func TestSitesFileLongRequests(t *testing.T) {
	release := make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	defer backend.Close()
	defer close(release)
	const sites, rounds = 5000, 12
	var others strings.Builder
	for i := range sites {
		fmt.Fprintf(&others, `{"id":%d,"server_bindings":[":HTTP:h%d.test"]}`+"\n", i+10, i)
	}
	ts.Logs.Reset()
	f := startSitesFile(t, "template stream {\nreverse_proxy "+backend.Listener.Addr().String()+" {\nflush_interval -1\n}\n}\n", others.String())
	changes := 0
	change := func() { // one about which Compile decides
		changes++
		f.write(fmt.Sprintf(`{"id":5,"name":"v%d","server_bindings":[":HTTP:stream.test"],"template":"stream"}`, changes),
			fmt.Sprintf(`{"id":6,"bindings":[{"protocol":"https","binding":"*:HTTPS:*.w%d.test","flags":1,"certificate":"other"}]}`, changes), others.String())
		waitFor(t, "the change", func() bool { return len(ts.Logs.Lines("the sites file has changed")) == changes })
	}
	change()
	before := liveHeap()
	for range rounds {
		change()
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		req, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", f.http), nil)
		req.Host = "stream.test"
		resp, err := transport.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%+v, %v", resp, err)
		}
		defer resp.Body.Close()
	}
	// The tables of these sites take about 1.5 MB.
	if each := (liveHeap() - before) / rounds; each > 400<<10 {
		t.Errorf("each request in flight holds %d KiB", each>>10)
	}
}
