package live

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/sites"
)

func newCertificate(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// keyOf is a key for private keys.
func keyOf(letter string) string { return hex.EncodeToString([]byte(strings.Repeat(letter, 32))) }

// openBolt opens a file of this test as a configuration with these keys does.
func openBolt(t *testing.T, keys ...string) *given {
	t.Helper()
	table, err := sites.OpenBolt(filepath.Join(t.TempDir(), "sites.db"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return &given{CommonSettings: sites.CommonSettings{Name: "given", CertificateKeys: keys}, address: t.Name(), table: table}
}

// put plans and writes a certificate, nil to delete it.
func put(t *testing.T, list Sources, s *Source, c *CertificateWrite) error {
	t.Helper()
	s.Lock()
	defer s.Unlock()
	plan, err := list.PlanCertificate(s, c, c.Name == "configured", func(uint32) string { return "Shop" })
	if err != nil || plan.Result.Same {
		return err
	}
	head, err := s.Follower.Write(sites.Transaction{Certificates: []sites.CertificateChange{plan.Change()}})
	if err != nil {
		t.Fatal(err)
	}
	s.NoteCertificate(head, plan)
	return nil
}

// TestPlanCertificate: what a change of a certificate comes to depends on what there is under
// this name, who else has it, which sites use it, and what the change says about it.
func TestPlanCertificate(t *testing.T) {
	module := openBolt(t, keyOf("a"))
	list, s := openSource(t, module, newNode(t))
	web := newCertificate(t, "web.test")
	if err := put(t, list, s, &CertificateWrite{Name: "web", Cert: web, None: true}); err != nil {
		t.Fatal(err)
	}
	given := s.Follower.Certificate("web")
	if given == nil || !slices.Equal(given.Current()[0].Certificate[0], web.Certificate[0]) || list.WithCertificate("web") != s {
		t.Fatal("it is written and not served")
	}
	head, _ := s.Follower.Size()
	shop := json.RawMessage(`{"bindings":[{"protocol":"https","binding":"*:443:a.test","certificate":"web"}]}`)
	if _, err := s.Follower.Write(sites.Transaction{Changes: []sites.Change{{ID: 4, Document: shop}, {ID: 5, Document: json.RawMessage(`{"name":"web"}`)}}}); err != nil {
		t.Fatal(err)
	}
	row, _, err := s.Follower.CertificateTable().Certificate("web")
	if err != nil {
		t.Fatal(err)
	}
	tag := CertificateEtag(head, row.Revision, row.Document)
	wrong, whatever := strings.Replace(tag, ":1:", ":99:", 1), "*"
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate[0]})
	if want := EtagOf(head, row.Revision, chain); tag != want {
		t.Errorf("the tag is %s, and of what everybody may see %s", tag, want)
	}
	untagged, other := fmt.Sprintf(`"%s:%d"`, head.Source, row.Revision), CertificateEtag(head, row.Revision, json.RawMessage(`{"chain":""}`))
	for _, c := range []struct {
		name     string
		write    CertificateWrite
		required bool
		status   int
		part     string
	}{
		{"of the configuration", CertificateWrite{Name: "configured", Cert: web}, false, http.StatusConflict, "of the configuration"},
		{"it must be new", CertificateWrite{Name: "web", Cert: newCertificate(t, "web.test"), None: true}, false, http.StatusPreconditionFailed, "revision"},
		{"another revision", CertificateWrite{Name: "web", Cert: newCertificate(t, "web.test"), IfMatch: &wrong}, false, http.StatusPreconditionFailed, "revision"},
		{"another tag", CertificateWrite{Name: "web", Cert: newCertificate(t, "web.test"), IfMatch: &other}, false, http.StatusPreconditionFailed, "revision"},
		{"a tag without certificate", CertificateWrite{Name: "web", Cert: newCertificate(t, "web.test"), IfMatch: &untagged}, false, http.StatusPreconditionFailed, "revision"},
		{"any revision of none", CertificateWrite{Name: "mail", Cert: web, IfMatch: &whatever}, false, http.StatusPreconditionFailed, "no certificate"},
		{"no revision", CertificateWrite{Name: "web", Cert: newCertificate(t, "web.test")}, true, http.StatusPreconditionRequired, "If-Match"},
		{"nothing goes", CertificateWrite{Name: "mail"}, false, http.StatusNotFound, "no certificate"},
		{"one in use goes", CertificateWrite{Name: "web"}, false, http.StatusConflict, `Shop`},
		{"the same", CertificateWrite{Name: "web", Cert: web, IfMatch: &wrong}, true, 0, ""},
		{"this tag", CertificateWrite{Name: "web", Cert: newCertificate(t, "web.test"), IfMatch: &tag}, true, 0, ""},
	} {
		s.RequireIfMatch = c.required
		err := put(t, list, s, &c.write)
		status := 0
		if refused, ok := errors.AsType[*WriteError](err); ok {
			status = refused.Status
			if refused.Certificate != c.write.Name {
				t.Errorf("%s: the refusal is about %q", c.name, refused.Certificate)
			}
			if c.name == "one in use goes" && !slices.Equal(refused.Sites, []uint32{4}) {
				t.Errorf("used by %v", refused.Sites)
			}
		}
		if status != c.status || err != nil && !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v, want %d %q", c.name, err, c.status, c.part)
		}
	}
	s.RequireIfMatch = false
	if slices.Equal(given.Current()[0].Certificate[0], web.Certificate[0]) {
		t.Error("it is replaced, and who has it serves the one before")
	}
	if _, err := s.Follower.Write(sites.Transaction{Changes: []sites.Change{{ID: 4}}}); err != nil {
		t.Fatal(err)
	}
	if err := put(t, list, s, &CertificateWrite{Name: "web"}); err != nil {
		t.Error(err)
	}
	if s.Follower.Certificate("web") != nil || len(given.Current()) != 0 {
		t.Error("it is deleted and served")
	}
}

// TestCertificateOfAnotherSource: one name is one certificate, whichever source has it.
func TestCertificateOfAnotherSource(t *testing.T) {
	module := openBolt(t, keyOf("a"))
	list, first := openSource(t, module, newNode(t))
	second := openBolt(t, keyOf("a"))
	second.Name, second.address = "second", t.Name()+" second"
	_, other := openSource(t, second, newNode(t))
	list = append(list, other)
	if err := put(t, list, first, &CertificateWrite{Name: "web", Cert: newCertificate(t, "web.test")}); err != nil {
		t.Fatal(err)
	}
	err := put(t, list, other, &CertificateWrite{Name: "web", Cert: newCertificate(t, "web.test")})
	if err == nil || !strings.Contains(err.Error(), "is one of given, not of second") {
		t.Error(err)
	}
	if s, err := list.ForCertificate("", "web"); err != nil || s != first {
		t.Errorf("a change of it is for %v: %v", s, err)
	}
	if s, err := list.ForCertificate("second", "web"); err != nil || s != other {
		t.Errorf("a change that names a source is for %v: %v", s, err)
	}
	plain := newMemory()
	_, none := openSource(t, &given{CommonSettings: sites.CommonSettings{Name: "none"}, address: t.Name() + " none", table: plain}, newNode(t))
	if s, err := append(Sources{none}, list...).ForCertificate("", "mail"); err != nil || s != first {
		t.Errorf("a new one is for %v: %v", s, err)
	}
	if err := put(t, Sources{none}, none, &CertificateWrite{Name: "mail", Cert: newCertificate(t, "m.test")}); !strings.Contains(err.Error(), errNoCertificates.Error()) {
		t.Errorf("a source that keeps none: %v", err)
	}
}

// TestReadCertificates: a configuration without the key of a certificate is refused while it
// serves, and holds it back at a start; one with an older key in front tells so.
func TestReadCertificates(t *testing.T) {
	module := openBolt(t, keyOf("a"))
	list, s := openSource(t, module, newNode(t))
	if err := put(t, list, s, &CertificateWrite{Name: "web", Cert: newCertificate(t, "web.test")}); err != nil {
		t.Fatal(err)
	}
	load := func(keys ...string) (*Source, error) {
		next := *module
		next.CertificateKeys = keys
		var list Sources
		if err := list.Add(&next, newNode(t), nil); err != nil {
			t.Fatal(err)
		}
		if err := list.Open(t.Context(), list[0], true); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = list[0].Close() })
		list[0].Lock()
		defer list[0].Unlock()
		return list[0], list[0].Reset()
	}
	if _, err := load(keyOf("b")); err == nil || !strings.Contains(err.Error(), "the running configuration serves certificate web") {
		t.Errorf("with another key: %v", err)
	}
	both, err := load(keyOf("b"), keyOf("a"))
	if err != nil {
		t.Fatal(err)
	}
	if codes := certificateCodes(both); !slices.Equal(codes, []string{codeCertificateStale}) {
		t.Errorf("with an older key: %v", codes)
	}
	if same, err := load(keyOf("a")); err != nil || len(certificateCodes(same)) != 0 {
		t.Errorf("with the same key: %v, %v", err, certificateCodes(same))
	}
	s.Lock()
	s.Follower.dropCertificate("web") // as at a start: nothing serves it
	s.Unlock()
	held, err := load(keyOf("b"))
	if err != nil {
		t.Fatal(err)
	}
	if reason, failed := held.FailedCertificate("web"); !failed || !strings.Contains(reason, "another key") || !slices.Equal(certificateCodes(held), []string{codeCertificateHeldBack}) {
		t.Errorf("held back: %q %v", reason, certificateCodes(held))
	}
	if err := put(t, Sources{held}, held, &CertificateWrite{Name: "web", Cert: newCertificate(t, "web.test")}); err != nil || len(certificateCodes(held)) != 0 {
		t.Errorf("after it was put again: %v %v", err, certificateCodes(held))
	}
	if !held.TakeOver() {
		t.Error("a certificate that was written is not taken over")
	}
	held.Unlock()
}

func certificateCodes(s *Source) (codes []string) {
	for _, f := range s.CertificateFindings() {
		codes = append(codes, f.Code)
	}
	return codes
}
