package winstore_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/winstore/winstoretest"
)

// TestHandshakes: real clients accept what keys of each kind sign, in each version of TLS
// that the kind can.
func TestHandshakes(t *testing.T) {
	rsa2048 := rsaKey(t)
	for name, test := range map[string]struct {
		key    crypto.Signer
		noPSS  bool
		refuse uint16 // a version in which there is no signature
	}{
		"RSA":         {key: rsa2048},
		"RSA, no PSS": {key: rsa2048, noPSS: true, refuse: tls.VersionTLS13},
		"P-256":       {key: ecKey(t, elliptic.P256())},
		"P-384":       {key: ecKey(t, elliptic.P384())},
		"P-521":       {key: ecKey(t, elliptic.P521())},
	} {
		m := new(winstoretest.Machine)
		leaf := newCertWith(t, test.key, -day, day, nil, nil, "www.example.com")
		m.Put("My", winstoretest.Entry{DER: leaf.Raw, Key: test.key, NoPSS: test.noPSS})
		found, err := newStores(t, m).Find(bySubject("www.example.com"), time.Time{}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
			err := handshake(t, found.TLS, leaf.Certificate, version)
			if (err != nil) != (version == test.refuse) {
				t.Errorf("%s, %s: %v", name, tls.VersionName(version), err)
			}
		}
	}
}

// handshake has a client that trusts one certificate shake hands in one version.
func handshake(t *testing.T, cert *tls.Certificate, root *x509.Certificate, version uint16) error {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		_ = tls.Server(far, &tls.Config{MinVersion: tls.VersionTLS10, Certificates: []tls.Certificate{*cert}}).HandshakeContext(t.Context())
	}()
	roots := x509.NewCertPool()
	roots.AddCert(root)
	err := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "www.example.com", MinVersion: version, MaxVersion: version}).HandshakeContext(t.Context())
	near.Close()
	<-done
	return err
}

// TestSignRefuses: what no signature of TLS is asked for is refused, not signed.
func TestSignRefuses(t *testing.T) {
	m := new(winstoretest.Machine)
	leaf := newCertWith(t, rsaKey(t), -day, day, nil, nil, "www.example.com")
	m.Put("My", leaf.entry())
	found, err := newStores(t, m).Find(bySubject("www.example.com"), time.Time{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signer := found.TLS.PrivateKey.(crypto.Signer)
	for name, test := range map[string]struct {
		digest []byte
		opts   crypto.SignerOpts
	}{
		"a digest of another hash": {make([]byte, 20), crypto.SHA256},
		"no hash":                  {make([]byte, 32), crypto.Hash(0)},
		"nothing":                  {nil, crypto.SHA256},
	} {
		if _, err := signer.Sign(nil, test.digest, test.opts); err == nil {
			t.Errorf("%s is signed", name)
		}
	}
}
