package iisimport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// serveServer imports a site in front of a worker, with words of the whole server and a
// web.config, and serves it.
func serveServer(t *testing.T, worker http.HandlerFunc, system, web string) (addr string, plan *iisimport.Plan) {
	t.Helper()
	backend := httptest.NewServer(worker)
	t.Cleanup(backend.Close)
	at := strings.NewReplacer("BACKEND", backend.Listener.Addr().String())
	server, err := iisconfig.Read([]iisconfig.File{
		{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\web" /></application>` +
			`<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost><system.webServer>` + system + `</system.webServer></configuration>`)},
		{Name: "export/web/web.config", Data: []byte(`<configuration><system.webServer>` + at.Replace(web) + `</system.webServer></configuration>`)},
	}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr = httpOnly(t, server)
	plan = iisimport.Import(server, iisimport.Options{Upstream: backend.Listener.Addr().String(), Folders: []iisimport.Folder{{From: `C:\web`, To: ts.Folder(t)}}})
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	return addr, plan
}

const toBackend = `<rewrite><rules><rule name="r"><match url="(.*)" /><action type="Rewrite" url="http://BACKEND/{R:1}" /></rule></rules></rewrite>`

// lineOf is the line of the report about something.
func lineOf(plan *iisimport.Plan, what string) iisimport.Line {
	for _, l := range plan.Report.Lines {
		if strings.HasPrefix(l.What, what) {
			return l
		}
	}
	return iisimport.Line{}
}

// TestProxySettings: what the section proxy says of headers reaches the server and the client
// as IIS has it; a client's own address is no address.
func TestProxySettings(t *testing.T) {
	worker := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://"+r.Host+"/next")
		w.WriteHeader(http.StatusFound)
		fmt.Fprint(w, r.Header["X-Client"], r.Header["X-By"])
	}
	for _, c := range []struct{ attrs, body, location string }{
		{`xForwardedForHeaderName="X-Client" includePortInXForwardedFor="false" xForwardedByHeaderName="X-By"`, `\[127\.0\.0\.1\] \[127\.0\.0\.1\]`, "http://SELF/next"},
		{`xForwardedForHeaderName="X-Client" reverseRewriteHostInResponseHeaders="false"`, `\[127\.0\.0\.1:\d+\] \[6\.6\.6\.6\]`, "http://BACKEND/next"},
	} {
		var backend string
		addr, plan := serveServer(t, func(w http.ResponseWriter, r *http.Request) { backend = r.Host; worker(w, r) }, `<proxy enabled="true" `+c.attrs+` />`, toBackend)
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: "/x", Header: http.Header{"X-Client": {"6.6.6.6"}, "X-By": {"6.6.6.6"}}})
		if err != nil {
			t.Fatal(err)
		}
		location := strings.NewReplacer("SELF", "a.test", "BACKEND", backend).Replace(c.location)
		if !regexp.MustCompile("^"+c.body+"$").MatchString(a.Body) || a.Header.Get("Location") != location {
			t.Errorf("%s: %q, Location %s", c.attrs, a.Body, a.Header.Get("Location"))
		}
		if l := lineOf(plan, "proxy xForwardedForHeaderName"); l.Outcome != iisimport.Translated {
			t.Error(plan.Report.Lines)
		}
	}
}

// TestProxyLines: each attribute of the section has its words, or a line that says what is not so.
func TestProxyLines(t *testing.T) {
	for _, c := range []struct {
		attrs, words, what string
		outcome            iisimport.Outcome
	}{
		{`timeout="00:00:09"`, "response_header_timeout 9s", "proxy timeout", iisimport.Translated},
		{``, "response_header_timeout 120s", "proxy timeout", iisimport.Translated},
		{`timeout="soon"`, "", "proxy timeout", iisimport.Decide},
		{`httpVersion="Http11"`, "versions 1.1", "proxy httpVersion", iisimport.Translated},
		{`httpVersion="Http10"`, "", "proxy httpVersion", iisimport.Decide},
		{`preserveHostHeader="true"`, "preserve_host", "proxy preserveHostHeader", iisimport.Translated},
		{`xForwardedForHeaderName=""`, "", "proxy xForwardedForHeaderName", iisimport.Dropped},
		{`xForwardedForHeaderName="a b"`, "", "proxy xForwardedForHeaderName", iisimport.Decide},
		{`xForwardedForHeaderName="host"`, "", "proxy xForwardedForHeaderName", iisimport.Decide},
		{``, "", "proxy includePortInXForwardedFor", iisimport.Dropped},
		{`includePortInXForwardedFor="false"`, "", "proxy includePortInXForwardedFor", iisimport.Translated},
	} {
		_, plan := serveServer(t, http.NotFound, `<proxy enabled="true" `+c.attrs+` />`, toBackend)
		if text := string(plan.Caddyfile()); !strings.Contains(text, c.words) {
			t.Errorf("%s: no %s in\n%s", c.attrs, c.words, text)
		}
		if l := lineOf(plan, c.what); l.Outcome != c.outcome {
			t.Errorf("%s: %v", c.attrs, plan.Report.Lines)
		}
	}
	_, plan := serveServer(t, http.NotFound, `<proxy enabled="true" />`, toBackend+`</system.webServer><location path="p"><system.webServer><proxy timeout="00:00:01" /></system.webServer></location><system.webServer>`)
	if l := lineOf(plan, "proxy at /p"); l.Outcome != iisimport.Decide {
		t.Error(plan.Report.Lines)
	}
}
