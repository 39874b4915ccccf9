package caddyiis_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestTicketsStayAtTheirPort: a session is resumed at the port where it began,
// also after the configuration has changed, and nowhere else, since a resumed
// session shows no certificate.
func TestTicketsStayAtTheirPort(t *testing.T) {
	first, second := ts.FreePort(t), ts.FreePort(t)
	config := fmt.Sprintf(`{
		iis {
			certificate one {
				subjects one.test
				issuer internal
			}
			certificate two {
				subjects two.test
				issuer internal
			}
			site 1 {
				secure_bindings :%[1]d:
				certificate one
				respond "one"
			}
			site 3 {
				secure_bindings 127.0.0.2:%[1]d:
				certificate two
				respond "three"
			}
			site 2 {
				secure_bindings :%[2]d:
				certificate two
				respond "two"
			}
		}
	}`, first, second)
	s := ts.Start(t, config)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(4)
		connect := func(ip string, port int) (subject string, resumed bool) {
			t.Helper()
			conn, err := tls.Dial("tcp", fmt.Sprintf("%s:%d", ip, port), &tls.Config{
				InsecureSkipVerify: true, ServerName: "any.test", ClientSessionCache: renamed{cache}, MinVersion: version, MaxVersion: version,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: any.test\r\nConnection: close\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn) // tickets of TLS 1.3 come with the answer
			state := conn.ConnectionState()
			return state.PeerCertificates[0].DNSNames[0], state.DidResume
		}
		connect("127.0.0.1", first)
		if _, resumed := connect("127.0.0.1", first); !resumed {
			t.Errorf("%s: not resumed at its own port", tls.VersionName(version))
		}
		if err := s.Load(strings.Replace(config, `"one"`, `"changed"`, 1)); err != nil {
			t.Fatal(err)
		}
		if _, resumed := connect("127.0.0.1", first); !resumed {
			t.Errorf("%s: not resumed after a change of the configuration", tls.VersionName(version))
		}
		if subject, resumed := connect("127.0.0.1", second); resumed || subject != "two.test" {
			t.Errorf("%s: at another port: resumed %v, certificate %s", tls.VersionName(version), resumed, subject)
		}
		connect("127.0.0.1", first)
		if subject, resumed := connect("127.0.0.2", first); resumed || subject != "two.test" {
			t.Errorf("%s: at another address: resumed %v, certificate %s", tls.VersionName(version), resumed, subject)
		}
	}
}

// offering makes a request on a new connection that offers the ticket in a cache,
// whatever name it was issued for.
func offering(cache tls.ClientSessionCache, version uint16, r ts.Request) (*ts.Answer, error) {
	r.TLS = &tls.Config{InsecureSkipVerify: true, ClientSessionCache: renamed{cache}, MinVersion: version, MaxVersion: version, NextProtos: r.TLS.NextProtos}
	return ts.Do(r)
}

// TestTicketsStayAtTheirCertificate: after the certificate of its name is another
// one, by its file or by the configuration, a ticket is no good any more.
func TestTicketsStayAtTheirCertificate(t *testing.T) {
	port := ts.FreePort(t)
	dir := t.TempDir()
	lay := func(name string) {
		t.Helper()
		certFile, keyFile := ts.PEM(t, name)
		for target, source := range map[string]string{"key.pem": keyFile, "cert.pem": certFile} {
			content, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			replace(t, filepath.Join(dir, target), content)
		}
	}
	lay("first.test")
	config := iisConfig(certificates(t, "third.test") + fmt.Sprintf("certificate c %[2]s/cert.pem %[2]s/key.pem\nsite 1 One {\nsecure_bindings :%[1]d:\ncertificate c\nrespond one\n}\n", port, dir))
	s := ts.Start(t, config)
	caches := map[uint16]tls.ClientSessionCache{tls.VersionTLS12: tls.NewLRUClientSessionCache(4), tls.VersionTLS13: tls.NewLRUClientSessionCache(4)}
	request := ts.Request{Addr: at("127.0.0.1", port), SNI: "www.test", TLS: &tls.Config{}}
	expect := func(subject string, resumed bool) {
		t.Helper()
		for version, cache := range caches {
			answer, err := offering(cache, version, request)
			if err != nil || answer.State.DidResume != resumed || answer.Subject() != subject {
				t.Errorf("%s: %v, resumed %v, %v; want %s, %v", tls.VersionName(version), answer, answer != nil && answer.State.DidResume, err, subject, resumed)
			}
		}
	}
	expect("first.test", false)
	expect("first.test", true)
	lay("second.test")
	waitFor(t, "the second certificate", func() bool {
		leaf, err := ts.Handshake(request.Addr, "www.test")
		return err == nil && ts.Subject(leaf) == "second.test"
	})
	expect("second.test", false)
	expect("second.test", true)
	if err := s.Load(strings.Replace(config, "certificate c\n", "certificate third.test\n", 1)); err != nil {
		t.Fatal(err)
	}
	expect("third.test", false)
	expect("third.test", true)
}

// TestTicketsOfBindingsAtOrdinarySites: on a shared port a binding's ticket is no
// good under the name of an ordinary site, nor the other way round. Each resumes
// its own.
func TestTicketsOfBindingsAtOrdinarySites(t *testing.T) {
	for _, option := range []string{"", "servers {\nprotocols h1 h2\n}"} {
		httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
		s := ts.Start(t, sharedConfig(httpPort, httpsPort, option, "", ""))
		addr := at("127.0.0.1", httpsPort)
		for range 2 { // the second time with keys that Caddy rotates
			waitFor(t, "the certificate of the ordinary site", func() bool {
				cert, err := ts.Handshake(addr, "ordinary.test")
				return err == nil && cert.VerifyHostname("ordinary.test") == nil
			})
			names := []string{"ordinary.test", "www.contoso.test"}
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				for i, first := range names {
					cache := tls.NewLRUClientSessionCache(4)
					for _, step := range []struct {
						name    string
						resumed bool
					}{{first, false}, {first, true}, {names[1-i], false}} {
						answer, err := offering(cache, version, ts.Request{Addr: addr, SNI: step.name, TLS: &tls.Config{}})
						// Caddy's own sites take each other's tickets; none of them is a binding's.
						if err != nil || answer.Status != 200 || answer.State.DidResume != step.resumed {
							t.Errorf("%s, a ticket of %s at %s: %v, %v", tls.VersionName(version), first, step.name, answer, err)
						}
					}
				}
			}
			raw, err := s.Adapt(sharedConfig(httpPort, httpsPort, option, "", ""))
			if err != nil {
				t.Fatal(err)
			}
			raw = editJSON(t, raw, func(cfg map[string]any) {
				cfg["apps"].(map[string]any)["tls"].(map[string]any)["session_tickets"] = map[string]any{"max_keys": 4}
			})
			if err := s.LoadJSON(raw); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestChallengesAreNoWayIn: a handshake with the protocol of TLS-ALPN-01 resumes
// nothing, carries no request and is counted; and no site has that protocol.
func TestChallengesAreNoWayIn(t *testing.T) {
	for _, wrappers := range []string{"", "servers {\nlistener_wrappers {\nhttp_redirect\ntls\nproxy_protocol\n}\n}\n"} {
		port := ts.FreePort(t)
		s := startIIS(t, wrappers+"sni_unmatched reject\n"+certificates(t, "a.test")+
			"certificate m.test {\nsubjects m.test\nissuer acme {\ndir https://127.0.0.1:1/directory\n}\n}\n"+fmt.Sprintf("site 2 M {\nbinding https *:%d:m.test {\nsni\ncertificate m.test\n}\nrespond m\n}\n", port)+
			fmt.Sprintf("site 1 A {\nbinding https *:%d:a.test {\nsni\ncertificate a.test\n}\nrespond a\n}\n", port))
		// A challenge that another node has begun.
		token := filepath.Join(s.Storage(), "acme", "127.0.0.1-1-directory", "challenge_tokens", "m.test.json")
		if err := os.MkdirAll(filepath.Dir(token), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(token, []byte(`{"type":"tls-alpn-01","token":"x","keyAuthorization":"x.y","identifier":{"type":"dns","value":"m.test"}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		const series = `caddy_iis_handshakes_total{port="%d",result="challenge",server_name="%s"} %d`
		for i, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			cache := tls.NewLRUClientSessionCache(4)
			request := ts.Request{Addr: at("127.0.0.1", port), SNI: "a.test", TLS: &tls.Config{}}
			for _, resumed := range []bool{false, true} {
				if answer, err := offering(cache, version, request); err != nil || answer.Body != "a" || answer.State.DidResume != resumed {
					t.Fatalf("the site: %v, %v", answer, err)
				}
			}
			request.TLS.NextProtos = []string{"acme-tls/1"}
			for _, name := range []string{"a.test", "nobody.test"} {
				request.SNI = name
				if answer, err := offering(cache, version, request); err == nil {
					t.Errorf("%s, %s: a challenge is answered by %v", tls.VersionName(version), name, answer)
				}
			}
			request.SNI = "m.test"
			answer, err := offering(cache, version, request)
			if wrappers == "" && err == nil || wrappers != "" && (err != nil || answer.Status != 421 || answer.State.DidResume || answer.State.NegotiatedProtocol != "acme-tls/1") {
				t.Errorf("%s, %q: a challenge that is under way: %v, %v", tls.VersionName(version), wrappers, answer, err)
			}
			request.SNI, request.TLS.NextProtos = "a.test", []string{"acme-tls/1", "x"}
			if answer, err := offering(cache, version, request); err == nil && answer.State.NegotiatedProtocol != "" {
				t.Errorf("a site has the protocol of challenges: %v", answer)
			}
			_, metrics := s.Admin("GET", "/metrics", "")
			for kind, n := range map[string]int{"matched": 2, "unmatched": 1} {
				if line := fmt.Sprintf(series, port, kind, n*(i+1)); !strings.Contains(metrics, line+"\n") {
					t.Errorf("no %s", line)
				}
			}
		}
	}
}
