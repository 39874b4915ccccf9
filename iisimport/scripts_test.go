package iisimport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestFirstHandlerDecides: the first entry whose verb and path fit decides who answers, in
// front of files, FastCGI and a worker; what it may not run, nobody runs.
func TestFirstHandlerDecides(t *testing.T) {
	const (
		php    = `verb="*" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" `
		other  = `verb="*" modules="FastCgiModule" scriptProcessor="C:\second\php-cgi.exe" `
		static = `verb="*" modules="StaticFileModule" requireAccess="Read" `
	)
	sites := []struct {
		own  string // handlers of the site's web.config
		asks [][3]string
	}{
		{``, [][3]string{{"GET", "/a.php", "200"}, {"GET", "/a.txt", "200"}}},
		{`<add name="Only" path="*" ` + static + `/>`, [][3]string{{"GET", "/a.php", "404"}, {"GET", "/a.txt", "200"}}},
		{`<add name="Only" path="*.php" ` + static + `/>`, [][3]string{{"GET", "/a.php", "404"}, {"GET", "/a.txt", "200"}}},
		{`<add name="Only" path="/sub/*" ` + static + `/>`, [][3]string{{"GET", "/sub/a.php", "404"}, {"GET", "/a.php", "200"}, {"GET", "/sub/a.txt", "200"}}},
		{`<add name="Only" path="a.php" ` + static + `/>`, [][3]string{{"GET", "/a.php", "404"}, {"GET", "/sub/b.php", "200"}}},
		{`<add name="X" path="*.php" ` + php + `requireAccess="Execute" />`, [][3]string{{"GET", "/a.php", "404"}}},
		{`<add name="B" path="*.php" ` + other + `/>`, [][3]string{{"GET", "/a.php", "200 worker"}}},
		{`<add name="B" path="*.php" ` + other + `requireAccess="Execute" />`, [][3]string{{"GET", "/a.php", "404"}}},
		{`<add name="W" path="a.php" verb="*" type="X" />`, [][3]string{{"GET", "/a.php", "404"}, {"GET", "/sub/b.php", "200"}}},
		{`<add name="B32" path="*.php" ` + static + `preCondition="bitness32" />`, [][3]string{{"GET", "/a.php", "200"}}},
		{`<add name="B64" path="*.php" ` + static + `preCondition="bitness64" />`, [][3]string{{"GET", "/a.php", "404"}}},
		{`<add name="C" path="*.php" ` + static + `preCondition="classicMode" />`, [][3]string{{"GET", "/a.php", "200"}}},
		{`<add name="I" path="*.php" ` + static + `preCondition="integratedMode,bitness64" />`, [][3]string{{"GET", "/a.php", "404"}}},
		{
			`<remove name="PHP" /><add name="G" path="*.php" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" verb="GET" /><add name="P" path="*.php" verb="POST" modules="IsapiModule" scriptProcessor="C:\p.dll" />`,
			[][3]string{{"GET", "/a.php", "200"}, {"POST", "/a.php", "404"}, {"PUT", "/a.php", "405"}},
		},
		{
			`<remove name="PHP" /><add name="G" path="*.php" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" verb="GET" /><add name="P" path="*.php" verb="*" modules="IsapiModule" scriptProcessor="C:\p.dll" />`,
			[][3]string{{"GET", "/a.php", "200"}, {"PUT", "/a.php", "404"}},
		},
		{
			`<add name="D" path="*" verb="PROPFIND" modules="WebDAVModule" /><add name="P" path="*.php" verb="POST" modules="StaticFileModule" />`,
			[][3]string{{"GET", "/a.php", "200"}, {"PROPFIND", "/a.php", "404"}, {"POST", "/a.php", "404"}},
		},
		{
			`<remove name="PHP" /><add name="G" path="*.php" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" verb="GET,HEAD," />`,
			[][3]string{{"GET", "/a.php", "200"}, {"POST", "/a.php", "405"}},
		},
		{
			`<remove name="PHP" /><add name="G" path="*.php" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" verb="," />`,
			[][3]string{{"GET", "/a.php", "404"}, {"POST", "/a.php", "404"}},
		},
		{
			`<remove name="PHP" /><add name="G" path="*.php" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" verb="get" />`,
			[][3]string{{"GET", "/a.php", "404"}},
		},
		{`<add name="All" path="*" verb="*" type="X" />`, [][3]string{{"GET", "/a.txt", "200 worker"}}},
		{`<add name="Only" path="*" ` + static + `/><add name="All" path="*" verb="*" type="X" />`, [][3]string{{"GET", "/a.txt", "200"}, {"GET", "/a.php", "404"}}},
		{`<clear />`, [][3]string{{"GET", "/a.txt", "404"}, {"GET", "/a.php", "404"}, {"GET", "/", "404"}}},
		{`<remove name="StaticFile" />`, [][3]string{{"GET", "/a.txt", "404"}, {"GET", "/a.php", "200"}, {"GET", "/", "403"}}},
		{`<remove name="StaticFile" /><remove name="PHP" />`, [][3]string{{"GET", "/a.txt", "404"}, {"GET", "/a.php", "404"}}},
		{`<clear /><add name="Text" path="*.TXT" ` + static + `/>`, [][3]string{{"GET", "/a.txt", "200"}, {"GET", "/a.htm", "404"}, {"GET", "/a.php", "404"}, {"GET", "/", "403"}}},
		{`<clear /><add name="Text" path=".txt" ` + static + `/>`, [][3]string{{"GET", "/a.txt", "404"}}},
		{`<clear /><add name="All" path="*" ` + static + `/>`, [][3]string{{"GET", "/a.txt", "200"}, {"GET", "/", "403"}}},
		{`<clear /><add name="All" path="*" ` + static + `preCondition="bitness32" />`, [][3]string{{"GET", "/a.txt", "404"}}},
		{`<add name="All" path="*" verb="*" type="X" /></handlers><modules><add name="M" type="Own" /></modules><handlers>`, [][3]string{{"GET", "/a.txt", "200 worker"}}},
		{`<add name="Text" path="*.txt" verb="*" modules="StaticFileModule" requireAccess="Execute" />`, [][3]string{{"GET", "/a.txt", "404"}, {"GET", "/a.htm", "200"}}},
		{`<add name="Text" path="*.txt" verb="*" modules="CustomErrorModule" requireAccess="None" />`, [][3]string{{"GET", "/a.txt", "404"}, {"GET", "/a.htm", "200"}}},
		{`<add name="All" path="*" verb="*" modules="CustomErrorModule,DirectoryListingModule" requireAccess="None" />`, [][3]string{{"GET", "/a.txt", "403"}, {"GET", "/", "403"}}},
		{`<add name="All" path="*" verb="*" modules="StaticFileModule" requireAccess="Execute" />`, [][3]string{{"GET", "/a.txt", "403"}}},
		{`<add name="Text" path="*.txt" ` + static + `/><add name="All" path="*" verb="*" modules="StaticFileModule" requireAccess="Write" />`, [][3]string{{"GET", "/a.txt", "200"}, {"GET", "/a.htm", "404"}}},
		{`<add name="Folders" path="*" ` + static + `resourceType="Directory" /><add name="Guard" path="*" verb="*" type="X" />`, [][3]string{{"GET", "/a.txt", "200 worker"}, {"GET", "/", "403"}}},
		{`<add name="Folders" path="*" verb="GET" modules="DirectoryListingModule" requireAccess="Read" resourceType="Directory" />`, [][3]string{{"GET", "/a.txt", "200"}}},
		{`<add name="Guard" path="*" verb="*" type="X" resourceType="Directory" />`, [][3]string{{"GET", "/", "200 worker"}, {"GET", "/a.txt", "200"}}},
		{`<clear /><add name="Folders" path="*" ` + static + `resourceType="Directory" />`, [][3]string{{"GET", "/a.txt", "404"}}},
		{`<add name="Files" path="*" ` + static + `resourceType="File" /><add name="Guard" path="*" verb="*" type="X" />`, [][3]string{{"GET", "/a.txt", "200"}, {"GET", "/", "200 worker"}}},
		{`<add name="Small" path="*" modules="StaticFileModule" requireAccess="Read" verb="get" /><add name="Guard" path="*" verb="*" type="X" />`, [][3]string{{"GET", "/a.txt", "200 worker"}}},
		{
			`</handlers></system.webServer><location path="sub"><system.webServer><handlers accessPolicy="Read"><add name="All" path="*" verb="*" modules="StaticFileModule" /></handlers></system.webServer></location><system.webServer><handlers>`,
			[][3]string{{"GET", "/a.txt", "200"}, {"GET", "/sub/a.txt", "403"}},
		},
		{
			`</handlers></system.webServer><location path="sub"><system.webServer><handlers accessPolicy="Read, Script, NoRemoteRead" /></system.webServer></location><system.webServer><handlers>`,
			[][3]string{{"GET", "/a.txt", "200"}, {"GET", "/sub/a.txt", "403"}},
		},
		{
			`</handlers></system.webServer><location path="sub"><system.webServer><handlers accessPolicy="Read,Script,NoRemoteScript" /></system.webServer></location><system.webServer><handlers>`,
			[][3]string{{"GET", "/a.php", "200"}, {"GET", "/sub/a.php", "404"}, {"GET", "/sub/a.txt", "200"}},
		},
		{`<add name="Files" path="/sub/*" ` + static + `/><add name="W" path="/sub/a*" verb="*" type="X" />`, [][3]string{{"GET", "/sub/a.txt", "200"}, {"GET", "/sub/b.txt", "404"}, {"GET", "/a.txt", "200"}}},
		{`<add name="Files" path="*.txt" ` + static + `/><add name="W" path="a.txt" verb="*" type="X" />`, [][3]string{{"GET", "/a.txt", "200"}}},
		{`<add name="W" path="/sub/a*" verb="*" type="X" /><add name="Files" path="/sub/*" ` + static + `/>`, [][3]string{{"GET", "/sub/a.txt", "200 worker"}}},
		{`<add name="W" path="*.php" verb="PUT" type="X" />`, [][3]string{{"GET", "/a.php", "200"}, {"PUT", "/a.php", "404"}}},
		{`<add name="W" path="*.txt" verb="PUT" type="X" />`, [][3]string{{"PUT", "/a.txt", "200 worker"}}},
		{`<add name="W" path="*." verb="*" type="X" />`, [][3]string{{"GET", "/plain", "200 worker"}, {"GET", "/sub/plain", "200 worker"}, {"GET", "/a.txt", "200"}, {"GET", "/", "200"}}},
		{`<add name="W" path="*." verb="*" type="X" requireAccess="Execute" />`, [][3]string{{"GET", "/plain", "404"}, {"GET", "/a.txt", "200"}}},
		{`<add name="W" path="*." verb="*" type="System.Web.Handlers.TransferRequestHandler" />`, [][3]string{{"GET", "/plain", "200"}}},
		{`<clear /></handlers><modules><add name="M" type="Own" /></modules><handlers>`, [][3]string{{"GET", "/a.txt", "404"}, {"GET", "/a.php", "404"}}},
		{`<add name="All" path="*" verb="*" type="X" requireAccess="Execute" />`, [][3]string{{"GET", "/a.txt", "403"}}},
	}
	dir := t.TempDir()
	var list string
	var files []iisconfig.File
	for i, s := range sites {
		name := fmt.Sprintf("s%d", i)
		for _, file := range []string{"a.php", "a.txt", "a.htm", "index.html", "sub/a.php", "sub/b.php", "sub/a.txt", "plain", "sub/plain"} {
			file = filepath.Join(dir, name, file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("SOURCE"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		list += fmt.Sprintf(`<site name="%s" id="%d"><application path="/" applicationPool="p"><virtualDirectory path="/" physicalPath="C:\w\%s" /></application>`+
			`<bindings><binding protocol="http" bindingInformation="*:80:%s.test" /></bindings></site>`, name, i+1, name, name)
		files = append(files, iisconfig.File{Name: "export/w/" + name + "/web.config", Data: []byte(`<configuration><system.webServer>` + onlyOnce(s.own) + `</system.webServer></configuration>`)})
	}
	host := `<configuration><system.applicationHost><applicationPools><add name="p" /></applicationPools><sites>` + list + `</sites></system.applicationHost><system.webServer>` +
		`<fastCgi><application fullPath="C:\php\php-cgi.exe" /><application fullPath="C:\second\php-cgi.exe" /></fastCgi><handlers accessPolicy="Read, Script">` +
		`<add name="PHP" path="*.php" ` + php + `/><add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule" requireAccess="Read" /></handlers><staticContent><mimeMap fileExtension="." mimeType="text/plain" /><mimeMap fileExtension=".txt" mimeType="text/plain" /><mimeMap fileExtension=".htm" mimeType="text/html" /><mimeMap fileExtension=".html" mimeType="text/html" /></staticContent></system.webServer></configuration>`
	files = append([]iisconfig.File{{Name: "export/applicationHost.config", Data: []byte(host)}}, files...)
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "worker") }))
	defer worker.Close()
	addr := httpOnly(t, server)
	plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\w`, To: dir}}, FastCGI: fastCGIServer(t), Upstream: worker.Listener.Addr().String()})
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	for i, s := range sites {
		for _, ask := range s.asks {
			q := ownRequest{method: ask[0], path: ask[1], host: fmt.Sprintf("s%d.test", i)}
			got, _, text, err := q.do(addr)
			if err != nil {
				t.Fatal(err)
			}
			if text == "worker" {
				got += " worker"
			}
			if got != ask[2] || filepath.Ext(ask[1]) == ".php" && text == "SOURCE" {
				t.Errorf("%s\n%s %s: got %s %q, want %s", s.own, ask[0], ask[1], got, text, ask[2])
			}
		}
	}
}

// onlyOnce is the section handlers with entries, behind which other sections may stand: the
// empty one that is left then is none, since IIS takes no section twice.
func onlyOnce(entries string) string {
	return strings.ReplaceAll(`<handlers>`+entries+`</handlers>`, `<handlers></handlers>`, ``)
}
