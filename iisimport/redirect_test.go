package iisimport_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// locations asks for paths, and returns where each is redirected to, or its status.
func locations(t *testing.T, addr string, paths ...string) string {
	t.Helper()
	var got []string
	for _, path := range paths {
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(fmt.Sprint(a.Status, " ", a.Header.Get("Location"))))
	}
	return strings.Join(got, ", ")
}

// TestWildcardRedirectsOfIIS6: HttpRedirect with patterns redirects what they fit, and nothing
// else; where nobody knows what IIS 6 does, its place is closed.
func TestWildcardRedirectsOfIIS6(t *testing.T) {
	for _, c := range []struct{ root, sub, want string }{
		{`*;/*.txt;http://new.test/$0.text,`, "", "302 http://new.test/a.text, 302 http://new.test/sub/a.text, 200"},
		{`*; /sub/*.txt ; http://new.test/$0; *.htm; !, PERMANENT`, "", "200, 301 http://new.test/a, 200"},
		{`*;*.txt;http://new.test/all;, EXACT_DESTINATION`, "", "302 http://new.test/all, 302 http://new.test/all, 200"},
		{`http://new.test/x;y`, "", "302 http://new.test/x;y/a.txt, 302 http://new.test/x;y/sub/a.txt, 302 http://new.test/x;y/b.htm"},
		{"", `*;*.txt;http://new.test$V`, "200, 302 http://new.test/sub/a.txt, 200"},
		{"", `*;/*.txt;http://new.test$V`, "200, 404, 200"},
		{"", `*;*.txt;http://new.test/$0`, "200, 404, 200"},
		{`*;*.txt;http://new.test/`, "", "404, 404, 404"},
		{`*;*.txt`, "", "403, 403, 403"},
		{`*;*.txt;http://new.test/$0,ODD`, "", "403, 403, 403"},
		{`*;`, "", "403, 403, 403"},
		{`*;*.txt;http://a/$0;;http://b/$0`, "", "403, 403, 403"},
	} {
		addr, plan := startIIS6(t, "", `<IIsWebVirtualDir Location="/LM/W3SVC/1/ROOT" Path="C:\w" AccessFlags="513" HttpRedirect="`+c.root+`" MimeMap=".htm,text/html" />`+
			`<IIsWebDirectory Location="/LM/W3SVC/1/ROOT/sub" `+strings.Replace(`HttpRedirect="`+c.sub+`"`, `HttpRedirect=""`, "", 1)+` />`, "", "a.txt", "b.htm", "sub/a.txt")
		got := locations(t, addr, "/a.txt", "/sub/a.txt", "/b.htm")
		if got != c.want {
			t.Errorf("%s %s:\ngot  %s\nwant %s\n%s", c.root, c.sub, got, c.want, plan.Caddyfile())
		}
		for _, l := range plan.Report.Lines {
			if (strings.Contains(c.want, "404") || strings.Contains(c.want, "403")) && strings.Contains(l.What, "edirect") && l.Outcome == iisimport.Translated {
				t.Errorf("%s %s: %v", c.root, c.sub, l)
			}
		}
	}
}

// TestRedirectStatusInReport: the report has the status that clients get.
func TestRedirectStatusInReport(t *testing.T) {
	for name, want := range map[string]string{"": "302", `httpResponseStatus="Permanent"`: "301", `httpResponseStatus="Found"`: "302", `httpResponseStatus="Temporary"`: "307", `httpResponseStatus="PermRedirect"`: "308"} {
		addr, plan := startHost(t, hostOf("", "", "", ""), `<system.webServer><httpRedirect enabled="true" destination="http://new.test" `+name+` /></system.webServer>`, iisimport.Options{})
		if got, told := statuses(t, addr, "/x.txt"), lineOf(plan, "httpRedirect to").Message; got != want || told != "iis_redirect, "+want {
			t.Errorf("%s: %s, %q", name, got, told)
		}
	}
}
