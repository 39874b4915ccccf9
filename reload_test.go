package caddyiis_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// issued is a certificate with its key as PEM, and what issued it.
type issued struct {
	leaf, issuer *x509.Certificate
	issuerKey    crypto.Signer
	cert, key    []byte
}

// issue makes a certificate under an authority of its own.
func issue(t *testing.T, serial int64, edit func(*x509.Certificate), names ...string) *issued {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	create := func(template, parent *x509.Certificate, key, parentKey crypto.Signer) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	authorityKey, leafKey := newKey(), newKey()
	authorityTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	authority := create(authorityTemplate, authorityTemplate, authorityKey, authorityKey)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if edit != nil {
		edit(template)
	}
	leaf := create(template, authority, leafKey, authorityKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw})...)
	return &issued{leaf, authority, authorityKey, chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}
}

func (i *issued) write(t *testing.T, dir string) {
	t.Helper()
	replace(t, filepath.Join(dir, "site.pem"), i.cert)
	replace(t, filepath.Join(dir, "site.key"), i.key)
}

// replace writes a file as careful programs do: beside it, and renamed.
func replace(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func filesConfig(port int, dir, option string) string {
	return fmt.Sprintf(`{
		iis {
			certificate site %[2]s/site.pem %[2]s/site.key
			site 1 Main {
				binding https *:%[1]d:www.contoso.test {
					certificate site
					%[3]s
				}
				respond "main"
			}
		}
	}`, port, dir, option)
}

func serialAt(t *testing.T, addr string) int64 {
	t.Helper()
	cert, err := ts.Handshake(addr, "www.contoso.test")
	if err != nil {
		t.Fatal(err)
	}
	return cert.SerialNumber.Int64()
}

// TestCertificateFilesReload replaces files in the ways they are replaced in
// practice, under load: new connections get the new certificate without a
// configuration load, no connection fails, and what is broken changes nothing.
func TestCertificateFilesReload(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	issue(t, 10, nil, "www.contoso.test").write(t, dir)
	ts.Start(t, filesConfig(port, dir, ""))
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if got := serialAt(t, addr); got != 10 {
		t.Fatalf("serial %d", got)
	}
	l := &load{stop: make(chan struct{})}
	for _, proto := range []string{"h1", "h2", "h3"} {
		startLoad(ts.Request{Addr: addr, SNI: "www.contoso.test", Proto: proto}, 2, true, "main", l)
		startLoad(ts.Request{Addr: addr, SNI: "www.contoso.test", Proto: proto}, 2, false, "main", l)
	}
	serves := func(what string, serial int64) {
		t.Helper()
		waitFor(t, what, func() bool { return serialAt(t, addr) == serial })
	}

	issue(t, 11, nil, "www.contoso.test").write(t, dir)
	serves("a renamed pair", 11)

	next := issue(t, 12, nil, "www.contoso.test")
	for file, content := range map[string][]byte{"site.pem": next.cert, "site.key": next.key} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	serves("a pair written in place", 12)

	other := issue(t, 13, nil, "www.contoso.test")
	replace(t, filepath.Join(dir, "site.pem"), other.cert)
	waitFor(t, "a complaint about the key that does not match", func() bool {
		return len(ts.Logs.Lines("cannot reload a certificate", "site.pem")) == 1
	})
	if got := serialAt(t, addr); got != 12 {
		t.Errorf("with half a pair serial %d serves", got)
	}
	replace(t, filepath.Join(dir, "site.key"), other.key)
	serves("the other half", 13)
	waitFor(t, "the line that all is well", func() bool { return len(ts.Logs.Lines("files are good again")) == 1 })

	if err := os.Remove(filepath.Join(dir, "site.pem")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a complaint about the deleted file", func() bool {
		return len(ts.Logs.Lines("cannot reload a certificate", "no such file")) == 1
	})
	if got := serialAt(t, addr); got != 13 {
		t.Errorf("with the file deleted serial %d serves", got)
	}
	issue(t, 14, nil, "www.contoso.test").write(t, dir)
	serves("the files that came back", 14)
	l.finish(t)
	if strings.Contains(ts.Logs.String(), "PRIVATE KEY") {
		t.Error("a private key is in the log")
	}
}

// TestSymlinkSwap: Kubernetes and certbot exchange a link.
func TestSymlinkSwap(t *testing.T) {
	root, port := t.TempDir(), ts.FreePort(t)
	version := func(serial int64) {
		dir := filepath.Join(root, fmt.Sprint(serial))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		issue(t, serial, nil, "www.contoso.test").write(t, dir)
		if err := os.Symlink(dir, filepath.Join(root, "next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(root, "next"), filepath.Join(root, "live")); err != nil {
			t.Fatal(err)
		}
	}
	version(20)
	ts.Start(t, filesConfig(port, filepath.Join(root, "live"), ""))
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	version(21)
	waitFor(t, "the certificate behind the swapped link", func() bool { return serialAt(t, addr) == 21 })
}

// TestBrokenFileAtLoad: a certificate that is known stays in use when a
// configuration is loaded while its file is broken; an unknown one is refused.
func TestBrokenFileAtLoad(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	first := issue(t, 30, nil, "www.contoso.test")
	first.write(t, dir)
	lifetime := strconv.FormatFloat(first.leaf.NotAfter.Sub(first.leaf.NotBefore).Seconds(), 'g', -1, 64)
	s := ts.Start(t, filesConfig(port, dir, ""))
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	replace(t, filepath.Join(dir, "site.pem"), []byte("not a certificate"))
	if got := metric(t, s, "caddy_iis_certificate_lifetime_seconds", `certificate="site"`); got != lifetime {
		t.Errorf("the certificate is valid for %s seconds, the metric says %s", lifetime, got)
	}
	waitFor(t, "the metric that the file is not what serves", func() bool {
		return metric(t, s, "caddy_iis_certificate_up_to_date", `certificate="site"`) == "0"
	})
	if err := s.Load(strings.ReplaceAll(filesConfig(port, dir, ""), `"main"`, `"changed"`)); err != nil {
		t.Errorf("a load beside a broken file: %v", err)
	}
	if answer, err := ts.Do(ts.Request{Addr: addr, SNI: "www.contoso.test"}); err != nil || answer.Body != "changed" || answer.Leaf.SerialNumber.Int64() != 30 {
		t.Errorf("got %+v, %v", answer, err)
	}
	if err := s.Restart(filesConfig(port, dir, "")); err == nil || !strings.Contains(err.Error(), "site.pem") {
		t.Errorf("a restart with a broken file: %v", err)
	}
}

// TestFindings: what clients will complain about is in the log, with the way
// out, and after a reload again.
func TestFindings(t *testing.T) {
	dir, port := t.TempDir(), ts.FreePort(t)
	issue(t, 40, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(3 * 24 * time.Hour) }, "other.test").write(t, dir)
	ts.Start(t, filesConfig(port, dir, ""))
	for _, want := range [][]string{
		{"browsers will show a name error for www.contoso.test", `site 1 \"Main\"`, "other.test only"},
	} {
		waitFor(t, strings.Join(want, " "), func() bool { return len(ts.Logs.Lines(want...)) > 0 })
	}
	issue(t, 41, func(c *x509.Certificate) {
		c.NotBefore = time.Now().Add(-time.Hour * 24 * 90)
		c.NotAfter = time.Now().Add(-time.Hour)
	}, "www.contoso.test").write(t, dir)
	waitFor(t, "the finding about the expired certificate", func() bool { return len(ts.Logs.Lines(`certificate \"site\" has expired`)) > 0 })
}

// TestOCSP staples what a responder says, does without while it is down, and
// staples nothing where the binding's flags say so.
func TestOCSP(t *testing.T) {
	var down atomic.Bool
	var pair *issued
	asked, release := make(chan struct{}, 100), make(chan struct{})
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		if down.Load() {
			<-release // hangs
			return
		}
		_, _ = io.ReadAll(r.Body)
		answer, err := ocsp.CreateResponse(pair.issuer, pair.issuer, ocsp.Response{
			Status: ocsp.Good, SerialNumber: pair.leaf.SerialNumber,
			ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(24 * time.Hour),
		}, pair.issuerKey)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(answer)
	}))
	defer responder.Close()
	defer close(release)
	withResponder := func(c *x509.Certificate) { c.OCSPServer = []string{responder.URL} }

	dir, port, barePort := t.TempDir(), ts.FreePort(t), ts.FreePort(t)
	pair = issue(t, 50, withResponder, "www.contoso.test")
	pair.write(t, dir)
	config := strings.Replace(filesConfig(port, dir, ""), "site 1 Main", fmt.Sprintf(`site 2 Bare {
				binding https *:%d:www.contoso.test {
					certificate site
					disable_ocsp_stapling
				}
				respond "bare"
			}
			site 1 Main`, barePort), 1)
	ts.Start(t, config)
	staple := func(port int) []byte {
		answer, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", port), SNI: "www.contoso.test"})
		if err != nil {
			t.Fatal(err)
		}
		return answer.State.OCSPResponse
	}
	waitFor(t, "a staple", func() bool { return len(staple(port)) > 0 })
	if parsed, err := ocsp.ParseResponse(staple(port), pair.issuer); err != nil || parsed.Status != ocsp.Good {
		t.Errorf("the staple: %+v, %v", parsed, err)
	}
	if len(staple(barePort)) > 0 {
		t.Error("a binding that disables OCSP stapling has a staple")
	}

	down.Store(true)
	for len(asked) > 0 {
		<-asked
	}
	pair = issue(t, 51, withResponder, "www.contoso.test")
	pair.write(t, dir)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	waitFor(t, "the next certificate, while the responder hangs", func() bool { return serialAt(t, addr) == 51 })
	select {
	case <-asked:
	case <-time.After(10 * time.Second):
		t.Error("the responder was not asked about the next certificate")
	}
	if len(staple(port)) > 0 {
		t.Error("a staple of a responder that hangs")
	}
}

// TestFindingsAreLoggedOnce: when many certificates change at the same time,
// what is wrong with them is said once, and not again for each.
func TestFindingsAreLoggedOnce(t *testing.T) {
	const certificates = 12
	dir, port := t.TempDir(), ts.FreePort(t)
	var config strings.Builder
	write := func(round int64) {
		for i := range certificates {
			sub := filepath.Join(dir, fmt.Sprint(i))
			if err := os.MkdirAll(sub, 0o700); err != nil {
				t.Fatal(err)
			}
			issue(t, 100*round+int64(i), nil, "other.test").write(t, sub)
		}
	}
	for i := range certificates {
		fmt.Fprintf(&config, "certificate c%[1]d %[2]s/%[1]d/site.pem %[2]s/%[1]d/site.key\n", i, dir)
		fmt.Fprintf(&config, "site %d {\nbinding https *:%d:h%d.test {\nsni\ncertificate c%d\n}\n}\n", i+1, port, i, i)
	}
	write(1)
	ts.Start(t, "{\niis {\n"+config.String()+"}\n}")
	count := func() int { return len(ts.Logs.Lines("browsers will show a name error")) }
	waitFor(t, "the findings", func() bool { return count() == certificates })
	write(2)
	waitFor(t, "the reloads", func() bool { return len(ts.Logs.Lines("certificate reloaded")) == certificates })
	time.Sleep(3 * time.Second) // longer than the findings wait for further changes
	if got := count(); got != certificates {
		t.Errorf("%d findings were logged, want %d", got, certificates)
	}
}

// TestFindingsOfManySites: a configuration with so many sites that its findings
// wait until it has served for a while has them logged nevertheless.
func TestFindingsOfManySites(t *testing.T) {
	ts.Logs.Reset()
	var lines []string
	for i := range 1001 {
		lines = append(lines, fmt.Sprintf(`{"id":%d,"server_bindings":[":HTTP:h%d.test"]}`, i+20, i))
	}
	f := startSitesFile(t, "", append(lines, `{"id":10,"secure_bindings":[":HTTPS:wrong.fabrikam.test"],"certificate":"wildcard"}`)...)
	f.answers("www.contoso.test", "main")
	waitFor(t, "the finding", func() bool { return len(ts.Logs.Lines("browsers will show a name error for wrong.fabrikam.test")) == 1 })
}
