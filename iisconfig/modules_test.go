package iisconfig_test

import (
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// TestModules: what is a worker's because of modules is decided when the levels are merged,
// and modules of others for the whole server are named.
func TestModules(t *testing.T) {
	const all, added = `<modules runAllManagedModulesForAllRequests="true" />`, `<modules><add name="M" type="Corp.M" preCondition="managedHandler" /></modules>`
	for _, c := range []struct {
		name, server, site, app string
		at, below               bool // whether a module is a worker's
		warned                  string
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
		{name: "native of the server", server: `<modules><add name="ShibNative" /></modules>`, warned: "ShibNative"},
		{name: "managed of the server", server: `<modules><add name="CorpAuth" type="Corp.Auth, Corp" /></modules>`, warned: "CorpAuth"},
		{name: "for files of all sites", server: strings.Replace(added, "<modules>", `<modules runAllManagedModulesForAllRequests="true"><add name="Session" type="System.Web.SessionState.SessionStateModule" preCondition="managedHandler" />`, 1), warned: "the module M "},
		{name: "of the server, switched on", server: added, site: all, at: true, below: true},
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
		warned := ""
		for _, f := range server.Findings {
			if f.Code == iisconfig.CodeUnsupported {
				warned += f.Message
			}
		}
		if (c.warned == "") != (warned == "") || !strings.Contains(warned, c.warned) {
			t.Errorf("%s: warned %q, want %q", c.name, warned, c.warned)
		}
	}
}
