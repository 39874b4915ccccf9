package iisimport

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/internal/places"
)

// TestReportOfPlaces: each place counts, a line that many places share is shown once,
// and the first lines say what is left to people.
func TestReportOfPlaces(t *testing.T) {
	r := new(Report)
	for site := range 3 {
		src := iisconfig.Source{File: "a.config", Line: 7, Scope: fmt.Sprint("site ", site)}
		r.closed(src, "a rule that blocks", "write it by hand", "the pattern answers 403")
	}
	r.waiting(iisconfig.Source{File: "a.config", Line: 9}, "Windows accounts", "add accounts", "the folder answers 401")
	r.upstream(iisconfig.Source{File: "b.config"}, "ASP.NET Core", "set IIS_UPSTREAM", "requests go to a worker")
	for i := range 30 {
		r.decide(iisconfig.Source{File: "c.config", Line: 1 + i}, "x", "y", "z")
	}
	closed := directive("iis_closed", "*", "403", "why")
	r.finish(&Plan{Sites: []*Site{
		{ID: 1, body: []*Directive{block([]*Directive{closed, block([]*Directive{closed}, "handle", "@at")}, "route")}},
		{ID: 2, body: []*Directive{closed, block(nil, "iis_authorization"), directive("vars", places.Marker, "127.0.0.1:8080"), directive("reverse_proxy", "{$IIS_UPSTREAM:127.0.0.1:8080}")}},
	}})
	if want := (places.Count{Closed: 3, Waiting: 1, Upstreams: 1, Sites: places.Sites{Closed: 2}}); r.Summary.Places != want || len(r.Lines) != 33 || r.Summary.ToDecide != 30 {
		t.Errorf("%+v, %d lines", r.Summary, len(r.Lines))
	}
	var text, brief bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.Brief(&brief, "report.txt has them"); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{text.String(), brief.String()} {
		lines := strings.Split(out, "\n")
		for i, want := range []string{"Sites: 2 closed wholly, 0 in part, 0 not at all; ", "3 places are closed, ", "1 place waits for a decision, ", "1 upstream must be set, "} {
			if !strings.HasPrefix(lines[1+i], want) {
				t.Errorf("line %d is %q, want %q", 2+i, lines[1+i], want)
			}
		}
	}
	for _, want := range []string{
		"\nClosed:\n  a.config:7: a rule that blocks: the pattern answers 403; write it by hand\n",
		"\nWaiting for a decision:\n  a.config:9: ", "\nUpstreams to be set:\n  b.config: ", "\nTo decide by hand:\n  c.config:1: ",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if !strings.HasSuffix(brief.String(), "c.config:20: warning: x: z; y\n... and 10 more\n") {
		t.Errorf("brief:\n%s", brief.String())
	}
}

// TestSitesOfTheReport: sites count wherever they are to be, as rows of a source as well.
func TestSitesOfTheReport(t *testing.T) {
	host := `<configuration><system.applicationHost><sites>`
	files := []iisconfig.File{}
	webs := []string{ // wholly closed, in part, a place that waits, open, in part by a rule
		`<security><ipSecurity><add domainName="a.test" allowed="false"/></ipSecurity></security>`,
		``,
		`<security><authentication><anonymousAuthentication enabled="false"/></authentication></security>`,
		`<defaultDocument><files><add value="x.htm"/></files></defaultDocument>`,
		`<rewrite><rules><rule name="r"><match url="^secret/"/><conditions><add input="{Odd:x}" pattern="y"/></conditions><action type="AbortRequest"/></rule></rules></rewrite>`,
	}
	for i, web := range webs {
		host += fmt.Sprintf(`<site name="s%[1]d" id="%[2]d"><application path="/"><virtualDirectory path="/" physicalPath="C:\web\s%[1]d"/></application>`+
			`<bindings><binding protocol="http" bindingInformation="*:80:s%[1]d.test"/></bindings></site>`, i, i+1)
		files = append(files, iisconfig.File{Name: fmt.Sprintf("web/s%d/web.config", i), Data: []byte("<configuration><system.webServer>" + web + "</system.webServer></configuration>")})
	}
	files = append(files, iisconfig.File{Name: "web/s1/in/web.config", Data: []byte("<configuration><system.webServer>" + webs[0] + "</system.webServer></configuration>")},
		iisconfig.File{Name: "applicationHost.config", Data: []byte(host + "</sites></system.applicationHost></configuration>")})
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range Targets() {
		plan := Import(server, Options{To: to, Folders: []Folder{{From: `C:\web`, To: "/srv/web"}}})
		if got, want := plan.Report.Summary.Places.Sites, (places.Sites{Closed: 2, Partly: 2, Open: 1}); got != want {
			t.Errorf("%s: %+v, want %+v\n%s", to, got, want, plan.Caddyfile())
		}
	}
}
