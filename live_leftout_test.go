package caddyiis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites"
)

// replaceEndpoint is a configuration with something else in the place of the certificate of
// the address and port.
func (l *live) replaceEndpoint(by string) string {
	return strings.Replace(l.config(""), fmt.Sprintf("endpoint *:%d {\n\t\t\t\tcertificate wild.test\n\t\t\t}", l.secure), by, 1)
}

func (l *live) withoutEndpoint() string { return l.replaceEndpoint("") }

// leftOut lists the sites of which the findings say that a binding is left out.
func (l *live) leftOut() (ids []uint32) {
	l.t.Helper()
	var findings adminapi.Page[adminapi.Finding]
	l.ask("GET", "check", "", &findings)
	for _, f := range findings.Items {
		if f.Code == "no-certificate" && f.Severity == adminapi.SeverityError && f.Binding != "" {
			ids = append(ids, f.Site)
		}
	}
	return ids
}

// gets503 checks what a host gets that has no certificate, over connections to another
// name: nobody else's site.
func (l *live) gets503(host string) {
	l.t.Helper()
	for _, proto := range []string{"h1", "h2"} {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.secure), SNI: "configured.test", Host: host, Proto: proto})
		if err != nil || answer.Status != 503 {
			l.t.Errorf("%s by %s: %v, %v", host, proto, answer, err)
		}
	}
	if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.secure), SNI: host}); err == nil {
		l.t.Errorf("%s has a certificate, and got %v", host, answer)
	}
	var e adminapi.Explanation
	l.ask("GET", fmt.Sprintf("explain?local=127.0.0.1:%d&sni=configured.test&host=%s", l.secure, host), "", &e)
	if e.Request == nil || e.Request.Outcome != adminapi.OutcomeHeldBack || !strings.Contains(e.Request.Reason, "no certificate") {
		l.t.Errorf("%s is explained as %+v", host, e.Request)
	}
}

// plainly checks what a host gets over http.
func (l *live) plainly(host, body string) {
	l.t.Helper()
	if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: host, Plain: true}); err != nil || answer.Status != 200 || answer.Body != body {
		l.t.Errorf("%s: %v, %v, want %q", host, answer, err, body)
	}
}

// TestLiveBindingLeftOut: an https binding to which nothing gives a certificate is left out
// alone. The site's other bindings serve, it is told of, and it comes back by itself.
func TestLiveBindingLeftOut(t *testing.T) {
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	l.want(201, "PUT", "sites/11", fmt.Sprintf(`{"name":"B","server_bindings":[":%d:b.test"]}`, l.plain))
	wildcard := strings.Replace(l.withoutEndpoint(), "respond configured", "binding https *:"+fmt.Sprint(l.secure)+":*.test {\nsni\ncertificate other.test\n}\nrespond configured", 1)
	refusedLoad(t, l.Server, "a served binding loses its certificate", l.withoutEndpoint(), `site 10 "A"`, "no certificate")
	if err := l.Restart(l.withoutEndpoint()); err != nil {
		t.Fatal(err)
	}
	l.plainly("a.test", "default 10")
	l.plainly("b.test", "default 11")
	l.gets503("a.test")
	if got := l.leftOut(); !slices.Equal(got, []uint32{10}) {
		t.Errorf("findings about %v", got)
	}
	var shown adminapi.Site
	if l.ask("GET", "sites/10", "", &shown); shown.State != adminapi.StateStarted || !slices.ContainsFunc(shown.Findings, func(f adminapi.Finding) bool { return f.Code == "no-certificate" }) {
		t.Errorf("got %+v", shown)
	}
	var sources adminapi.Page[adminapi.Source]
	if l.ask("GET", "sources", "", &sources); sources.Items[0].HeldBack != 1 {
		t.Errorf("got %+v", sources.Items)
	}
	l.prints(2, []string{"verify", "--json"}, `site 10 \"A\" is not served as its source has it: https binding *:`, "has no certificate")
	// What the API writes must be served as a whole, and what is left out is no reason to
	// refuse a change that is about something else, nor a load that takes nothing more away.
	l.refused(422, "PUT", "sites/12", l.site("C", "c.test"), "no certificate")
	l.want(200, "PATCH", "sites/11", `{"name":"B2"}`)
	if err := l.Load(strings.Replace(l.withoutEndpoint(), "respond configured", "respond changed", 1)); err != nil {
		t.Fatal(err)
	}
	if err := l.Load(wildcard); err != nil {
		t.Fatal(err)
	}
	if got := l.leftOut(); len(got) != 0 {
		t.Errorf("findings about %v", got)
	}
	l.serves("a.test", "default 10")
	refusedLoad(t, l.Server, "it is served again", l.withoutEndpoint(), `site 10 "A"`)
}

// TestLiveSharedCertificateGoes: the site goes that gave the certificate of an address and
// port, and others lose their bindings there, and nothing else.
func TestLiveSharedCertificateGoes(t *testing.T) {
	l := startLive(t, "", "")
	if err := l.Load(l.withoutEndpoint()); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", fmt.Sprintf(`{"name":"Giver","bindings":[{"protocol":"https","binding":"*:%d:giver.test","certificate":"wild.test"}]}`, l.secure))
	l.want(201, "PUT", "sites/11", l.site("B", "b.test"))
	l.serves("b.test", "default 11")
	if got := l.want(200, "DELETE", "sites/10", ""); len(got.Findings) != 1 || got.Findings[0].Site != 11 {
		t.Errorf("got %+v", got)
	}
	l.plainly("b.test", "default 11")
	l.gets503("b.test")
	if got := l.leftOut(); !slices.Equal(got, []uint32{11}) {
		t.Errorf("findings about %v", got)
	}
	l.want(201, "PUT", "sites/10", fmt.Sprintf(`{"name":"Giver","bindings":[{"protocol":"https","binding":"*:%d:giver.test","certificate":"wild.test"}]}`, l.secure))
	l.serves("b.test", "default 11")
}

// TestLiveManyLeftOut: of many bindings that are left out the first ones are told of, and
// all are counted.
func TestLiveManyLeftOut(t *testing.T) {
	l := startLive(t, "", "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	var rows []sites.Change
	for i := range uint32(100) {
		rows = append(rows, sites.Change{ID: 100 + i, Document: []byte(l.site("S", fmt.Sprintf("s%d.test", i)))})
	}
	writeRows(t, l.file, rows)
	if err := l.Load(l.withoutEndpoint()); err != nil {
		t.Fatal(err)
	}
	l.plainly("s99.test", "default 199")
	var sources adminapi.Page[adminapi.Source]
	if l.ask("GET", "sources", "", &sources); sources.Items[0].HeldBack != 100 {
		t.Errorf("got %+v", sources.Items)
	}
	if got := l.leftOut(); len(got) == 0 || len(got) > 20 {
		t.Errorf("findings about %v", got)
	}
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.serves("s99.test", "default 199")
}
