package caddyiis_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// sameNames has certificates for one subject from two authorities, and for a
// name beside one for a wildcard that covers it, on two ports.
func sameNames(t *testing.T, first, second int) string {
	t.Helper()
	return certificates(t, "D", "Q") + fmt.Sprintf(`
		certificate one {
			subjects same.test
			issuer internal
		}
		certificate other {
			subjects same.test
			issuer internal {
				ca other
			}
		}
		certificate wild {
			subjects *.contoso.test
			issuer internal
		}
		certificate name {
			subjects www.contoso.test
			issuer internal
		}
		certificate otherwild {
			subjects *.contoso.test
			issuer internal {
				ca other
			}
		}
		site 1 {
			binding https *:%[1]d: {
				certificate D
			}
		}
		site 2 {
			binding https *:%[1]d:same.test {
				sni
				certificate one
			}
		}
		site 3 {
			binding https *:%[1]d:*.contoso.test {
				sni
				certificate wild
			}
		}
		site 4 {
			binding https *:%[1]d:www.contoso.test {
				sni
				certificate name
			}
		}
		site 5 {
			binding https *:%[2]d: {
				certificate Q
			}
		}
		site 6 {
			binding https *:%[2]d:same.test {
				sni
				certificate other
			}
		}
		site 7 {
			binding https *:%[2]d:*.contoso.test {
				sni
				certificate otherwild
			}
		}
	`, first, second) + exampleDefaults
}

// TestServeCertificatesStayOnTheirPorts: a certificate that is meant for one port is
// never served on another, though both have certificates for the same names.
func TestServeCertificatesStayOnTheirPorts(t *testing.T) {
	firstPort, secondPort := ts.FreePort(t), ts.FreePort(t)
	startIIS(t, sameNames(t, firstPort, secondPort), "pki {\nca other {\nname Other\n}\n}")
	const local, other = "Caddy Local Authority", "Other"
	type expected struct {
		exchange
		issuer string // how its name begins; empty: the certificate is from files
	}
	var all []expected
	for _, e := range []struct {
		port                    int
		sni, cert, issuer, site string
	}{
		{firstPort, "same.test", "same.test", local, "2"},
		{firstPort, "shop.contoso.test", "*.contoso.test", local, "3"},
		{firstPort, "www.contoso.test", "www.contoso.test", local, "4"},
		{firstPort, "unknown.test", "D", "", "1"},
		{firstPort, "", "D", "", "1"},
		{secondPort, "same.test", "same.test", other, "6"},
		{secondPort, "shop.contoso.test", "*.contoso.test", other, "7"},
		{secondPort, "www.contoso.test", "*.contoso.test", other, "7"},
		{secondPort, "unknown.test", "Q", "", "5"},
		{secondPort, "", "Q", "", "5"},
	} {
		for _, proto := range protocols {
			for _, ip := range []string{"127.0.0.1", "::1"} {
				request := ts.Request{Addr: at(ip, e.port), SNI: e.sni, Proto: proto}
				all = append(all, expected{exchange{name: "port of site " + e.site, request: request, cert: e.cert, body: e.site}, e.issuer})
			}
		}
	}
	check := func(e expected) {
		answer, err := ts.Do(e.request)
		e.compare(t, answer, err)
		if err == nil && !strings.HasPrefix(answer.Leaf.Issuer.CommonName, e.issuer) {
			t.Errorf("%v: got a certificate from %q, want one from %q", e, answer.Leaf.Issuer.CommonName, e.issuer)
		}
	}
	for _, e := range all {
		check(e)
	}

	// 200 at the same time, in random order
	var mixed []expected
	for len(mixed) < 200 {
		mixed = append(mixed, all...)
	}
	rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	start := make(chan struct{})
	var wg sync.WaitGroup
	for _, e := range mixed[:200] {
		wg.Go(func() {
			<-start
			check(e)
		})
	}
	close(start)
	wg.Wait()
}

// TestServeCertificateOfEachKind: with an ECDSA and an RSA certificate under one
// name, clients that know only RSA get that one, whatever name they send.
func TestServeCertificateOfEachKind(t *testing.T) {
	firstPort, secondPort := ts.FreePort(t), ts.FreePort(t)
	ecCert, ecKey := ts.PEM(t, "", "pair.test")
	rsaCert, rsaKey := ts.RSAPEM(t, "", "pair.test")
	pair := func(name string, files ...string) string {
		return fmt.Sprintf("certificate %s pem {\n%q %q\n%q %q\n}\n", name, files[0], files[1], files[2], files[3])
	}
	startIIS(t, pair("pair", ecCert, ecKey, rsaCert, rsaKey)+pair("reversed", rsaCert, rsaKey, ecCert, ecKey)+fmt.Sprintf(`
		site 1 {
			secure_bindings :%[1]d:
			certificate pair
		}
		site 2 {
			secure_bindings :%[2]d:
			certificate reversed
		}
	`, firstPort, secondPort)+exampleDefaults)
	modern := &tls.Config{InsecureSkipVerify: true}
	rsaOnly := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	ecOnly := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
	for _, c := range []struct {
		client string
		tls    *tls.Config
		port   int
		site   string
		want   x509.PublicKeyAlgorithm
	}{
		{"a modern client", modern, firstPort, "1", x509.ECDSA},
		{"a modern client", modern, secondPort, "2", x509.RSA},
		{"a client with RSA only", rsaOnly, firstPort, "1", x509.RSA},
		{"a client with RSA only", rsaOnly, secondPort, "2", x509.RSA},
		{"a client with ECDSA only", ecOnly, firstPort, "1", x509.ECDSA},
		{"a client with ECDSA only", ecOnly, secondPort, "2", x509.ECDSA},
	} {
		for _, sni := range []string{"pair.test", "", "unknown.test"} {
			e := exchange{name: c.client, request: ts.Request{Addr: at("127.0.0.1", c.port), SNI: sni, TLS: c.tls}, cert: "pair.test", body: c.site}
			answer, err := ts.Do(e.request)
			e.compare(t, answer, err)
			if err == nil && answer.Leaf.PublicKeyAlgorithm != c.want {
				t.Errorf("%v: got the %v certificate, want the %v one", e, answer.Leaf.PublicKeyAlgorithm, c.want)
			}
		}
	}
}

// TestServeManagedKeyTypes: storage has one place for the certificates of a
// subject from an authority, so two kinds of key for it are refused.
func TestServeManagedKeyTypes(t *testing.T) {
	s := ts.Start(t, "{\n}\n")
	err := s.Load(fmt.Sprintf(`{
		iis {
			certificate ec {
				subjects same.test
				issuer internal
			}
			certificate rsa {
				subjects same.test
				issuer internal
				key_type rsa2048
			}
			site 1 {
				secure_bindings :%d:
				certificate ec
			}
		}
	}`, ts.FreePort(t)))
	if err == nil || !strings.Contains(err.Error(), `certificates "ec" and "rsa" both obtain same.test`) {
		t.Errorf("got %v", err)
	}
}
