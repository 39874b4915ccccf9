package iisimport_test

import (
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
