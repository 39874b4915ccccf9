package iisimport_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// entry is a handler of the model.
type entry struct{ kind, path, verb, resource string }

func (e entry) xml(i int) string {
	attributes := map[string]string{
		"files": `modules="StaticFileModule,DefaultDocumentModule" requireAccess="Read"`, "bare": `modules="StaticFileModule" requireAccess="Read"`,
		"program": `modules="AspNetCoreModuleV2"`, "worker": `modules="IsapiModule" scriptProcessor="C:\x.dll"`, "refuses": `type="System.Web.HttpForbiddenHandler"`,
	}[e.kind]
	return fmt.Sprintf(`<add name="h%d" path="%s" verb="%s" resourceType="%s" %s />`, i, e.path, e.verb, e.resource, attributes)
}

// modelFiles are what is there.
var modelFiles = []string{"a.txt", "index.html", "static/a.txt", "static/Index.html", "static/bare/a.txt", "api/x.api", "api/plain", "x.api", "dir.api/y.txt", "plain"}

// modelFind returns the file of a path, or tells that it is a folder.
func modelFind(p string) (file string, folder bool) {
	want := strings.ToLower(strings.Trim(p, "/"))
	for _, f := range modelFiles {
		if lower := strings.ToLower(f); lower == want && !strings.HasSuffix(p, "/") {
			return f, false
		} else if want == "" || strings.HasPrefix(lower, want+"/") {
			folder = true
		}
	}
	return "", folder
}

// fits tells whether an entry has a request, as slowly as it can be said.
func (e entry) fits(method, p string) bool {
	if e.verb != "*" && !slices.Contains(strings.Split(e.verb, ","), method) {
		return false
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(e.path), `\*`, ".*")
	if !strings.HasPrefix(e.path, "/") {
		pattern = "/(?:.*/)?" + pattern
	}
	if e.path == "*." {
		pattern = ".*/[^/.]+"
	}
	exact := regexp.MustCompile("(?i)^" + pattern + "$")
	names, there := strings.Split(strings.Trim(p, "/"), "/"), false
	fits := exact.MatchString(p)
	file, folder := modelFind(p)
	for i := 1; i < len(names); i++ { // what is behind may be path info
		part := "/" + strings.Join(names[:i], "/")
		if e.path != "*." && exact.MatchString(part) {
			fits = true
			f, _ := modelFind(part)
			there = there || f != "" && !strings.HasSuffix(e.path, "*")
		}
	}
	switch e.resource {
	case "File":
		return fits && (there || file != "")
	case "Directory":
		return fits && folder
	case "Either":
		return fits && (there || folder || file != "")
	}
	return fits
}

// modelFirst is the place of the first entry that fits. A worker process knows by itself which of
// its scripts are there, if no program has the others.
func modelFirst(list []entry, method, p string) int {
	return slices.IndexFunc(list, func(e entry) bool {
		i := slices.Index(list, e)
		alone := !slices.ContainsFunc(list[i+1:], func(e entry) bool { return e.kind == "program" || e.kind == "worker" })
		if e.kind == "worker" && len(e.path) > 2 && e.path[:2] == "*." && e.resource != "Directory" && alone {
			e.resource = ""
		}
		return e.fits(method, p)
	})
}

// modelAnswer is what IIS answers, but that it sends no file that some program runs, unless its
// extension is given to files before.
func modelAnswer(list []entry, method, p string) string {
	i := modelFirst(list, method, p)
	if i < 0 {
		return "404"
	}
	switch list[i].kind {
	case "program", "worker":
		return "200 worker"
	case "refuses":
		return "403"
	}
	ran := slices.ContainsFunc(list, func(e entry) bool {
		first := slices.IndexFunc(list, func(f entry) bool { return f.path == e.path && f.verb != "POST" })
		return (e.kind == "program" || e.kind == "worker") && (e.path == "*.api" || e.path == "*.txt") && strings.Contains(strings.ToLower(p)+"/", e.path[1:]+"/") &&
			(first < 0 || list[first].kind != "files" && list[first].kind != "bare" || list[first].resource == "Directory")
	})
	file, folder := modelFind(p)
	switch {
	case ran:
		return "404"
	case folder && list[i].kind == "bare":
		return "403"
	case folder && !strings.HasSuffix(p, "/"):
		return "301"
	case folder:
		document, _ := modelFind(p + "index.html")
		if document == "" {
			return "403"
		}
		switch j := modelFirst(list, method, p+"index.html"); {
		case j < 0:
			return "404"
		case list[j].kind != "files" && list[j].kind != "bare":
			return modelAnswer(list, method, p+"index.html")
		}
		return "200 " + document
	case file == "":
		return "404"
	}
	return "200 " + file
}

// TestHandlersAsReference: random lists of handlers are executed as the first one that fits says.
func TestHandlersAsReference(t *testing.T) {
	const seed, sites = 1, 80
	r := rand.New(rand.NewPCG(seed, 0)) // the same again
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	dir := ts.Folder(t)
	for _, name := range modelFiles {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var lists [][]entry
	var host string
	var files []iisconfig.File
	for i := range sites {
		var list []entry
		var text string
		for j := range 1 + r.IntN(4) {
			e := entry{pick("files", "files", "bare", "program", "worker", "refuses"), pick("*", "*", "*.txt", "*.api", "api/*", "/static/*", "*.", "a.txt"), pick("*", "*", "GET", "GET,HEAD", "POST"), pick("Unspecified", "File", "Directory", "Either")}
			if e.kind == "refuses" { // a status for everything is the same everywhere
				e.path = pick("*.txt", "*.api", "api/*")
			}
			list, text = append(list, e), text+e.xml(j)
		}
		if r.IntN(2) == 0 {
			e := entry{pick("program", "worker"), "*", "*", "Unspecified"}
			list, text = append(list, e), text+e.xml(9)
		}
		lists = append(lists, append(list, entry{"files", "*", "*", "Either"}))
		host += fmt.Sprintf(`<site name="s%d" id="%d"><application path="/"><virtualDirectory path="/" physicalPath="C:\w\s%d" /></application><bindings><binding protocol="http" bindingInformation="*:80:s%d.test" /></bindings></site>`, i, i+1, i, i)
		files = append(files, iisconfig.File{Name: fmt.Sprintf("export/w/s%d/web.config", i), Data: []byte(`<configuration><system.webServer><handlers>` + text + `</handlers><aspNetCore processPath="x" /></system.webServer></configuration>`)})
	}
	files = append(files, iisconfig.File{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites>` + host + `</sites></system.applicationHost><system.webServer><handlers accessPolicy="Read, Script">` +
		`<add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule" resourceType="Either" requireAccess="Read" /></handlers><staticContent><mimeMap fileExtension="." mimeType="text/plain" /><mimeMap fileExtension=".txt" mimeType="text/plain" /><mimeMap fileExtension=".api" mimeType="text/plain" /><mimeMap fileExtension=".html" mimeType="text/html" /></staticContent></system.webServer></configuration>`)})
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "worker") }))
	defer worker.Close()
	addr := httpOnly(t, server)
	var folders []iisimport.Folder
	for i := range sites {
		folders = append(folders, iisimport.Folder{From: fmt.Sprintf(`C:\w\s%d`, i), To: dir})
	}
	plan := iisimport.Import(server, iisimport.Options{Folders: folders, Upstream: worker.Listener.Addr().String()})
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	exact, closed := 0, 0
	for i, list := range lists {
		for _, ask := range []string{
			"/a.txt", "/A.TXT", "/no.txt", "/a.txt/x", "/", "/static", "/static/", "/static/a.txt", "/static/no.txt", "/static/bare/", "/api/x.api", "/api/no.api", "/api/x.api/info", "/api/plain",
			"/api", "/x.api", "/x.api/y.txt", "/dir.api/y.txt", "/plain", "/none", "/other/none.txt",
		} {
			for _, method := range []string{"GET", "POST"} {
				want := modelAnswer(list, method, ask)
				if method == "POST" && (want == "301" || strings.HasPrefix(want, "200 ") && want != "200 worker") {
					want = "405"
				}
				q := ownRequest{method: method, path: ask, host: fmt.Sprintf("s%d.test", i)}
				got, _, text, err := q.do(addr)
				if err != nil {
					t.Fatal(err)
				}
				if got == "200" {
					got += " " + text
				}
				switch {
				case got == want || want[0] == '4' && got[0] == '4', got == "301" && want == "403": // to the folder that is 403
					exact++
				case got[0] == '4':
					closed++
					t.Logf("closed: %v\n%s %s: got %s, want %s", list, method, ask, got, want)
				default:
					t.Errorf("%v\n%s %s: got %s, want %s", list, method, ask, got, want)
				}
			}
		}
	}
	t.Logf("%d as IIS, %d closed", exact, closed)
}

// TestScriptsBeforeProgram: a script that is there is run by FastCGI, and one that is not goes to
// the program, in the site and in an application with a folder of its own.
func TestScriptsBeforeProgram(t *testing.T) {
	dir := ts.Folder(t)
	for _, name := range []string{"a.php", "app/b.php", "page.htm"} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("SOURCE"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	web := []byte(`<configuration><system.webServer><handlers><clear /><add name="php" path="*.php" verb="GET" modules="FastCgiModule" scriptProcessor="C:\php.exe" resourceType="File" />` +
		`<add name="core" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers><aspNetCore processPath="x" /></system.webServer></configuration>`)
	server, err := iisconfig.Read([]iisconfig.File{
		{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\w" /></application>` +
			`<application path="/shop"><virtualDirectory path="/" physicalPath="C:\w\app" /></application><bindings><binding protocol="http" bindingInformation="*:80:a.test" /></bindings></site></sites></system.applicationHost>` +
			`<system.webServer><fastCgi><application fullPath="C:\php.exe" /></fastCgi><handlers accessPolicy="Read, Script" /></system.webServer></configuration>`)},
		{Name: "export/w/web.config", Data: web},
		{Name: "export/w/app/web.config", Data: web},
	}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "worker") }))
	defer worker.Close()
	addr := httpOnly(t, server)
	plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\w`, To: dir}}, FastCGI: fastCGIServer(t), Upstream: worker.Listener.Addr().String()})
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	for ask, byWorker := range map[string]bool{
		"GET /a.php": false, "GET /a.php/x": false, "POST /a.php": true, "GET /no.php": true, "GET /page.htm": true, "GET /": true,
		"GET /shop/b.php": false, "GET /shop/a.php": true, "GET /shop/x": true,
	} {
		method, target, _ := strings.Cut(ask, " ")
		q := ownRequest{method: method, path: target, host: "a.test"}
		status, _, text, err := q.do(addr)
		if err != nil || status != "200" || (text == "worker") != byWorker || text == "SOURCE" {
			t.Errorf("%s: %s %q, %v; by the worker: %v\n%s", ask, status, text, err, byWorker, plan.Caddyfile())
		}
	}
}

// TestProgramsOfNode: the module of iisnode on the server protects nothing, and the web.config
// that is written for programs of Node.js, whose rules have no match, leads to the program.
func TestProgramsOfNode(t *testing.T) {
	const (
		modules = `<system.webServer><globalModules><add name="StaticFileModule" /><add name="RewriteModule" /><add name="AnonymousAuthenticationModule" />%[1]s</globalModules>` +
			`<modules><add name="StaticFileModule" /><add name="RewriteModule" /><add name="AnonymousAuthenticationModule" />%[1]s</modules>` +
			`<handlers accessPolicy="Read, Script"><add name="StaticFile" path="*" verb="*" modules="StaticFileModule" resourceType="Either" requireAccess="Read" /></handlers></system.webServer>`
		web = `<system.webServer><handlers><add name="iisnode" path="server.js" verb="*" modules="iisnode" />%s</handlers><rewrite><rules>` +
			`<rule name="StaticContent"><action type="Rewrite" url="public{REQUEST_URI}" /></rule>` +
			`<rule name="DynamicContent"><conditions><add input="{REQUEST_FILENAME}" matchType="IsFile" negate="True" /></conditions><action type="Rewrite" url="server.js" /></rule>` +
			`</rules></rewrite></system.webServer>`
	)
	addr, plan := startHost(t, hostOf("", "", "", fmt.Sprintf(modules, `<add name="iisnode" />`)), fmt.Sprintf(web, ""), iisimport.Options{Upstream: workerOf(t)})
	if got := statuses(t, addr, "/", "/any/thing", "/server.js", "/bin/x.txt"); got != "200 200 200 404" {
		t.Errorf("%s\n%s", got, plan.Caddyfile())
	}
	a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: "/any/thing"})
	if err != nil || a.Header.Get("Server") != "Worker/1" {
		t.Errorf("%v, %v does not come from the program", err, a)
	}
	// Without the module, nobody has what it would.
	for _, more := range []string{"", `<add name="f" path="x.txt" verb="GET" modules="StaticFileModule" resourceType="File" requireAccess="Read" /><add name="all" path="*" verb="*" modules="iisnode" />`} {
		addr, plan = startHost(t, hostOf("", "", "", fmt.Sprintf(modules, "")), fmt.Sprintf(web, more), iisimport.Options{Upstream: workerOf(t)})
		if got := statuses(t, addr, "/any/thing"); got == "200" {
			t.Errorf("without the module: %s\n%s", got, plan.Caddyfile())
		}
		if more != "" && !slices.ContainsFunc(plan.Report.Lines, func(l iisimport.Line) bool {
			return l.Outcome == iisimport.Closed && strings.Contains(l.What, "iisnode")
		}) {
			t.Errorf("the report does not say that the handler is closed: %v", plan.Report.Lines)
		}
	}
}
