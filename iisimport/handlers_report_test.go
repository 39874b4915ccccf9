package iisimport_test

import (
	"net/http"
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

// TestMissingModule: a handler whose module the server does not have is what the report blames.
func TestMissingModule(t *testing.T) {
	_, plan := serveServer(t, http.NotFound, `<globalModules><add name="StaticFileModule" /></globalModules><handlers accessPolicy="Read, Script" />`, core(`processPath="x"`, ``))
	for _, l := range plan.Report.Lines {
		if l.Outcome == iisimport.Closed && (!strings.HasPrefix(l.What, "handler aspNetCore") || !strings.Contains(l.Message, "AspNetCoreModuleV2")) {
			t.Error(l)
		}
	}
	if plan.Report.Summary.Places.Closed != 1 {
		t.Error(plan.Report.Lines)
	}
}

// TestWarmingUp: what answers while an application starts has nothing to do here; the rule closes
// nothing.
func TestWarmingUp(t *testing.T) {
	rules := `<rewrite><rules><rule name="warm"><match url="(.*)" /><conditions><add input="{APP_WARMING_UP}" pattern="1" /></conditions><action type="Rewrite" url="404.htm" /></rule></rules></rewrite>`
	get, plan := servePages(t, map[string]string{"": `<system.webServer>` + rules + `</system.webServer>`}, iisimport.Options{})
	if a := get("/rest.htm"); a.Status != 200 || a.Body != "page rest.htm" {
		t.Error(a)
	}
	if l := lineOf(plan, "rewrite rule warm"); l.Outcome != iisimport.Translated {
		t.Error(plan.Report.Lines)
	}
	var text, brief strings.Builder
	if err := plan.Report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := plan.Report.Brief(&brief, "x"); err != nil || !strings.HasPrefix(text.String(), "1 site, 1 binding, 0 certificates; ") || !strings.HasPrefix(brief.String(), "1 site, 1 binding, 0 certificates (0 files missing); ") {
		t.Error(err, text.String(), brief.String())
	}
}
