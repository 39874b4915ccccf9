package iisconfig

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// tenants are web.config files that reach for what is not theirs, with a word that the
// finding about them has. None is without effect on its own folder: IIS answers 500.19.
var tenants = map[string]struct{ text, finding string }{
	"system.applicationHost":   {`<configuration><system.applicationHost><sites><site name="Evil" id="66"><application path="/"><virtualDirectory path="/" physicalPath="C:\"/></application><bindings><binding protocol="http" bindingInformation="*:80:bank.example"/></bindings></site></sites></system.applicationHost></configuration>`, "system.applicationHost"},
	"sites":                    {`<configuration><sites><site name="Evil" id="66"/></sites></configuration>`, "sites"},
	"site":                     {`<configuration><site name="Evil" id="66"/></configuration>`, "site"},
	"pools":                    {`<configuration><applicationPools><add name="Evil"/></applicationPools></configuration>`, "applicationPools"},
	"farms":                    {`<configuration><webFarms><webFarm name="evil" enabled="true"><server address="evil.example"/></webFarm></webFarms></configuration>`, "webFarms"},
	"redirection":              {`<configuration><configurationRedirection enabled="true" path="\\evil\share"/></configuration>`, "configurationRedirection"},
	"globalRules":              {inWeb(`<rewrite><globalRules><rule name="e"><match url=".*"/><action type="Redirect" url="http://evil.example/"/></rule></globalRules></rewrite>`), "globalRules"},
	"isapiCgiRestriction":      {inWeb(`<security><isapiCgiRestriction notListedIsapisAllowed="true"/></security>`), "isapiCgiRestriction"},
	"location /":               {`<configuration><location path="/"><system.webServer><httpRedirect enabled="true" destination="http://evil.example"/></system.webServer></location></configuration>`, `"/"`},
	"location ..":              {`<configuration><location path="../B"><system.webServer><httpRedirect enabled="true" destination="http://evil.example"/></system.webServer></location></configuration>`, `"../B"`},
	"location .. inside":       {`<configuration><location path="x\.. \..\B"><system.webServer><httpRedirect enabled="true" destination="http://evil.example"/></system.webServer></location></configuration>`, "leads out"},
	"location of the root":     {`<configuration><location path="machine/webroot/apphost/B"><system.webServer><httpRedirect enabled="true" destination="http://evil.example"/></system.webServer></location></configuration>`, "apphost"},
	"location of a drive":      {`<configuration><location path="C:\web\b"><system.webServer><httpRedirect enabled="true" destination="http://evil.example"/></system.webServer></location></configuration>`, "not a path below"},
	"location in a location":   {`<configuration><location path="x"><location path="y"><system.webServer><httpRedirect enabled="true" destination="http://evil.example"/></system.webServer></location></location></configuration>`, "inside of another"},
	"configSections":           {`<configuration><configSections><sectionGroup name="system.webServer"><section name="handlers" overrideModeDefault="Allow"/></sectionGroup></configSections><system.webServer><handlers><clear/></handlers></system.webServer></configuration>`, "declaration"},
	"configSections of a host": {`<configuration><configSections><sectionGroup name="system.applicationHost"><section name="sites"/></sectionGroup></configSections></configuration>`, "declaration"},
	"configSource":             {inWeb(`<httpRedirect configSource="..\..\secret\other.config"/>`), "leads out"},
	"configSource of a drive":  {inWeb(`<httpRedirect configSource="C:\secret\other.config"/>`), "leads out"},
	"root site":                {`<site name="Evil" id="66"/>`, "root element is site"},
	"root sites":               {`<sites><site name="Evil" id="66"/></sites>`, "root element is sites"},
	"root location":            {`<location path=""><system.webServer><httpRedirect enabled="true" destination="http://evil.example"/></system.webServer></location>`, "root element is location"},
	"root metabase":            {`<MBProperty><IIsWebServer Location="/LM/W3SVC/66" ServerBindings=":80:bank.example"/></MBProperty>`, "root element is MBProperty"},
	"root appcmd":              {`<appcmd><SITE SITE.NAME="Evil" SITE.ID="66" bindings="http/*:80:bank.example" state="Started"/></appcmd>`, "root element is appcmd"},
	"two roots":                {`<configuration/><configuration/>`, "more than one root"},
	"text of appcmd":           {`SITE "Evil" (id:66,bindings:http/*:80:bank.example,state:Started)`, "left out"},
	"text of netsh":            {"IP:port : 0.0.0.0:443\nHash : 0123456789abcdef0123456789abcdef01234567\nApplication ID : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n", "left out"},
	"registry":                 {"REGEDIT4\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\IIS\\CentralCertProvider]\n\"Enabled\"=dword:00000001\n", "left out"},
	"pem":                      {"-----BEGIN CERTIFICATE-----\n", "left out"},
	"zeros":                    {"\x00\x00\x00\x00", "left out"},
	"nothing":                  {"", "no root element"},
	"not well-formed":          {"<configuration><system.webServer>", "not well-formed"},
	"a document type":          {"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><configuration>&e;</configuration>", "document type"},
	"too large":                {"<configuration>" + strings.Repeat(" ", 200_000) + "</configuration>", "larger than"},
}

const tenantServer = `<configuration><configSections><sectionGroup name="system.webServer"><section name="handlers" overrideModeDefault="Deny"/></sectionGroup></configSections>
<system.applicationHost><sites><site name="A" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\web\a"/></application></site>
<site name="B" id="2"><application path="/"><virtualDirectory path="/" physicalPath="C:\web\b"/></application></site></sites></system.applicationHost>
<system.webServer><httpRedirect enabled="false"/></system.webServer></configuration>`

// TestTenants gives each of them, found in a folder and named, in several spellings: the
// rest of the server is as without it, and its own folder answers 500.19.
func TestTenants(t *testing.T) {
	opts := Options{MaxBytes: 100_000}
	secret := File{Name: "secret/other.config", Data: []byte(`<httpRedirect enabled="true" destination="http://evil.example"/>`)}
	server := File{Name: "applicationHost.config", Data: []byte(tenantServer)}
	without, err := Read([]File{server}, opts)
	if err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, s *Server, err error, finding string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Sites) != 2 || len(s.ApplicationPools) != 0 || len(s.WebFarms) != 0 || len(s.Certificates) != 0 || s.CentralStore != nil || len(s.CertificateFiles) != 0 {
			t.Errorf("the server is %+v", s)
		}
		if !reflect.DeepEqual(s.Settings, without.Settings) || !reflect.DeepEqual(s.SiteByName("B").At("/"), without.SiteByName("B").At("/")) || s.SiteByName("B").Configured != nil {
			t.Error("another site is touched")
		}
		set := s.SiteByName("A").At("/sub/x")
		if len(set.Faults) == 0 {
			t.Errorf("its own folder has no fault; findings %v", s.Findings)
		}
		if set.HTTPRedirect.Enabled || set.Rewrite != nil || set.Handlers != nil {
			t.Error("it has an effect")
		}
		if s.SiteByName("A").At("/").Faults != nil {
			t.Error("the folder above has a fault")
		}
		found := false
		for _, f := range s.Findings {
			found = found || strings.HasSuffix(strings.ToLower(f.Source.File), "/web.config") && strings.Contains(f.Message, finding)
		}
		if !found {
			t.Errorf("no finding with %q: %v", finding, s.Findings)
		}
	}
	for name, c := range tenants {
		t.Run(name, func(t *testing.T) {
			for _, spelling := range []string{"web.config", "Web.Config", "WEB.CONFIG"} {
				file := "web/a/sub/" + spelling
				s, err := Read([]File{{Name: file, Data: []byte(c.text)}, secret, server}, opts)
				check(t, s, err, c.finding)
				fsys := mapFS(map[string]string{file: c.text, server.Name: tenantServer, secret.Name: string(secret.Data)})
				s, err = ReadDir(fsys, opts)
				check(t, s, err, c.finding)
				s, err = ReadFS(fsys, opts, file, server.Name)
				check(t, s, err, c.finding)
			}
		})
	}
}

func warnings(s *Server) (out []Finding) {
	for _, f := range s.Findings {
		if f.Severity != binding.Info {
			out = append(out, f)
		}
	}
	return out
}

// TestNamesOfSites: a location in a web.config with the name of another site is a folder
// below.
func TestNamesOfSites(t *testing.T) {
	s := hosted(t, "", "", map[string]string{"a": `<configuration><location path="B"><system.webServer><httpRedirect enabled="true"/></system.webServer></location></configuration>`})
	if s.SiteByName("B").At("/").HTTPRedirect != nil || !s.SiteByName("A").At("/B").HTTPRedirect.Enabled || len(s.Findings) != 0 {
		t.Errorf("%+v", s.Findings)
	}
}

// TestOwnFiles: what a web.config may do, it does.
func TestOwnFiles(t *testing.T) {
	fsys := mapFS(map[string]string{
		"applicationHost.config": tenantServer,
		"web/a/web.config": `<configuration><configSections><section name="entityFramework" type="X"/></configSections><entityFramework/>
<location path="."><system.webServer><directoryBrowse enabled="true"/></system.webServer></location>
<location path="x/y"><system.webServer><httpRedirect configSource="sub\redirect.config"/></system.webServer></location></configuration>`,
		"web/a/sub/redirect.config": `<httpRedirect enabled="true" destination="/z"/>`,
		"web/b/web.config":          inWeb(`<isapiFilters><filter name="x" path="x.dll"/></isapiFilters>`),
	})
	s, err := ReadDir(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := s.SiteByName("A")
	if a.At("/").Faults != nil || !a.At("/").DirectoryBrowse.Enabled || !a.At("/x/y").HTTPRedirect.Enabled {
		t.Errorf("%+v, %v", a.At("/x/y"), s.Findings)
	}
	// A filter is named; that it is there closes nothing which the server does not lock.
	if b := s.SiteByName("B").At("/"); b.Faults != nil || len(warnings(s)) != 1 || warnings(s)[0].Code != CodeRefused {
		t.Errorf("%+v, %v", b.Faults, s.Findings)
	}
}

// TestFilesOfTheServerInSites: what is in the folder of a site is no file of the server,
// whatever it looks like, unless it is named.
func TestFilesOfTheServerInSites(t *testing.T) {
	const evil = `<sites><site name="Evil" id="66"><application path="/"><virtualDirectory path="/" physicalPath="C:\"/></application></site></sites>`
	files := map[string]string{
		"export/applicationHost.config":       tenantServer,
		"export/states/sites.txt":             `SITE "A" (id:1,bindings:,state:Stopped)`,
		"export/web/a/0.config":               evil,
		"export/web/a/up/load.xml":            evil,
		"export/web/b/sites.txt":              `SITE "Evil" (id:66,bindings:http/*:80:,state:Started)`,
		"export/web/b/central.reg":            "REGEDIT4\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\IIS\\CentralCertProvider]\n\"Enabled\"=dword:00000001\n",
		"export/web/b/applicationHost.config": strings.ReplaceAll(tenantServer, `name="A"`, `name="Evil"`),
		"export/web/b/sub/redirection.config": `<configuration><configurationRedirection enabled="true" path="x"/></configuration>`,
	}
	s, err := ReadFS(mapFS(files), Options{}, "export")
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, f := range s.Findings {
		if f.Code == CodeRefused {
			refused++
		}
	}
	if len(s.Sites) != 2 || s.SiteByName("Evil") != nil || s.CentralStore != nil || refused != 6 || s.SiteByName("A").State != "stopped" {
		t.Errorf("%d sites, findings %v", len(s.Sites), s.Findings)
	}
	s, err = ReadFS(mapFS(files), Options{}, "export/applicationHost.config", "export/web/a/0.config")
	if err != nil || s.SiteByName("Evil") == nil {
		t.Errorf("named: %v", err)
	}
}

// TestLinks: a web.config that is a link is one that nobody here has read.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"applicationHost.config": tenantServer, "elsewhere/real.config": inWeb(`<directoryBrowse enabled="true"/>`), "web/a/x.txt": "x"} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"web/a/web.config": "../../elsewhere/real.config", "web/b": "../elsewhere"} {
		needs.Symlink(t, filepath.FromSlash(to), filepath.Join(dir, filepath.FromSlash(link)))
	}
	s, err := ReadDir(os.DirFS(dir), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if set := s.SiteByName("A").At("/"); set.DirectoryBrowse != nil || !slices.Equal(faultCodes(set), []string{CodeMalformed}) {
		t.Errorf("%+v", set)
	}
	named := slices.ContainsFunc(s.Findings, func(f Finding) bool { return strings.Contains(f.Message, "web/b") })
	if !named {
		t.Errorf("the link to a folder is not named: %v", s.Findings)
	}
}

// TestWebConfigsOfOtherSources: sites that appcmd and adsutil tell of have web.config files
// too, if IIS reads them.
func TestWebConfigsOfOtherSources(t *testing.T) {
	for name, source := range map[string]string{
		"appcmd":  "SITE \"A\" (id:1,bindings:http/*:80:,state:Started)\nAPP \"A/\" (applicationPool:P)\nVDIR \"A/\" (physicalPath:C:\\web\\a)\n",
		"adsutil": "KeyType : (STRING) \"IIsWebServer\"\n[/w3svc/1]\nServerComment : (STRING) \"A\"\n[/w3svc/1/root]\nPath : (STRING) \"C:\\web\\a\"\n[/w3svc/info]\nMajorIIsVersionNumber : (INTEGER) 7\n",
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ReadDir(mapFS(map[string]string{"source.txt": source, "web/a/web.config": inWeb(`<directoryBrowse enabled="true"/>`), "web/a/more/other.txt": source}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Sites) != 1 || s.Sites[0].At("/").DirectoryBrowse == nil {
				t.Errorf("%d sites, %v", len(s.Sites), s.Findings)
			}
		})
	}
}

// TestSecondServer: a second applicationHost.config says nothing about what the first one
// locks.
func TestSecondServer(t *testing.T) {
	second := strings.NewReplacer(`overrideModeDefault="Deny"`, `overrideModeDefault="Allow"`, `name="A" id="1"`, `name="Old" id="7"`, `name="B" id="2"`, `name="Older" id="8"`).Replace(tenantServer)
	s, err := ReadDir(mapFS(map[string]string{
		"applicationHost.config": tenantServer, "copy/applicationHost.config": second, "web/a/web.config": inWeb(`<handlers><clear/></handlers>`),
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := faultCodes(s.SiteByName("A").At("/")); !slices.Equal(got, []string{CodeLocked}) {
		t.Errorf("%v, %v", got, s.Findings)
	}
}

// TestUndeclared: a section that the server does not declare is named once.
func TestUndeclared(t *testing.T) {
	s, err := ReadDir(mapFS(map[string]string{
		"applicationHost.config": tenantServer,
		"web/a/web.config":       inWeb(`<rewrite><rules><rule name="r"><match url="x"/></rule></rules></rewrite>`),
		"web/b/web.config":       inWeb(`<rewrite><rules><rule name="r"><match url="x"/></rule></rules></rewrite>`),
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Findings) != 1 || !strings.Contains(s.Findings[0].Message, "system.webServer/rewrite/rules") || s.SiteByName("A").At("/").Rewrite == nil {
		t.Error(s.Findings)
	}
}

// TestForgedFolders: folders inside of a site's have names that are those of another
// site's. Where the export is, and what it is called, is no tenant's to choose.
func TestForgedFolders(t *testing.T) {
	redirect := inWeb(`<httpRedirect enabled="true" destination="http://evil.example"/>`)
	for _, root := range []string{"export", "web/export", "deep/web/a/export", "x/web"} {
		below := "web/"
		names := []string{"a/web/b/web.config", "a/x/web/b/web.config", "a/WEB/B/sub/web.config"}
		if root == "x/web" {
			below = "" // the folder that is named is the copy itself
		} else {
			names = append(names, "stray/web/b/web.config")
		}
		files := map[string]string{"applicationHost.config": tenantServer}
		for _, name := range names {
			files[root+"/"+below+name] = redirect
		}
		s, err := ReadFS(mapFS(files), Options{}, root, "applicationHost.config")
		if err != nil {
			t.Fatal(err)
		}
		if b := s.SiteByName("B"); b.Configured != nil {
			t.Errorf("%s: the site B has %v", root, b.Configured)
		}
		if a := s.SiteByName("A"); len(a.Configured) != 3 || !a.At("/x/web/b").HTTPRedirect.Enabled {
			t.Errorf("%s: the site A has %v; %v", root, a.Configured, s.Findings)
		}
	}
}
