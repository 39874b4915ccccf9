package certfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"testing"
)

// benchmarkFiles are PEM files with an intermediate certificate beside the
// leaf, as authorities deliver them.
func benchmarkFiles(b *testing.B, run func(b *testing.B, certPEM, keyPEM []byte)) {
	root := issue(b, "Root CA", nil, newKey(b), 10*year)
	inter := issue(b, "Intermediate CA", root, newKey(b), 5*year)
	for _, kind := range []struct {
		name string
		key  crypto.Signer
	}{{"P-256", newKey(b)}, {"RSA-2048", rsaKey(b, 2048)}, {"RSA-4096", rsaKey(b, 4096)}} {
		leaf := issue(b, "www.example.com", inter, kind.key, year)
		certPEM, keyPEM := certPEM(leaf, inter), keyPEM(b, leaf)
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			run(b, certPEM, keyPEM)
		})
	}
}

func BenchmarkPEM(b *testing.B) {
	benchmarkFiles(b, func(b *testing.B, certPEM, keyPEM []byte) {
		for b.Loop() {
			if _, err := PEM(certPEM, keyPEM, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkX509KeyPair is what BenchmarkPEM compares with.
func BenchmarkX509KeyPair(b *testing.B) {
	benchmarkFiles(b, func(b *testing.B, certPEM, keyPEM []byte) {
		for b.Loop() {
			if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPFX opens real files.
func BenchmarkPFX(b *testing.B) {
	for _, file := range realFiles {
		if file.err != "" {
			continue
		}
		data := fixture(b, file.name)
		b.Run(file.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := PFX(data, Options{Password: file.password}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMaxWork measures how long a file can keep a core busy at most.
func BenchmarkMaxWork(b *testing.B) {
	for name, oid := range map[string]string{
		"SHA-1": "1.3.14.3.2.26", "SHA-256": "2.16.840.1.101.3.4.2.1", "SHA-384": "2.16.840.1.101.3.4.2.2", "SHA-512": "2.16.840.1.101.3.4.2.3",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w, h := &work{left: maxWork}, digests[oid]
				if _, err := pkcs12Key(h, keyForMAC, nil, nil, maxWork/int64(hashCost(h())), h().Size(), w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, oid := range map[string]string{
		"PBKDF2-SHA-1": "1.2.840.113549.2.7", "PBKDF2-SHA-256": "1.2.840.113549.2.9", "PBKDF2-SHA-512": "1.2.840.113549.2.11",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				h := hmacs[oid]()
				iterations := maxWork / int64(2*hashCost(h))
				params := sequence(octets([]byte("salt")), number(iterations), number(20), sequence(objectID(oid)))
				if _, err := pbkdf2Key(params, "secret", 20, &work{left: maxWork}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("scrypt", func(b *testing.B) {
		for b.Loop() {
			params := sequence(octets([]byte("salt")), number(1<<14), number(8), number(maxWork/(2<<17)))
			if _, err := scryptKey(params, "secret", 32, &work{left: maxWork}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSign signs with one key, and by turns with those of very many
// certificates: where decoding leaves them, and where this package puts them.
func BenchmarkSign(b *testing.B) {
	asIs := func(key crypto.Signer) crypto.Signer { return key }
	b.Run("one", func(b *testing.B) { benchmarkSign(b, 1, apart) })
	b.Run("apart", func(b *testing.B) { benchmarkSign(b, 10_000, apart) })
	b.Run("together", func(b *testing.B) { benchmarkSign(b, 10_000, asIs) })
}

func benchmarkSign(b *testing.B, certificates int, keep func(crypto.Signer) crypto.Signer) {
	fresh := make([]*ecdsa.PrivateKey, certificates)
	for i := range fresh {
		fresh[i] = newKey(b).(*ecdsa.PrivateKey)
	}
	keys := make([]crypto.Signer, certificates)
	for i, key := range fresh {
		read := *key // side by side
		keys[i] = keep(&read)
	}
	digest := make([]byte, 32)
	sign := func(i int) {
		if _, err := keys[i*7919%certificates].Sign(rand.Reader, digest, crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
	for i := range keys {
		sign(i) // the first use of a key costs more
	}
	i := 0
	for b.Loop() {
		i++
		sign(i)
	}
}
