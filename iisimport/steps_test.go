package iisimport_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// TestTakenBack: of a place that is closed, what answers before that counts, and nothing else.
func TestTakenBack(t *testing.T) {
	const (
		header  = `<httpProtocol><customHeaders><add name="X-A" value="b" /></customHeaders></httpProtocol>`
		page    = `<httpErrors><error statusCode="410" path="a.htm" responseMode="File" /></httpErrors>`
		old     = `<rule name="old"><match url="^old$" /><action type="Redirect" url="/new" /></rule>`
		none    = `<rule name="none"><match url="^old$" /><action type="None" /></rule>`
		stop    = `<rule name="stop" stopProcessing="true"><match url="^old$" /><action type="None" /></rule>`
		odd     = `<rule name="odd"><match url="(.*)" /><action type="Rewrite" url="{odd:{R:1}}" /></rule>`
		oddPart = `<rule name="odd"><match url="^x/" /><action type="Rewrite" url="{odd:{R:1}}" /></rule>`
		worker  = `<handlers><add name="odd" path="*a*b*" verb="*" modules="IsapiModule" scriptProcessor="C:\x.dll" /></handlers>`
	)
	rules := func(list ...string) string {
		return `<rewrite><rules>` + strings.Join(list, "") + `</rules></rewrite>`
	}
	for name, c := range map[string]struct {
		web  string
		want string // what is translated
	}{
		"open":                            {rules(old) + header + page, "folder, header, old, page"},
		"a rule in front of a closed one": {rules(old, odd) + header, "old"},
		"a rule behind a closed one":      {rules(odd, old) + header + page, ""},
		"a rule that does nothing":        {rules(none, odd) + header, ""},
		"a rule that ends the rules":      {rules(stop, odd, old) + header, "folder, header, stop"},
		"a part that is closed":           {rules(oddPart, old) + header, "folder, header, old"},
		"what answers":                    {rules(old) + worker + header + page, "old"},
		"a redirect of everything":        {`<httpRedirect enabled="true" destination="http://a.test/" />` + worker + header, "header, redirect"},
		"a redirect of some":              {`<httpRedirect enabled="true" childOnly="true" destination="http://a.test/" />` + worker + header, "redirect"},
		"filtering":                       {`<security><requestFiltering odd="true" /></security>` + rules(old) + header, ""},
		"addresses":                       {`<security><ipSecurity><add domainName="a.test" /></ipSecurity></security>` + rules(old) + header, ""},
		"https that nobody has":           {`<security><access sslFlags="Ssl" /></security>` + rules(old) + header, "old"},
		"maps":                            {strings.Replace(rules(old), "<rules>", `<rewriteMaps><rewriteMap name="m"><add key="{path}" value="b" /></rewriteMap></rewriteMaps><rules>`, 1) + header, "folder, header, old"},
		"a map that has an entry twice":   {strings.Replace(rules(strings.Replace(old, "/new", "/{m:{URL}}", 1)), "<rules>", `<rewriteMaps><rewriteMap name="m"><add key="a" value="b" /><add key="A" value="c" /></rewriteMap></rewriteMaps><rules>`, 1) + header, ""},
	} {
		_, plan := coreSites(t, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\web`, To: "/srv/web"}}}, c.web)
		var got []string
		for _, l := range plan.Report.Lines {
			if l.Outcome != iisimport.Translated {
				continue
			}
			what := strings.TrimPrefix(l.What, "rewrite rule ")
			for _, short := range []string{"folder", "header", "page", "redirect"} {
				if strings.Contains(strings.ToLower(what), short) {
					what = short
				}
			}
			if !strings.HasPrefix(what, "site ") && !strings.HasPrefix(what, "binding ") && !slices.Contains(got, what) {
				got = append(got, what)
			}
		}
		slices.Sort(got)
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: translated is %q, want %q: %v", name, text, c.want, plan.Report.Lines)
		}
	}
}

// TestTakenBackElsewhere: what one place that is open inherits is translated, and nothing else
// is said of it, though another place that inherits it is closed.
func TestTakenBackElsewhere(t *testing.T) {
	server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites>
<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application><bindings><binding protocol="http" bindingInformation="*:80:a" /></bindings></site>
<site name="b" id="2"><application path="/"><virtualDirectory path="/" physicalPath="C:\b" /></application><bindings><binding protocol="http" bindingInformation="*:80:b" /></bindings></site>
</sites></system.applicationHost><system.webServer><directoryBrowse enabled="true" /></system.webServer>
<location path="b"><system.webServer><security><ipSecurity><add domainName="a.test" /></ipSecurity></security></system.webServer></location></configuration>`)}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range iisimport.Import(server, iisimport.Options{}).Report.Lines {
		if l.What == "directoryBrowse" {
			got = append(got, string(l.Outcome))
		}
	}
	if !slices.Equal(got, []string{"translated"}) {
		t.Error(got)
	}
}
