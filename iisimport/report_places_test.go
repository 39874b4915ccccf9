package iisimport_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
)

// TestClosedLines: whatever closes a place, its line in the report names the site, the path, the
// reason and the way out.
func TestClosedLines(t *testing.T) {
	in := func(sections string) string { return "<system.webServer>" + sections + "</system.webServer>" }
	at := func(sections string) string { return `<location path="S/dir">` + in(sections) + "</location>" }
	rules := func(rule string) string { return in("<rewrite><rules>" + rule + "</rules></rewrite>") }
	for name, c := range map[string]struct{ root, sub, more, web, path string }{
		"unknown in security":        {more: at(`<security><odd /></security>`), path: "/dir"},
		"an attribute of security":   {web: in(`<security><access odd="1" /></security>`), path: "/"},
		"a domain":                   {more: at(`<security><ipSecurity><add domainName="a.test" /></ipSecurity></security>`), path: "/dir"},
		"IIS answers 500.19":         {web: in(`<Handlers />`), path: "/"},
		"a value":                    {web: in(`<caching enabled="no" />`), path: "/"},
		"not well-formed":            {web: `<a`, path: "/"},
		"locked":                     {more: `<location path="S" overrideMode="Deny">` + in(`<caching />`) + `</location>`, web: in(`<caching enabled="false" />`), path: "/"},
		"serverRuntime":              {more: at(`<serverRuntime enabled="false" />`), path: "/dir"},
		"protocols":                  {sub: `enabledProtocols="net.tcp"`, path: "/sub"},
		"https that nobody has":      {more: at(`<security><access sslFlags="Ssl" /></security>`), path: "/dir"},
		"a rule":                     {web: rules(`<rule name="r"><match url="^a" /><action type="Rewrite" url="{odd:{R:0}}" /></rule>`), path: "/"},
		"a rule without a pattern":   {web: rules(`<rule name="r"><match url="(" /><action type="AbortRequest" /></rule>`), path: "/"},
		"a map with an entry twice":  {web: strings.Replace(rules(`<rule name="r"><match url="a" /><action type="Redirect" url="/{m:{URL}}" /></rule>`), "<rules>", `<rewriteMaps><rewriteMap name="m"><add key="a" value="b" /><add key="A" value="c" /></rewriteMap></rewriteMaps><rules>`, 1), path: "/"},
		"a handler's path":           {web: in(`<handlers><add name="odd" path="*a*b*" verb="*" modules="IsapiModule" scriptProcessor="C:\x.dll" /></handlers>`), path: "/"},
		"accessPolicy":               {web: in(`<handlers accessPolicy="None" />`), path: "/"},
		"no handler":                 {web: in(`<handlers><clear /></handlers>`), path: "/"},
		"a module of the server":     {more: in(`<modules><add name="Odd" /></modules>`), path: "/"},
		"a filter of the server":     {more: in(`<isapiFilters><filter name="odd" path="C:\odd.dll" /></isapiFilters>`), path: "/"},
		"an encrypted section":       {web: in(`<handlers configProtectionProvider="x"><EncryptedData /></handlers>`), path: "/"},
		"a worker without its file":  {more: at(`<handlers><add name="w" path="*" verb="*" type="A.B" /></handlers>`), path: "/dir"},
		"accounts":                   {more: at(`<security><authentication><anonymousAuthentication enabled="false" /></authentication></security>`), path: "/dir"},
		"a redirect":                 {web: in(`<httpRedirect enabled="true" destination="&#x85;" />`), path: "/"},
		"filtering":                  {web: in(`<security><requestFiltering><verbs><add verb="A B" allowed="false" /></verbs></requestFiltering></security>`), path: "/"},
		"client certificates":        {more: `<location path="S/dir">` + in(`<security><access sslFlags="SslRequireCert" /></security>`) + `</location>`, path: "/dir"},
		"a denyAction":               {web: in(`<security><ipSecurity allowUnlisted="false" denyAction="Odd" /></security>`), path: "/"},
		"a worker that sees folders": {web: in(`<handlers><clear /><add name="w" path="*" verb="*" resourceType="File" type="A.B" /></handlers>`), path: "/"},
	} {
		files := []iisconfig.File{{Name: "export/applicationHost.config", Data: []byte(hostOf("", c.root, c.sub, c.more))}}
		if c.web != "" {
			files = append(files, iisconfig.File{Name: "export/w/web.config", Data: []byte("<configuration>" + c.web + "</configuration>")})
		}
		server, err := iisconfig.Read(files, iisconfig.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\w`, To: "/srv/w"}, {From: `C:\s`, To: "/srv/s"}}})
		closed := slices.DeleteFunc(slices.Clone(plan.Report.Lines), func(l iisimport.Line) bool {
			return l.Outcome != iisimport.Closed && l.Outcome != iisimport.Waiting
		})
		if closed == nil {
			t.Errorf("%s: nothing is closed\n%s", name, plan.Caddyfile())
		}
		for _, l := range closed {
			if len(l.At) == 0 || l.At[0] != (iisimport.Place{ID: 1, Site: "S", Path: c.path}) || !strings.Contains(l.String(), c.path+` of site 1 "S"`) {
				t.Errorf("%s: %q is not at %s of site S: %+v", name, l, c.path, l.At)
			}
			if l.Message == "" || l.What == "" || l.Fix == "" {
				t.Errorf("%s: %q has no reason or no way out", name, l)
			}
		}
	}
}

// TestPlacesOfALine: a line that many sites share is there once, and names them.
func TestPlacesOfALine(t *testing.T) {
	const site = `<site name="N" id="I"><application path="/"><virtualDirectory path="/" physicalPath="C:\N" /></application></site>`
	sites := ""
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7"} {
		sites += strings.NewReplacer("N", "n"+n, "I", n).Replace(site)
	}
	server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites>` + sites +
		`</sites></system.applicationHost><system.webServer><security><odd /></security></system.webServer><location path="n1/a/b"><system.webServer><directoryBrowse enabled="true" /></system.webServer></location></configuration>`)}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	plan := iisimport.Import(server, iisimport.Options{})
	for _, l := range plan.Report.Lines {
		if l.Outcome != iisimport.Closed {
			continue
		}
		if len(l.At) != 7 || !strings.Contains(l.String(), `; at / of site 1 "n1", / of site 2 "n2", / of site 3 "n3", / of site 4 "n4", / of site 5 "n5" and 2 more; `) {
			t.Errorf("%v %+v", l, l.At)
		}
		return
	}
	t.Error("nothing is closed")
}
