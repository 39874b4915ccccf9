package caddyiis_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	caddyiis "github.com/caddy-iis/caddy-iis"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

var (
	sourceBinding = regexp.MustCompile(`<binding protocol="(\w+)" bindingInformation="([^"]*)"(?: sslFlags="(\d+)")?`)
	appcmdBinding = regexp.MustCompile(`site.name:(\w+)" "/\+bindings\.\[protocol='(\w+)',bindingInformation='([^']*)'(?:,sslFlags='(\d+)')?\]`)
	sourceSite    = regexp.MustCompile(`(?s)<site name="(\w+)".*?</site>`)
)

// TestImportRoundTrip: what is imported from an IIS configuration, loaded, and
// written as appcmd lines has the bindings of the source.
func TestImportRoundTrip(t *testing.T) {
	plain, secure := ts.FreePort(t), ts.FreePort(t)
	dir := t.TempDir()
	certFile, keyFile := ts.PEM(t, "www", "*.contoso.test")
	for name, file := range map[string]string{"www.pem": certFile, "www.key": keyFile} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		replace(t, filepath.Join(dir, name), data)
	}
	thumbprint := thumbprintOf(t, certFile, keyFile)
	source := fmt.Sprintf(`<configuration><system.applicationHost><sites>
<site name="Main" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\main" /></application><bindings>
<binding protocol="http" bindingInformation="*:%[1]d:www.contoso.test" />
<binding protocol="http" bindingInformation="127.0.0.2:%[1]d:" />
<binding protocol="https" bindingInformation="*:%[2]d:www.contoso.test" sslFlags="1" />
<binding protocol="https" bindingInformation="*:%[2]d:api.contoso.test" sslFlags="37" /></bindings></site>
<site name="Second" id="2"><application path="/"><virtualDirectory path="/" physicalPath="C:\second" /></application><bindings>
<binding protocol="http" bindingInformation="*:%[1]d:*.contoso.test" />
<binding protocol="https" bindingInformation="*:%[2]d:second.contoso.test" sslFlags="0" /></bindings></site>
</sites></system.applicationHost></configuration>`, plain, secure)
	var netsh strings.Builder
	for _, key := range []string{"IP:port                      : 0.0.0.0", "Hostname:port                : www.contoso.test", "Hostname:port                : api.contoso.test"} {
		fmt.Fprintf(&netsh, "\n    %s:%d\n    Certificate Hash             : %s\n    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n    Certificate Store Name       : My\n", key, secure, strings.ToLower(thumbprint))
	}
	replace(t, filepath.Join(dir, "applicationHost.config"), []byte(source))
	replace(t, filepath.Join(dir, "sslcert.txt"), []byte(netsh.String()))

	var out, errOut bytes.Buffer
	if code := caddyiis.RunCommand(&out, &errOut, "import", dir); code != 0 {
		t.Fatalf("import: exit code %d: %s", code, errOut.String())
	}
	_, caddyfile, ok := strings.Cut(out.String(), "\n{")
	if !ok {
		t.Fatalf("no global options in\n%s", out.String())
	}
	s := ts.Start(t, "{"+caddyfile)
	out.Reset()
	if code := caddyiis.RunCommand(&out, &errOut, "commands", "--for", "appcmd", "--address", s.AdminAddr()); code != 0 {
		t.Fatalf("commands: exit code %d: %s", code, errOut.String())
	}

	var want, got []string
	for _, site := range sourceSite.FindAllStringSubmatch(source, -1) {
		for _, b := range sourceBinding.FindAllStringSubmatch(site[0], -1) {
			want = append(want, fmt.Sprint(site[1], b[1], b[2], strings.TrimPrefix(b[3], "0")))
		}
	}
	for _, b := range appcmdBinding.FindAllStringSubmatch(out.String(), -1) {
		got = append(got, fmt.Sprint(b[1], b[2], b[3], b[4]))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s\nfrom\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), out.String())
	}
	since := func() string {
		t.Helper()
		out.Reset()
		if code := caddyiis.RunCommand(&out, &errOut, "commands", "--since", dir, "--address", s.AdminAddr()); code != 0 {
			t.Fatalf("commands --since: exit code %d: %s", code, errOut.String())
		}
		return regexp.MustCompile(`(?m)^(?:rem (?:appcmd|netsh), .*)?\n`).ReplaceAllString(out.String(), "")
	}
	if text := since(); text != "" {
		t.Errorf("nothing has changed, and it has:\n%s", text)
	}
	if code := caddyiis.RunCommand(&out, &errOut, "add", "binding", "Main", "http", fmt.Sprintf("*:%d:new.contoso.test", plain), "--address", s.AdminAddr()); code != 0 {
		t.Fatal(errOut.String())
	}
	if code := caddyiis.RunCommand(&out, &errOut, "remove", "binding", "Main", "https", fmt.Sprintf("*:%d:api.contoso.test", secure), "--address", s.AdminAddr()); code != 0 {
		t.Fatal(errOut.String())
	}
	if text, want := since(), fmt.Sprintf(`rem appcmd.exe set site "/site.name:Main" "/-bindings.[protocol='https',bindingInformation='*:%[2]d:api.contoso.test']"
appcmd.exe set site "/site.name:Main" "/+bindings.[protocol='http',bindingInformation='*:%[1]d:new.contoso.test']"
rem netsh http delete sslcert hostnameport=api.contoso.test:%[2]d`, plain, secure); strings.TrimSpace(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}
