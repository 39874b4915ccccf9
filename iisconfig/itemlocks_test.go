package iisconfig

import (
	"fmt"
	"slices"
	"testing"
)

// lockedEntries are collections with a locked entry: their section with %s for what is in it,
// the entry, removes of it in other words, and what is about other entries.
var lockedEntries = []struct {
	in, entry     string
	same, another []string
}{
	{
		`<security><authorization>%s</authorization></security>`, `<add accessType="Deny" users="?" lockItem="true"/>`,
		[]string{`<remove users="?" roles="" verbs=""/>`, `<remove users="?"/>`},
		[]string{`<remove users="?" roles="" verbs="GET"/>`, `<remove users="*"/>`, `<add accessType="Allow" users="x"/>`},
	},
	{
		`<security><authorization>%s</authorization></security>`, `<add accessType="Deny" users="Ann" roles="" verbs="GET" lockItem="true"/>`,
		[]string{`<remove users="ann" verbs="GET"/>`},
		[]string{`<remove users="ann" verbs="get"/>`},
	},
	{
		`<security><ipSecurity>%s</ipSecurity></security>`, `<add ipAddress="127.0.0.1" allowed="false" lockItem="true"/>`,
		[]string{`<remove ipAddress="127.0.0.1" subnetMask="255.255.255.255"/>`, `<remove ipAddress="127.0.0.1" domainName=""/>`},
		[]string{`<remove ipAddress="127.0.0.1" subnetMask="255.0.0.0"/>`, `<add ipAddress="127.0.0.2"/>`},
	},
	{
		`<httpErrors>%s</httpErrors>`, `<error statusCode="404" path="x.htm" lockItem="true"/>`,
		[]string{`<remove statusCode="404" subStatusCode="-1"/>`},
		[]string{`<remove statusCode="404" subStatusCode="3"/>`, `<error statusCode="500" path="y.htm"/>`},
	},
	{
		`<handlers>%s</handlers>`, `<add name="Kept" path="*.a" verb="*" modules="X" lockItem="TRUE"/>`,
		[]string{`<remove name="KEPT"/>`, `<remove name="kept" path="*.a" verb="GET"/>`},
		[]string{`<remove name="other"/>`, `<add name="Other" path="*.b" verb="*" modules="X"/>`},
	},
	{
		`<modules>%s</modules>`, `<add name="RewriteModule" lockItem="true"/>`,
		[]string{`<remove name="rewritemodule"/>`},
		[]string{`<remove name="other"/>`},
	},
	{
		`<staticContent>%s</staticContent>`, `<mimeMap fileExtension=".Txt" mimeType="text/plain" lockItem="true"/>`,
		[]string{`<remove fileExtension=".txt"/>`, `<remove fileExtension=".txt" mimeType="a/b"/>`},
		[]string{`<remove fileExtension=".x"/>`, `<mimeMap fileExtension=".y" mimeType="a/b"/>`},
	},
	{
		`<security><requestFiltering><hiddenSegments>%s</hiddenSegments></requestFiltering></security>`, `<add segment="Bin" lockItem="true"/>`,
		[]string{`<remove segment="bin"/>`},
		[]string{`<remove segment="x"/>`, `<add segment="y"/>`},
	},
	{
		`<security><requestFiltering><fileExtensions>%s</fileExtensions></requestFiltering></security>`, `<add fileExtension=".Mdb" allowed="false" lockItem="true"/>`,
		[]string{`<remove fileExtension=".mdb" allowed="false"/>`, `<remove fileExtension=".mdb"/>`},
		[]string{`<remove fileExtension=".x"/>`},
	},
	{
		`<security><requestFiltering><verbs>%s</verbs></requestFiltering></security>`, `<add verb="TRACE" allowed="false" lockItem="true"/>`,
		[]string{`<remove verb="TRACE" allowed="true"/>`},
		[]string{`<remove verb="trace"/>`},
	},
	{
		`<security><requestFiltering><filteringRules>%s</filteringRules></requestFiltering></security>`, `<filteringRule name="Sql" scanUrl="true" lockItem="true"/>`,
		[]string{`<remove name="sql"/>`},
		[]string{`<remove name="x"/>`, `<filteringRule name="y" scanUrl="true"/>`},
	},
	{
		`<rewrite><rules>%s</rules></rewrite>`, `<rule name="Block" lockItem="true"><match url="^x"/><action type="AbortRequest"/></rule>`,
		[]string{`<remove name="block"/>`},
		[]string{`<remove name="x"/>`, `<rule name="y"><match url="^y"/></rule>`},
	},
	{
		`<rewrite><rewriteMaps>%s</rewriteMaps></rewrite>`, `<rewriteMap name="M" lockItem="true"/>`,
		[]string{`<remove name="m"/>`},
		[]string{`<rewriteMap name="n"/>`},
	},
	{
		`<httpProtocol><customHeaders>%s</customHeaders></httpProtocol>`, `<add name="X-Kept" value="1" lockItem="true"/>`,
		[]string{`<remove name="x-kept"/>`, `<remove name="X-Kept" value="2"/>`},
		[]string{`<remove name="X-Powered-By"/>`, `<add name="X-More" value="1"/>`},
	},
	{
		`<defaultDocument><files>%s</files></defaultDocument>`, `<add value="Index.htm" lockItem="true"/>`,
		[]string{`<remove value="index.htm"/>`},
		[]string{`<remove value="x.htm"/>`, `<add value="y.htm"/>`},
	},
	{
		`<httpRedirect>%s</httpRedirect>`, `<add wildcard="/A*" destination="/b" lockItem="true"/>`,
		[]string{`<remove wildcard="/a*"/>`},
		[]string{`<add wildcard="/c*" destination="/b"/>`},
	},
}

// TestLockedEntries: an entry that a level above has locked, the server or a web.config, is
// the one that a remove would take out, in whatever words; other entries are free.
func TestLockedEntries(t *testing.T) {
	for _, c := range lockedEntries {
		in := func(what string) string { return fmt.Sprintf(c.in, what) }
		check := func(what string, locked bool) {
			t.Helper()
			for level, s := range map[string]*Server{
				"the server":   hosted(t, unlocked, `<system.webServer>`+in(c.entry)+`</system.webServer>`, map[string]string{"a/sub": inWeb(in(what))}),
				"a web.config": hosted(t, "", "", map[string]string{"a": inWeb(in(c.entry)), "a/sub": inWeb(in(what))}),
			} {
				set := s.SiteByName("A").At("/sub/x")
				if got := slices.Contains(faultCodes(set), CodeLocked); got != locked || !got && set.Faults != nil {
					t.Errorf("%s against %s of %s: %v", what, c.entry, level, set.Faults)
				}
				if above := s.SiteByName("A").At("/"); above.Faults != nil {
					t.Errorf("%s: the place above has %v", what, above.Faults)
				}
			}
		}
		for _, what := range append(c.same, "<clear/>") {
			check(what, true)
		}
		for _, what := range c.another {
			check(what, false)
		}
	}
}

// TestLocksOfWebConfigs: what a web.config locks, those below it cannot change. It may itself,
// and so may its neighbours.
func TestLocksOfWebConfigs(t *testing.T) {
	for _, c := range []struct{ above, below string }{
		{`<security><access sslFlags="Ssl" lockAttributes="sslFlags"/></security>`, `<security><access sslFlags="None"/></security>`},
		{`<security><access sslFlags="Ssl" lockItem="true"/></security>`, `<security><access/></security>`},
		{`<security><requestFiltering lockElements="hiddenSegments"/></security>`, `<security><requestFiltering><hiddenSegments><clear/></hiddenSegments></requestFiltering></security>`},
		{`<security><requestFiltering lockAllElementsExcept="verbs"/></security>`, `<security><requestFiltering><hiddenSegments><clear/></hiddenSegments></requestFiltering></security>`},
		{`<directoryBrowse enabled="false" lockAllAttributesExcept="showFlags"/>`, `<directoryBrowse enabled="true"/>`},
		{`<caching enabled="false" lockItem="true"/>`, `<caching enabled="true"/>`}, // of which nothing is read
		{`<isapiFilters lockItem="true"/>`, `<isapiFilters><filter name="x" path="x.dll"/></isapiFilters>`},
	} {
		for name, s := range map[string]*Server{
			"server": hosted(t, "", "<system.webServer>"+c.above+"</system.webServer>", map[string]string{"a/sub/deep": inWeb(c.below)}),
			"above":  hosted(t, "", "", map[string]string{"a/sub": inWeb(c.above), "a/sub/deep": inWeb(c.below)}),
			"location": hosted(t, "", "", map[string]string{
				"a": `<configuration><location path="Sub"><system.webServer>` + c.above + `</system.webServer></location></configuration>`, "a/sub/deep": inWeb(c.below),
			}),
		} {
			if got := faultCodes(s.SiteByName("A").At("/sub/deep/x")); !slices.Equal(got, []string{CodeLocked}) {
				t.Errorf("%s, %s: %v; %v", name, c.above, got, s.Findings)
			}
		}
		s := hosted(t, "", "", map[string]string{"a/sub": inWeb(c.above), "a/beside": inWeb(c.below), "a": inWeb(c.below), "b/sub/deep": inWeb(c.below)})
		for _, set := range []*Settings{s.SiteByName("A").At("/"), s.SiteByName("A").At("/beside"), s.SiteByName("B").At("/sub/deep")} {
			if slices.Contains(faultCodes(set), CodeLocked) {
				t.Errorf("%s: %v", c.above, set.Faults)
			}
		}
	}
}
