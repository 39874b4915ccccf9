package certsel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"
)

// withResponder is a certificate whose issuer says whom to ask about it: nobody who
// answers.
func withResponder(t *testing.T, host string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, OCSPServer: []string{"http://127.0.0.1:1/"},
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
	return &tls.Certificate{Certificate: [][]byte{der, der}, PrivateKey: key, Leaf: leaf}
}

// TestStapleShared: of several that have the same certificate, none loses its staple
// when another one ends; the last one takes it out of the cache.
func TestStapleShared(t *testing.T) {
	val, _, err := staplers.LoadOrNew(staplerKey, newStapler) // so that it stays
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = staplers.Delete(staplerKey) }()
	s := val.(*stapler)
	cached := func() int { return len(s.cache.AllMatchingCertificates("shared.test")) }
	// added waits until everything that has begun to be added is.
	added := func() {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			ready := true
			s.mu.Lock()
			for entry := range s.entries {
				ready = ready && entry.hash != ""
			}
			s.mu.Unlock()
			if ready {
				return
			}
			if time.Now().After(end) {
				t.Fatal("a certificate is not added")
			}
		}
	}
	cert := withResponder(t, "shared.test")
	nothing := func(*tls.Certificate) {}
	first, second := staple(cert, nothing), staple(cert, nothing)
	added()
	first()
	if cached() != 1 {
		t.Error("the one that stays is not kept fresh any more")
	}
	// As when a certificate is given again: the one before ends, also before it is added.
	third := staple(cert, nothing)
	second()
	added()
	if cached() != 1 {
		t.Error("the one that came while another one ended is not kept fresh")
	}
	third()
	if cached() != 0 || len(s.uses) != 0 {
		t.Errorf("%d certificates and %d uses are left", cached(), len(s.uses))
	}
}
