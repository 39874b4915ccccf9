package iisimport_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// servePages imports a site with an application at /app and a web.config for each of some
// places, and serves it with files that say their names, in front of a worker that answers
// with the status that its path ends with.
func servePages(t *testing.T, webs map[string]string, opts iisimport.Options) (get func(string) *ts.Answer, plan *iisimport.Plan) {
	t.Helper()
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("WWW-Authenticate", `Basic realm="a"`)
		w.Header().Add("WWW-Authenticate", `Digest realm="b"`)
		w.Header().Set("X-Trace", "stack")
		w.Header().Set("Content-Type", "application/odd")
		status, err := strconv.Atoi(filepath.Base(r.URL.Path))
		if err != nil {
			status = 200
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "worker")
	}))
	t.Cleanup(worker.Close)
	dir := ts.Folder(t)
	for _, name := range []string{"404.htm", "rest.htm", "closed/page.htm", "hidden/page.htm", "inner/page.htm", "app/page.htm", "code.odd"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("page "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := []iisconfig.File{{Name: "export/applicationHost.config", Data: []byte(`<configuration><system.applicationHost><sites><site name="a" id="1">` +
		`<application path="/"><virtualDirectory path="/" physicalPath="C:\web" /></application><application path="/app"><virtualDirectory path="/" physicalPath="C:\web\app" /></application>` +
		`<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost><system.webServer><proxy enabled="true" />` +
		`<handlers accessPolicy="Read, Script"><add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule,DirectoryListingModule" resourceType="Either" requireAccess="Read" /></handlers>` +
		`<httpErrors><error statusCode="403" prefixLanguageFilePath="%SystemDrive%\inetpub\custerr" path="403.htm" /></httpErrors></system.webServer></configuration>`)}}
	for place, web := range webs {
		web = strings.ReplaceAll(web, "WORKER", worker.Listener.Addr().String())
		files = append(files, iisconfig.File{Name: "export/web" + place + "/web.config", Data: []byte("<configuration>" + web + "</configuration>")})
	}
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr := httpOnly(t, server)
	opts.Upstream, opts.Folders = worker.Listener.Addr().String(), []iisimport.Folder{{From: `C:\web`, To: dir}}
	plan = iisimport.Import(server, opts)
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	return func(path string) *ts.Answer {
		t.Helper()
		method, target, ok := strings.Cut(path, " ")
		if !ok {
			method, target = http.MethodGet, path
		}
		r, err := http.NewRequest(method, "http://"+addr+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return &ts.Answer{Status: a.StatusCode, Header: a.Header, Body: string(body)}
	}, plan
}

const appByWorker = `<system.webServer><handlers><add name="core" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers><aspNetCore processPath="x" /></system.webServer>`

// TestExistingResponse: with Replace, no error page of a worker process or of another server
// goes out, whatever its status; its challenges do. With Auto and PassThrough, its pages go out.
func TestExistingResponse(t *testing.T) {
	const pages = `<clear /><error statusCode="404" path="404.htm" /><error statusCode="410" subStatusCode="7" path="/closed/x.aspx" />`
	const rules = `<rewrite><rules><rule name="r"><match url="^other/(.*)" /><action type="Rewrite" url="http://WORKER/{R:1}" /></rule>` +
		`<rule name="s"><match url="^text$" /><action type="CustomResponse" statusCode="404" statusReason="x" statusDescription="text" /></rule></rules></rewrite>`
	for _, c := range []struct {
		attrs, app string
		replaced   map[string]bool // by place
		value      string
		outcome    iisimport.Outcome
		text       string
	}{
		{`existingResponse="Replace"`, ``, map[string]bool{"/app/": true, "/other/": true}, "Replace", iisimport.Translated, "page 404.htm"},
		{`existingResponse="Replace" errorMode="Detailed"`, ``, map[string]bool{"/app/": true, "/other/": true}, "Replace", iisimport.Translated, ""},
		{``, `existingResponse="Replace"`, map[string]bool{"/app/": true}, "Replace", iisimport.Translated, "page 404.htm"},
		{`existingResponse="Replace"`, `existingResponse="PassThrough"`, map[string]bool{"/other/": true}, "Replace", iisimport.Translated, "page 404.htm"},
		{`existingResponse="PassThrough"`, ``, nil, "PassThrough", iisimport.Translated, "page 404.htm"},
		{`existingResponse="Auto"`, ``, nil, "Auto", iisimport.Decide, "page 404.htm"},
	} {
		t.Run(c.attrs+c.app, func(t *testing.T) {
			app := appByWorker
			if c.app != "" {
				app = strings.Replace(app, "<handlers>", "<httpErrors "+c.app+" /><handlers>", 1)
			}
			get, plan := servePages(t, map[string]string{"": `<system.webServer>` + rules + `<httpErrors ` + c.attrs + `>` + pages + `</httpErrors></system.webServer>`, "/app": app}, iisimport.Options{})
			for _, at := range []string{"/app/", "/other/"} {
				for _, status := range []int{200, 400, 401, 404, 410, 500, 503, 599, 700, 999} {
					a := get(at + strconv.Itoa(status))
					body := "worker"
					if c.replaced[at] && status >= 400 {
						body = ""
						if status == 404 {
							body = c.text
						}
					}
					challenges := a.Header["Www-Authenticate"]
					if a.Status != status || a.Body != body || len(challenges) != 2 {
						t.Errorf("%s%d: %v, challenges %q; want %q", at, status, a, challenges, body)
					}
					if trace := a.Header.Get("X-Trace"); (trace == "") != (body != "worker") {
						t.Errorf("%s%d: X-Trace %q", at, status, trace)
					}
				}
			}
			if a := get("/text"); a.Status != 404 || a.Body != c.text {
				t.Errorf("CustomResponse: %v", a)
			}
			if l := lineOf(plan, "httpErrors existingResponse "+c.value); l.Outcome != c.outcome {
				t.Error(plan.Report.Lines)
			}
		})
	}
}

// TestDefaultErrorPage: defaultPath is the page of each status without one, also without one of
// its sub-status, but not of those for which IIS has another.
func TestDefaultErrorPage(t *testing.T) {
	for _, c := range []struct {
		errors string
		want   map[string]string // status, and body or Location, by path
	}{
		{`<httpErrors defaultPath="rest.htm"><error statusCode="404" subStatusCode="3" path="404.htm" /><error statusCode="503" path="x.aspx" responseMode="ExecuteURL" /></httpErrors>`, map[string]string{"/code.odd": "404 page 404.htm", "/nope.txt": "404 page rest.htm", "/410": "410 page rest.htm", "/closed/": "403 ", "/503": "503 "}},
		{`<httpErrors defaultPath="/rest.htm" defaultResponseMode="Redirect" existingResponse="Replace"><clear /></httpErrors>`, map[string]string{"/410": "302 /rest.htm", "/closed/": "302 /rest.htm", "/app/500": "302 /rest.htm"}},
		{`<httpErrors defaultPath="rest.aspx" />`, map[string]string{"/410": "410 "}},
		{`<httpErrors errorMode="Detailed" defaultPath="rest.htm" />`, map[string]string{"/410": "410 "}},
	} {
		rules := `<rewrite><rules><rule name="r"><match url="^410$" /><action type="CustomResponse" statusCode="410" /></rule><rule name="s"><match url="^503$" /><action type="CustomResponse" statusCode="503" /></rule></rules></rewrite>`
		get, _ := servePages(t, map[string]string{"": `<system.webServer>` + rules + c.errors + `</system.webServer>`, "/app": appByWorker}, iisimport.Options{})
		for path, want := range c.want {
			a := get(path)
			if got := fmt.Sprint(a.Status, " ", a.Header.Get("Location"), a.Body); got != want {
				t.Errorf("%s: %s: %q, want %q", c.errors, path, got, want)
			}
		}
	}
}

// TestExecuteURL: a page that IIS asks its own pipeline for is one that a client may have: what
// guards its place guards it as the page of an error, too. One that IIS reads itself has no guards.
func TestExecuteURL(t *testing.T) {
	for _, c := range []struct{ mode, path, guard, body string }{
		{"ExecuteURL", "/closed/page.htm", ``, "page closed/page.htm"},
		{"ExecuteURL", "/closed/page.htm", `<security><authorization><clear /><add accessType="Deny" users="*" /></authorization></security>`, ""},
		{"File", `closed\page.htm`, `<security><authorization><clear /><add accessType="Deny" users="*" /></authorization></security>`, "page closed/page.htm"},
		{"ExecuteURL", "/closed/page.htm", `<security><ipSecurity><add ipAddress="127.0.0.1" /></ipSecurity></security>`, ""},
		{"ExecuteURL", "/closed/page.htm", `<security><ipSecurity><add ipAddress="10.0.0.1" /></ipSecurity></security>`, "page closed/page.htm"},
		{"ExecuteURL", "/closed/page.htm", `<security><access sslFlags="Ssl, SslRequireCert" /></security>`, ""},
		{"ExecuteURL", "/closed/page.htm", `<security><requestFiltering><fileExtensions><add fileExtension=".htm" allowed="false" /></fileExtensions></requestFiltering></security>`, ""},
		{"ExecuteURL", "/closed/page.htm", `<security><odd /></security>`, ""},
		{"ExecuteURL", "/closed/page.htm", `<httpRedirect enabled="true" destination="/x" />`, ""},
		{"ExecuteURL", "/closed/page.htm", `<handlers><add name="h" path="*.htm" verb="*" type="A.B" /></handlers>`, ""},
		{"ExecuteURL", "/closed/page.htm", `<handlers accessPolicy="None" />`, ""},
		{"ExecuteURL", "/closed/page.htm", `<staticContent><remove fileExtension=".htm" /></staticContent>`, ""},
		{"ExecuteURL", "/closed/page.htm", `<staticContent><clear /><mimeMap fileExtension=".HTM" mimeType="text/html" /></staticContent>`, "page closed/page.htm"},
		{"File", `closed\page.htm`, `<staticContent><remove fileExtension=".htm" /></staticContent>`, "page closed/page.htm"},
		{"ExecuteURL", "/hidden/page.htm", ``, ""},
		{"ExecuteURL", "/x/../Hidden/page.htm", ``, ""},
		{"ExecuteURL", "/app/page.htm", ``, ""},
		{"ExecuteURL", "/inner/page.htm", ``, "page inner/page.htm"},
		{"ExecuteURL", "/nothere.htm", ``, ""}, // no loop
	} {
		webs := map[string]string{
			"": `<system.webServer><httpErrors><error statusCode="404" responseMode="` + c.mode + `" path="` + c.path + `" /></httpErrors>` +
				`<security><requestFiltering><hiddenSegments><add segment="hidden" /></hiddenSegments></requestFiltering></security></system.webServer>`,
			"/app": appByWorker,
		}
		if c.guard != "" {
			webs["/closed"] = `<system.webServer>` + c.guard + `</system.webServer>`
		}
		get, plan := servePages(t, webs, iisimport.Options{})
		if a := get("/nope.txt"); a.Status != 404 || a.Body != c.body {
			t.Errorf("%s %s %s: %v, want %q", c.mode, c.path, c.guard, a, c.body)
		}
		l := lineOf(plan, "error page 404")
		if l.Outcome == iisimport.Translated && !strings.Contains(string(plan.Caddyfile()), "rewrite * "+strings.Replace("/"+strings.TrimLeft(c.path, "/"), `\`, "/", 1)) {
			t.Errorf("%s %s %s: %v", c.mode, c.path, c.guard, l)
		}
	}
}

// TestRefusingHandlers: what handlers of System.Web refuse, nothing answers here: no worker, no
// files; with their status, in their order, and for their verbs.
func TestRefusingHandlers(t *testing.T) {
	add := func(name, path, verb, attrs string) string {
		return fmt.Sprintf(`<add name="%s" path="%s" verb="%s" %s />`, name, path, verb, attrs)
	}
	typed := func(name string) string {
		return `preCondition="integratedMode" type="System.Web.` + name + `, System.Web, Version=4.0.0.0"`
	}
	const core = `modules="AspNetCoreModuleV2"`
	for _, c := range []struct {
		handlers string
		want     map[string]string // by method and path below /app
	}{
		{add("f", "*.secret", "*", typed("HttpForbiddenHandler")) + add("n", "gone/*", "*", typed("HttpNotFoundHandler")) + add("m", "/app/one.axd", "*", typed("HttpMethodNotAllowedHandler")) + add("i", "*.", "*", typed("HttpNotImplementedHandler")), map[string]string{"GET /x.secret": "403 ", "GET /X.SECRET/y.z": "403 ", "GET /x.secrets": "200 worker", "GET /gone/a.b": "404 ", "GET /one.axd": "405 ", "GET /two.axd": "200 worker", "GET /plain": "501 ", "GET /plain.x": "200 worker"}},
		{add("f", "*.secret", "POST,PUT", typed("HttpForbiddenHandler")), map[string]string{"GET /x.secret": "200 worker", "POST /x.secret": "403 ", "POST /x.y": "200 worker"}},
		{add("a", "*.secret", "GET", core) + add("f", "*.secret", "*", typed("HttpForbiddenHandler")), map[string]string{"GET /x.secret": "200 worker", "POST /x.secret": "403 "}},
		{add("a", "*.secret", "*", core+` resourceType="File"`) + add("f", "*.secret", "*", typed("HttpForbiddenHandler")), map[string]string{"GET /x.secret": "403 "}},
		{add("a", "*.open", "*", core) + add("f", "*", "*", typed("HttpNotFoundHandler")), map[string]string{"GET /x.open": "200 worker", "GET /x": "404 ", "GET /page.htm": "404 ", "POST /": "404 "}},
		{add("a", "*.htm", "*", `modules="StaticFileModule" resourceType="File" requireAccess="Read"`) + add("f", "*", "*", typed("HttpForbiddenHandler")), map[string]string{"GET /page.htm": "200 page app/page.htm", "GET /no.htm": "403 ", "GET /x": "403 "}},
		{add("f", "*", "*", typed("HttpNotFoundHandler")), map[string]string{"GET /x": "404 ", "GET /page.htm": "404 ", "PUT /": "404 "}},
		{add("f", "a?.secret", "*", typed("HttpForbiddenHandler")), map[string]string{"GET /x": "403 ", "GET /ab.secret": "403 "}},
	} {
		for _, every := range []bool{true, false} {
			web := c.handlers
			if every {
				web += add("core", "*", "*", core)
			} else {
				web = strings.ReplaceAll(web, core, `type="A.B"`)
			}
			t.Run(web, func(t *testing.T) {
				// Without a handler of its own for all paths, a managed module makes a worker of it.
				get, plan := servePages(t, map[string]string{"/app": `<system.web><authorization><deny users="?" /></authorization></system.web><system.webServer><handlers>` + web + `</handlers></system.webServer>`}, iisimport.Options{})
				for request, want := range c.want {
					if a := get(strings.Replace(request, " ", " /app", 1)); fmt.Sprint(a.Status, " ", a.Body) != want {
						t.Errorf("%s: %v, want %s", request, a, want)
					}
				}
				for _, l := range plan.Report.Lines {
					if strings.Contains(l.What, "System.Web") && !strings.Contains(l.Message, "get 4") && !strings.Contains(l.Message, "get 501") && l.Outcome == iisimport.Translated {
						t.Error(l)
					}
				}
			})
		}
	}
	// Files.
	get, _ := servePages(t, map[string]string{"": `<system.webServer><handlers>` + add("f", "*.htm", "*", typed("HttpForbiddenHandler")) + `</handlers></system.webServer>`}, iisimport.Options{})
	for path, want := range map[string]int{"/404.htm": 403, "/no.htm": 403, "/no.txt": 404} {
		if a := get(path); a.Status != want {
			t.Errorf("%s: %v, want %d", path, a, want)
		}
	}
}
