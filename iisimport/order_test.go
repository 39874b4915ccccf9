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

// stage is a module that ends a request, with what it answers.
type stage struct{ name, web, answer string }

// stages are in the order in which they are asked. IIS has global rules in front of request
// filtering, which tests what they make of a URL; here it tests the client's URL before, too.
var stages = []stage{
	{"filter", `<security><requestFiltering><hiddenSegments><add segment="deny" /></hiddenSegments></requestFiltering></security>`, "404 "},
	{"global", ``, "302 /by-global-rule"},
	{"address", `<security><ipSecurity><add ipAddress="127.0.0.1" allowed="false" /></ipSecurity></security>`, "403 "},
	{"rule", `<rule name="r" stopProcessing="true"><match url="^deny/" /><action type="Redirect" redirectType="Found" url="/by-rule" /></rule>`, "302 /by-rule"},
	{"account", `<security><authorization><add accessType="Deny" users="?" /></authorization></security>`, "401 "},
	{"redirect", `<httpRedirect enabled="true" destination="https://by-redirect.example/" exactDestination="true" />`, "302 https://by-redirect.example/"},
}

// answering is what answers a request that no module has ended.
type answering struct{ name, web, path, answer string }

var answerings = []answering{
	{"files", ``, "/deny/a.txt", "200 deny/a.txt"},
	{"worker", `<handlers><add name="core" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers><aspNetCore processPath="a.exe" />`, "/deny/a.txt", "200 worker /deny/a.txt"},
	{"proxy", `<rule name="p"><match url="^deny/(.*)" /><action type="Rewrite" url="http://UPSTREAM/proxied/{R:1}" /></rule>`, "/deny/a.txt", "200 worker /proxied/a.txt"},
	{"fastcgi", `<directoryBrowse enabled="false" />`, "/deny/a.php", "200 /deny/a.php"},
}

// orderedSite is the web.config of a site with modules in front of what answers.
func orderedSite(upstream string, a answering, modules ...stage) (host, web string) {
	var names []string
	var rules, sections strings.Builder
	for _, part := range append(modules, stage{a.name, a.web, a.answer}) {
		names = append(names, part.name)
		if strings.HasPrefix(part.web, "<rule ") {
			rules.WriteString(strings.ReplaceAll(part.web, "UPSTREAM", upstream))
		} else {
			sections.WriteString(part.web)
		}
	}
	text := strings.ReplaceAll(sections.String(), "</security><security>", "")
	if rules.Len() > 0 {
		text += "<rewrite><rules>" + rules.String() + "</rules></rewrite>"
	}
	return strings.Join(names, "-") + ".test", "<configuration><system.webServer>" + text + "</system.webServer></configuration>"
}

// TestOrder: of each pair of modules that would both end a request, the one that is asked
// first does, in front of files, of a worker process, of a proxy of a rule, and of FastCGI.
func TestOrder(t *testing.T) {
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "worker "+r.URL.Path) }))
	t.Cleanup(worker.Close)
	dir, upstream := t.TempDir(), worker.Listener.Addr().String()
	var sites strings.Builder
	var files []iisconfig.File
	type asked struct{ host, path, want string }
	var cases []asked
	add := func(a answering, want string, modules ...stage) {
		host, web := orderedSite(upstream, a, modules...)
		cases = append(cases, asked{host, a.path, want})
		fmt.Fprintf(&sites, `<site name="%[1]s" id="%[2]d"><application path="/" applicationPool="p"><virtualDirectory path="/" physicalPath="C:\inetpub\%[1]s" /></application>`+
			`<bindings><binding protocol="http" bindingInformation="*:80:%[1]s" /></bindings></site>`, host, len(cases))
		files = append(files, iisconfig.File{Name: "export/inetpub/" + host + "/web.config", Data: []byte(web)})
		for _, name := range []string{"deny/a.txt", "deny/a.php"} {
			file := filepath.Join(dir, host, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, a := range answerings {
		add(a, a.answer)
		for i, first := range stages {
			add(a, first.answer, first)
			for _, second := range stages[i+1:] {
				add(a, first.answer, first, second)
			}
		}
	}
	host := `<configuration><system.applicationHost><sites>` + sites.String() + `</sites></system.applicationHost><system.webServer><proxy enabled="true" />
<fastCgi><application fullPath="C:\php\php-cgi.exe" /></fastCgi>
<handlers><add name="PHP" path="*.php" verb="*" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" /><add name="StaticFile" path="*" verb="*" modules="StaticFileModule,DefaultDocumentModule" /></handlers>
<rewrite><globalRules><rule name="g" stopProcessing="true"><match url="^deny/" /><conditions><add input="{HTTP_HOST}" pattern="\bglobal\b" /></conditions>
<action type="Redirect" redirectType="Found" url="/by-global-rule" /></rule></globalRules></rewrite></system.webServer></configuration>`
	server, err := iisconfig.Read(append(files, iisconfig.File{Name: "export/applicationHost.config", Data: []byte(host)}), iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr := httpOnly(t, server)
	plan := iisimport.Import(server, iisimport.Options{Upstream: upstream, FastCGI: fastCGIServer(t), Folders: []iisimport.Folder{{From: `C:\inetpub`, To: dir}}})
	_, body, _ := cutBefore(string(plan.Caddyfile()), "{\n\tiis")
	ts.Start(t, body)
	for _, c := range cases {
		a, err := ts.Do(ts.Request{Addr: addr, Plain: true, Host: c.host, Path: c.path})
		if err != nil {
			t.Errorf("%s: %v", c.host, err)
			continue
		}
		got := fmt.Sprint(a.Status, " ", a.Header.Get("Location"))
		if a.Status == http.StatusOK {
			got = fmt.Sprint(a.Status, " ", a.Body)
		}
		if !strings.HasPrefix(got, c.want) || strings.HasSuffix(c.want, " ") && got != c.want {
			t.Errorf("%s%s: %s, want %s", c.host, c.path, got, c.want)
		}
	}
	t.Logf("%d sites", len(cases))
}
