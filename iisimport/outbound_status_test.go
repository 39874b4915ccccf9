package iisimport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestOutboundStatus: outbound rules of an import see the status that the client gets, whatever
// answers, and if nothing does.
func TestOutboundStatus(t *testing.T) {
	const web = `<system.webServer><rewrite><rules><rule name="moved"><match url="^old$" /><action type="Redirect" url="/new" /></rule>
<rule name="own"><match url="^own$" /><action type="CustomResponse" statusCode="418" statusReason="why" statusDescription="because" /></rule>
<rule name="in"><match url="^in$" /><action type="Rewrite" url="/x.txt" /></rule>
<rule name="none"><match url="^none2$" /><action type="Rewrite" url="/none.txt" /></rule>
<rule name="away"><match url="^away$" /><action type="Rewrite" url="http://other.test/x" /></rule></rules>
<outboundRules><rule name="seen"><match serverVariable="RESPONSE_X_Seen" pattern="^$" /><action type="Rewrite" value="{RESPONSE_STATUS}" /></rule></outboundRules></rewrite>
<httpErrors existingResponse="%s"><remove statusCode="404" /><error statusCode="404" path="x.txt" responseMode="File" /></httpErrors>
<handlers><add name="run" path="*.run" verb="*" modules="IsapiModule" scriptProcessor="C:\r.dll" /><add name="no" path="*.no" verb="*" type="System.Web.HttpForbiddenHandler" /></handlers></system.webServer>
<location path="denied"><system.webServer><security><ipSecurity allowUnlisted="false" /></security></system.webServer></location>
<location path="who"><system.webServer><security><authorization><remove users="*" roles="" verbs="" /><add accessType="Allow" users="a" /></authorization></security></system.webServer></location>
<location path="moved"><system.webServer><httpRedirect enabled="true" destination="/x.txt" /></system.webServer></location>
<location path="odd"><system.webServer><security><access sslFlags="Ssl" odd="1" /></security></system.webServer></location>`
	failing := httptest.NewServer(http.NotFoundHandler())
	defer failing.Close()
	for upstream, existing := range map[string]string{
		workerOf(t): "Auto", fmt.Sprintf("127.0.0.1:%d", ts.FreePort(t)): "Auto", failing.Listener.Addr().String(): "Replace",
	} {
		addr, plan := startHost(t, hostOf("", "", "", ""), fmt.Sprintf(web, existing), iisimport.Options{Upstream: upstream})
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "PROPFIND"} {
			for _, path := range []string{"/x.txt", "/none.txt", "/none2", "/dir", "/dir/", "/docs", "/docs/", "/old", "/own", "/in", "/away", "/a.run", "/a.no", "/who/x", "/moved/y", "/sub/x.txt", "/sub/a.run", "/", "/x.webp", "/x.json"} {
				r, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Host = "a.test"
				res, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if got := res.Header.Get("X-Seen"); got != fmt.Sprint(res.StatusCode) {
					t.Errorf("%s %s: seen %q, got %d", method, path, got, res.StatusCode)
				}
			}
		}
		if t.Failed() {
			t.Logf("%s", plan.Caddyfile())
		}
	}
}
