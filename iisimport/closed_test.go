package iisimport_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestClosedByIIS6: ISAPI filters and IPSecurity of IIS 6 close what they may have protected:
// all sites, one, or a folder, and nothing else.
func TestClosedByIIS6(t *testing.T) {
	for name, c := range map[string]struct {
		nodes string
		want  map[string]int // by host and path
	}{
		"nothing":             {``, map[string]int{"a/": 200, "a/private/": 200, "b/": 200}},
		"filter of all sites": {`<IIsFilter Location="/LM/W3SVC/Filters/f" FilterPath="C:\f\siteminder.dll" />`, map[string]int{"a/": 403, "a/private/": 403, "b/": 403}},
		"filter of one site":  {`<IIsFilter Location="/LM/W3SVC/1/Filters/f" FilterPath="C:\f\siteminder.dll" />`, map[string]int{"a/": 403, "a/private/": 403, "b/": 200}},
		"filter of IIS":       {`<IIsFilter Location="/LM/W3SVC/Filters/f" FilterPath="C:\WINDOWS\system32\inetsrv\compfilt.dll" />`, map[string]int{"a/": 200, "b/": 200}},
		"IPSecurity of one site": {`<IIsWebService Location="/LM/W3SVC" IPSecurity="" />
			<IIsConfigObject Location="/LM/W3SVC/2/ROOT/x" IPSecurity="" />
			<IIsWebDirectory Location="/LM/W3SVC/2/ROOT" IPSecurity="18000080" />`, map[string]int{"a/": 200, "a/private/": 200, "b/": 403}},
		"IPSecurity of a folder":         {`<IIsWebDirectory Location="/LM/W3SVC/1/ROOT/private" IPSecurity="18000080" />`, map[string]int{"a/": 200, "a/private/": 403, "a/private/x.txt": 403, "a/PRIVATE/": 403, "b/": 200}},
		"flags of SSL that nobody knows": {`<IIsWebDirectory Location="/LM/W3SVC/1/ROOT/private" AccessSSLFlags="AccessSSLNegotiateCert | Odd" />`, map[string]int{"a/": 200, "a/private/": 403, "b/": 200}},
		"flags of SSL, by their number":  {`<IIsWebDirectory Location="/LM/W3SVC/1/ROOT/private" AccessSSLFlags="1024" />`, map[string]int{"a/": 200, "a/private/": 403, "b/": 200}},
		"IPSecurity of all":              {`<IIsWebService Location="/LM/W3SVC" IPSecurity="18000080" />`, map[string]int{"a/": 403, "a/private/": 403, "b/": 403}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := ts.Folder(t)
			for _, file := range []string{"a/index.html", "a/private/index.html", "b/index.html"} {
				if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			data := `<configuration xmlns="urn:microsoft-catalog:XML_Metabase_V64_0"><MBProperty>`
			for i, site := range []string{"a", "b"} {
				data += fmt.Sprintf(`<IIsWebServer Location="/LM/W3SVC/%[1]d" ServerComment="%[2]s" ServerBindings=":80:%[2]s.test" />`+
					`<IIsWebVirtualDir Location="/LM/W3SVC/%[1]d/ROOT" Path="C:\web\%[2]s" AccessFlags="AccessRead" DefaultDoc="index.html" DirBrowseFlags="EnableDefaultDoc" />`, i+1, site)
			}
			server, err := iisconfig.Read([]iisconfig.File{{Name: "MetaBase.xml", Data: []byte(data + c.nodes + `</MBProperty></configuration>`)}}, iisconfig.Options{})
			if err != nil {
				t.Fatal(err)
			}
			addr := httpOnly(t, server)
			plan := iisimport.Import(server, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\web`, To: dir}}})
			_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
			ts.Start(t, body)
			closed := false
			for at, want := range c.want {
				host, target, _ := strings.Cut(at, "/")
				a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: host + ".test", Path: "/" + target})
				if err != nil || a.Status != want {
					t.Errorf("%s: %v, %v, want %d", at, a, err, want)
				}
				closed = closed || want == 403
			}
			if closed != (plan.Report.Summary.Places.Closed > 0) {
				t.Errorf("%d places are closed: %v", plan.Report.Summary.Places.Closed, plan.Report.Lines)
			}
		})
	}
}

// TestManyAddresses: a list is as long as it is in IIS, and upstreams that no template can
// list have several templates.
func TestManyAddresses(t *testing.T) {
	const many = 70
	pools, entries := make(map[string]string), ""
	webs := make([]string, many)
	for i := range many {
		pools[fmt.Sprintf("pool%d", i+1)] = fmt.Sprintf("10.0.0.%d:8080", i+1)
		entries += fmt.Sprintf(`<add ipAddress="10.0.1.%d" allowed="true" />`, i+1)
		webs[i] = core(`processPath="dotnet"`, ``)
	}
	server, plan := coreSites(t, iisimport.Options{PoolUpstreams: pools}, webs...)
	adapt(t, plan.Caddyfile())
	addresses := 0
	for line := range strings.Lines(string(plan.Caddyfile())) {
		if list, ok := strings.CutPrefix(strings.TrimSpace(line), "to "); ok {
			n := len(strings.Fields(list))
			addresses += n
			if n > 64 {
				t.Errorf("%d addresses in a line that may have 64", n)
			}
		}
	}
	inTemplates := 0
	for _, tmpl := range plan.Templates {
		inTemplates += len(tmpl.Sites)
	}
	if len(plan.Templates) != 2 || inTemplates != len(server.Sites) || addresses != many {
		t.Errorf("%d templates have %d sites and %d addresses", len(plan.Templates), inTemplates, addresses)
	}

	_, plan = coreSites(t, iisimport.Options{Folders: []iisimport.Folder{{From: `C:\web`, To: "/srv/web"}}},
		`<security><ipSecurity allowUnlisted="false">`+entries+`</ipSecurity></security>`)
	text := string(plan.Caddyfile())
	adapt(t, plan.Caddyfile())
	for i := range many {
		if prefix := fmt.Sprintf("10.0.1.%d/32", i+1); strings.Count(text, prefix) != 1 {
			t.Errorf("%s is there %d times", prefix, strings.Count(text, prefix))
		}
	}
	if !strings.Contains(text, "unlisted deny") || plan.Report.Summary.Places.Closed != 0 {
		t.Error(text)
	}
}

// TestWebConfigsOfIIS6: on IIS 6 no web.config takes off what the metabase protects a folder
// by, nor does it do anything else; the worker process reads its own part.
func TestWebConfigsOfIIS6(t *testing.T) {
	const folder = `<IIsWebDirectory Location="/LM/W3SVC/1/ROOT/%s" %s />`
	data := `<configuration xmlns="urn:microsoft-catalog:XML_Metabase_V64_0"><MBProperty><IIsWebServer Location="/LM/W3SVC/1" ServerComment="a" ServerBindings=":80:" />` +
		`<IIsWebVirtualDir Location="/LM/W3SVC/1/ROOT" Path="C:\web" AccessFlags="AccessRead | AccessScript" ScriptMaps=".asp,C:\asp.dll,5" />` +
		fmt.Sprintf(folder, "priv", `AuthFlags="AuthNTLM"`) + fmt.Sprintf(folder, "ssl", `AccessSSLFlags="AccessSSL"`) + fmt.Sprintf(folder, "acc", `AccessFlags="AccessScript"`) + `</MBProperty></configuration>`
	const (
		opens = `<security><authentication><anonymousAuthentication enabled="true"/></authentication><access sslFlags="None"/></security><handlers accessPolicy="Read, Script"/>` +
			`<directoryBrowse enabled="true"/><staticContent><mimeMap fileExtension=".odd" mimeType="a/b"/></staticContent>`
		refuses = `<security><ipSecurity allowUnlisted="false"/></security><httpRedirect enabled="true" destination="/x"/><rewrite><rules><rule name="r"><match url=".*"/><action type="AbortRequest"/></rule></rules></rewrite>`
	)
	dir := ts.Folder(t)
	files := []iisconfig.File{{Name: "export/MetaBase.xml", Data: []byte(data)}}
	for _, name := range []string{"priv/deep", "ssl/deep", "acc/deep", "priv", "open"} {
		web := opens
		if name == "open" {
			web = refuses
		}
		files = append(files, iisconfig.File{Name: "export/web/" + name + "/web.config", Data: []byte("<configuration><system.webServer>" + web + "</system.webServer></configuration>")})
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"a.txt", "a.odd"} {
			if err := os.WriteFile(filepath.Join(dir, name, file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	server, err := iisconfig.Read(files, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr := httpOnly(t, server)
	plan := iisimport.Import(server, iisimport.Options{Upstream: workerOf(t), Folders: []iisimport.Folder{{From: `C:\web`, To: dir}}})
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	got := statuses(t, addr, "/priv/deep/a.txt", "/ssl/deep/a.txt", "/acc/deep/a.txt", "/open/a.txt", "/open/a.odd", "/open/", "/open/x.asp")
	if want := "401 403 403 200 404 403 200"; got != want {
		t.Errorf("%s, want %s\n%s", got, want, plan.Caddyfile())
	}
	for _, f := range files[1:] {
		if !slices.ContainsFunc(plan.Report.Lines, func(l iisimport.Line) bool {
			return l.Source.File == f.Name && l.Outcome == iisimport.Dropped && strings.Contains(l.Message, "IIS 6")
		}) {
			t.Errorf("the report does not say that %s is not read", f.Name)
		}
	}
}
