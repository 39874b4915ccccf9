package caddyiis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites"
)

// BenchmarkKeptCertificates starts Caddy with 10,000 certificates in a source, each for a
// site of its own: how long that takes, and how much memory they take beyond the same
// sites with one certificate.
func BenchmarkKeptCertificates(b *testing.B) {
	const n = 10_000
	port := ts.FreePort(b)
	path := filepath.Join(b.TempDir(), "sites.db")
	table, err := sites.OpenBolt(path, time.Second)
	if err != nil {
		b.Fatal(err)
	}
	sealer, err := sites.NewSealer(&sites.CommonSettings{PlainKeys: true})
	if err != nil {
		b.Fatal(err)
	}
	write := func(each int) {
		for from := 0; from < n; from += 1000 {
			var w sites.Transaction
			for i := from; i < from+1000; i++ {
				host := fmt.Sprintf("h%d.test", i)
				if i < each || i == 0 {
					document, err := sealer.Document(host, benchCertificate(b, host))
					if err != nil {
						b.Fatal(err)
					}
					w.Certificates = append(w.Certificates, sites.CertificateChange{Name: host, Document: document})
				}
				name := "h0.test"
				if i < each {
					name = host
				}
				w.Changes = append(w.Changes, sites.Change{ID: uint32(i + 1), Document: fmt.Appendf(nil, `{"bindings":[{"binding":"*:%d:%s","certificate":%q,"flags":1,"protocol":"https"}]}`, port, host, name)})
			}
			if _, err := table.Write(w); err != nil {
				b.Fatal(err)
			}
		}
	}
	config := fmt.Sprintf("{\niis {\nsites_from bolt %q {\nplain_keys\nallow {\nports %d\n}\n}\n}\n}\n", path, port)
	measure := func() (memory uint64, took time.Duration) {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		s := ts.Start(b, config)
		took = time.Since(began)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if err := s.Load("{\n}\n"); err != nil {
			b.Fatal(err)
		}
		return after.HeapAlloc - before.HeapAlloc, took
	}
	for b.Loop() {
		write(1)
		_ = table.Close()
		one, oneTook := measure()
		if table, err = sites.OpenBolt(path, time.Second); err != nil {
			b.Fatal(err)
		}
		write(n)
		_ = table.Close()
		all, allTook := measure()
		b.ReportMetric(float64(all-one)/n, "B/certificate")
		b.ReportMetric(oneTook.Seconds(), "s/start-with-1")
		b.ReportMetric(allTook.Seconds(), "s/start-with-10000")
		if table, err = sites.OpenBolt(path, time.Second); err != nil {
			b.Fatal(err)
		}
	}
	_ = table.Close()
}

var benchIssuerKey, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)

// benchCertificate is one of an authority that all have in common.
func benchCertificate(b *testing.B, host string) *tls.Certificate {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(1_700_000_000, 0), NotAfter: time.Unix(4_000_000_000, 0),
	}
	issuerDER, err := x509.CreateCertificate(zeros{}, issuer, issuer, benchIssuerKey.Public(), benchIssuerKey)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host, "www." + host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(2000 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		OCSPServer: nil, CRLDistributionPoints: []string{"http://crl.authority.test/1.crl"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), benchIssuerKey)
	if err != nil {
		b.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, issuerDER}, PrivateKey: key}
}

// zeros is no randomness: the authority's certificate is the same each time.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
