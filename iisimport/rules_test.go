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
<outboundRules><rule name="location" preCondition="moved"><match serverVariable="RESPONSE_LOCATION" pattern="^http://in/(.*)" /><action type="Rewrite" value="https://pub/{R:1}" /></rule>
<rule name="links"><match filterByTags="A" pattern="http://in" /><action type="Rewrite" value="https://pub" /></rule>
<rule name="off" enabled="false"><match filterByTags="A" pattern="x" /><action type="Rewrite" value="y" /></rule>
<rule name="length"><match serverVariable="RESPONSE_CONTENT_LENGTH" pattern="x" /><action type="Rewrite" value="y" /></rule>
<rule name="lost" preCondition="gone"><match serverVariable="RESPONSE_X" pattern="x" /><action type="Rewrite" value="y" /></rule>
<rule name="both"><match serverVariable="RESPONSE_X" filterByTags="A" pattern="x" /><action type="Rewrite" value="y" /></rule>
<preConditions><preCondition name="moved"><add input="{RESPONSE_STATUS}" pattern="^30" /></preCondition></preConditions></outboundRules>
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
		if !strings.Contains(text, `rule "closed: by provider" {`) {
			t.Errorf("a rule that calls a provider is not closed:\n%s", text)
		}
		if want := "outbound_rule location {\n"; !strings.Contains(text, want) || !strings.Contains(text, "pre_condition moved {") || strings.Count(text, "outbound_rule") != 1 {
			t.Errorf("the outbound rule is not written:\n%s", text)
		}
		var decide []string
		for _, l := range plan.Report.Lines {
			if l.Outcome == iisimport.Decide && strings.Contains(l.What, "outbound rule") {
				decide = append(decide, l.What+": "+l.Message)
			}
		}
		if got := strings.Join(decide, "\n"); got != strings.Join([]string{
			"outbound rule links: it is not executed: it changes bodies of answers, filterByTags A",
			`outbound rule length: it is not executed: rule "length": "RESPONSE_CONTENT_LENGTH": it changes no header of responses that may be changed: expected a variable such as RESPONSE_LOCATION`,
			"outbound rule lost: it is not executed: there is no preCondition gone",
			"outbound rule both: it is not executed: it changes headers and looks into bodies",
		}, "\n") {
			t.Errorf("report:\n%s", got)
		}
	}
}
