package caddyiis_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// sitesFile is a sites file under test, and the Caddy that follows it.
type sitesFile struct {
	*ts.Server
	t           *testing.T
	path        string
	http, https int
}

// write replaces the file as a careful program does, by renaming. In lines,
// HTTP and HTTPS stand for the ports.
func (f *sitesFile) write(lines ...string) {
	f.t.Helper()
	f.rename(strings.Join(lines, "\n") + "\n")
}

func (f *sitesFile) rename(content string) {
	f.t.Helper()
	content = strings.NewReplacer("HTTPS", fmt.Sprint(f.https), "HTTP", fmt.Sprint(f.http)).Replace(content)
	if err := os.WriteFile(f.path+".new", []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		f.t.Fatal(err)
	}
}

func (f *sitesFile) config(extra string) string {
	return fmt.Sprintf(`{
		iis {
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			certificate other {
				subjects *.fabrikam.test
				issuer internal
			}
			site 1 Main {
				server_bindings :%[1]d:
				secure_bindings :%[2]d:www.contoso.test
				certificate wildcard
				respond "main"
			}
			defaults {
				respond "{iis.site.id} {iis.site.name}"
			}
			template teapot {
				respond "teapot {iis.site.id}" 418
			}
			sites_file %[3]s
			metrics
			%[4]s
		}
	}`, f.http, f.https, f.path, extra)
}

// startSitesFile starts a Caddy with a sites file.
func startSitesFile(t *testing.T, extra string, lines ...string) *sitesFile {
	t.Helper()
	f := &sitesFile{t: t, path: filepath.Join(t.TempDir(), "sites.jsonl"), http: ts.FreePort(t), https: ts.FreePort(t)}
	f.write(lines...)
	f.Server = ts.Start(t, f.config(extra))
	return f
}

// answers waits until a host answers over https with a body.
func (f *sitesFile) answers(host, body string) {
	f.t.Helper()
	var last string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		answer, err := ts.Do(ts.Request{Addr: f.addr(), SNI: host})
		if err != nil {
			last = err.Error()
			continue
		}
		if last = fmt.Sprintf("%d %s", answer.Status, answer.Body); answer.Body == body {
			return
		}
	}
	f.t.Fatalf("%s answers %s, want %s", host, last, body)
}

func (f *sitesFile) addr() string { return fmt.Sprintf("127.0.0.1:%d", f.https) }

// findings waits for the finding that the file is refused, or for none.
func (f *sitesFile) findings(want ...string) {
	f.t.Helper()
	var got []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var check adminapi.Page[adminapi.Finding]
		f.AdminJSON("/iis/check", &check)
		got = got[:0]
		for _, finding := range check.Items {
			if finding.Code == "sites-file-refused" {
				got = append(got, finding.Message)
			}
		}
		if len(got) == 0 && len(want) == 0 {
			return
		}
		if len(got) == 1 && len(want) > 0 && containsAll(got[0], want) {
			return
		}
	}
	f.t.Fatalf("findings %q, want %q", got, want)
}

// valid compares the metric that tells whether the file is served.
func (f *sitesFile) valid(want string) {
	f.t.Helper()
	_, body := f.Admin(http.MethodGet, "/metrics", "")
	if !strings.Contains(body, "\ncaddy_iis_sites_file_valid "+want+"\n") {
		f.t.Errorf("the metric caddy_iis_sites_file_valid is not %s", want)
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// TestSitesFile goes through the life of a file: all answers come from real
// handshakes and requests.
func TestSitesFile(t *testing.T) {
	ts.Logs.Reset()
	f := startSitesFile(t, "",
		`{"id":10,"name":"Ten","secure_bindings":[":HTTPS:ten.contoso.test"],"certificate":"wildcard"}`,
		``,
		`{"id":11,"template":"teapot","secure_bindings":[":HTTPS:tea.contoso.test"],"certificate":"wildcard"}`,
	)
	f.answers("ten.contoso.test", "10 Ten")
	f.answers("tea.contoso.test", "teapot 11")

	// A site more, one less, one different.
	f.write(
		`{"id":12,"name":"Twelve","secure_bindings":[":HTTPS:twelve.contoso.test"],"certificate":"wildcard"}`,
		`{"id":11,"name":"Eleven","secure_bindings":[":HTTPS:tea.contoso.test"],"certificate":"wildcard"}`,
	)
	f.answers("twelve.contoso.test", "12 Twelve")
	f.answers("tea.contoso.test", "11 Eleven")
	if answer, err := ts.Do(ts.Request{Addr: f.addr(), SNI: "ten.contoso.test"}); err != nil || answer.Status != 400 {
		t.Errorf("the removed site: %+v, %v", answer, err)
	}

	// A certificate of its own by name, which Compile decides about since
	// clients without SNI get another.
	f.write(
		`{"id":12,"name":"Twelve","bindings":[{"protocol":"https","binding":"*:HTTPS:twelve.fabrikam.test","flags":1,"certificate":"other"}]}`,
	)
	f.answers("twelve.fabrikam.test", "12 Twelve")
	if cert, err := ts.Handshake(f.addr(), "twelve.fabrikam.test"); err != nil || cert.VerifyHostname("twelve.fabrikam.test") != nil {
		t.Errorf("certificate %v, %v", cert, err)
	}

	// Nothing but the configuration's own sites.
	f.write("")
	waitFor(t, "the last site to go", func() bool {
		answer, err := ts.Do(ts.Request{Addr: f.addr(), SNI: "twelve.fabrikam.test"})
		return err == nil && answer.Status == 400
	})
	f.answers("www.contoso.test", "main")
	if lines := ts.Logs.Lines("the sites file has changed"); len(lines) != 3 {
		t.Errorf("logged:\n%s", strings.Join(lines, "\n"))
	}
}

// TestSitesFileRefused: whatever is wrong with a file, the message says where,
// and the sites serve on as they were.
func TestSitesFileRefused(t *testing.T) {
	good := `{"id":10,"name":"Ten","secure_bindings":[":HTTPS:ten.contoso.test"],"certificate":"wildcard"}`
	f := startSitesFile(t, "", good)
	for name, tc := range map[string]struct {
		lines []string
		want  []string
	}{
		"no JSON":               {[]string{good, "site 11"}, []string{"sites.jsonl, line 2: invalid character 's'"}},
		"cut off":               {[]string{good, `{"id":11,"name":"El`}, []string{"line 2: the JSON object does not end on this line"}},
		"two on a line":         {[]string{good + good}, []string{"line 1: there is more on the line than one JSON object"}},
		"a list":                {[]string{"[" + good + "]"}, []string{"line 1: a JSON object is expected, not a list"}},
		"no id":                 {[]string{`{"name":"x"}`}, []string{`line 1: the site has no id: add "id" with a number from 1`}},
		"a name of IIS":         {[]string{`{"id":7,"ServerBindings":[]}`}, []string{`line 1: unknown field "ServerBindings"`}},
		"a name in capitals":    {[]string{`{"id":7,"Server_Bindings":[]}`}, []string{`line 1: "Server_Bindings" is no field: names are in lower case, such as "server_bindings"`}},
		"a field twice":         {[]string{`{"id":7,"offline":true,"offline":false}`}, []string{`line 1: "offline" is there twice: remove one of them`}},
		"null":                  {[]string{`{"id":7,"offline":null}`}, []string{`line 1: "offline" is null, which is nothing: leave it out, or give it a value`}},
		"an id as text":         {[]string{`{"id":"11"}`}, []string{`line 1: field "id" is a text: expected a whole number from 0 to 4294967295, without quotes`}},
		"a mistyped field":      {[]string{good, `{"id":11,"biding":[]}`}, []string{`line 2: unknown field "biding"`}},
		"routes":                {[]string{`{"id":11,"routes":[{}]}`}, []string{"line 1: site 11: routes, errors and site_vars have no place here: name a template"}},
		"twice":                 {[]string{good, good}, []string{"line 2", "site 10", "line 1"}},
		"of the configuration":  {[]string{good, `{"id":1,"name":"x"}`}, []string{"line 2: the configuration has a site 1 as well"}},
		"a bad binding":         {[]string{`{"id":11,"server_bindings":["www"]}`}, []string{"line 1: site 11:", "www"}},
		"no such certificate":   {[]string{`{"id":11,"secure_bindings":[":HTTPS:a.test"],"certificate":"none"}`}, []string{`line 1: site 11: binding *:`, `certificate "none" is not configured: expected one of ["other" "wildcard"]`}},
		"no such template":      {[]string{`{"id":11,"server_bindings":[":HTTP:a.test"],"template":"none"}`}, []string{`line 1: site 11: template "none" is not configured: expected one of ["teapot"]`}},
		"a taken host":          {[]string{good, `{"id":11,"secure_bindings":[":HTTPS:www.contoso.test"]}`}, []string{"line 2: site 11, https binding", `is also a binding of site 1 "Main"`}},
		"the other protocol":    {[]string{good, `{"id":11,"server_bindings":[":HTTPS:x.test"]}`}, []string{"line 2: site 11, http binding", "http or https but not both"}},
		"another certificate":   {[]string{good, `{"id":11,"secure_bindings":[":HTTPS:x.test"],"certificate":"other"}`}, []string{"line 2: site 11", `certificate "other"`, "share record"}},
		"an impossible demand":  {[]string{`{"id":11,"server_bindings":[":HTTP:x.test"],"require_ssl":"on"}`}, []string{"line 1: site 11: require_ssl"}},
		"nothing at all":        {nil, []string{"is empty"}},
		"a port that is in use": {[]string{good, fmt.Sprintf(`{"id":11,"server_bindings":[":%s:x.test"]}`, strings.TrimPrefix(f0(t), "127.0.0.1:"))}, []string{"site 11"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.lines == nil {
				f.rename("")
			} else {
				f.write(tc.lines...)
			}
			f.findings(tc.want...)
			f.valid("0")
			f.answers("ten.contoso.test", "10 Ten")
			f.answers("www.contoso.test", "main")
			f.write(good)
			f.findings()
			f.valid("1")
		})
	}
	// A configuration is loaded with what was served last.
	f.write(`{"id":11,"biding":[]}`)
	if err := f.Load(f.config("")); err != nil {
		t.Errorf("loaded with %v", err)
	}
	f.findings(`sites.jsonl, line 1: unknown field "biding"`)
	f.answers("ten.contoso.test", "10 Ten")
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.findings("no such file")
	f.answers("ten.contoso.test", "10 Ten")
	if err := f.Load(f.config("")); err != nil {
		t.Errorf("loaded with %v", err)
	}
	f.findings("no such file")
	f.answers("ten.contoso.test", "10 Ten")
}

// f0 listens at a port of another program and returns its address.
func f0(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// TestSitesFileLosesNothing changes sites and sockets by file under load.
func TestSitesFileLosesNothing(t *testing.T) {
	f := startSitesFile(t, "")
	extra := ts.FreePort(t)
	l := allProtocols(fmt.Sprintf("127.0.0.1:%d", f.http), f.addr(), "www.contoso.test", "main")
	for i := range 20 {
		lines := []string{fmt.Sprintf(`{"id":7,"name":"n%[1]d","secure_bindings":[":HTTPS:n%[1]d.contoso.test"]}`, i)}
		if i%4 == 3 { // a port comes and goes
			lines = append(lines, fmt.Sprintf(`{"id":8,"server_bindings":[":%d:"]}`, extra))
		}
		f.write(lines...)
		f.answers(fmt.Sprintf("n%d.contoso.test", i), fmt.Sprintf("7 n%d", i))
		if i%4 == 3 {
			if answer, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", extra), Plain: true, Host: "any.test"}); err != nil || answer.Body != "8" {
				t.Errorf("the new port: %+v, %v", answer, err)
			}
		}
	}
	l.finish(t)
}

// TestSitesFileAndLoads: a load takes the file as it is, and what changes while
// a configuration is being loaded is not lost.
func TestSitesFileAndLoads(t *testing.T) {
	line := func(i int) string {
		return fmt.Sprintf(`{"id":7,"name":"n%[1]d","secure_bindings":[":HTTPS:n%[1]d.contoso.test"]}`, i)
	}
	f := startSitesFile(t, "", line(0))
	f.answers("n0.contoso.test", "7 n0")
	runtime.GC()
	before := settle()
	for i := 1; i <= 10; i++ {
		go f.write(line(i))
		if err := f.Load(f.config(fmt.Sprintf("drain %ds", 60+i))); err != nil {
			t.Fatal(err)
		}
		f.answers(fmt.Sprintf("n%d.contoso.test", i), fmt.Sprintf("7 n%d", i))
	}
	if after := settle(); after > before+3 {
		t.Errorf("%d goroutines, were %d", after, before)
	}
	// Without a file its sites are gone.
	if err := f.Load(strings.ReplaceAll(f.config(""), "sites_file "+f.path, "")); err != nil {
		t.Fatal(err)
	}
	if answer, err := ts.Do(ts.Request{Addr: f.addr(), SNI: "n10.contoso.test"}); err != nil || answer.Status != 400 {
		t.Errorf("%+v, %v", answer, err)
	}
}

// TestSitesFileInTheAPI: sites of the file are shown like all others, and
// counted as long as they are there.
func TestSitesFileInTheAPI(t *testing.T) {
	f := startSitesFile(t, "", `{"id":10,"name":"Ten","offline":true,"secure_bindings":[":HTTPS:ten.contoso.test"],"certificate":"wildcard"}`)
	var site adminapi.Site
	f.AdminJSON("/iis/sites/10", &site)
	if site.Name != "Ten" || !site.Offline || site.Certificate != "wildcard" || site.Source != adminapi.SourceSitesFile || len(site.Bindings) != 1 {
		t.Errorf("%+v", site)
	}
	var main adminapi.Site
	if f.AdminJSON("/iis/sites/1", &main); main.Source != "" {
		t.Errorf("%+v", main)
	}
	if answer, err := ts.Do(ts.Request{Addr: f.addr(), SNI: "ten.contoso.test"}); err != nil || answer.Status != http.StatusServiceUnavailable {
		t.Errorf("%+v, %v", answer, err)
	}
	waitFor(t, "the request to be counted", func() bool {
		return metric(t, f.Server, "caddy_iis_requests_total", `site="10"`, `class="5xx"`) == "1"
	})
	f.write(`{"id":11,"secure_bindings":[":HTTPS:eleven.contoso.test"]}`)
	f.answers("eleven.contoso.test", "11")
	if got := metric(t, f.Server, "caddy_iis_requests_total", `site="10"`); got != "" {
		t.Errorf("the removed site is still counted: %s", got)
	}
	if got := metric(t, f.Server, "caddy_iis_sites", `state="started"`); got != "2" {
		t.Errorf("%s sites are started", got)
	}
}
