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

// TestModulesServed: what a handler of all paths does for files and folders is what its
// modules do that the server has, and a module or filter of others closes what it may have
// protected, also behind rules.
func TestModulesServed(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "upstream") }))
	t.Cleanup(upstream.Close)
	star := func(modules, kind string) string {
		return fmt.Sprintf(`<handlers accessPolicy="Read, Script"><add name="All" path="*" verb="*" modules="%s" resourceType="%s" requireAccess="Read" /></handlers>`, modules, kind)
	}
	global := func(names ...string) string {
		text := ""
		for _, name := range names {
			text += fmt.Sprintf(`<add name="%s" image="%%windir%%\x.dll" />`, name)
		}
		return "<globalModules>" + text + "</globalModules>"
	}
	const (
		files, docs, list, anonymous = "StaticFileModule", "DefaultDocumentModule", "DirectoryListingModule", "AnonymousAuthenticationModule"
		all                          = files + "," + docs + "," + list
		proxyRule                    = `<proxy enabled="true" /><rewrite><rules><rule name="p"><match url="^p$" /><action type="Rewrite" url="http://UPSTREAM/" /></rule></rules></rewrite>`
	)
	// In each line: a file, a folder with a default document, one without.
	for _, c := range []struct{ name, host, web, want string }{
		{"all", star(all, "Either"), "", "200 200 200"},
		{"not known", "", "", "200 200 200"},
		{"files alone", star(files, "Either"), "", "200 403 403"},
		{"files alone, no kind", star(files, "Unspecified"), "", "200 403 403"},
		{"files and documents", star(files+", "+docs, "Either"), "", "200 200 403"},
		{"files and listings", star(files+", "+list, "Either"), "", "200 200l 200"},
		{"for files only", star(all, "File"), "", "200 403 403"},
		{"documents first", strings.Replace(star(files, "File"), "<add", `<add name="F" path="*" verb="*" modules="`+docs+`" resourceType="Directory" requireAccess="Read" /><add`, 1), "", "200 200 403"},
		{"documents of others", strings.Replace(star(all, "Either"), "<add", `<add name="F" path="*" verb="*" modules="`+list+`" resourceType="Directory" requireAccess="Read" /><add`, 1), "", "200 200l 200"},
		{"folders that may not be read", strings.Replace(star(files, "Either"), "<add", `<add name="F" path="*" verb="*" modules="`+docs+`" resourceType="Directory" requireAccess="Write" /><add`, 1), "", "403 403 403"},
		{"what needs the right to write", strings.Replace(strings.Replace(star(all, "Either"), `requireAccess="Read"`, `requireAccess="Write"`, 1), ` accessPolicy="Read, Script"`, "", 1), "", "403 403 403"},
		{"all installed", global(files, docs, list, anonymous) + star(all, "Either"), "", "200 200 200"},
		{"no documents installed", global(files, list, anonymous) + star(all, "Either"), "", "200 200l 200"},
		{"no listings installed", global(files, docs, anonymous) + star(all, "Either"), "", "200 200 403"},
		{"no files installed", global(docs, list, anonymous) + star(all, "Either"), "", "403 403 403"},
		{"listings taken out of modules", global(files, docs, list, anonymous) + `<modules><add name="` + files + `" /><add name="` + docs + `" /><add name="` + anonymous + `" /></modules>` + star(all, "Either"), "", "200 200 403"},
		{"nobody is anonymous", global(files, docs, list) + star(all, "Either"), "", "401 401 401"},
		{"handlers not known, no listings installed", global(files, docs, anonymous), "", "200 200 403"},
		{"module of others", star(all, "Either") + `<modules><add name="Guard" /></modules>`, "", "403 403 403"},
		{"module of others, and a proxy", star(all, "Either") + `<modules><add name="Guard" /></modules>` + proxyRule, "", "403 403 403 403"},
		{"proxy", star(all, "Either") + proxyRule, "", "200 200 200 200"},
		{"proxy taken out", star(all, "Either") + proxyRule, `<modules><remove name="ApplicationRequestRouting" /></modules>`, "200 200 200 404"},
		{"rules taken out", star(all, "Either") + strings.Replace(proxyRule, "^p$", ".*", 1), `<modules><remove name="RewriteModule" /></modules>`, "200 200 200 404"},
		{"module of others, taken out", star(all, "Either") + `<modules><add name="Guard" /></modules>`, `<modules><remove name="Guard" /></modules>`, "200 200 200"},
		{"filter of others", star(all, "Either") + `<isapiFilters><filter name="f" path="C:\guard.dll" /></isapiFilters>`, "", "403 403 403"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"a.txt", "docs/index.html", "docs/a.txt", "bare/a.txt"} {
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte("file "+name), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			host := `<configuration><system.applicationHost><sites><site name="S" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\w" /></application>` +
				`<bindings><binding protocol="http" bindingInformation="*:80:a.test" /></bindings></site></sites></system.applicationHost><system.webServer>` +
				strings.ReplaceAll(c.host, "UPSTREAM", upstream.Listener.Addr().String()) + `<directoryBrowse enabled="true" /></system.webServer></configuration>`
			server, err := iisconfig.Read([]iisconfig.File{
				{Name: "export/applicationHost.config", Data: []byte(host)},
				{Name: "export/w/web.config", Data: []byte(`<configuration><system.webServer>` + c.web + `</system.webServer></configuration>`)},
			}, iisconfig.Options{})
			if err != nil {
				t.Fatal(err)
			}
			addr := httpOnly(t, server)
			plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\w`, To: dir}}})
			_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
			ts.Start(t, body)
			paths := []string{"/a.txt", "/docs/", "/bare/", "/p"}
			var got []string
			for _, path := range paths[:len(strings.Fields(c.want))] {
				a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: "a.test", Path: path})
				if err != nil {
					t.Fatal(err)
				}
				status := fmt.Sprint(a.Status)
				if path == "/docs/" && a.Status == http.StatusOK && a.Body != "file docs/index.html" {
					status += "l"
				}
				got = append(got, status)
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("%s, want %s\n%s", text, c.want, plan.Caddyfile())
			}
		})
	}
}
