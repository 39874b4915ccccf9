package iisimport_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisimport"
)

// TestHandlersOfWorkers: a worker process gets what the handlers give it, paths and verbs, also
// beside an element aspNetCore; what is left are files, or nothing.
func TestHandlersOfWorkers(t *testing.T) {
	add := func(path, verb, attrs string) string {
		return fmt.Sprintf(`<add name="aspNetCore" path="%s" verb="%s" %s />`, path, verb, attrs)
	}
	web := func(handlers, more string) string {
		return `<system.webServer><handlers>` + handlers + `</handlers>` + more + `</system.webServer>`
	}
	const (
		core  = `modules="AspNetCoreModuleV2"`
		start = `<aspNetCore processPath="x" />`
		php   = `modules="FastCgiModule" scriptProcessor="C:\php.exe"`
	)
	for name, c := range map[string]struct {
		root, app string
		want      map[string]string // by method and path
	}{
		"all":                     {"", web(add("*", "*", core), start), map[string]string{"GET /app/x": "200 worker", "POST /app/x": "200 worker", "GET /app/page.htm": "200 worker"}},
		"a verb":                  {"", web(add("*", "GET", core), start), map[string]string{"GET /app/x": "200 worker", "POST /app/x": "405 ", "PUT /app/page.htm": "405 "}},
		"verbs of two":            {"", web(add("*", "GET", core)+strings.Replace(add("*", "POST", core), "aspNetCore", "b", 1), start), map[string]string{"GET /app/x": "200 worker", "POST /app/x": "200 worker", "PUT /app/x": "405 "}},
		"other verbs than one":    {"", web(strings.Replace(add("*", "POST", `modules="StaticFileModule" requireAccess="Read"`), "aspNetCore", "b", 1)+add("*", "GET,POST", core), start), map[string]string{"GET /app/x": "200 worker", "POST /app/x": "405 ", "PUT /app/x": "405 "}},
		"some paths, no others":   {"", web("<clear />"+add("api/*", "*", core), start), map[string]string{"GET /app/api/x": "200 worker", "GET /app/x": "404 ", "GET /app/page.htm": "404 ", "POST /app/x": "404 "}},
		"some paths, and files":   {"", web(add("api/*", "*", core), start), map[string]string{"GET /app/api/x": "200 worker", "GET /app/x": "404 ", "GET /app/page.htm": "200 page app/page.htm"}},
		"paths, and settings":     {"", `<appSettings />` + web("<clear />"+add("api/*", "*", core), start), map[string]string{"GET /app/api/x": "200 worker", "GET /app/x": "404 "}},
		"paths with a verb":       {"", web(add("api/*", "POST", core), start), map[string]string{"POST /app/api/x": "200 worker", "GET /app/api/x": "405 ", "PUT /app/api/x": "405 "}},
		"files alone":             {"", web(add("*", "*", core+` resourceType="File"`), start), map[string]string{"GET /app/x": "404 ", "GET /app/page.htm": "200 worker"}},
		"of httpPlatform":         {"", web(add("api/*", "*", `modules="httpPlatformHandler"`), `<httpPlatform processPath="x" />`), map[string]string{"GET /app/api/x": "200 worker", "GET /app/x": "404 ", "GET /app/page.htm": "200 page app/page.htm"}},
		"files alone, of a path":  {"", web(add("api/*", "*", core+` resourceType="File"`), start), map[string]string{"GET /app/api/x": "404 ", "GET /app/page.htm": "200 page app/page.htm"}},
		"names without extension": {"", web(add("*.", "GET", core), start), map[string]string{"GET /app/x": "200 worker", "POST /app/x": "405 ", "GET /app/page.htm": "200 page app/page.htm"}},
		"a module sees all":       {"", web(add("api/*", "*", core), start+`<modules><add name="M" type="Own" /></modules>`), map[string]string{"GET /app/api/x": "200 worker", "GET /app/page.htm": "200 worker"}},
		"who may, for all":        {"", `<system.web><authorization><deny users="?" /></authorization></system.web>` + web(add("api/*", "*", core), start+`<modules runAllManagedModulesForAllRequests="true" />`), map[string]string{"GET /app/page.htm": "200 worker"}},
		"after WebDAV":            {"", web(add("*", "PROPFIND,PUT", `modules="WebDAVModule" requireAccess="None"`)+strings.Replace(add("*", "*", core), "aspNetCore", "b", 1), start), map[string]string{"GET /app/x": "200 worker", "PUT /app/x": "405 ", "PROPFIND /app/x": "405 "}},
		"scripts, after others":   {web(add("*", "PUT", `modules="WebDAVModule" requireAccess="None"`)+strings.Replace(add("*.php", "*", php), "aspNetCore", "b", 1), ""), "", map[string]string{"GET /x.php": "200 worker", "PUT /x.php": "405 "}},
		"files before, of a path": {"", web(strings.Replace(add("admin/*", "*", `modules="StaticFileModule" requireAccess="Read"`), "aspNetCore", "f", 1)+add("*", "*", core), start), map[string]string{"GET /app/x": "200 worker", "GET /app/admin/x": "404 ", "POST /app/admin/x": "404 "}},
		"files before, if there":  {"", web(strings.Replace(add("*.htm", "*", `modules="StaticFileModule" resourceType="File" requireAccess="Read"`), "aspNetCore", "f", 1)+add("*", "*", core), start), map[string]string{"GET /app/x": "200 worker", "GET /app/no.htm": "200 worker", "GET /app/page.htm": "200 page app/page.htm", "GET /app/PAGE.htm": "200 page app/page.htm", "POST /app/page.htm": "405 "}},
		"files before, of GET":    {"", web(strings.Replace(add("*", "GET,HEAD", `modules="StaticFileModule" resourceType="File" requireAccess="Read"`), "aspNetCore", "f", 1)+add("*", "*", core), start), map[string]string{"GET /app/x": "200 worker", "GET /app/": "200 worker", "GET /app/page.htm": "200 page app/page.htm", "POST /app/page.htm": "200 worker", "GET /app/web.config": "404 "}},
		"all files before":        {"", web(strings.Replace(add("*", "*", `modules="StaticFileModule" resourceType="File" requireAccess="Read"`), "aspNetCore", "f", 1)+add("*", "*", core), start), map[string]string{"GET /app/x": "200 worker", "GET /app/": "200 worker", "GET /app/page.htm": "200 page app/page.htm", "POST /app/page.htm": "405 "}},
		"behind the program's":    {"", web(add("admin/*", "GET", core)+strings.Replace(add("admin/*", "*", `modules="StaticFileModule" requireAccess="Read"`), "aspNetCore", "f", 1)+strings.Replace(add("*", "*", core), "aspNetCore", "b", 1), start), map[string]string{"GET /app/admin/x": "200 worker", "POST /app/admin/x": "404 "}},
		"files to POST alone":     {"", web(`<remove name="StaticFile" />`+strings.Replace(add("*", "POST", `modules="StaticFileModule,DefaultDocumentModule" requireAccess="Read"`), "aspNetCore", "StaticFile", 1), ""), map[string]string{"GET /app/page.htm": "404 ", "GET /app/": "404 "}},
		"files to get":            {"", web(`<remove name="StaticFile" />`+strings.Replace(add("*", "get", `modules="StaticFileModule,DefaultDocumentModule" requireAccess="Read"`), "aspNetCore", "StaticFile", 1), ""), map[string]string{"GET /app/page.htm": "404 "}},
		"none":                    {"", web("", start), map[string]string{"GET /app/x": "404 ", "GET /app/page.htm": "200 page app/page.htm"}},
		"taken out below":         {web(add("*", "*", core), start), web(`<remove name="aspNetCore" />`, ""), map[string]string{"GET /x": "200 worker", "GET /app/x": "404 ", "GET /app/page.htm": "200 page app/page.htm"}},
		"nothing is left below":   {web(add("*", "*", core), start), web(`<clear />`, ""), map[string]string{"GET /x": "200 worker", "GET /app/x": "404 ", "GET /app/page.htm": "404 "}},
		"scripts":                 {web(add("*.php", "GET,HEAD", php), ""), "", map[string]string{"GET /x.php": "200 worker", "HEAD /x.php": "200 ", "POST /x.php": "405 ", "GET /404.htm": "200 page 404.htm"}},
		"scripts, verbs of two":   {web(add("*.php", "GET", php)+strings.Replace(add("*.php", "POST", php), "aspNetCore", "b", 1), ""), "", map[string]string{"GET /x.php": "200 worker", "POST /x.php": "200 worker", "PUT /x.php": "405 "}},
		"scripts, the rest of it": {web(strings.Replace(add("*.php", "POST", `modules="StaticFileModule" requireAccess="Read"`), "aspNetCore", "b", 1)+add("*.php", "*", php), ""), "", map[string]string{"GET /x.php": "200 worker", "POST /x.php": "405 ", "PUT /x.php/y": "200 worker"}},
	} {
		t.Run(name, func(t *testing.T) {
			webs := map[string]string{"": c.root, "/app": c.app}
			for place, text := range webs {
				if text == "" {
					delete(webs, place)
				}
			}
			get, plan := servePages(t, webs, iisimport.Options{})
			for request, want := range c.want {
				if a := get(request); fmt.Sprint(a.Status, " ", a.Body) != want {
					t.Errorf("%s: %v %s, want %s\n%s", request, a.Status, a.Body, want, plan.Caddyfile())
				}
			}
		})
	}
}

// TestTwoPrograms: what the handlers of aspNetCore have goes to its program, and to nobody else's;
// what other handlers have does not go to it.
func TestTwoPrograms(t *testing.T) {
	const web = `<system.webServer><handlers><add name="core" path="api/*" verb="*" modules="AspNetCoreModuleV2" />` +
		`<add name="php" path="*.php" verb="GET" modules="FastCgiModule" scriptProcessor="C:\php.exe" /></handlers><aspNetCore processPath="dotnet" arguments=".\a.dll" requestTimeout="00:01:00" /></system.webServer>`
	get, plan := servePages(t, map[string]string{"/app": web}, iisimport.Options{Services: true})
	if len(plan.Services) != 1 || strings.Count(string(plan.Caddyfile()), plan.Services[0].Address) != 1 || strings.Count(string(plan.Caddyfile()), "response_header_timeout 60s") != 1 {
		t.Fatalf("%d services\n%s", len(plan.Services), plan.Caddyfile())
	}
	// Nobody has started the service.
	for request, want := range map[string]string{
		"GET /app/api/x": "502 ", "POST /app/api/x": "502 ", "GET /app/x.php": "200 worker", "POST /app/x.php": "404 ",
		"GET /app/api/x.php": "502 ", "GET /app/page.htm": "200 page app/page.htm", "GET /app/x": "404 ",
	} {
		if a := get(request); fmt.Sprint(a.Status, " ", a.Body) != want {
			t.Errorf("%s: %v %s, want %s\n%s", request, a.Status, a.Body, want, plan.Caddyfile())
		}
	}
}

// TestProgramWithoutHandler: a program that no handler gives anything has no unit, and the report
// says that nothing of its section counts.
func TestProgramWithoutHandler(t *testing.T) {
	for element, handler := range map[string]string{"aspNetCore": "AspNetCoreModuleV2", "httpPlatform": "httpPlatformHandler"} {
		web := `<system.webServer><handlers><add name="a" path="api/*" verb="*" modules="` + handler + `" /><remove name="a" /></handlers><` + element + ` processPath="dotnet" requestTimeout="00:01:00" /></system.webServer>`
		get, plan := servePages(t, map[string]string{"/app": web}, iisimport.Options{Services: true})
		if a := get("/app/page.htm"); a.Status != 200 || a.Body != "page app/page.htm" || len(plan.Services) != 0 {
			t.Errorf("%v, %d services\n%s", a, len(plan.Services), plan.Caddyfile())
		}
		if l := lineOf(plan, element); l.Outcome != iisimport.Dropped || !strings.Contains(l.Message, "no handler gives a request") {
			t.Errorf("the report: %v", l)
		}
	}
}

// TestFilesOfNET: the handlers of System.Web for files send them, and need no worker; where .NET
// says who may, it guards them.
func TestFilesOfNET(t *testing.T) {
	const guard = `<system.web><authorization><deny users="?" /></authorization></system.web>`
	for _, kind := range []string{"System.Web.StaticFileHandler", "System.Web.DefaultHttpHandler, System.Web, Version=4.0.0.0"} {
		handler := func(path string) string {
			return `<handlers><clear /><add name="files" path="` + path + `" verb="GET,HEAD" type="` + kind + `" preCondition="integratedMode" /></handlers>`
		}
		for name, c := range map[string]struct {
			web  string
			want map[string]string
		}{
			"all":           {`<system.webServer>` + handler("*") + `</system.webServer>`, map[string]string{"GET /app/page.htm": "200 page app/page.htm", "GET /app/x": "404 ", "GET /app/": "403 ", "POST /app/page.htm": "405 "}},
			"some":          {`<system.webServer>` + handler("*.htm") + `</system.webServer>`, map[string]string{"GET /app/page.htm": "200 page app/page.htm", "GET /app/x": "404 "}},
			"guarded":       {guard + `<system.webServer>` + handler("*.htm") + `</system.webServer>`, map[string]string{"GET /app/page.htm": "200 worker"}},
			"guarded, Core": {guard + `<system.webServer>` + strings.Replace(handler("*.htm"), "<clear />", `<clear /><add name="core" path="api/*" verb="*" modules="AspNetCoreModuleV2" />`, 1) + `<aspNetCore processPath="x" /></system.webServer>`, map[string]string{"GET /app/page.htm": "200 worker", "GET /app/api/x": "200 worker"}},
		} {
			t.Run(name, func(t *testing.T) {
				get, plan := servePages(t, map[string]string{"/app": c.web}, iisimport.Options{})
				for request, want := range c.want {
					if a := get(request); fmt.Sprint(a.Status, " ", a.Body) != want {
						t.Errorf("%s: %v %s, want %s\n%s", request, a.Status, a.Body, want, plan.Caddyfile())
					}
				}
			})
		}
	}
}
