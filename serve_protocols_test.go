package caddyiis_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestServeProtocols: every protocol over IPv4 and IPv6, with Alt-Svc where it leads
// to HTTP/3, and nowhere else.
func TestServeProtocols(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	startIIS(t, certificates(t, "D")+fmt.Sprintf(`
		site 1 {
			server_bindings :%d:www.test
			secure_bindings :%d:www.test
			certificate D
		}
		defaults {
			respond "{iis.site.id} {http.request.proto}"
		}
	`, httpPort, httpsPort))
	altSvc := fmt.Sprintf(`h3=":%d"; ma=2592000`, httpsPort)
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
		for _, c := range []struct {
			request      ts.Request
			altSvc, body string
		}{
			{ts.Request{Proto: "h1", Addr: at(ip, httpPort), Plain: true}, "", "1 HTTP/1.1"},
			{ts.Request{Proto: "h1", Addr: at(ip, httpsPort)}, altSvc, "1 HTTP/1.1"},
			{ts.Request{Proto: "h2", Addr: at(ip, httpsPort)}, altSvc, "1 HTTP/2.0"},
			{ts.Request{Proto: "h3", Addr: at(ip, httpsPort)}, "", "1 HTTP/3.0"},
		} {
			e := exchange{name: ip, request: c.request, cert: "D", body: c.body}
			if c.request.Plain {
				e.cert = ""
			} else {
				e.request.SNI = "www.test"
			}
			for host, status := range map[string]int{"www.test": 200, "unknown.test": 400} {
				e.request.Host, e.status = host, status
				if status != 200 {
					e.body = "Invalid Hostname"
				}
				answer, err := ts.Do(e.request)
				e.compare(t, answer, err)
				if err == nil && answer.Header.Get("Alt-Svc") != c.altSvc {
					t.Errorf("%v: got Alt-Svc %q, want %q", e, answer.Header.Get("Alt-Svc"), c.altSvc)
				}
				e.body = c.body
			}
		}
	}
}

// TestServeFlags: a binding's flags hold for the connections that its certificate
// serves, and for no others.
func TestServeFlags(t *testing.T) {
	port := ts.FreePort(t)
	site := func(id, flags int, words string) string {
		return fmt.Sprintf(`
			site %[1]d {
				binding https *:%[3]d:s%[2]d.test {
					sni
					certificate D
					%[4]s
				}
			}
		`, id, flags, port, words)
	}
	startIIS(t, certificates(t, "D")+
		site(1, 0, "")+
		site(2, 4, "disable_http2")+
		site(3, 16, "disable_quic")+
		site(4, 32, "disable_tls13")+
		site(5, 52, "flags 52")+
		exampleDefaults)
	altSvc := fmt.Sprintf(`h3=":%d"; ma=2592000`, port)
	for _, c := range []struct {
		sni     string
		site    string
		h2, h3  bool
		version uint16
	}{
		{"s0.test", "1", true, true, tls.VersionTLS13},
		{"s4.test", "2", false, true, tls.VersionTLS13},
		{"s16.test", "3", true, false, tls.VersionTLS13},
		{"s32.test", "4", true, true, tls.VersionTLS12},
		{"s52.test", "5", false, false, tls.VersionTLS12},
	} {
		request := ts.Request{Addr: at("127.0.0.1", port), SNI: c.sni}
		e := exchange{name: "h1", request: request, cert: "D", body: c.site}
		answer, err := ts.Do(e.request)
		e.compare(t, answer, err)
		if err != nil {
			continue
		}
		if answer.State.Version != c.version {
			t.Errorf("%s: got %s, want %s", c.sni, tls.VersionName(answer.State.Version), tls.VersionName(c.version))
		}
		if got := answer.Header.Get("Alt-Svc"); c.h3 && got != altSvc || !c.h3 && got != "" {
			t.Errorf("%s: got Alt-Svc %q, with HTTP/3 %v", c.sni, got, c.h3)
		}

		// A client that offers both protocols gets the one that is left.
		request.TLS = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}
		want := "http/1.1"
		if c.h2 {
			want = "h2"
		}
		if state, err := ts.Connect(request); err != nil || state.NegotiatedProtocol != want {
			t.Errorf("%s: got %+v, %v; want %s", c.sni, state, err, want)
		}
		// One that speaks only HTTP/2 is told so by TLS.
		request.TLS, request.Proto = nil, "h2"
		if state, err := ts.Connect(request); c.h2 != (err == nil) || err != nil && !strings.Contains(err.Error(), "no application protocol") {
			t.Errorf("%s: a client with HTTP/2 only: got %+v, %v; HTTP/2 is %v", c.sni, state, err, c.h2)
		}
		request.Proto = "h3"
		if c.h3 {
			exchange{name: "h3", request: request, cert: "D", body: c.site}.check(t)
		} else {
			refused(t, "h3", request)
		}
		// One that speaks only TLS 1.3 is refused where that is off.
		request.Proto, request.TLS = "h1", &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
		if _, err := ts.Connect(request); (c.version == tls.VersionTLS13) != (err == nil) {
			t.Errorf("%s: a client with TLS 1.3 only: %v; want it to be refused: %v", c.sni, err, c.version != tls.VersionTLS13)
		}
	}
}

// TestServeCoalescing: one connection carries requests for all sites of its port by
// their authority, those that share its certificate and those that do not.
func TestServeCoalescing(t *testing.T) {
	port := ts.FreePort(t)
	startIIS(t, certificates(t, "W", "A")+fmt.Sprintf(`
		site 1 {
			secure_bindings :%[1]d:www.test
			certificate W
		}
		site 2 {
			secure_bindings :%[1]d:api.test :%[1]d:api2.test
		}
		site 3 {
			secure_bindings :%[1]d:*.test
		}
		site 4 {
			binding https *:%[1]d:own.test {
				sni
				certificate A
			}
		}
		site 5 {
			secure_bindings :%[1]d:
		}
	`, port)+exampleDefaults)
	for _, proto := range protocols {
		for sni, cert := range map[string]string{"www.test": "W", "": "W", "own.test": "A"} {
			request := ts.Request{Addr: at("127.0.0.1", port), SNI: sni, Proto: proto}
			client := ts.NewClient(request)
			for range 3 {
				for host, site := range map[string]string{
					"www.test": "1", "api.test": "2", "API2.test:443": "2", "shop.test": "3",
					"own.test": "4", "unknown.org": "5", "127.0.0.1": "5",
				} {
					request.Host = host
					exchange{name: "coalesced", request: request, cert: cert, body: site}.onKept(t, client)
				}
			}
			if n := client.Dials(); n != 1 {
				t.Errorf("%s, SNI %q: %d connections, want 1", proto, sni, n)
			}
			client.Close()
		}
	}
}

// TestNoHTTP2BehindWrappers: where a listener wrapper stands behind TLS, net/http
// takes the preface of HTTP/2 on any connection, whatever was negotiated. A binding
// without HTTP/2 refuses the requests.
func TestNoHTTP2BehindWrappers(t *testing.T) {
	port := ts.FreePort(t)
	startIIS(t, "servers {\nlistener_wrappers {\nhttp_redirect\ntls\nproxy_protocol\n}\n}\n"+certificates(t, "a.test", "b.test")+
		fmt.Sprintf("site 1 A {\nbinding https *:%[1]d:a.test {\nsni\ncertificate a.test\ndisable_http2\n}\nrespond a\n}\nsite 2 B {\nbinding https *:%[1]d:b.test {\nsni\ncertificate b.test\n}\nrespond b\n}\n", port))
	for name, want := range map[string]int{"a.test": 421, "b.test": 200} {
		transport := &http.Transport{Protocols: new(http.Protocols), DisableKeepAlives: true}
		transport.Protocols.SetUnencryptedHTTP2(true)
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: name}}
			return dialer.DialContext(ctx, "tcp", at("127.0.0.1", port))
		}
		resp, err := (&http.Client{Transport: transport}).Get("http://" + name)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || resp.ProtoMajor != 2 {
			t.Errorf("%s: %s %d, want %d", name, resp.Proto, resp.StatusCode, want)
		}
	}
}
