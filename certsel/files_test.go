package certsel

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	pkcs12 "software.sslmate.com/src/go-pkcs12"
)

// pair is a certificate of a test, with its private key.
type pair struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newPair(t testing.TB, name string, parent *pair, key crypto.Signer) pair {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  parent == nil,
		BasicConstraintsValid: true,
	}
	if parent == nil {
		parent = &pair{key, template}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{key, cert}
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p pair) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

func (p pair) keyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (p pair) pfx(t testing.TB, password string) []byte {
	t.Helper()
	data, err := pkcs12.Modern2023.WithIterations(10).Encode(p.key, p.cert, nil, password)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, dir, name string, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, bytes.Join(parts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fileSource is what the sources with certificates from files have in common.
type fileSource interface {
	Source
	Loader
	caddy.Provisioner
	caddy.CleanerUpper
	caddyfile.Unmarshaler
	LiteralPassword() bool
}

var (
	_ fileSource = (*PEM)(nil)
	_ fileSource = (*PFX)(nil)
)

// provision provisions a source until the test ends.
func provision(t testing.TB, source fileSource) {
	t.Helper()
	if err := loadSource(source); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := source.Cleanup(); err != nil {
			t.Error(err)
		}
	})
}

// parse parses the part of a certificate option that begins with the word for
// the source.
func parse(source fileSource, input string) error {
	return source.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
}

// wantFiles fails unless a source parses to JSON.
func wantFiles(t *testing.T, source fileSource, input, want string) {
	t.Helper()
	if err := parse(source, input); err != nil {
		t.Errorf("%s: %v", input, err)
		return
	}
	if got, err := json.Marshal(source); err != nil || string(got) != want {
		t.Errorf("%s: got %s, want %s (%v)", input, got, want, err)
	}
}

func wantError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want one with %q", err, part)
	}
}

// serve makes a handshake with a client, and returns the certificate that it
// sees first.
func serve(t testing.TB, source Source, client *tls.Config) *x509.Certificate {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return source.Select(hello), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	client.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", listener.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// rsaOnly is a client of the time before ECDSA.
func rsaOnly() *tls.Config {
	return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
}

// loadSource does what a configuration load does with a source.
func loadSource(source interface {
	caddy.Provisioner
	Loader
},
) error {
	if err := source.Provision(caddy.Context{}); err != nil {
		return err
	}
	return source.Load(context.Background())
}
