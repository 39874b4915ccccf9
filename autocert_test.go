package caddyiis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// stored lists the names that the storage has certificates of leafs for.
func stored(t *testing.T, s *ts.Server) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.Storage(), "certificates", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	return names
}

// TestAutoCertificates: hosts of bindings have certificates of their own, on demand
// and ahead, for sites of the API as well; other names never.
func TestAutoCertificates(t *testing.T) {
	for _, mode := range []string{"", "on_demand"} {
		t.Run(mode, func(t *testing.T) {
			l := startLive(t, "", "certificate auto {\nfor_bindings\n"+mode+"\nissuer internal\ndefault default.test\n}")
			port := ts.FreePort(t)
			other := ts.FreePort(t)
			config := l.config(fmt.Sprintf(`
				site 5 Legacy {
					secure_bindings :%[1]d:legacy.test :%[1]d:second.test 127.0.0.3:%[1]d:ip.test
					certificate auto
					respond legacy
				}
				site 6 Stopped {
					autostart off
					binding https *:%[2]d:stopped.test {
						sni
						certificate auto
					}
					binding https *:%[2]d:*.wild.test {
						sni
						certificate auto
					}
				}
				site 7 Other {
					binding https *:%[2]d:other.test {
						sni
						certificate other.test
					}
				}
			`, port, other))
			if err := l.Load(config); err != nil {
				t.Fatal(err)
			}
			cert := func(ip string, port int, name string) string {
				leaf, err := ts.Handshake(at(ip, port), name)
				if err != nil {
					return "refused"
				}
				return ts.Subject(leaf)
			}
			gets := func(ip string, port int, name, want string) {
				t.Helper()
				if mode == "" && want == name {
					waitFor(t, "the certificate of "+name, func() bool { return cert(ip, port, name) == want })
				}
				if got := cert(ip, port, name); got != want {
					t.Errorf("%s at %s:%d: got %s, want %s", name, ip, port, got, want)
				}
			}
			if mode != "" { // an answer to a question is no client
				var x adminapi.Explanation
				if l.AdminJSON(fmt.Sprintf("/iis/explain?local=127.0.0.1:%d&sni=legacy.test&host=legacy.test", port), &x); x.Request == nil || x.Request.Site != 5 {
					t.Errorf("explain: %+v", x)
				}
				if slices.Contains(stored(t, l.Server), "legacy.test") {
					t.Error("explain has obtained a certificate")
				}
			}
			gets("127.0.0.1", port, "legacy.test", "legacy.test")
			gets("127.0.0.1", port, "second.test", "second.test")
			gets("127.0.0.3", port, "ip.test", "ip.test")
			gets("127.0.0.1", port, "LEGACY.test", "legacy.test")
			gets("127.0.0.1", port, "nobody.test", "default.test")
			gets("127.0.0.1", port, "", "default.test")
			gets("127.0.0.1", port, "x.legacy.test", "default.test")
			for i := range 20 {
				gets("127.0.0.1", port, fmt.Sprintf("random%d.test", i), "default.test")
			}
			l.want(201, "PUT", "sites/10", fmt.Sprintf(`{"bindings":[{"protocol":"https","binding":"*:%d:new.test","flags":1,"certificate":"auto"}]}`, l.secure))
			gets("127.0.0.1", l.secure, "new.test", "new.test")
			exchange{name: "the new site", request: ts.Request{Addr: at("127.0.0.1", l.secure), SNI: "new.test"}, cert: "new.test", body: "default 10"}.checkAll(t)
			want := map[string]bool{"legacy.test": true, "second.test": true, "ip.test": true, "default.test": true, "new.test": true}
			for _, name := range stored(t, l.Server) {
				if !want[name] {
					t.Errorf("a certificate was issued for %s", name)
				}
			}
			first, err := ts.Handshake(at("127.0.0.1", port), "legacy.test")
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Restart(config); err != nil {
				t.Fatal(err)
			}
			again, err := ts.Handshake(at("127.0.0.1", port), "legacy.test")
			if err != nil || !first.Equal(again) {
				t.Errorf("after a restart: another certificate, or %v", err)
			}
			l.want(204, "DELETE", "sites/10", "")
			if got := cert("127.0.0.1", l.secure, "new.test"); got == "new.test" {
				t.Error("a host without binding has its certificate still")
			}
		})
	}
}

// TestAutoRace: 50 first handshakes at once share one certificate; what is in memory
// is bounded, and what is not comes back from the storage.
func TestAutoRace(t *testing.T) {
	port := ts.FreePort(t)
	var sites strings.Builder
	for i := range 8 {
		fmt.Fprintf(&sites, "site %d S {\nbinding https *:%d:h%d.test {\nsni\ncertificate auto\n}\nrespond ok\n}\n", i+1, port, i)
	}
	startIIS(t, "certificate auto {\nfor_bindings\non_demand\nissuer internal\ncapacity 2\n}\n"+sites.String())
	serials := make(map[string]string)
	for range 3 {
		for i := range 8 {
			name := fmt.Sprintf("h%d.test", i)
			var group sync.WaitGroup
			var mu sync.Mutex
			for range 10 {
				group.Go(func() {
					leaf, err := ts.Handshake(at("127.0.0.1", port), name)
					if err != nil || ts.Subject(leaf) != name {
						t.Errorf("%s: %v, %v", name, ts.Subject(leaf), err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if known := serials[name]; known != "" && known != leaf.SerialNumber.String() {
						t.Errorf("%s has two certificates", name)
					}
					serials[name] = leaf.SerialNumber.String()
				})
			}
			group.Wait()
		}
	}
	if _, err := ts.Connect(ts.Request{Addr: at("127.0.0.1", port), SNI: "nobody.test"}); !ts.IsReset(err) {
		t.Errorf("without a default: %v", err)
	}
	// Tickets go on working with certificates that have left memory.
	cache := tls.NewLRUClientSessionCache(4)
	for _, resumed := range []bool{false, true} {
		if answer, err := offering(cache, tls.VersionTLS13, ts.Request{Addr: at("127.0.0.1", port), SNI: "h1.test", TLS: &tls.Config{}}); err != nil || answer.State.DidResume != resumed {
			t.Errorf("resumed: %v, %v", answer, err)
		}
		for i := range 8 {
			_, _ = ts.Handshake(at("127.0.0.1", port), fmt.Sprintf("h%d.test", i))
		}
	}
}

// TestAutoFailure: an issuer that refuses costs one attempt and not one for each
// client; the endpoint's certificate serves meanwhile.
func TestAutoFailure(t *testing.T) {
	port := ts.FreePort(t)
	s := startIIS(t, certificates(t, "endpoint.test")+"certificate auto {\nfor_bindings\non_demand\nissuer acme {\ndir https://127.0.0.1:1/none\n}\nmax_wait 5s\n}\n"+
		fmt.Sprintf("endpoint *:%[1]d {\ncertificate endpoint.test\n}\nsite 1 S {\nbinding https *:%[1]d:fails.example.com {\nsni\ncertificate auto\n}\nrespond ok\n}\n", port))
	for range 20 {
		leaf, err := ts.Handshake(at("127.0.0.1", port), "fails.example.com")
		if err != nil || ts.Subject(leaf) != "endpoint.test" {
			t.Errorf("got %v, %v", ts.Subject(leaf), err)
		}
	}
	if lines := ts.Logs.Lines("no certificate for a host of a binding", "fails.example.com"); len(lines) != 1 {
		t.Errorf("%d attempts: %v", len(lines), lines)
	}
	var findings adminapi.Page[adminapi.Finding]
	s.AdminJSON("/iis/check", &findings)
	if !slices.ContainsFunc(findings.Items, func(f adminapi.Finding) bool {
		return f.Code == "certificate-not-obtained" && strings.Contains(f.Message, "fails.example.com")
	}) {
		t.Errorf("no finding: %+v", findings.Items)
	}
}

// TestGlobalIssuers: the global options hold for certificates without an issuer.
func TestGlobalIssuers(t *testing.T) {
	port := ts.FreePort(t)
	site := fmt.Sprintf("site 1 S {\nbinding https *:%[1]d:www.example.com {\nsni\ncertificate c\n}\nbinding https *:%[1]d:auto.example.com {\nsni\ncertificate a\n}\nrespond ok\n}\n", port)
	iis := "certificate c {\nsubjects www.example.com\n}\ncertificate a {\nfor_bindings\non_demand\n}\n" + site
	for _, options := range []string{
		"local_certs\nkey_type p384",
		"cert_issuer internal\nkey_type p384",
	} {
		startIIS(t, iis, options)
		for _, name := range []string{"www.example.com", "auto.example.com"} {
			var key any
			waitFor(t, "the certificate of "+name, func() bool {
				leaf, err := ts.Handshake(at("127.0.0.1", port), name)
				if err == nil {
					key = leaf.PublicKey
				}
				return err == nil && ts.Subject(leaf) == name && strings.Contains(leaf.Issuer.CommonName, "Caddy Local")
			})
			if ec, ok := key.(*ecdsa.PublicKey); !ok || ec.Curve != elliptic.P384() {
				t.Errorf("%s: %s: the key is a %T", options, name, key)
			}
		}
	}
	// The authority of the global options is asked, with its e-mail address.
	startIIS(t, iis, "email admin@example.com\nacme_ca https://127.0.0.1:1/authority")
	waitFor(t, "the authority to be asked", func() bool { return len(ts.Logs.Lines("127.0.0.1:1/authority", "www.example.com")) > 0 })
	// A policy with subjects is for its subjects.
	s := ts.Start(t, "{\n}\n")
	raw, err := s.Adapt(iisConfig(iis))
	if err != nil {
		t.Fatal(err)
	}
	raw = editJSON(t, raw, func(cfg map[string]any) {
		cfg["apps"].(map[string]any)["tls"] = map[string]any{"automation": map[string]any{"policies": []any{
			map[string]any{"subjects": []string{"www.example.com"}, "issuers": []any{map[string]any{"module": "internal"}}},
			map[string]any{"issuers": []any{map[string]any{"module": "acme", "ca": "https://127.0.0.1:1/other"}}},
		}}}
	})
	if err := s.LoadJSON(raw); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the certificate", func() bool {
		leaf, err := ts.Handshake(at("127.0.0.1", port), "www.example.com")
		return err == nil && ts.Subject(leaf) == "www.example.com"
	})
	if _, err := ts.Handshake(at("127.0.0.1", port), "auto.example.com"); err == nil {
		t.Error("the issuer of another policy has issued a certificate")
	}
}
