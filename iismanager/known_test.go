package iismanager_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// authority issues client certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, file: filepath.Join(t.TempDir(), name+".pem")}
	if a.cert, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// client is the TLS configuration of somebody with a certificate.
func (a *authority) client(t *testing.T, name string) *tls.Config {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: a.key}}}
}

// TestClientCertificates: on one port, a certificate of the page's authority is enough;
// one that the handshake has verified for a tenant's site, against the tenant's own
// authority, is not, whatever host is asked for with it.
func TestClientCertificates(t *testing.T) {
	cert, key := ts.PEM(t, "wild.test", "*.test")
	admins, tenant := newAuthority(t, "admins"), newAuthority(t, "tenant")
	port := ts.FreePort(t)
	site := func(id int, host string, authority *authority, body string) string {
		return fmt.Sprintf(`
		site %d {
			binding https *:%d:%s {
				sni
				certificate wild
				client_auth {
					mode verify_if_given
					trust_pool file {
						pem_file %q
					}
				}
			}
			%s
		}`, id, port, host, authority.file, body)
	}
	for _, word := range []string{"secure", "allow"} {
		page := func(pem string) string { return fmt.Sprintf("iis_manager {\nauthority %q\n}", pem) }
		ts.Start(t, fmt.Sprintf(`{
	iis {
		misdirected %s
		certificate wild %q %q
		%s
		%s
	}
}`, word, cert, key, site(1, "admin.test", admins, page(admins.file)), site(2, "tenant.test", tenant, "respond tenant")))
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		get := func(sni, host string, config *tls.Config) *ts.Answer {
			t.Helper()
			a, err := ts.Do(ts.Request{Addr: addr, SNI: sni, Host: host, Path: "/sites", TLS: config})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		if a := get("admin.test", "admin.test", admins.client(t, "alice")); a.Status != http.StatusOK || !strings.Contains(a.Body, "alice") {
			t.Errorf("%s, an administrator: %v", word, a)
		}
		if a := get("tenant.test", "tenant.test", tenant.client(t, "mallory")); a.Body != "tenant" {
			t.Errorf("%s, a tenant at his site: %v", word, a)
		}
		if a := get("tenant.test", "admin.test", tenant.client(t, "mallory")); a.Status < 400 || strings.Contains(a.Body, "mallory") {
			t.Errorf("%s, a tenant at the page: %v", word, a)
		}
		if a := get("admin.test", "admin.test", nil); a.Status != http.StatusForbidden {
			t.Errorf("%s, nobody: %v", word, a)
		}
		ts.Logs.Reset()
	}
}

// TestAuthHeader: the header counts from the server's trusted proxies, and from nobody
// else.
func TestAuthHeader(t *testing.T) {
	for proxies, want := range map[string]int{"127.0.0.1/32": http.StatusOK, "192.0.2.0/24": http.StatusForbidden} {
		port := ts.FreePort(t)
		m := &manager{t: t}
		m.Server = ts.Start(t, fmt.Sprintf(`{
	auto_https off
	servers {
		trusted_proxies static %s
	}
	iis {
		site 1 Main {
			server_bindings :%d:main.test
		}
	}
}
http://:%d {
	iis_manager {
		auth_header remote-user
	}
}`, proxies, ts.FreePort(t), port))
		place := fmt.Sprintf("http://127.0.0.1:%d/", port)
		ask := func(users ...string) answer {
			return m.do(http.MethodGet, place, "sites", nil, func(r *http.Request) {
				r.Host = "manager.example"
				r.Header.Set("X-Forwarded-For", "192.0.2.1")
				r.Header["Remote-User"] = users
			})
		}
		a := ask("carol")
		if a.status != want || (want == http.StatusOK) != strings.Contains(a.body, "carol") {
			t.Errorf("%s: %d %s", proxies, a.status, a.body)
		}
		ask().want(t, http.StatusForbidden)
		ask("").want(t, http.StatusForbidden)
		ask("carol", "root").want(t, http.StatusForbidden)
		// A proxy on this machine that passes on what it was asked, and names nobody.
		m.get(place, "sites").want(t, http.StatusForbidden)
	}
}

// TestWords: what the Caddyfile refuses, and what it makes of the rest.
func TestWords(t *testing.T) {
	adapt := func(words string) (string, error) {
		raw, err := ts.Adapt("{\n}\nhttp://:80 {\nroot * /srv\nrespond hello\niis_manager "+words+"\n}", "admin 127.0.0.9:2019")
		return string(raw), err
	}
	for words, message := range map[string]string{
		"x y":                   "wrong argument count",
		"{\nnonsense\n}":        "expected one of auth_header, authority, insecure, read_only, admin",
		"{\ninsecure yes\n}":    "insecure has no value",
		"{\nread_only off\n}":   "read_only has no value",
		"{\nauth_header\n}":     "auth_header expects one value",
		"{\nauthority\n}":       "authority expects PEM files",
		"{\nadmin one two\n}":   "admin expects one value",
		"{\nauth_header a b\n}": "auth_header expects one value",
	} {
		if _, err := adapt(words); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v", words, err)
		}
	}
	got, err := adapt("{\nauth_header Remote-User\nauthority a.pem b.pem\nread_only\n}")
	if want := `{"admin":"127.0.0.9:2019","auth_header":"Remote-User","authority_files":["a.pem","b.pem"],"handler":"iis_manager","read_only":true}`; err != nil || !strings.Contains(got, want) {
		t.Errorf("%v: %s", err, got)
	}
	if before, _, _ := strings.Cut(got, `"static_response"`); !strings.Contains(before, "iis_manager") {
		t.Errorf("it does not stand before respond: %s", got)
	}
	got, err = adapt("{\ninsecure\nadmin localhost:2020\n}")
	if want := `{"admin":"localhost:2020","handler":"iis_manager","insecure":true}`; err != nil || !strings.Contains(got, want) {
		t.Errorf("%v: %s", err, got)
	}
}
