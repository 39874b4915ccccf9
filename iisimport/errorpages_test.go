package iisimport_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestErrorPages: the page of a sub-status comes before that of all of its status, as the
// worked example 79 of IIS has it.
func TestErrorPages(t *testing.T) {
	host := `<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\inetpub" /></application>` +
		`<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost></configuration>`
	web := `<configuration><system.webServer><httpErrors errorMode="Custom"><clear /><error statusCode="404" path="b.htm" responseMode="File" /><error statusCode="404" subStatusCode="3" path="a.htm" responseMode="File" />` +
		`<error statusCode="404" subStatusCode="8" path="/hidden" responseMode="Redirect" /><error statusCode="403" subStatusCode="14" path="d.htm" responseMode="File" /><error statusCode="405" subStatusCode="0" path="e.htm" responseMode="File" /></httpErrors>` +
		`<security><requestFiltering><hiddenSegments><add segment="bin" /></hiddenSegments></requestFiltering><ipSecurity /></security></system.webServer>` +
		`<location path="denied"><system.webServer><security><ipSecurity><add ipAddress="127.0.0.1" /></ipSecurity></security></system.webServer></location></configuration>`
	server, err := iisconfig.Read([]iisconfig.File{{Name: "export/applicationHost.config", Data: []byte(host)}, {Name: "export/inetpub/web.config", Data: []byte(web)}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"a.htm", "b.htm", "d.htm", "e.htm", "x.bak", "folder/x.txt", "denied/x.txt"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("page "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addr := httpOnly(t, server)
	plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\inetpub`, To: dir}}})
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	for _, c := range []struct {
		path, body, location string
		status               int
	}{
		{"/x.bak", "page a.htm", "", 404},
		{"/nope.htm", "page b.htm", "", 404},
		{"/bin/x", "", "/hidden", 302},
		{"/folder/", "page d.htm", "", 403},
		{"/denied/x.txt", "", "", 403},
	} {
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: c.path})
		if err != nil || a.Status != c.status || a.Body != c.body || a.Header.Get("Location") != c.location {
			t.Errorf("%s: %v %v, want %d %q %s", c.path, a, err, c.status, c.body, c.location)
		}
	}
}
