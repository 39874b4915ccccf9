package iisimport_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestDeniedPrograms: what isapiCgiRestriction denies, nobody runs after an import either: 404.2.
func TestDeniedPrograms(t *testing.T) {
	const web = `<system.webServer><httpErrors><error statusCode="404" subStatusCode="2" path="x.txt" responseMode="File" /></httpErrors><handlers>` +
		`<add name="isapi" path="*.isapi" verb="*" modules="IsapiModule" scriptProcessor="C:\Windows\p\a.dll" />` +
		`<add name="cgi" path="*.cgix" verb="*" modules="CgiModule" scriptProcessor="C:\p\b.exe &quot;%s&quot; %s" />` +
		`<add name="fast" path="*.fast" verb="*" modules="FastCgiModule" scriptProcessor="C:\p\c.exe|-x" />` +
		`<add name="net" path="*.net" verb="*" type="A.B" preCondition="integratedMode" />` +
		`<add name="own" path="*.own" verb="*" modules="IsapiModule" />` +
		`<add name="old" path="*.old" verb="*" scriptProcessor="C:\p\d.exe" /></handlers></system.webServer>`
	const others = `notListedIsapisAllowed="true" notListedCgisAllowed="true"`
	for name, c := range map[string]struct {
		place, attrs, programs string
		want                   string // of isapi, cgi, fast, net, own, old
	}{
		"not said":        {"-", "", "", "200 200 200 200 200 200"},
		"nothing listed":  {"", "", "", "404 404 200 200 404 404"},
		"others allowed":  {"", others, "", "200 200 200 200 200 200"},
		"other ISAPI":     {"", `notListedIsapisAllowed="true"`, "", "200 404 200 200 200 404"},
		"denied ISAPI":    {"", others, `<add path="%windir%\p\a.dll" allowed="false" />`, "404 200 200 200 404 200"},
		"denied CGI":      {"", others, `<add path="c:\P\B.exe" allowed="false" groupId="g" description="d" />`, "200 404 200 200 404 200"},
		"denied FastCGI":  {"", others, `<add path="C:\p\c.exe|-x" allowed="false" />`, "200 200 404 200 404 200"},
		"denied .NET":     {"", others, `<add path="%windir%\Microsoft.NET\Framework64\v4.0.30319\webengine4.dll" allowed="false" />`, "200 200 200 404 404 200"},
		"denied other":    {"", others, `<add path="%windir%\Microsoft.NET\Framework\v4.0.30319\webengine4.dll" allowed="false" />`, "200 200 200 200 404 200"},
		"allowed":         {"", "", `<add path="C:\Windows\p\a.dll" allowed="true" /><add path="C:\p\b.exe &quot;%s&quot; %s" allowed="true" /><add path="C:\p\d.exe" allowed="true" />`, "200 200 200 200 404 200"},
		"for the site":    {"S", "", "", "404 404 200 200 404 404"},
		"for another one": {"T", "", "", "200 200 200 200 200 200"},
	} {
		t.Run(name, func(t *testing.T) {
			section := `<system.webServer><security><isapiCgiRestriction ` + c.attrs + `>` + c.programs + `</isapiCgiRestriction></security></system.webServer>`
			switch c.place {
			case "-":
				section = ""
			case "":
			default:
				section = `<location path="` + c.place + `">` + section + `</location>`
			}
			addr, plan := startHost(t, hostOf("", "", "", section), web, iisimport.Options{Upstream: workerOf(t)})
			for i, ext := range []string{"isapi", "cgix", "fast", "net", "own", "old"} {
				a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: "/a." + ext})
				if err != nil {
					t.Fatal(err)
				}
				want, body := strings.Fields(c.want)[i], "worker"
				if want == "404" {
					body = "FILE w/x.txt"
				}
				if fmt.Sprint(a.Status) != want || a.Body != body {
					t.Errorf("%s: %d %q, want %s\n%s", ext, a.Status, a.Body, want, plan.Caddyfile())
				}
				if l := lineOf(plan, "handler "+strings.TrimSuffix(ext, "x")+":"); (want == "404") != strings.Contains(l.Message, "404: isapiCgiRestriction") {
					t.Errorf("the report: %v", l)
				}
			}
		})
	}
	// All requests, also where the program is for all paths.
	const all = `<system.webServer><handlers><add name="all" path="*" verb="*" modules="IsapiModule" scriptProcessor="C:\p\a.dll" /></handlers></system.webServer>`
	addr, _ := startHost(t, hostOf("", "", "", `<system.webServer><security><isapiCgiRestriction /></security></system.webServer>`), all, iisimport.Options{Upstream: workerOf(t)})
	if got := statuses(t, addr, "/", "/a.run", "/x.txt"); got != "404 404 404" {
		t.Error(got)
	}
}

// TestDeniedPool: the engine of .NET is that of the application pool.
func TestDeniedPool(t *testing.T) {
	const web = `<system.webServer><handlers><add name="net" path="*.net" verb="*" type="A.B" /></handlers></system.webServer>`
	for pool, file := range map[string]string{
		`enable32BitAppOnWin64="true"`: `Framework\v4.0.30319\webengine4.dll`,
		`managedRuntimeVersion="v2.0"`: `Framework64\v2.0.50727\aspnet_isapi.dll`,
	} {
		host := strings.Replace(hostOf("", `applicationPool="p"`, "", `<system.webServer><security><isapiCgiRestriction><add path="C:\Windows\Microsoft.NET\`+file+`" allowed="false" /></isapiCgiRestriction></security></system.webServer>`),
			"<sites>", `<applicationPools><add name="p" `+pool+` /></applicationPools><sites>`, 1)
		addr, plan := startHost(t, host, web, iisimport.Options{Upstream: workerOf(t)})
		if got := statuses(t, addr, "/a.net", "/x.txt"); got != "404 200" {
			t.Errorf("%s: %s\n%s", pool, got, plan.Caddyfile())
		}
	}
}

// TestWebServiceExtensions: what IIS 6 denies in WebSvcExtRestrictionList is 404, too.
func TestWebServiceExtensions(t *testing.T) {
	const list = "0,*.dll\n0,*.exe\n0,C:\\p\\a.dll,0,A,First\n1,C:\\p\\b.dll,0,B,Second, and more"
	data := `<configuration xmlns="urn:microsoft-catalog:XML_Metabase_V64_0"><MBProperty><IIsWebService Location="/LM/W3SVC" %s />` +
		`<IIsWebServer Location="/LM/W3SVC/1" ServerComment="S" ServerBindings=":80:" /><IIsWebVirtualDir Location="/LM/W3SVC/1/ROOT" Path="C:\w" AccessFlags="AccessRead | AccessScript"` +
		` ScriptMaps=".a,C:\p\a.dll,5&#10;.b,C:\p\b.dll,5&#10;.c,C:\p\c.exe,5" /></MBProperty></configuration>`
	for attr, want := range map[string]string{
		"": "200 200 200", `WebSvcExtRestrictionList="` + strings.ReplaceAll(list, "\n", "&#10;") + `"`: "404 200 404",
		`WebSvcExtRestrictionList="1,*.dll&#10;1,*.exe&#10;2,C:\p\c.exe"`: "200 200 404",
	} {
		server, err := iisconfig.Read([]iisconfig.File{
			{Name: "export/MetaBase.xml", Data: fmt.Appendf(nil, data, attr)},
			{Name: "export/w/web.config", Data: []byte(`<configuration><system.webServer><directoryBrowse enabled="false" /></system.webServer></configuration>`)},
		}, iisconfig.Options{})
		if err != nil {
			t.Fatal(err)
		}
		addr := httpOnly(t, server)
		plan := iisimport.Import(server, iisimport.Options{Upstream: workerOf(t), Folders: []iisimport.Folder{{From: `C:\w`, To: ts.Folder(t)}}})
		_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
		ts.Start(t, body)
		if got := statuses(t, addr, "/x.a", "/x.b", "/x.c"); got != want {
			t.Errorf("%s: %s, want %s\n%s\n%v", attr, got, want, plan.Caddyfile(), server.Sites[0].At("/").Restriction)
		}
	}
}
