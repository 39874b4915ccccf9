package caddyiis_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// pfx returns the certificate as a PFX file.
func (i *issued) pfx(t *testing.T, password string) []byte {
	t.Helper()
	pair, err := tls.X509KeyPair(i.cert, i.key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := pkcs12.Modern.Encode(pair.PrivateKey, i.leaf, []*x509.Certificate{i.issuer}, password)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// storeConfig is the example with a central store: a name with a file, names
// under a wildcard file, a name without file.
func storeConfig(port int, store string) string {
	return fmt.Sprintf(`{
		iis {
			certificate default {
				subjects default.test
				issuer internal
			}
			central_store %[2]s {
				password secret
			}
			site 1 Default {
				binding https *:%[1]d: {
					certificate default
				}
				respond "default"
			}
			site 4 Fabrikam {
				binding https *:%[1]d:www.fabrikam.test {
					sni
					central_store
				}
				respond "fabrikam"
			}
			site 5 Missing {
				binding https *:%[1]d:missing.fabrikam.example {
					sni
					central_store
				}
				respond "missing"
			}
		}
	}`, port, store)
}

func checkStore(t *testing.T, port int) {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for _, proto := range []string{"h1", "h2", "h3"} {
		for _, c := range []struct{ sni, subject, body string }{
			{"www.fabrikam.test", "www.fabrikam.test", "fabrikam"},
			{"WWW.Fabrikam.TEST", "www.fabrikam.test", "fabrikam"},
			{"shop.fabrikam.test", "*.fabrikam.test", "default"},
			{"missing.fabrikam.example", "default.test", "missing"},
			{"unknown.org", "default.test", "default"},
			{"", "default.test", "default"},
		} {
			answer, err := ts.Do(ts.Request{Addr: addr, SNI: c.sni, Proto: proto})
			if err != nil || answer.Subject() != c.subject || answer.Body != c.body {
				t.Errorf("%s, server name %q: got %s %+v, %v; want %s, %s", proto, c.sni, answer.Subject(), answer, err, c.subject, c.body)
			}
		}
	}
}

func TestCentralStore(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	replace(t, filepath.Join(dir, "www.fabrikam.test.pfx"), issue(t, 60, nil, "www.fabrikam.test").pfx(t, "secret"))
	replace(t, filepath.Join(dir, "_.fabrikam.test.pfx"), issue(t, 61, nil, "*.fabrikam.test").pfx(t, "secret"))
	s := ts.Start(t, storeConfig(port, dir))
	checkStore(t, port)
	var list adminapi.Page[adminapi.Certificate]
	s.AdminJSON("/iis/certificates", &list)
	if len(list.Items) == 0 || list.Items[0].Source != "central_store" || len(list.Items[0].Current) != 2 {
		t.Errorf("the admin API lists %+v", list.Items)
	}
	waitFor(t, "the finding about the missing file", func() bool {
		return len(ts.Logs.Lines("the central store has no file for missing.fabrikam.example", "site 5")) > 0
	})
	waitFor(t, "the finding about the password", func() bool {
		return len(ts.Logs.Lines("the password of the central store stands in the configuration")) > 0
	})
	for _, line := range ts.Logs.Lines("secret") {
		if !strings.Contains(line, `"uri"`) {
			t.Errorf("the password is in the log: %s", line)
		}
	}
	// A configuration load keeps what the store has read, whatever becomes of
	// the folder meanwhile.
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Rename(dir+".gone", dir) })
	if err := s.Load(strings.Replace(storeConfig(port, dir), "site 5 Missing", "site 5 Changed", 1)); err != nil {
		t.Fatal(err)
	}
	checkStore(t, port)
}

// TestCentralStoreBrokenFile: a file that cannot be read is one that is not
// there, with a finding.
func TestCentralStoreBrokenFile(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	replace(t, filepath.Join(dir, "www.fabrikam.test.pfx"), issue(t, 60, nil, "www.fabrikam.test").pfx(t, "another password"))
	replace(t, filepath.Join(dir, "_.fabrikam.test.pfx"), issue(t, 61, nil, "*.fabrikam.test").pfx(t, "secret"))
	ts.Start(t, storeConfig(port, dir))
	answer, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", port), SNI: "www.fabrikam.test"})
	if err != nil || answer.Subject() != "default.test" || answer.Body != "fabrikam" {
		t.Errorf("got %s %+v, %v", answer.Subject(), answer, err)
	}
	waitFor(t, "the finding", func() bool { return len(ts.Logs.Lines("www.fabrikam.test.pfx", "wrong password")) > 0 })
}

// TestCentralStoreInStorage: the files are in Caddy's storage, where another
// Caddy has put them.
func TestCentralStoreInStorage(t *testing.T) {
	port := ts.FreePort(t)
	s := ts.Start(t, "{\n}\n")
	other := &certmagic.FileStorage{Path: s.Storage()}
	for name, pair := range map[string]*issued{
		"www.fabrikam.test": issue(t, 62, nil, "www.fabrikam.test"),
		"_.fabrikam.test":   issue(t, 63, nil, "*.fabrikam.test"),
	} {
		block, _ := pem.Decode(pair.key)
		for key, data := range map[string][]byte{".crt": pair.cert, ".key": pem.EncodeToMemory(block)} {
			if err := other.Store(t.Context(), "central/"+name+key, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Load(storeConfig(port, "storage central")); err != nil {
		t.Fatal(err)
	}
	checkStore(t, port)
}
