package certsel

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// dated is a certificate for names and addresses that is valid from and until
// hours from now.
func dated(t testing.TB, key crypto.Signer, from, until time.Duration, names ...string) pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{key, cert}
}

// TestSeveralCertificates: which of the certificates under one name a client gets.
func TestSeveralCertificates(t *testing.T) {
	const day = 24 * time.Hour
	a, b := dated(t, ecKey(t), -day, day, "a.test"), dated(t, ecKey(t), -day, day, "b.test", "*.wild.test")
	rsaA := dated(t, rsaKey(t), -day, day, "a.test")
	ip := dated(t, ecKey(t), -day, day, "127.0.0.1", "ip.test")
	expired, early := dated(t, ecKey(t), -2*day, -day, "a.test"), dated(t, ecKey(t), day, 2*day, "a.test")
	for _, c := range []struct {
		name   string
		certs  []pair
		client *tls.Config
		want   pair
	}{
		{"the second name", []pair{a, b}, &tls.Config{ServerName: "b.test"}, b},
		{"the first name", []pair{a, b}, &tls.Config{ServerName: "A.Test"}, a},
		{"a wildcard", []pair{a, b}, &tls.Config{ServerName: "x.wild.test"}, b},
		{"deeper than a wildcard", []pair{a, b}, &tls.Config{ServerName: "x.y.wild.test"}, a},
		{"nobody's name", []pair{a, b}, &tls.Config{ServerName: "c.test"}, a},
		{"the address", []pair{a, ip}, new(tls.Config), ip},
		{"nobody's name at an address", []pair{a, ip}, &tls.Config{ServerName: "c.test"}, ip},
		{"a name before the address", []pair{ip, a}, &tls.Config{ServerName: "a.test"}, a},
		{"an old client", []pair{a, b, rsaA}, rsaOnly(), rsaA},
		{"expired first", []pair{expired, a}, &tls.Config{ServerName: "a.test"}, a},
		{"expired last", []pair{a, expired}, &tls.Config{ServerName: "a.test"}, a},
		{"not valid yet first", []pair{early, a}, &tls.Config{ServerName: "a.test"}, a},
		{"the name before the dates", []pair{b, expired}, &tls.Config{ServerName: "a.test"}, expired},
	} {
		source := new(PEM)
		for _, p := range c.certs {
			source.Files = append(source.Files, PEMFiles{Certificate: writeFile(t, t.TempDir(), "both.pem", p.certPEM(), p.keyPEM(t))})
		}
		provision(t, source)
		if got := serve(t, source, c.client); !got.Equal(c.want.cert) {
			t.Errorf("%s: got %s until %s", c.name, got.Subject, got.NotAfter)
		}
	}
}

// TestSeveralForOneKey: of the certificates for one key in a file, the valid one
// serves, wherever it stands.
func TestSeveralForOneKey(t *testing.T) {
	const day = 24 * time.Hour
	key := ecKey(t)
	valid, longer := dated(t, key, -day, day, "a.test"), dated(t, key, -day, 2*day, "a.test")
	expired, early := dated(t, key, -2*day, -day, "a.test"), dated(t, key, day, 9*day, "a.test")
	for _, c := range []struct {
		name  string
		certs []pair
		want  pair
	}{
		{"expired first", []pair{expired, valid}, valid},
		{"expired last", []pair{valid, expired}, valid},
		{"not valid yet first", []pair{early, valid}, valid},
		{"not valid yet last", []pair{valid, early}, valid},
		{"the longer one", []pair{valid, longer}, longer},
		{"the longer one first", []pair{longer, valid}, longer},
	} {
		var parts [][]byte
		for _, p := range c.certs {
			parts = append(parts, p.certPEM())
		}
		source := &PEM{Files: []PEMFiles{{Certificate: writeFile(t, t.TempDir(), "both.pem", append(parts, valid.keyPEM(t))...)}}}
		provision(t, source)
		if got := serve(t, source, new(tls.Config)); !got.Equal(c.want.cert) {
			t.Errorf("%s: got the one until %s", c.name, got.NotAfter)
		}
	}
}

// TestNotValidYet: a certificate that is not valid yet does not replace one
// that is, and has its turn when it is valid or the other has expired.
func TestNotValidYet(t *testing.T) {
	dir := t.TempDir()
	key := ecKey(t)
	put := func(p pair) { writeFile(t, dir, "both.pem", p.certPEM(), p.keyPEM(t)) }
	put(dated(t, key, -time.Hour, time.Hour, "old.test"))
	source := &PEM{Files: []PEMFiles{{Certificate: dir + "/both.pem"}}}
	provision(t, source)
	serving := func() string { return source.Current()[0].Leaf.DNSNames[0] }
	change := func(p pair) {
		t.Helper()
		put(p)
		if err := source.certs[0].changed(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	change(dated(t, key, time.Hour, 2*time.Hour, "far.test"))
	if got := serving(); got != "old.test" {
		t.Fatalf("%s serves before it is valid", got)
	}
	soon := dated(t, key, 2*time.Second, time.Hour, "soon.test")
	change(soon)
	if got := serving(); got != "old.test" {
		t.Fatalf("%s serves before it is valid", got)
	}
	for deadline := time.Now().Add(10 * time.Second); serving() != "soon.test"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not serve, though it is valid")
		}
	}
	if time.Now().Before(soon.cert.NotBefore) {
		t.Error("it serves too early")
	}
	change(dated(t, key, -time.Hour, time.Hour, "now.test"))
	if got := serving(); got != "now.test" {
		t.Errorf("%s serves instead of a valid certificate", got)
	}
	// An expired certificate gives way to anything.
	expired := dated(t, key, -2*time.Hour, -time.Hour, "expired.test")
	change(expired)
	change(dated(t, key, time.Hour, 2*time.Hour, "far.test"))
	if got := serving(); !strings.HasPrefix(got, "far") {
		t.Errorf("%s serves instead of a new certificate", got)
	}
}
