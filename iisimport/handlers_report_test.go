package iisimport_test

import (
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// TestTranslatedIsExecuted: a report says "translated" of nothing that the result closes or
// that no request reaches.
func TestTranslatedIsExecuted(t *testing.T) {
	const (
		files   = `<add name="Files" path="*" verb="*" modules="StaticFileModule" requireAccess="Read" />`
		managed = `<add name="W" path="*.run" verb="*" type="X" />`
	)
	for _, c := range []struct {
		name, own      string
		what           string
		want           iisimport.Outcome
		wantsCaddyfile string
	}{
		{"a place that may not be read", `<handlers accessPolicy="None">` + managed + `</handlers>`, "handler W", iisimport.Dropped, "iis_closed"},
		{"behind one of all paths", `<handlers><clear />` + files + managed + `</handlers>`, "handler W", iisimport.Dropped, ""},
		{"before one of all paths", `<handlers><clear />` + managed + files + `</handlers>`, "handler W", iisimport.Translated, "*.run"},
		{
			"a rule of a set that is refused", `<rewrite><rules>
				<rule name="bad"><match url="(" /><serverVariables><set name="MYVAR" value="x" /></serverVariables><action type="None" /></rule>
				<rule name="good"><match url=".*" /><conditions><add input="{MYVAR}" pattern="x" /></conditions><action type="AbortRequest" /></rule>
			</rules></rewrite>`, "rewrite rule good", iisimport.Dropped, "iis_closed",
		},
	} {
		server, err := iisconfig.Read([]iisconfig.File{
			{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites><site name="S" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\w" /></application>` +
				`<bindings><binding protocol="http" bindingInformation="*:80:a.test" /></bindings></site></sites></system.applicationHost><system.webServer><handlers accessPolicy="Read, Script">` + files + `</handlers></system.webServer></configuration>`)},
			{Name: "export/w/web.config", Data: []byte(`<configuration><system.webServer>` + c.own + `</system.webServer></configuration>`)},
		}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\w`, To: t.TempDir()}}})
		found := false
		for _, line := range plan.Report.Lines {
			if strings.HasPrefix(line.What, c.what) {
				found = true
				if line.Outcome != c.want {
					t.Errorf("%s: %s: %s, want %s", c.name, line.What, line.Outcome, c.want)
				}
			}
		}
		if text := string(plan.Caddyfile()); !found || !strings.Contains(text, c.wantsCaddyfile) {
			t.Errorf("%s: named: %v\n%s", c.name, found, text)
		}
	}
}
