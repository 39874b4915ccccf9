package health

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// The certificates that are sent with one.
const (
	alone    = iota
	complete // the issuer's
	wrong    // another one, as by an old file of intermediates
)

// issue returns a certificate issued by an authority, with others.
func issue(t *testing.T, now time.Time, key crypto.Signer, chain int, edit func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-400 * day), NotAfter: now.Add(400 * day),
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{"www.example.com", "*.example.org"},
		IPAddresses: []net.IP{net.IPv4(10, 0, 0, 5)},
		NotBefore:   now.Add(-90 * day), NotAfter: now.Add(275 * day), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if edit != nil {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	cert := &tls.Certificate{Certificate: [][]byte{der}, Leaf: leaf, PrivateKey: key}
	if chain == alone {
		return cert
	}
	if chain == wrong {
		authority.Subject.CommonName = "Another Authority"
	}
	above, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	cert.Certificate = append(cert.Certificate, above)
	return cert
}

func TestExamine(t *testing.T) {
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	dates := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(from), now.Add(to) }
	}
	for name, c := range map[string]struct {
		key     crypto.Signer
		chain   int
		edit    func(*x509.Certificate)
		code    string // empty: no problem
		serious bool
		message string
	}{
		"good":               {key, complete, nil, "", false, ""},
		"expired":            {key, complete, dates(-90*day, -time.Hour), Expired, true, "has expired on "},
		"not yet valid":      {key, complete, dates(time.Hour, 90*day), NotYetValid, true, "is not valid before "},
		"29 days":            {key, complete, dates(-300*day, 29*day+time.Hour), ExpiresSoon, false, "in 29 days"},
		"6 days":             {key, complete, dates(-300*day, 6*day+time.Hour), ExpiresSoon, true, "in 6 days"},
		"31 days":            {key, complete, dates(-300*day, 31*day), "", false, ""},
		"short-lived, fresh": {key, complete, dates(-time.Hour, 6*day), "", false, ""},
		"short-lived, old":   {key, complete, dates(-6*day, day+time.Hour), ExpiresSoon, true, "in 1 day"},
		"1024 bits":          {weak, complete, nil, WeakKey, true, "an RSA key of 1024 bits"},
		"P-224":              {p224, complete, nil, WeakKey, true, "an ECDSA key of 224 bits"},
		"for clients": {key, complete, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}, NotForServer, true, "is not meant for servers"},
		"alone":       {key, alone, nil, NoChain, false, `issuer "Test Authority"`},
		"with others": {key, wrong, nil, NoChain, false, `issuer "Test Authority"`},
	} {
		t.Run(name, func(t *testing.T) {
			problems := Examine(issue(t, now, c.key, c.chain, c.edit), now)
			if c.code == "" {
				if len(problems) > 0 {
					t.Fatalf("got %+v", problems)
				}
				return
			}
			if len(problems) != 1 || problems[0].Code != c.code || problems[0].Serious != c.serious ||
				!strings.Contains(problems[0].Message, c.message) || problems[0].Fix == "" {
				t.Errorf("got %+v", problems)
			}
		})
	}
}

// TestWeakSignature: what is signed over SHA-1 is a problem.
func TestWeakSignature(t *testing.T) {
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := issue(t, now, key, complete, nil)
	cert.Leaf.SignatureAlgorithm = x509.ECDSAWithSHA1 // with which nobody signs any more
	if problems := Examine(cert, now); len(problems) != 1 || problems[0].Code != WeakSigned || !problems[0].Serious || !strings.Contains(problems[0].Message, "SHA1") {
		t.Errorf("got %+v", problems)
	}
}

// TestNotForTLS13: a key that can make only the signatures of TLS 1.2 is a problem.
func TestNotForTLS13(t *testing.T) {
	now := time.Now()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		key  crypto.Signer
		able []tls.SignatureScheme
		want bool
	}{
		"all":            {rsaKey, nil, false},
		"PKCS #1":        {rsaKey, []tls.SignatureScheme{tls.PKCS1WithSHA256, tls.PKCS1WithSHA1}, true},
		"and one of PSS": {rsaKey, []tls.SignatureScheme{tls.PKCS1WithSHA256, tls.PSSWithSHA384}, false},
		"ECDSA":          {ecKey, []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, false},
	} {
		cert := issue(t, now, test.key, complete, nil)
		cert.SupportedSignatureAlgorithms = test.able
		got := slices.ContainsFunc(Examine(cert, now), func(p Problem) bool { return p.Code == NotForTLS13 && p.Serious && p.Fix != "" })
		if got != test.want {
			t.Errorf("%s: problem %t", name, got)
		}
	}
}

func TestCovers(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, time.Now(), key, complete, nil).Leaf
	for _, host := range []string{"www.example.com", "WWW.example.com", "a.example.org", "*.example.org", "10.0.0.5"} {
		if !Covers(leaf, host) {
			t.Errorf("%s is not covered", host)
		}
	}
	for _, host := range []string{"example.com", "a.b.example.org", "example.org", "*.example.com", "10.0.0.6", "*.b.example.org"} {
		if Covers(leaf, host) {
			t.Errorf("%s is covered", host)
		}
	}
	if got := Names(leaf); got != "www.example.com, *.example.org, 10.0.0.5 only" {
		t.Errorf("names: %s", got)
	}
	leaf.DNSNames = slices.Repeat([]string{"x.example"}, 9)
	if got := Names(leaf); !strings.HasSuffix(got, "and 5 more") {
		t.Errorf("many names: %s", got)
	}
}

// TestCoversAsGo: for a host that a binding can have and that is no wildcard, the answer
// is that of crypto/x509.
func TestCoversAsGo(t *testing.T) {
	names := []string{
		"www.example.com", "*.example.com", "*.com", "*", "*.", "example.com.", "localhost", "1.2.3.4", "_x.example.com", "-.example.com", "a..b",
		"*.a.example.com", "w*.example.com", "xn--bcher-kva.example", "", ".", "Www.Example.Org", "*.EXAMPLE.org", "::1", "a b.example.com",
	}
	hosts := []string{
		"www.example.com", "example.com.", "localhost", "1.2.3.4", "_x.example.com", "a..b", "xn--bcher-kva.example", "Www.Example.Org", "::1", "a.example.com", "a.b.example.com", "example.com", "com", "a.com", "WWW.EXAMPLE.COM", "www.example.com.", "a.example.com.", "www.example.org",
		"b.example.org", "10.0.0.5", "10.0.0.6", "10.0.0.5.", "fe80::1", "::ffff:10.0.0.5", "[10.0.0.5]", "host9", "x9.example.com", "a.b",
	}
	for _, name := range names {
		leaf := &x509.Certificate{DNSNames: []string{name, "other.test"}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 5), net.ParseIP("fe80::1")}}
		for _, host := range hosts {
			if got, want := Covers(leaf, host), leaf.VerifyHostname(host) == nil; got != want {
				t.Errorf("%q for %q: %v, Go says %v", name, host, got, want)
			}
		}
	}
}
