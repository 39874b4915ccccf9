package caddyiis_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestServeSiteMatcher: iis_site in the routes of sites and of ordinary ones.
func TestServeSiteMatcher(t *testing.T) {
	port, otherPort := ts.FreePort(t), ts.FreePort(t)
	ts.Start(t, iisConfig(fmt.Sprintf(`
		listen 127.0.0.1
		site 1 Main {
			server_bindings :%[1]d:www.test
		}
		site 2 Shop {
			server_bindings :%[1]d:*.shop.test
		}
		site 3 {
			server_bindings :%[1]d:three.test
		}
		site 12 "1" {
			server_bindings :%[1]d:twelve.test
		}
		site 5 Stopped {
			server_bindings :%[1]d:stopped.test
			autostart off
		}
		defaults {
			@main iis_site Main
			header @main X-Main yes
			@some {
				iis_site 2 3
				path /some/*
			}
			respond @some "some"
			respond "{iis.site.id}"
		}
	`, port))+fmt.Sprintf(`
		http://:%d, http://:%d {
			bind 127.0.0.3
			@main iis_site Main
			respond @main "ordinary Main"
			@two iis_site 2 Stopped
			respond @two "ordinary 2"
			@any iis_site 1 3 12
			respond @any "ordinary any"
			respond "ordinary none"
		}
	`, port, otherPort))
	for _, c := range []struct {
		ip         string
		port       int
		host, path string
		body, main string
	}{
		{"127.0.0.1", port, "www.test", "/", "1", "yes"},
		{"127.0.0.1", port, "www.test", "/some/x", "1", "yes"},
		{"127.0.0.1", port, "a.shop.test", "/some/x", "some", ""},
		{"127.0.0.1", port, "a.shop.test", "/", "2", ""},
		{"127.0.0.1", port, "three.test", "/some/x", "some", ""},
		{"127.0.0.1", port, "twelve.test", "/some/x", "12", ""},

		// An ordinary site can ask what the bindings say of its requests.
		{"127.0.0.3", port, "www.test", "/", "ordinary Main", ""},
		{"127.0.0.3", port, "WWW.test:99", "/", "ordinary Main", ""},
		{"127.0.0.3", port, "a.shop.test", "/", "ordinary 2", ""},
		{"127.0.0.3", port, "three.test", "/", "ordinary any", ""},
		{"127.0.0.3", port, "twelve.test", "/", "ordinary any", ""},
		{"127.0.0.3", port, "stopped.test", "/", "ordinary none", ""},
		{"127.0.0.3", port, "unknown.test", "/", "ordinary none", ""},
		{"127.0.0.3", otherPort, "www.test", "/", "ordinary none", ""},
	} {
		e := exchange{name: "matcher", request: ts.Request{Addr: at(c.ip, c.port), Plain: true, Host: c.host, Path: c.path}, body: c.body}
		answer, err := ts.Do(e.request)
		e.compare(t, answer, err)
		if err == nil && answer.Header.Get("X-Main") != c.main {
			t.Errorf("%v: got header X-Main %q, want %q", e, answer.Header.Get("X-Main"), c.main)
		}
	}
}

// TestServeBesideHTTPApp: the http app and the iis app of a configuration are
// loaded in random order, and in either both serve, on ports of their own and
// on a shared one; also if the http app asks the iis app about connections. The
// http app keeps its automatic HTTPS.
func TestServeBesideHTTPApp(t *testing.T) {
	httpPort, httpsPort, sharedPort, iisPort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	certs := certificates(t, "D", "A")
	config := func(s *ts.Server, load int) []byte {
		t.Helper()
		raw, err := s.Adapt(iisConfig(certs+fmt.Sprintf(`
			listen 127.0.0.1
			site 1 {
				server_bindings :%[1]d:www.test
				binding https *:%[2]d:www.test {
					sni
					certificate A
				}
				respond "iis %[3]d"
			}
			endpoint *:%[2]d {
				certificate D
			}
		`, iisPort, sharedPort, load), fmt.Sprintf("http_port %d\nhttps_port %d", httpPort, httpsPort)) + fmt.Sprintf(`
			ordinary.test, ordinary.test:%[1]d {
				bind 127.0.0.3
				tls internal
				respond "ordinary %[2]d"
			}
		`, sharedPort, load))
		if err != nil {
			t.Fatal(err)
		}
		var cfg map[string]any
		if err := json.Unmarshal(raw, &cfg); err != nil {
			t.Fatal(err)
		}
		for _, server := range cfg["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any) {
			server.(map[string]any)["tls_connection_policies"] = []any{
				map[string]any{"match": map[string]any{"iis": map[string]any{}}, "protocol_max": "tls1.2", "fallback_sni": "ordinary.test"},
				map[string]any{"fallback_sni": "ordinary.test"},
			}
		}
		if raw, err = json.Marshal(cfg); err != nil {
			t.Fatal(err)
		}
		return raw
	}
	s := ts.Start(t, "{\n}\n")
	for load := range 20 {
		if err := s.LoadJSON(config(s, load)); err != nil {
			t.Fatalf("load %d: %v", load, err)
		}
		waitFor(t, "the certificate of the ordinary site", func() bool {
			cert, err := ts.Handshake(at("127.0.0.3", httpsPort), "ordinary.test")
			return err == nil && cert.VerifyHostname("ordinary.test") == nil
		})
		name, iis, ordinary := fmt.Sprintf("load %d", load), fmt.Sprintf("iis %d", load), fmt.Sprintf("ordinary %d", load)
		exchange{name: name, request: ts.Request{Addr: at("127.0.0.1", iisPort), Plain: true, Host: "www.test"}, body: iis}.check(t)
		exchange{name: name, request: ts.Request{Addr: at("127.0.0.1", sharedPort), SNI: "www.test"}, cert: "A", body: iis}.checkAll(t)
		exchange{name: name, request: ts.Request{Addr: at("127.0.0.1", sharedPort), Host: "www.test"}, cert: "D", body: iis}.check(t)
		exchange{name: name, request: ts.Request{Addr: at("127.0.0.3", httpsPort), SNI: "ordinary.test"}, cert: "ordinary.test", body: ordinary}.checkAll(t)
		exchange{name: name, request: ts.Request{Addr: at("127.0.0.3", sharedPort), SNI: "ordinary.test", Proto: "h2"}, cert: "ordinary.test", body: ordinary}.check(t)

		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.3", httpPort), Plain: true, Host: "ordinary.test"})
		if err != nil || answer.Status != 308 || !strings.HasPrefix(answer.Header.Get("Location"), "https://ordinary.test") {
			t.Errorf("load %d: the redirect of automatic HTTPS: got %v, %v; want status 308", load, answer, err)
		}

		// The connection policy is for what bindings claim: on the shared port
		// every name, by the endpoint, and none on the other.
		for port, version := range map[int]uint16{sharedPort: tls.VersionTLS12, httpsPort: tls.VersionTLS13} {
			for _, sni := range []string{"www.test", "ordinary.test"} {
				state, err := ts.Connect(ts.Request{Addr: at("127.0.0.3", port), SNI: sni})
				if err != nil || state.Version != version || ts.Subject(state.PeerCertificates[0]) != "ordinary.test" {
					t.Errorf("load %d, port %d, SNI %q: got %+v, %v; want %s with certificate ordinary.test", load, port, sni, state, err, tls.VersionName(version))
				}
			}
		}
	}
}
