package iisimport_test

import (
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// TestMistypedValues: what a handler would refuse to load closes its place, and the rest
// of the server is loaded.
func TestMistypedValues(t *testing.T) {
	for name, section := range map[string]string{
		"extension without a dot": `<security><requestFiltering><fileExtensions><add fileExtension="bak" allowed="false" /></fileExtensions></requestFiltering></security>`,
		"segment with a slash":    `<security><requestFiltering><hiddenSegments><add segment="a/b" /></hiddenSegments></requestFiltering></security>`,
		"destination":             `<httpRedirect enabled="true" destination="http://$P" />`,
		"address":                 `<security><ipSecurity><add ipAddress="10.0.0" allowed="false" /></ipSecurity></security>`,
		"pattern":                 `<rewrite><rules><rule name="x"><match url="(" /><action type="AbortRequest" /></rule></rules></rewrite>`,
		"map":                     `<rewrite><rewriteMaps><rewriteMap name="m"><add key="a" value="1" /><add key="A" value="2" /></rewriteMap></rewriteMaps><rules><rule name="y"><match url=".*" /><action type="Rewrite" url="{m:{URL}}" /></rule></rules></rewrite>`,
		"variable":                `<rewrite><allowedServerVariables><add name="MYVAR" /></allowedServerVariables><rules><rule name="a"><match url="(" /><serverVariables><set name="MYVAR" value="1" /></serverVariables><action type="None" /></rule><rule name="b"><match url=".*" /><conditions><add input="{MYVAR}" pattern="1" /></conditions><action type="None" /></rule></rules></rewrite>`,
		"handler":                 `<handlers><add name="x" path="a,b*" verb="*" type="X" /></handlers>`,
		"document":                `<defaultDocument><files><add value="a/b.htm" /></files></defaultDocument>`,
	} {
		data := `<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application>` +
			`<bindings><binding protocol="http" bindingInformation="*:80:a.test" /></bindings></site></sites></system.applicationHost>` +
			`<location path="a/x"><system.webServer>` + section + `</system.webServer></location></configuration>`
		server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(data)}}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		plan := iisimport.Import(server, iisimport.Options{})
		out := string(plan.Caddyfile())
		adapt(t, []byte(out))
		if name != "document" && !strings.Contains(out, "iis_closed") && !strings.Contains(out, "closed: x") {
			t.Errorf("%s: nothing is closed in\n%s", name, out)
		}
	}
}

// TestAcceptedElsewhere: what an import writes does not depend on the environment of the
// machine that imports.
func TestAcceptedElsewhere(t *testing.T) {
	const data = `<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="%CADDY_IIS_UNSET%\main" /></application>` +
		`<bindings><binding protocol="http" bindingInformation="*:80:a.test" /></bindings></site></sites></system.applicationHost>` +
		`<system.webServer><rewrite><rules><rule name="x"><match url=".*" /><conditions><add input="{REQUEST_FILENAME}" matchType="IsFile" negate="true" /></conditions>` +
		`<action type="Rewrite" url="/a.htm" /></rule></rules></rewrite></system.webServer></configuration>`
	imported := func() string {
		server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(data)}}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return string(iisimport.Import(server, iisimport.Options{}).Caddyfile())
	}
	unset := imported()
	t.Setenv("CADDY_IIS_UNSET", "/srv")
	if set := imported(); strings.Contains(unset, "iis_closed") || !strings.Contains(unset, "iis_rewrite") || set != unset {
		t.Errorf("without the variable:\n%s\nwith it:\n%s", unset, set)
	}
}
