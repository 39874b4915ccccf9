package iisconfig_test

import (
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// TestModules: what is a worker's because of modules is decided when the levels are merged,
// and modules and filters of others for the whole server close what they may have protected.
func TestModules(t *testing.T) {
	const all, added = `<modules runAllManagedModulesForAllRequests="true" />`, `<modules><add name="M" type="Corp.M" preCondition="managedHandler" /></modules>`
	for _, c := range []struct {
		name, server, site, app string
		at, below               bool // whether a module is a worker's
		closed                  string
	}{
		{name: "nothing"},
		{name: "switch above", site: all, app: added, below: true},
		{name: "switch below", site: added, app: all, below: true},
		{name: "only managed", site: added},
		{name: "switched off", site: strings.Replace(added, "<modules>", `<modules runAllManagedModulesForAllRequests="true">`, 1), app: strings.Replace(all, "true", "false", 1), at: true},
		{name: "removed", site: `<modules><add name="M" type="Corp.M" /></modules>`, app: `<modules><remove name="m" /></modules>`, at: true},
		{name: "cleared", site: `<modules><add name="M" type="Corp.M" /></modules>`, app: `<modules><clear /></modules>`, at: true},
		{name: "native of the site", site: `<modules><add name="ShibNative" /></modules>`, at: true, below: true},
		{name: "IIS's own", server: `<modules><add name="RewriteModule" /><add name="Session" type="System.Web.SessionState.SessionStateModule" preCondition="managedHandler" /></modules>`, site: all},
		{name: "native of the server", server: `<modules><add name="ShibNative" /></modules>`, closed: "ShibNative"},
		{name: "managed of the server", server: `<modules><add name="CorpAuth" type="Corp.Auth, Corp" /></modules>`, closed: "CorpAuth"},
		{name: "for files of all sites", server: strings.Replace(added, "<modules>", `<modules runAllManagedModulesForAllRequests="true"><add name="Session" type="System.Web.SessionState.SessionStateModule" preCondition="managedHandler" />`, 1), closed: "the module M,"},
		{name: "of the server, switched on", server: added, site: all, at: true, below: true},
		{name: "of the server, in a site that says nothing new", server: strings.Replace(added, "<modules>", `<modules runAllManagedModulesForAllRequests="true">`, 1), site: `<modules />`, closed: "the module M,"},
		{name: "native of the server, switched on", server: `<modules><add name="ShibNative" /></modules>`, site: all, closed: "ShibNative"},
		{name: "of the server, taken out of a site", server: `<modules><add name="ShibNative" /></modules>`, site: `<modules><remove name="shibnative" /></modules>`},
		{name: "filter of the server", server: `<isapiFilters><filter name="f" path="C:\f\siteminder.dll" /></isapiFilters>`, closed: "siteminder.dll"},
		{name: "filter of the server, switched off", server: `<isapiFilters><filter name="f" path="C:\f\siteminder.dll" enabled="false" /></isapiFilters>`},
		{name: "filter of the site", site: `<isapiFilters><filter name="f" path="C:\f\siteminder.dll" /></isapiFilters>`, closed: "siteminder.dll"},
		{name: "filter of ASP.NET", server: `<isapiFilters><filter name="f" path="%windir%\Microsoft.NET\Framework\v4.0.30319\aspnet_filter.dll" /></isapiFilters>`},
	} {
		web := func(section string) string { return `<system.webServer>` + section + `</system.webServer>` }
		data := `<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application>` +
			`<bindings><binding protocol="http" bindingInformation="*:80:a.test" /></bindings></site></sites></system.applicationHost>` + web(c.server) +
			`<location path="a">` + web(c.site) + `</location><location path="a/app">` + web(c.app) + `</location></configuration>`
		server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(data)}}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		site := server.Sites[0]
		if at, below := len(site.At("/").Managed) > 0, len(site.At("/app").Managed) > 0; at != c.at || below != c.below {
			t.Errorf("%s: got %v and %v, want %v and %v", c.name, at, below, c.at, c.below)
		}
		closed := ""
		for _, u := range site.At("/app").Unknown {
			closed += u.What
		}
		if (c.closed == "") != (closed == "") || !strings.Contains(closed, c.closed) {
			t.Errorf("%s: closed by %q, want %q", c.name, closed, c.closed)
		}
	}
}

// TestHasModule: a module that globalModules or modules does not have is not there. Without
// globalModules, nobody knows.
func TestHasModule(t *testing.T) {
	const both = `<globalModules><add name="StaticFileModule" image="x.dll" /><add name="DefaultDocumentModule" image="x.dll" /></globalModules>`
	for _, c := range []struct {
		server, site string
		has          bool
	}{
		{``, ``, true},
		{`<modules><add name="OtherModule" /></modules>`, ``, true},
		{both, ``, true},
		{`<globalModules><add name="StaticFileModule" image="x.dll" /></globalModules>`, ``, false},
		{`<globalModules></globalModules>`, ``, true},
		{both + `<modules><add name="StaticFileModule" /></modules>`, ``, false},
		{both + `<modules><add name="defaultdocumentmodule" /></modules>`, ``, true},
		{both + `<modules><add name="DefaultDocumentModule" /></modules>`, `<modules><remove name="DefaultDocumentModule" /></modules>`, false},
		{both + `<modules><add name="DefaultDocumentModule" /></modules>`, `<modules><clear /></modules>`, false},
		{both + `<modules><add name="DefaultDocumentModule" type="Corp.Own" /></modules>`, ``, false},
		{``, `<modules><remove name="defaultDocumentModule" /></modules>`, false},
		{``, `<modules><remove name="OtherModule" /></modules>`, true},
		{``, `<modules><clear /></modules>`, false},
		{``, `<modules><clear /><add name="DefaultDocumentModule" /></modules>`, true},
		{``, `<modules><remove name="DefaultDocumentModule" /><add name="DefaultDocumentModule" /></modules>`, true},
	} {
		data := `<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application></site></sites></system.applicationHost>` +
			`<system.webServer>` + c.server + `</system.webServer><location path="a"><system.webServer>` + c.site + `</system.webServer></location></configuration>`
		server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(data)}}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := server.Sites[0].At("/").HasModule("DefaultDocumentModule"); got != c.has {
			t.Errorf("%s %s: %v", c.server, c.site, got)
		}
	}
}

// TestUnreadFiles: what a section has that may close a place, in a file that is not there,
// closes it.
func TestUnreadFiles(t *testing.T) {
	for _, section := range []string{"handlers", "modules", "isapiFilters", "globalModules"} {
		for _, deeper := range []string{"", `<modules><remove name="X" /></modules>`} {
			data := `<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application></site></sites></system.applicationHost>` +
				`<system.webServer><` + section + ` configSource="gone.config" /></system.webServer><location path="a/b"><system.webServer>` + deeper + `</system.webServer></location></configuration>`
			server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(data)}}, iisconfig.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := server.Sites[0].At("/b").Unknown; len(got) != 1 || got[0].Section != "system.webServer/"+section {
				t.Errorf("%s, %q below: %v", section, deeper, got)
			}
		}
	}
}

// TestRemovedHandler: who takes StaticFile out has no files, also if nobody knows what the
// server had.
func TestRemovedHandler(t *testing.T) {
	for section, cleared := range map[string]bool{
		`<remove name="staticfile" />`: true,
		`<remove name="Other" />`:      false,
		`<remove name="StaticFile" /><add name="StaticFile" path="*" verb="*" modules="StaticFileModule" />`: false,
		`<remove name="StaticFile" /><add name="Mine" path="*.txt" verb="*" modules="StaticFileModule" />`:   true,
	} {
		data := `<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application></site></sites></system.applicationHost>` +
			`<location path="a"><system.webServer><handlers>` + section + `</handlers></system.webServer></location></configuration>`
		server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(data)}}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := server.Sites[0].At("/").Handlers.Cleared; got != cleared {
			t.Errorf("%s: %v", section, got)
		}
	}
}
