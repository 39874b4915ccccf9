package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

func TestLookups(t *testing.T) {
	set, err := sites.Generate(t.TempDir(), sites.Shared, 10)
	if err != nil {
		t.Fatal(err)
	}
	look, err := newLookups(set)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]sites.Fingerprint{
		set.Sites[9].Host: set.Sites[9].Cert.Leaf, "": set.Default.Cert.Leaf, "nobody.test": set.Default.Cert.Leaf,
	} {
		cert, err := look.certificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil || sites.FingerprintOf(leaf) != want {
			t.Errorf("%q gets %q (%v)", name, leaf.Subject, err)
		}
	}
	for host, want := range map[string]string{
		set.Sites[9].Host: "site:" + set.Sites[9].Host, "HOST-1.example-1.test:443": "site:host-1.example-1.test", "nobody.test": sites.NoSuchSite + "\n",
	} {
		answer := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.Host = host
		look.ServeHTTP(answer, req)
		if answer.Body.String() != want {
			t.Errorf("%q gets %q", host, answer.Body)
		}
	}
}
