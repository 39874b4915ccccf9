package iisimport_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// withRecord imports a site whose certificate has a hash.
func withRecord(t *testing.T, hash string, certs *iisimport.Certificates) string {
	t.Helper()
	server, err := iisconfig.Read([]iisconfig.File{
		{Name: "a.config", Data: []byte(`<sites><site name="a" id="1"><bindings><binding protocol="https" bindingInformation="*:443:" /></bindings></site></sites>`)},
		{Name: "b.txt", Data: []byte("\n    IP:port                      : 0.0.0.0:443\n    Certificate Hash             : " + hash +
			"\n    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n    Certificate Store Name       : My\n")},
	}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	caddyfile := iisimport.Import(server, iisimport.Options{Certificates: certs}).Caddyfile()
	adapt(t, caddyfile)
	return string(caddyfile)
}

// TestFindPFX finds real PFX files by the thumbprint of their certificate.
func TestFindPFX(t *testing.T) {
	fixtures := needs.Fixtures(t)
	dir := filepath.Join(fixtures, "pfx")
	for name, password := range map[string]string{"boringssl-windows.p12": "foo", "dotnet-test.pfx": "test", "sslmate-4.p12": ""} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		cert, err := certfile.PFX(data, certfile.Options{Password: password})
		if err != nil {
			t.Fatal(err)
		}
		certs, err := iisimport.FindCertificates(os.DirFS(dir), "certs", password)
		if err != nil {
			t.Fatal(err)
		}
		if len(certs.Problems) == 0 {
			t.Error("files with other passwords are no problem")
		}
		caddyfile := withRecord(t, certfile.Thumbprint(cert.Certificate[0]), certs)
		if !strings.Contains(caddyfile, " certs/"+name) || strings.Contains(caddyfile, "password ") != (password != "") {
			t.Errorf("%s: got\n%s", name, caddyfile)
		}
	}
}

// TestFindByName: a file that does not open is found by its name.
func TestFindByName(t *testing.T) {
	fixtures := needs.Fixtures(t)
	data, err := os.ReadFile(filepath.Join(fixtures, "pfx", "boringssl-windows.p12"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const thumbprint = "0123456789ABCDEF0123456789ABCDEF01234567"
	if err := os.WriteFile(filepath.Join(dir, strings.ToLower(thumbprint)+".pfx"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	certs, err := iisimport.FindCertificates(os.DirFS(dir), "certs", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := withRecord(t, thumbprint, certs); strings.Contains(got, "Not found") || !strings.Contains(got, "password {env.IIS_PFX_PASSWORD}") {
		t.Errorf("got\n%s", got)
	}
}
