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

// startIIS6 serves a site of IIS 6 in C:\w, with nodes in its metabase, its web.config, if it has
// one, and files.
func startIIS6(t *testing.T, service, nodes, web string, names ...string) (addr string, plan *iisimport.Plan) {
	t.Helper()
	dir := ts.Folder(t)
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("FILE "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := []iisconfig.File{{Name: "export/MetaBase.xml", Data: fmt.Appendf(nil, `<configuration xmlns="urn:microsoft-catalog:XML_Metabase_V64_0"><MBProperty><IIsWebService Location="/LM/W3SVC" %s `+
		`MimeMap=".exe,application/octet-stream&#10;.dll,application/x-msdownload&#10;.com,application/octet-stream&#10;.txt,text/plain" />`+
		`<IIsWebServer Location="/LM/W3SVC/1" ServerComment="S" ServerBindings=":80:a.test" />%s</MBProperty></configuration>`, service, nodes)}}
	if web != "" {
		files = append(files, iisconfig.File{Name: "export/w/web.config", Data: []byte("<configuration>" + web + "</configuration>")})
	}
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr = httpOnly(t, server)
	plan = iisimport.Import(server, iisimport.Options{Upstream: workerOf(t), Folders: []iisimport.Folder{{From: `C:\w`, To: dir}}})
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	return addr, plan
}

// TestScriptsAndExecutables: in folders with AccessExecute IIS 6 runs programs that are asked for
// by their names, whatever ScriptMaps has. They are never sent there; elsewhere they are files.
func TestScriptsAndExecutables(t *testing.T) {
	const root = `<IIsWebVirtualDir Location="/LM/W3SVC/1/ROOT" Path="C:\w" AccessFlags="AccessRead | AccessScript" />`
	names := strings.Fields("x.exe x.dll x.com x.txt cgi/x.exe cgi/X.DLL cgi/x.com cgi/x.txt cgi/get/x.exe cgi/one.exe")
	paths := strings.Fields("/x.exe /x.dll /x.com /cgi/x.exe /CGI/x.dll /cgi/x.com /cgi/x.exe/info /cgi/x.exe. /cgi/x.txt /cgi/get/x.exe /cgi/one.exe")
	for name, c := range map[string]struct{ service, cgi, want string }{
		"words":        {"", `AccessFlags="AccessExecute | AccessScript | AccessRead"`, "200 200 200 404 404 404 404 404 200 200 200"},
		"number":       {"", `AccessFlags="5"`, "200 200 200 404 404 404 404 404 200 200 200"},
		"bit":          {"", `AccessExecute="TRUE"`, "200 200 200 404 404 404 404 404 200 200 200"},
		"not allowed":  {`WebSvcExtRestrictionList="0,*.dll&#10;0,*.exe"`, `AccessFlags="517"`, "200 200 200 404 404 404 404 404 200 200 200"},
		"allowed":      {`WebSvcExtRestrictionList="1,*.dll&#10;1,*.exe"`, `AccessFlags="517"`, "200 200 200 404 404 404 404 404 200 200 200"},
		"own scripts":  {"", `AccessFlags="517" ScriptMaps=".asp,C:\asp.dll,5"`, "200 200 200 404 404 404 404 404 200 200 200"},
		"scripts only": {"", `AccessFlags="513"`, "200 200 200 200 200 200 404 404 200 200 200"},
		"no reading":   {"", `AccessFlags="516"`, "200 200 200 403 403 403 403 403 403 200 200"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, plan := startIIS6(t, c.service, root+`<IIsWebDirectory Location="/LM/W3SVC/1/ROOT/cgi" `+c.cgi+` />`+
				`<IIsWebDirectory Location="/LM/W3SVC/1/ROOT/cgi/get" AccessFlags="AccessRead" /><IIsWebFile Location="/LM/W3SVC/1/ROOT/cgi/one.exe" AccessFlags="AccessRead" />`, "", names...)
			if got := statuses(t, addr, paths...); got != c.want {
				t.Errorf("got  %s\nwant %s\n%s", got, c.want, plan.Caddyfile())
			}
			if l := lineOf(plan, "handler AccessExecute *.exe"); (c.cgi == `AccessFlags="513"`) != (l.What == "") {
				t.Errorf("the report: %v", plan.Report.Lines)
			}
		})
	}
	// With its web.config, what WebSvcExtRestrictionList allows goes to the worker.
	const web = `<system.web><compilation /></system.web>`
	for list, want := range map[string]string{
		"": "200 200 200", `WebSvcExtRestrictionList="0,*.dll&#10;0,*.exe"`: "404 404 404",
		`WebSvcExtRestrictionList="0,*.dll&#10;1,*.exe"`: "200 404 200", `WebSvcExtRestrictionList="1,*.dll&#10;1,*.exe&#10;0,C:\w\cgi\x.exe"`: "404 404 404",
	} {
		addr, plan := startIIS6(t, list, root+`<IIsWebDirectory Location="/LM/W3SVC/1/ROOT/cgi" AccessFlags="517" />`, web, names...)
		if got := statuses(t, addr, "/cgi/x.exe", "/cgi/x.dll", "/cgi/x.com"); got != want {
			t.Errorf("%s: %s, want %s\n%s", list, got, want, plan.Caddyfile())
		}
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: "/cgi/x.exe"})
		if err != nil || strings.Contains(a.Body, "FILE") {
			t.Errorf("%s: %v %q", list, err, a.Body)
		}
	}
}
