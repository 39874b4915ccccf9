package certfile

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	pkcs12 "software.sslmate.com/src/go-pkcs12"
)

// fuzzTime is how long no input may take. It is far above what key derivation
// may take on a quiet machine.
const fuzzTime = 20 * time.Second

// sound fails unless what came out of a file holds together.
func sound(t *testing.T, cert *tls.Certificate) {
	t.Helper()
	if cert.Leaf == nil || !bytes.Equal(cert.Leaf.Raw, cert.Certificate[0]) {
		t.Error("the leaf is not parsed, or not the first certificate")
	} else if !belongs(cert.PrivateKey.(crypto.Signer), cert.Leaf) {
		t.Error("the private key is not the leaf's")
	}
}

func FuzzPFX(f *testing.F) {
	for _, file := range realFiles {
		if data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "fixtures", "pfx", file.name)); err == nil {
			f.Add(data, file.password, "")
		}
	}
	fam := newFamily(f)
	for _, encoder := range []*pkcs12.Encoder{pkcs12.LegacyRC2, pkcs12.Modern2023, pkcs12.Modern2026} {
		data, err := encoder.Encode(fam.leaf.key, fam.leaf.cert, []*x509.Certificate{fam.inter.cert}, "secret")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "secret", "")
		f.Add(toBER(data), "secret", Thumbprint(fam.leaf.cert.Raw))
	}
	// Changes get far in files without MAC and encryption.
	plain := dataInfo(plainKeyBag(f, fam.leaf, "1"), certBag(fam.leaf, "1"), certBag(fam.inter, ""), certBag(fam.root, ""))
	f.Add(makePFX(plain), "", "")
	f.Add(toBER(makePFX(plain)), "", Thumbprint(fam.leaf.cert.Raw))
	f.Add(makePFX(dataInfo(shroudedKeyBag(f, fam.leaf, "", "", 2)), encryptedInfo(f, "", 2, certBag(fam.leaf, ""))), "", "")

	f.Fuzz(func(t *testing.T, data []byte, password, thumbprint string) {
		start := time.Now()
		cert, err := PFX(data, Options{Password: password, Thumbprint: thumbprint})
		if took := time.Since(start); took > fuzzTime {
			t.Errorf("took %s", took)
		}
		if (cert == nil) == (err == nil) {
			t.Fatal("neither or both of certificate and error")
		}
		if err == nil {
			sound(t, cert)
		}
	})
}

func FuzzPEM(f *testing.F) {
	fam := newFamily(f)
	key := keyPEM(f, fam.leaf)
	f.Add(certPEM(fam.leaf, fam.inter), key, "")
	f.Add(append(certPEM(fam.root, fam.inter, fam.leaf), key...), []byte(nil), "")
	f.Add(inUTF16(certPEM(fam.leaf), true), key, "")
	f.Add(certPEM(fam.leaf), []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"), "x")
	alg, data := encrypt(f, pkcs8(f, fam.leaf.key), "secret", 2)
	f.Add(certPEM(fam.leaf), pemBlock("ENCRYPTED PRIVATE KEY", sequence(alg, octets(data))), "secret")

	f.Fuzz(func(t *testing.T, cert, key []byte, password string) {
		start := time.Now()
		pair, err := PEM(cert, key, password)
		if took := time.Since(start); took > fuzzTime {
			t.Errorf("took %s", took)
		}
		if (pair == nil) == (err == nil) {
			t.Fatal("neither or both of certificate and error")
		}
		if err == nil {
			sound(t, pair)
		}
	})
}

// FuzzBER checks that DER stays as it is, and that BER becomes DER.
func FuzzBER(f *testing.F) {
	fam := newFamily(f)
	data := makePFX(dataInfo(certBag(fam.leaf, "")))
	f.Add(data)
	f.Add(toBER(data))
	f.Fuzz(func(t *testing.T, data []byte) {
		der, err := toDER(data)
		if err != nil {
			return
		}
		again, err := toDER(der)
		if err != nil || !bytes.Equal(again, der) {
			t.Errorf("%x becomes %x, then %x (%v)", data, der, again, err)
		}
		if length, header, ok := readHeader(der); !ok || length+header != len(der) {
			t.Errorf("%x becomes %x, which is not one element", data, der)
		}
	})
}
