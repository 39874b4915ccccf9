package iisimport_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisimport"
)

// TestUnknownLists: where the lists of the server are not among the files, those that every
// server has stand for them, but for what a web.config takes out.
func TestUnknownLists(t *testing.T) {
	filtering := func(text string) string {
		return `<security><requestFiltering>` + text + `</requestFiltering></security>`
	}
	paths := strings.Fields("/x.txt /bin/x.txt /App_Data/x.txt /x.mdb /x.json /x.webp /docs/ /bare/ /web.config")
	for name, c := range map[string]struct{ server, web, want, report string }{
		"nothing":                {want: "200 404 404 404 200 404 200 200 404"},
		"a limit":                {web: filtering(`<requestLimits maxQueryString="100" />`), want: "200 404 404 404 200 404 200 200 404"},
		"an attribute":           {web: `<security><requestFiltering allowDoubleEscaping="true" /></security>`, want: "200 404 404 404 200 404 200 200 404"},
		"a segment more":         {web: filtering(`<hiddenSegments><add segment="docs" /><add segment="bin" /></hiddenSegments>`), want: "200 404 404 404 200 404 404 200 404"},
		"a segment less":         {web: filtering(`<hiddenSegments applyToWebDAV="false"><remove segment="BIN" /></hiddenSegments>`), want: "200 200 404 404 200 404 200 200 404"},
		"a segment back":         {web: filtering(`<hiddenSegments><remove segment="bin" /><add segment="bin" /></hiddenSegments>`), want: "200 404 404 404 200 404 200 200 404"},
		"no segments":            {web: filtering(`<hiddenSegments><clear /></hiddenSegments>`), want: "200 200 200 404 200 404 200 200 404"},
		"an extension more":      {web: filtering(`<fileExtensions><add fileExtension=".json" allowed="false" /></fileExtensions>`), want: "200 404 404 404 404 404 200 200 404"},
		"an extension less":      {web: filtering(`<fileExtensions><remove fileExtension=".mdb" /></fileExtensions>`), want: "200 404 404 200 200 404 200 200 404"},
		"an extension allowed":   {web: filtering(`<fileExtensions><add fileExtension=".mdb" allowed="true" /></fileExtensions>`), want: "200 404 404 200 200 404 200 200 404"},
		"no extensions":          {web: filtering(`<fileExtensions><clear /></fileExtensions>`), want: "200 404 404 200 200 404 200 200 404"},
		"listed extensions":      {web: filtering(`<fileExtensions allowUnlisted="false"><add fileExtension=".txt" /></fileExtensions>`), want: "200 404 404 404 404 404 404 404 404"},
		"the server's own":       {server: filtering(`<hiddenSegments><add segment="web.config" /></hiddenSegments>`), web: filtering(`<requestLimits maxQueryString="100" />`), want: "200 200 200 200 200 404 200 200 404"},
		"a type less":            {web: `<staticContent><remove fileExtension=".JSON" /></staticContent>`, want: "200 404 404 404 404 404 200 200 404", report: "translated: staticContent"},
		"a type more":            {web: `<staticContent><mimeMap fileExtension=".webp" mimeType="image/webp" /></staticContent>`, want: "200 404 404 404 200 200 200 200 404"},
		"no types":               {web: `<staticContent><clear /></staticContent>`, want: "404 404 404 404 404 404 404 404 404", report: "translated: staticContent"},
		"one type":               {web: `<staticContent><clear /><mimeMap fileExtension=".txt" mimeType="text/plain" /></staticContent>`, want: "200 404 404 404 404 404 404 404 404"},
		"the server's own types": {server: `<staticContent><mimeMap fileExtension=".txt" mimeType="text/plain" /></staticContent>`, web: `<staticContent><remove fileExtension=".json" /></staticContent>`, want: "200 404 404 404 404 404 404 404 404"},
		"documents are on":       {web: `<defaultDocument enabled="true" />`, want: "200 404 404 404 200 404 200 200 404"},
		"documents are off":      {web: `<defaultDocument enabled="false" />`, want: "200 404 404 404 200 404 403 403 404"},
		"a document less":        {web: `<defaultDocument><files><remove value="index.html" /></files></defaultDocument>`, want: "200 404 404 404 200 404 403 403 404"},
		"a document more":        {web: `<defaultDocument><files><add value="own.txt" /></files></defaultDocument>`, want: "200 404 404 404 200 404 200 200 404"},
		"one document":           {web: `<defaultDocument><files><clear /><add value="own.txt" /></files></defaultDocument>`, want: "200 404 404 404 200 404 200 403 404"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, plan := startHost(t, hostOf("", "", "", `<system.webServer>`+c.server+`</system.webServer>`), `<system.webServer>`+c.web+`</system.webServer>`, iisimport.Options{})
			if got := statuses(t, addr, paths...); got != c.want {
				t.Errorf("got  %s\nwant %s\n%s", got, c.want, plan.Caddyfile())
			}
			told := c.report == ""
			for _, l := range plan.Report.Lines {
				told = told || strings.Contains(l.String(), c.report)
			}
			if !told {
				t.Errorf("no %q in %v", c.report, plan.Report.Lines)
			}
		})
	}
}

// TestProxyPastModules: requests that a module of .NET sees before another server gets them in
// IIS do not go there: they are refused, and the report says so.
func TestProxyPastModules(t *testing.T) {
	const (
		proxy  = `<rewrite><rules><rule name="p" stopProcessing="true"><match url="^p/(.*)" /><conditions><add input="{QUERY_STRING}" pattern="^$" /></conditions><action type="Rewrite" url="http://WORKER/{R:1}" /></rule></rules></rewrite>`
		all    = `runAllManagedModulesForAllRequests="true"`
		own    = `<add name="MyAuth" type="Foo.Bar" %s/>`
		forNET = `preCondition="managedHandler" `
		system = `<system.web><authorization><deny users="?" /></authorization></system.web>`
	)
	server := func(text string) string { return `<system.webServer>` + text + `</system.webServer>` }
	modules := func(attrs, entries string) string { return `<modules ` + attrs + `>` + entries + `</modules>` }
	module := func(attrs string) string { return fmt.Sprintf(own, attrs) }
	for name, c := range map[string]struct {
		webs   map[string]string
		status int
	}{
		"none":                         {map[string]string{"": server(proxy)}, 200},
		"its own":                      {map[string]string{"": server(proxy + modules("", module("")))}, 403},
		"for managed handlers":         {map[string]string{"": server(proxy + modules("", module(forNET)))}, 200},
		"for managed handlers, of all": {map[string]string{"": server(proxy + modules(all, module(forNET)))}, 403},
		"of .NET, for all":             {map[string]string{"": server(proxy + modules("", `<remove name="FormsAuthentication" /><add name="FormsAuthentication" type="System.Web.Security.FormsAuthenticationModule" />`))}, 403},
		"all, without any":             {map[string]string{"": server(proxy + modules(all, ""))}, 200},
		"system.web":                   {map[string]string{"": system + server(proxy)}, 200},
		"all, and system.web":          {map[string]string{"": system + server(proxy+modules(all, ""))}, 403},
		"a native one of IIS":          {map[string]string{"": server(proxy + modules("", `<remove name="WebDAVModule" />`))}, 200},
		"below":                        {map[string]string{"": server(proxy), "/p": server(modules("", module("")))}, 403},
		"elsewhere":                    {map[string]string{"": server(proxy), "/app": server(modules("", module("")))}, 200},
		"taken out below":              {map[string]string{"": server(proxy + modules("", module(""))), "/p": server(modules("", `<remove name="MyAuth" />`))}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			get, plan := servePages(t, c.webs, iisimport.Options{})
			if a := get("/p/200"); a.Status != c.status || (a.Body == "worker") != (c.status == 200) {
				t.Errorf("%v, want %d\n%s", a, c.status, plan.Caddyfile())
			}
			closed := false
			for _, l := range plan.Report.Lines {
				closed = closed || l.Outcome == iisimport.Closed && strings.HasPrefix(l.What, "rewrite rule p")
			}
			if c.status == 403 && !closed || name == "none" && closed {
				t.Error(plan.Report.Lines)
			}
		})
	}
}
