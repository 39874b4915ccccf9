package iisimport_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iisimport"
	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// withRecord imports a site whose certificate has a hash.
func withRecord(t *testing.T, hash string, certs *iisimport.Certificates) string {
	t.Helper()
	return withRecordIn(t, hash, "My", iisimport.Options{Certificates: certs})
}

// withRecordIn is the same for a certificate in a store of Windows.
func withRecordIn(t *testing.T, hash, store string, opts iisimport.Options) string {
	t.Helper()
	server, err := iisconfig.Read([]iisconfig.File{
		{Name: "a.config", Data: []byte(`<sites><site name="a" id="1"><bindings><binding protocol="https" bindingInformation="*:443:" /></bindings></site></sites>`)},
		{Name: "b.txt", Data: []byte("\n    IP:port                      : 0.0.0.0:443\n    Certificate Hash             : " + hash +
			"\n    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n    Certificate Store Name       : " + store + "\n")},
	}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	caddyfile := iisimport.Import(server, opts).Caddyfile()
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

// TestWindowsStore: certificates that no file has stay in their store, if that is asked
// for, and if it is known by which thumbprint they are found there.
func TestWindowsStore(t *testing.T) {
	const thumbprint = "0123456789ABCDEF0123456789ABCDEF01234567"
	opts := iisimport.Options{WindowsStore: true}
	for store, want := range map[string]string{"WebHosting": "WebHosting", "My": "My", "(null)": "My", "Own Store": `"Own Store"`} {
		got := withRecordIn(t, strings.ToLower(thumbprint), store, opts)
		for _, want := range []string{"certificate default-443 windows_store {", "thumbprint " + thumbprint + "\n", "store " + want + "\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("store %s: no %q in\n%s", store, want, got)
			}
		}
	}
	if got := withRecordIn(t, strings.Repeat("ab", 32), "My", opts); strings.Contains(got, "windows_store") || !strings.Contains(got, "Not found") {
		t.Errorf("a SHA-256 hash: got\n%s", got)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, thumbprint+".pfx"), pfxWithPassword(t), 0o600); err != nil {
		t.Fatal(err)
	}
	certs, err := iisimport.FindCertificates(os.DirFS(dir), "certs", "")
	if err != nil {
		t.Fatal(err)
	}
	opts.Certificates = certs
	if got := withRecordIn(t, thumbprint, "My", opts); strings.Contains(got, "windows_store") || !strings.Contains(got, "certs/"+thumbprint+".pfx") {
		t.Errorf("with a file: got\n%s", got)
	}
}

// pfxWithPassword is a PFX file that does not open without its password.
func pfxWithPassword(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"www.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	data, err := pkcs12.Modern2023.WithIterations(10).Encode(key, cert, nil, "secret")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestUnknownCertificates: certificates of which nothing is known are as many as they may
// be, and none shares its file with another.
func TestUnknownCertificates(t *testing.T) {
	var bindings strings.Builder
	for _, b := range []string{"*:443:*.a.com", "*:443:wildcard.a.com", "*:8443:wildcard.a.com", "10.0.0.1:444:", "10.0.0.2:444:", "*:445:", "[2001:db8::1]:444:"} {
		flags := 1
		if strings.HasSuffix(b, ":") {
			flags = 0
		}
		fmt.Fprintf(&bindings, `<binding protocol="https" bindingInformation="%s" sslFlags="%d" />`, b, flags)
	}
	host := `<configuration><system.applicationHost><sites><site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="C:\a" /></application><bindings>` +
		bindings.String() + `</bindings></site></sites></system.applicationHost></configuration>`
	server, err := iisconfig.Read([]iisconfig.File{{Name: "applicationHost.config", Data: []byte(host)}}, iisconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]bool)
	for _, c := range iisimport.Import(server, iisimport.Options{}).Certificates {
		if files[strings.ToLower(c.File)] || strings.ContainsAny(path.Base(c.File), `:*?"<>|`) {
			t.Errorf("the file %s is there twice, or cannot be on Windows", c.File)
		}
		files[strings.ToLower(c.File)] = true
	}
	if len(files) != 6 {
		t.Errorf("got %v", files)
	}
	if last := iisimport.Names(50_000); last != "x-50000" {
		t.Errorf("got %s", last)
	}
}
