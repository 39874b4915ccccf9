package iisimport_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// startHost serves a server with one site, which has an application /sub, and returns its
// address: files are in the root, in /sub and in its folder dir, and beside each web.config
// that is among more.
func startHost(t *testing.T, host, web string, opts iisimport.Options, more ...iisconfig.File) (addr string, plan *iisimport.Plan) {
	t.Helper()
	dir := ts.Folder(t)
	names := []string{
		"w/x.txt", "w/dir/x.txt", "s/x.txt", "s/dir/x.txt",
		"w/bin/x.txt", "w/App_Data/x.txt", "w/x.mdb", "w/x.json", "w/x.webp", "w/docs/index.html", "w/docs/own.txt", "w/bare/index.html", "w/x.dll", "w/x.exe", "w/x.shtml",
	}
	for _, f := range more {
		if folder, ok := strings.CutSuffix(f.Name, "web.config"); ok {
			names = append(names, strings.TrimPrefix(folder, "export/")+"x.txt")
		}
	}
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("FILE "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := append([]iisconfig.File{{Name: "export/applicationHost.config", Data: []byte(host)}}, more...)
	if web != "" {
		files = append(files, iisconfig.File{Name: "export/w/web.config", Data: []byte("<configuration>" + web + "</configuration>")})
	}
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr = httpOnly(t, server)
	opts.Folders = []iisimport.Folder{{From: `C:\`, To: dir}}
	plan = iisimport.Import(server, opts)
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	return addr, plan
}

// hostOf is a server of startHost, with more in its section sites, in the two applications
// and behind.
func hostOf(defaults, root, sub, more string) string {
	return fmt.Sprintf(`<configuration><system.applicationHost><sites>%s<site name="S" id="1">`+
		`<application path="/" %s><virtualDirectory path="/" physicalPath="C:\w" /></application>`+
		`<application path="/sub" %s><virtualDirectory path="/" physicalPath="C:\s" /></application>`+
		`<bindings><binding protocol="http" bindingInformation="*:80:a.test" /></bindings></site></sites></system.applicationHost>%s</configuration>`, defaults, root, sub, more)
}

// statuses asks for paths of the site of hostOf.
func statuses(t *testing.T, addr string, paths ...string) string {
	t.Helper()
	var got []string
	for _, path := range paths {
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(a.Status))
	}
	return strings.Join(got, " ")
}

// TestNotServed: what IIS does not serve, since serverRuntime switches it off or its
// application is not there for HTTP, is closed, also for requests that rules lead there.
func TestNotServed(t *testing.T) {
	at := func(path, section string) string {
		return `<location path="` + path + `"><system.webServer>` + section + `</system.webServer></location>`
	}
	const off = `<serverRuntime enabled="false" />`
	rule := `<system.webServer><rewrite><rules><rule name="r"><match url="^to$" /><action type="Rewrite" url="/sub/x.txt" /></rule></rules></rewrite></system.webServer>`
	for name, c := range map[string]struct {
		defaults, root, sub, more, web string
		pools, started                 string
		want                           string // of the root, a folder of it, the application, a folder of that
		to                             string // of a rule that leads into the application
		report                         string
	}{
		"128 bits":                          {more: at("S/dir", `<security><access sslFlags="Ssl128" /></security>`), want: "200 403 200 200", to: "200", report: "closed: access sslFlags Ssl128"},
		"flags that nobody knows":           {more: at("S/dir", `<security><access sslFlags="512" /></security>`), want: "200 500 200 200", to: "200", report: "IIS answers 500.19"},
		"an access that says nothing":       {more: at("S", `<security><access sslFlags="Ssl" /></security>`) + at("S/dir", `<security><access /></security>`), want: "403 403 403 403", to: "403", report: "closed: access sslFlags Ssl"},
		"encrypted modules":                 {more: at("S/dir", `<modules configProtectionProvider="P"><EncryptedData /></modules>`), want: "200 403 200 200", to: "200", report: "the element EncryptedData in modules"},
		"encrypted handlers":                {more: at("S/dir", `<handlers configProtectionProvider="P"><EncryptedData /></handlers>`), want: "200 403 200 200", to: "200", report: "the element EncryptedData in handlers"},
		"an encrypted redirect":             {more: at("S/dir", `<httpRedirect configProtectionProvider="P"><EncryptedData /></httpRedirect>`), want: "200 403 200 200", to: "200", report: "the element EncryptedData in httpRedirect"},
		"a redirect in another file":        {more: at("S/dir", `<httpRedirect configSource="gone.config" />`), want: "200 403 200 200", to: "200", report: "the file gone.config"},
		"encrypted filters":                 {more: `<system.webServer><isapiFilters configProtectionProvider="P"><EncryptedData /></isapiFilters></system.webServer>`, want: "403 403 403 403", to: "403", report: "the element EncryptedData in isapiFilters"},
		"a list of filters that is cleared": {more: `<system.webServer><isapiFilters><clear /><remove name="f" /></isapiFilters></system.webServer>`, want: "200 200 200 200", to: "200"},
		"a pool that IIS does not start":    {pools: `<add name="Q" autoStart="false" />`, sub: `applicationPool="q"`, want: "200 200 503 503", to: "403", report: "closed: application pool Q"},
		"a pool that somebody has started":  {pools: `<add name="Q" autoStart="false" />`, sub: `applicationPool="Q"`, started: "Q", want: "200 200 200 200", to: "403"},
		"all is served":                     {more: `<system.webServer><serverRuntime enabled="true" uploadReadAheadSize="9" /></system.webServer>`, want: "200 200 200 200", to: "200"},
		"off for the server":                {more: `<system.webServer>` + off + `</system.webServer>`, want: "503 503 503 503", to: "503", report: "closed: serverRuntime"},
		"off for the site":                  {more: at("S", off), want: "503 503 503 503", to: "503", report: "closed: serverRuntime"},
		"off for a folder":                  {more: at("S/dir", off), want: "200 503 200 200", to: "200", report: "closed: serverRuntime"},
		"off for the application":           {more: at("S/sub", off), want: "200 200 503 503", to: "503", report: "closed: serverRuntime"},
		"on again below":                    {more: at("S", off) + at("S/sub/dir", `<serverRuntime enabled="true" />`), want: "503 503 503 200", to: "503", report: "closed: serverRuntime"},
		"other values leave it off":         {more: at("S", off) + at("S/sub", `<serverRuntime uploadReadAheadSize="9" />`), want: "503 503 503 503", to: "503", report: "closed: serverRuntime"},
		"off in a web.config":               {web: `<system.webServer>` + off + `</system.webServer>`, want: "503 503 503 503", to: "503", report: "closed: serverRuntime"},
		"a value that is none":              {more: at("S/dir", `<serverRuntime enabled="odd" />`), want: "200 500 200 200", to: "200", report: "the value \"odd\""},
		"limits":                            {more: at("S", `<serverRuntime maxRequestEntityAllowed="1000" appConcurrentRequestLimit="3" />`), want: "200 200 200 200", to: "200", report: "decide: serverRuntime appConcurrentRequestLimit 3"},
		"http and another protocol":         {root: `enabledProtocols="net.pipe, HTTP"`, sub: `enabledProtocols="http"`, want: "200 200 200 200", to: "200"},
		"an application without http":       {sub: `enabledProtocols="net.tcp"`, want: "200 200 404 404", to: "404", report: "closed: enabledProtocols net.tcp"},
		"the root without http":             {root: `enabledProtocols="net.tcp,net.pipe"`, want: "404 404 200 200", to: "404", report: "closed: enabledProtocols"},
		"no protocol at all":                {sub: `enabledProtocols=""`, want: "200 200 404 404", to: "404", report: "closed: enabledProtocols"},
		"all without http, by the defaults": {
			defaults: `<applicationDefaults enabledProtocols="net.msmq" />`,
			want:     "404 404 404 404", to: "404", report: "closed: enabledProtocols",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.web == "" {
				c.web = rule
			}
			host := strings.Replace(hostOf(c.defaults, c.root, c.sub, c.more), "<sites>", "<applicationPools>"+c.pools+"</applicationPools><sites>", 1)
			var states []iisconfig.File
			if c.started != "" {
				states = append(states, iisconfig.File{Name: "export/states.txt", Data: fmt.Appendf(nil, "APPPOOL %q (MgdVersion:v4.0,MgdMode:Integrated,state:Started)\r\n", c.started)})
			}
			addr, plan := startHost(t, host, c.web, iisimport.Options{}, states...)
			if got := statuses(t, addr, "/x.txt", "/dir/x.txt", "/sub/x.txt", "/sub/dir/x.txt", "/to"); got != c.want+" "+c.to {
				t.Errorf("got  %s\nwant %s %s\n%s", got, c.want, c.to, plan.Caddyfile())
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
