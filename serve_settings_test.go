package caddyiis_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// withServers has one site for http and one for https, with settings for the
// servers.
func withServers(t *testing.T, httpPort, httpsPort int, servers, respond string) string {
	t.Helper()
	if servers != "" {
		servers = "servers {\n" + servers + "\n}"
	}
	return certificates(t, "D", "E") + fmt.Sprintf(`
		%[3]s
		site 1 {
			server_bindings :%[1]d:
			secure_bindings :%[2]d:
			certificate D
			respond %[4]q
		}
		site 2 {
			server_bindings 10.0.0.5:%[1]d:
			binding https 10.0.0.5:%[2]d: {
				certificate E
			}
			respond %[4]q
		}
	`, httpPort, httpsPort, servers, respond)
}

func TestServeTimeouts(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	startIIS(t, withServers(t, httpPort, httpsPort, "timeouts {\nidle 400ms\nread_header 300ms\n}", "{iis.site.id}"))
	plain := func() (net.Conn, error) { return ts.Dial(at("127.0.0.1", httpPort)) }
	secure := func(proto string) func() (net.Conn, error) {
		return func() (net.Conn, error) {
			return ts.DialTLS(ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test", Proto: proto})
		}
	}
	const get = "GET / HTTP/1.1\r\nHost: www.test\r\n"
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // with empty settings
	var wg sync.WaitGroup
	for _, c := range []struct {
		name  string
		dial  func() (net.Conn, error)
		send  string
		least time.Duration
		want  string // the end of what comes back
	}{
		{"idle, http", plain, get + "\r\n", 400 * time.Millisecond, "\r\n\r\n1"},
		{"idle, https", secure("h1"), get + "\r\n", 400 * time.Millisecond, "\r\n\r\n1"},
		{"idle, HTTP/2", secure("h2"), preface, 400 * time.Millisecond, ""},
		{"half a header, http", plain, get, 300 * time.Millisecond, ""},
		{"half a header, https", secure("h1"), get, 300 * time.Millisecond, ""},
	} {
		wg.Go(func() {
			began := time.Now()
			conn, err := c.dial()
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				return
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.send); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			answer, err := io.ReadAll(conn)
			took := time.Since(began)
			if err != nil && !ts.IsReset(err) || !strings.HasSuffix(string(answer), c.want) {
				t.Errorf("%s: got %q, %v; want the end of the connection after %q", c.name, answer, err, c.want)
			}
			if took < c.least {
				t.Errorf("%s: the connection ended after %v, want %v at least", c.name, took, c.least)
			}
		})
	}
	wg.Wait()
}

func TestServeProtocolSettings(t *testing.T) {
	for _, c := range []struct {
		protocols   string
		h2, h2c, h3 bool
	}{
		{"h1", false, false, false},
		{"h1 h2", true, false, false},
		{"h1 h3", false, false, true},
		{"h1 h2 h2c h3", true, true, true},
	} {
		t.Run(c.protocols, func(t *testing.T) {
			httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
			startIIS(t, withServers(t, httpPort, httpsPort, "protocols "+c.protocols, "{iis.site.id} {http.request.proto}"))
			request := ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test"}
			e := exchange{name: "h1", request: request, cert: "D", body: "1 HTTP/1.1"}
			answer, err := ts.Do(request)
			e.compare(t, answer, err)
			if altSvc := answer.Header.Get("Alt-Svc"); (altSvc != "") != c.h3 {
				t.Errorf("got Alt-Svc %q, with HTTP/3 %v", altSvc, c.h3)
			}

			request.TLS = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}
			want := map[bool]string{true: "h2", false: "http/1.1"}[c.h2]
			if state, err := ts.Connect(request); err != nil || state.NegotiatedProtocol != want {
				t.Errorf("a client with both: got %+v, %v; want %s", state, err, want)
			}
			request.TLS, request.Proto = nil, "h2"
			if c.h2 {
				exchange{name: "h2", request: request, cert: "D", body: "1 HTTP/2.0"}.check(t)
			} else if _, err := ts.Connect(request); err == nil || !strings.Contains(err.Error(), "no application protocol") {
				t.Errorf("a client with HTTP/2 only: got %v, want to be told by TLS", err)
			}

			request.Proto = "h3"
			if c.h3 {
				exchange{name: "h3", request: request, cert: "D", body: "1 HTTP/3.0"}.check(t)
			} else if pc, err := net.ListenPacket("udp", at("", httpsPort)); err != nil {
				t.Errorf("the UDP port is bound without HTTP/3: %v", err)
			} else {
				pc.Close()
			}

			transport := &http.Transport{Protocols: new(http.Protocols), DisableKeepAlives: true}
			transport.Protocols.SetUnencryptedHTTP2(true)
			resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("http://" + at("127.0.0.1", httpPort))
			if err == nil {
				defer resp.Body.Close()
			}
			if c.h2c != (err == nil && resp.StatusCode == 200 && resp.ProtoMajor == 2) {
				t.Errorf("HTTP/2 without TLS: got %+v, %v; it is on: %v", resp, err, c.h2c)
			}
		})
	}
}

func TestServeHeaderSize(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	for _, c := range []struct {
		servers    string
		ok, refuse int // bytes
	}{
		{"", 12 << 10, 64 << 10}, // Caddy's default is 16 KiB
		{"max_header_size 32KB", 24 << 10, 64 << 10},
		{"max_header_size 1KB", 512, 12 << 10},
	} {
		t.Run(fmt.Sprintf("%q", c.servers), func(t *testing.T) {
			startIIS(t, withServers(t, httpPort, httpsPort, c.servers, "{iis.site.id}"))
			header := func(n int) http.Header { return http.Header{"X-Long": {strings.Repeat("x", n)}} }
			requests := []ts.Request{{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "www.test", Proto: "h1"}}
			for _, proto := range protocols {
				requests = append(requests, ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test", Proto: proto})
			}
			for _, request := range requests {
				request.Header = header(c.ok)
				e := exchange{name: fmt.Sprint(c.ok), request: request, cert: "D", body: "1"}
				if request.Plain {
					e.cert = ""
				}
				e.check(t)
				request.Header = header(c.refuse)
				answer, err := ts.Do(request)
				if request.Proto == "h1" && (err != nil || answer.Status != 431) || err == nil && answer.Status < 400 {
					t.Errorf("%s, %d bytes: got %v, %v; want status 431", request.Proto, c.refuse, answer, err)
				}
			}
		})
	}
}

func TestServeTrustedProxies(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	startIIS(t, "log\n"+withServers(t, httpPort, httpsPort, "trusted_proxies static 127.0.0.1/32\nclient_ip_headers X-Real-Client X-Forwarded-For", "{client_ip}"))
	for _, c := range []struct{ ip, header, want string }{
		{"127.0.0.1", "X-Forwarded-For", "9.8.7.6"},
		{"127.0.0.1", "X-Real-Client", "9.8.7.6"},
		{"127.0.0.1", "X-Other", "127.0.0.1"},
		{"::1", "X-Forwarded-For", "::1"},
	} {
		header := http.Header{c.header: {"9.8.7.6"}}
		ts.Logs.Reset()
		exchange{name: c.header, request: ts.Request{Addr: at(c.ip, httpPort), Plain: true, Host: "www.test", Header: header}, body: c.want}.check(t)
		exchange{name: c.header, request: ts.Request{Addr: at(c.ip, httpsPort), SNI: "www.test", Header: header}, cert: "D", body: c.want}.checkAll(t)
		waitFor(t, "the log lines", func() bool { return len(ts.Logs.Logger("iis.log.access.1")) == 4 })
		for _, entry := range ts.Logs.Logger("iis.log.access.1") {
			if request := entry["request"].(map[string]any); request["client_ip"] != c.want || request["remote_ip"] != c.ip {
				t.Errorf("%s from %s: got client_ip %v, remote_ip %v in the log; want %s, %s", c.header, c.ip, request["client_ip"], request["remote_ip"], c.want, c.ip)
			}
		}
	}
}

// TestServeProxyProtocol: the addresses of a PROXY header take the place of
// the connection's own, for certificate and site as well.
func TestServeProxyProtocol(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	const servers = "listener_wrappers {\nproxy_protocol {\nallow 127.0.0.1/32\n}\ntls\n}"
	iis := withServers(t, httpPort, httpsPort, servers, "{iis.site.id} {remote_host}")
	s := startIIS(t, iis)
	for i, listen := range []string{"", "listen 127.0.0.1\n", ""} {
		if i > 0 {
			if err := s.Load(iisConfig(listen + iis)); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			prefix, cert, site, remote string
		}{
			{"", "D", "1", "127.0.0.1"},
			{"PROXY TCP4 9.8.7.6 10.0.0.9 1111 443\r\n", "D", "1", "9.8.7.6"},
			{"PROXY TCP4 9.8.7.6 10.0.0.5 1111 443\r\n", "E", "2", "9.8.7.6"},
			{"PROXY TCP6 2001:db8::1 2001:db8::2 1111 443\r\n", "D", "1", "2001:db8::1"},
			{"PROXY UNKNOWN\r\n", "D", "1", "127.0.0.1"},
		} {
			name := fmt.Sprintf("%q, %q", listen, c.prefix)
			exchange{name: name, request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "www.test", Prefix: c.prefix}, body: c.site + " " + c.remote}.check(t)
			for _, proto := range []string{"h1", "h2"} {
				request := ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test", Prefix: c.prefix, Proto: proto}
				exchange{name: name, request: request, cert: c.cert, body: c.site + " " + c.remote}.check(t)
			}
		}
		// QUIC knows no PROXY protocol.
		exchange{name: listen, request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test", Proto: "h3"}, cert: "D", body: "1 127.0.0.1"}.check(t)
	}
}

// TestServeHTTPRedirect: plain HTTP at an https binding is sent to https, and
// http bindings are left alone.
func TestServeHTTPRedirect(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := startIIS(t, withServers(t, httpPort, httpsPort, "listener_wrappers {\nhttp_redirect\ntls\n}", "{iis.site.id}"))
	exchange{name: "https", request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test"}, cert: "D", body: "1"}.checkAll(t)
	answer, err := ts.Raw(at("127.0.0.1", httpsPort), "GET /x HTTP/1.1\r\nHost: www.test:8443\r\n\r\n")
	if err != nil || !strings.HasPrefix(answer, "HTTP/1.0 308 Permanent Redirect\r\n") || !strings.Contains(answer, "\r\nLocation: https://www.test:8443/x\r\n") {
		t.Errorf("http at the https binding: got %q, %v; want a redirect to https", answer, err)
	}
	exchange{name: "http", request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "www.test"}, body: "1"}.check(t)

	for wrappers, reason := range map[string]string{
		"tls\nhttp_redirect":                      "tls in first place",
		"http_redirect\ntls\nproxy_protocol\ntls": "tls is there twice",
	} {
		config := iisConfig(withServers(t, httpPort, httpsPort, "listener_wrappers {\n"+wrappers+"\n}", "{iis.site.id}"))
		refusedLoad(t, s, wrappers, config, "listener_wrappers", reason)
	}
}
