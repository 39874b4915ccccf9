package iisimport_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// TestRulesImport: what of rewrite sections is written, closed and left to decide.
func TestRulesImport(t *testing.T) {
	const host = `<configuration><system.applicationHost><sites>
<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost>
<system.webServer><rewrite><globalRules%s><rule name="g"><match url="^g$" /><action type="Rewrite" url="/x" /></rule></globalRules></rewrite></system.webServer></configuration>`
	const web = `<configuration><system.webServer><rewrite>
<providers><provider name="Db" type="DbProvider, X" /></providers>
<rules%s><rule name="plain"><match url="^p$" /><action type="Rewrite" url="/y" /></rule>
<rule name="by provider"><match url="^db$" /><action type="Redirect" url="{Db:{R:0}}" /></rule></rules>
<outboundRules><rule name="location"><match serverVariable="RESPONSE_LOCATION" pattern="^http://in/(.*)" /><action type="Rewrite" value="https://pub/{R:1}" /></rule>
<rule name="links"><match filterByTags="A" pattern="http://in" /><action type="Rewrite" value="https://pub" /></rule>
<rule name="off" enabled="false"><match filterByTags="A" pattern="x" /><action type="Rewrite" value="y" /></rule></outboundRules>
</rewrite></system.webServer></configuration>`
	for keep, want := range map[[2]string]int{
		{"", ""}: 0, {` useOriginalURLEncoding="false"`, ""}: 1, {"", ` useOriginalURLEncoding="false"`}: 1,
		{` useOriginalURLEncoding="false"`, ` useOriginalURLEncoding="false"`}: 2,
	} {
		server, err := iisconfig.Read([]iisconfig.File{
			{Name: "export/a/web.config", Data: fmt.Appendf(nil, web, keep[1])}, {Name: "export/applicationHost.config", Data: fmt.Appendf(nil, host, keep[0])},
		}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\a`, To: t.TempDir()}}})
		text := string(plan.Caddyfile())
		if got := strings.Count(text, "keep_original_url_encoding off"); got != want || strings.Count(text, "iis_rewrite {") != 2 {
			t.Errorf("%q: %d times\n%s", keep, got, text)
		}
		if !strings.Contains(text, "rule `closed: by provider` {") {
			t.Errorf("a rule that calls a provider is not closed:\n%s", text)
		}
		var decide []string
		for _, l := range plan.Report.Lines {
			if l.Outcome == iisimport.Decide && strings.Contains(l.What, "outbound rule") {
				decide = append(decide, l.What+": "+l.Message)
			}
		}
		if got := strings.Join(decide, "\n"); got != "outbound rule location: it is not executed: it changes RESPONSE_LOCATION of answers\noutbound rule links: it is not executed: it changes bodies of answers" {
			t.Errorf("report:\n%s", got)
		}
	}
}
