package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

const importedSite = `<configuration><system.applicationHost><sites><site name="Main" id="7">
<application path="/"><virtualDirectory path="/" physicalPath="C:\inetpub\main" /></application>
<bindings><binding protocol="https" bindingInformation="*:443:www.example.com" sslFlags="1" />
<binding protocol="net.pipe" bindingInformation="*" /></bindings></site></sites></system.applicationHost></configuration>`

// exportFolder is what an administrator copied off a server.
func exportFolder(t *testing.T) (dir, thumbprint string) {
	dir = t.TempDir()
	certFile, keyFile := ts.PEM(t, "www", "www.example.com")
	certPEM, _ := os.ReadFile(certFile)
	keyPEM, _ := os.ReadFile(keyFile)
	thumbprint = thumbprintOf(t, certFile, keyFile)
	netsh := "\n    Hostname:port                : www.example.com:443\n    Certificate Hash             : " + strings.ToLower(thumbprint) +
		"\n    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n    Certificate Store Name       : My\n"
	for name, data := range map[string][]byte{
		"applicationHost.config": []byte(importedSite), "sslcert.txt": []byte(netsh), "www.pem": certPEM, "www.key": keyPEM,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, thumbprint
}

// TestImport: a folder is imported with its certificate, as a Caddyfile and as
// JSON, with a report.
func TestImport(t *testing.T) {
	dir, thumbprint := exportFolder(t)
	report := filepath.Join(t.TempDir(), "report.json")
	var out, errOut bytes.Buffer
	if code := caddyiis.RunCommand(&out, &errOut, "import", "--map", `C:\inetpub=/srv/www`, "--report", report, dir); code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut.String())
	}
	for _, want := range []string{thumbprint, "/www.pem " + filepath.ToSlash(dir) + "/www.key", "root * /srv/www/main", "site 7 Main", "sni"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	var r struct {
		Summary struct {
			Sites, Bindings, Certificates int
		}
		Lines []struct{ Outcome string }
	}
	if data, err := os.ReadFile(report); err != nil || json.Unmarshal(data, &r) != nil || r.Summary.Bindings != 1 || len(r.Lines) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	out.Reset()
	if code := caddyiis.RunCommand(&out, &errOut, "import", "--format", "json", "--report", "-", dir); code != 0 || !json.Valid(out.Bytes()) {
		t.Errorf("exit code %d, %s", code, out.String())
	}
	if !strings.Contains(errOut.String(), "Translated:") {
		t.Errorf("got %s", errOut.String())
	}
}

// TestImportServices: units and their environments are for their owner alone, also where
// others were, and those that are left over are named.
func TestImportServices(t *testing.T) {
	dir, units := t.TempDir(), t.TempDir()
	web := `<configuration><system.webServer><handlers><add name="aspNetCore" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers><aspNetCore processPath="dotnet" arguments="a.dll --password=x">` +
		`<environmentVariables><environmentVariable name="A" value="b" /></environmentVariables></aspNetCore></system.webServer></configuration>`
	for name, text := range map[string]string{
		filepath.Join(dir, "applicationHost.config"):    `<configuration><system.applicationHost><sites><site name="Shop" id="2"><application path="/"><virtualDirectory path="/" physicalPath="C:\web\shop" /></application></site></sites></system.applicationHost></configuration>`,
		filepath.Join(dir, "web", "shop", "web.config"): web,
		filepath.Join(units, "iis-2-shop.service"):      "old",
		filepath.Join(units, "iis-9-gone.service"):      "old",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out, errOut bytes.Buffer
	if code := caddyiis.RunCommand(&out, &errOut, "import", "--services", units, "--map", `C:\web=/srv/web`, dir); code != 0 {
		t.Fatalf("exit code %d\n%s", code, errOut.String())
	}
	for _, name := range []string{"iis-2-shop.service", "iis-2-shop.env"} {
		info, err := os.Stat(filepath.Join(units, name))
		if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if got := errOut.String(); !strings.Contains(got, "iis-9-gone.service is of no application any more") || strings.Contains(got, "iis-2-shop.service is of no") || strings.Contains(got+out.String(), "password") {
		t.Errorf("%s\n%s", got, out.String())
	}
}

// TestImportEnvironment: what fastCgi gives a program in variables is in a file for its owner
// alone, and nowhere else.
func TestImportEnvironment(t *testing.T) {
	dir := t.TempDir()
	environment, report := filepath.Join(t.TempDir(), "environment"), filepath.Join(t.TempDir(), "report.json")
	for name, text := range map[string]string{
		filepath.Join(dir, "applicationHost.config"): `<configuration><system.applicationHost><sites><site name="Shop" id="2"><application path="/"><virtualDirectory path="/" physicalPath="C:\web\shop" /></application>` +
			`<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site></sites></system.applicationHost><system.webServer><fastCgi><application fullPath="C:\php\php-cgi.exe"><environmentVariables>` +
			`<environmentVariable name="DB_PASSWORD" value="s3cr$et &quot;x" /><environmentVariable name="DB-OTHER" value="s3cret" /></environmentVariables></application></fastCgi>` +
			`<handlers><add name="PHP" path="*.php" verb="*" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" /><add name="StaticFile" path="*" verb="*" modules="StaticFileModule" requireAccess="Read" /></handlers></system.webServer></configuration>`,
		filepath.Join(dir, "web", "shop", "web.config"): `<configuration><system.webServer><directoryBrowse enabled="false" /></system.webServer></configuration>`,
		environment: "old",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out, errOut bytes.Buffer
	if code := caddyiis.RunCommand(&out, &errOut, "import", "--fastcgi", "127.0.0.1:9000", "--environment", environment, "--report", report, "--map", `C:\web=/srv/web`, dir); code != 0 {
		t.Fatalf("exit code %d\n%s", code, errOut.String())
	}
	info, err := os.Stat(environment)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if data, err := os.ReadFile(environment); err != nil || string(data) != `IIS_FASTCGI_DB_PASSWORD="s3cr\$et \"x"`+"\n" {
		t.Errorf("%s, %v", data, err)
	}
	told, err := os.ReadFile(report)
	if err != nil || !bytes.Contains(told, []byte("variable IIS_FASTCGI_DB_PASSWORD")) || !bytes.Contains(told, []byte("variable DB-OTHER")) {
		t.Errorf("%s, %v", told, err)
	}
	if all := out.String() + errOut.String() + string(told); strings.Contains(all, "s3cr") || !strings.Contains(all, "env DB_PASSWORD {env.IIS_FASTCGI_DB_PASSWORD}") {
		t.Error(all)
	}
}

// TestImportErrors: what is wrong is said, and nothing is written.
func TestImportErrors(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.config")
	if err := os.WriteFile(broken, []byte("<configuration><system.applicationHost>\n<sites><site name='a' id='1'>"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"import"}, 2, "wrong number of arguments"},
		{[]string{"import", "--format", "yaml", dir}, 2, "unknown format"},
		{[]string{"import", "--map", "x", dir}, 2, "no translation of a folder"},
		{[]string{"import", "--upstream", "{x}", dir}, 2, "is not an address"},
		{[]string{"import", "--upstream", "Shop=127.0.0.1", dir}, 2, "is not an address"},
		{[]string{"import", "--upstream", "https://h/path", dir}, 2, "is not an address"},
		{[]string{"import", "--upstream", "Shop=", dir}, 2, "there is no address"},
		{[]string{"import", "--upstream", "Shop=https://h:8443", "--upstream", "Shop=unix//run/s", dir}, 2, "there is an address for that already"},
		{[]string{"import", "--fastcgi", "127.0.0.1:x", dir}, 2, "is not an address"},
		{[]string{"import", "--sites", "x.jsonl", dir}, 2, "say with --to where"},
		{[]string{"import", filepath.Join(dir, "missing")}, 1, "no such file"},
		{[]string{"import", broken}, 1, "broken.config:2: "},
	} {
		var out, errOut bytes.Buffer
		if code := caddyiis.RunCommand(&out, &errOut, c.args...); code != c.code || !strings.Contains(errOut.String(), c.want) || out.Len() > 0 {
			t.Errorf("%v: exit code %d, %q, %q", c.args, code, errOut.String(), out.String())
		}
	}
}

// TestImportAdapter: the adapter makes the configuration, with a warning for each
// line that is not simply translated.
func TestImportAdapter(t *testing.T) {
	raw, warnings, err := caddyconfig.GetAdapter("iis").Adapt([]byte(importedSite), map[string]any{"filename": "applicationHost.config"})
	if err != nil || !bytes.Contains(raw, []byte(`"certificates/www.example.com.pfx"`)) {
		t.Fatalf("%s, %v", raw, err)
	}
	found := false
	for _, w := range warnings {
		found = found || w.File == "applicationHost.config" && w.Line == 4
	}
	if !found {
		t.Errorf("no warning for line 4: %v", warnings)
	}
}

// thumbprintOf returns the SHA-1 thumbprint of a certificate.
func thumbprintOf(t *testing.T, certFile, keyFile string) string {
	t.Helper()
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := certfile.PEM(certPEM, keyPEM, "")
	if err != nil {
		t.Fatal(err)
	}
	return certfile.Thumbprint(cert.Certificate[0])
}
