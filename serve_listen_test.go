package caddyiis_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

func TestServeWildcardDepth(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	certs := certificates(t, "D", "W", "V")
	config := func(option string) string {
		return iisConfig(certs + option + fmt.Sprintf(`
			site 1 {
				server_bindings :%[1]d: :%[1]d:sub.test
				secure_bindings :%[2]d:
				certificate D
			}
			site 2 {
				server_bindings :%[1]d:*.sub.test
				binding https *:%[2]d:*.sub.test {
					sni
					certificate W
				}
			}
			site 3 {
				server_bindings :%[1]d:*.deep.sub.test
				binding https *:%[2]d:*.deep.sub.test {
					sni
					certificate V
				}
			}
			site 4 {
				server_bindings 127.0.0.2:%[1]d:*.sub.test
			}
		`, httpPort, httpsPort) + exampleDefaults)
	}
	s := ts.Start(t, config(""))
	type row struct{ host, site, cert string }
	one := []row{
		{"sub.test", "1", "D"},
		{"a.sub.test", "2", "W"},
		{"A.SUB.test", "2", "W"},
		{"deep.sub.test", "2", "W"},
		{"a.deep.sub.test", "3", "V"},
		{"b.a.sub.test", "1", "D"},
		{"b.a.deep.sub.test", "1", "D"},
		{"asub.test", "1", "D"},
	}
	for option, rows := range map[string][]row{
		"":                     one,
		"wildcard_depth one\n": one,
		"wildcard_depth any\n": append(one[:5:5], row{"b.a.sub.test", "2", "W"}, row{"b.a.deep.sub.test", "3", "V"}, row{"asub.test", "1", "D"}),
	} {
		if err := s.Load(config(option)); err != nil {
			t.Fatalf("%q: %v", option, err)
		}
		for _, r := range rows {
			exchange{name: option, request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: r.host}, body: r.site}.check(t)
			exchange{name: option, request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: r.host}, cert: r.cert, body: r.site}.checkAll(t)
		}
		exchange{name: option, request: ts.Request{Addr: at("127.0.0.2", httpPort), Plain: true, Host: "a.sub.test"}, body: "4"}.check(t)
	}
}

// canBind tells whether nobody has an address, for TCP and for UDP.
func canBind(addr string) bool {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer ln.Close()
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return pc.Close() == nil
}

// connectionRefused is what clients must get where nobody listens.
func connectionRefused(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		conn.Close()
	}
	if !ts.IsNobody(err) {
		t.Errorf("%s: got %v, want the connection refused", addr, err)
	}
}

// TestServeListen: bindings open their ports on all addresses, even those with an
// address; listen narrows that.
func TestServeListen(t *testing.T) {
	httpPort, httpsPort, stoppedPort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	certs := certificates(t, "D", "E")
	config := func(listen string) string {
		return iisConfig(certs + listen + fmt.Sprintf(`
			site 1 {
				server_bindings 127.0.0.1:%[1]d:
				binding https 127.0.0.1:%[2]d: {
					certificate D
				}
			}
			site 2 {
				server_bindings :%[3]d:
				autostart off
			}
		`, httpPort, httpsPort, stoppedPort) + exampleDefaults)
	}
	s := ts.Start(t, config(""))
	served := func() {
		t.Helper()
		exchange{name: "http", request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "any.test"}, body: "1"}.check(t)
		exchange{name: "https", request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "any.test"}, cert: "D", body: "1"}.checkAll(t)
		connectionRefused(t, at("127.0.0.1", stoppedPort))
	}
	served()
	for _, ip := range []string{"127.0.0.2", "::1"} {
		exchange{name: "other address", request: ts.Request{Addr: at(ip, httpPort), Plain: true, Host: "any.test"}, status: 400, body: "Invalid Hostname"}.check(t)
		refused(t, "other address", ts.Request{Addr: at(ip, httpsPort), SNI: "any.test"})
		refused(t, "other address", ts.Request{Addr: at(ip, httpsPort), SNI: "any.test", Proto: "h3"})
	}

	if err := s.Load(config("listen 127.0.0.1\n")); err != nil {
		t.Fatal(err)
	}
	for _, port := range []int{httpPort, httpsPort} {
		// Sockets that nobody wants any more accept for a little while.
		waitFor(t, "the other addresses to be free", func() bool {
			return canBind(at("127.0.0.2", port)) && canBind(at("::1", port))
		})
		connectionRefused(t, at("127.0.0.2", port))
		connectionRefused(t, at("::1", port))
	}
	served()

	if err := s.Load(config("listen 127.0.0.1 ::1\n")); err != nil {
		t.Fatal(err)
	}
	served()
	connectionRefused(t, at("127.0.0.2", httpPort))
	exchange{name: "second address", request: ts.Request{Addr: at("::1", httpPort), Plain: true, Host: "any.test"}, status: 400, body: "Invalid Hostname"}.check(t)
}

// TestServeProtocolsByAddress: http and https on one port, at different addresses.
func TestServeProtocolsByAddress(t *testing.T) {
	port := ts.FreePort(t)
	certs := certificates(t, "D")
	config := func(secure string) string {
		return iisConfig(certs + fmt.Sprintf(`
			site 1 {
				server_bindings 127.0.0.1:%[1]d:
			}
			site 2 {
				secure_bindings %[2]s:%[1]d:
				certificate D
			}
		`, port, secure) + exampleDefaults)
	}
	s := ts.Start(t, config("127.0.0.2"))
	check := func(secure string) {
		t.Helper()
		exchange{name: "http", request: ts.Request{Addr: at("127.0.0.1", port), Plain: true, Host: "any.test"}, body: "1"}.check(t)
		exchange{name: "https", request: ts.Request{Addr: at(secure, port), SNI: "any.test"}, cert: "D", body: "2"}.checkAll(t)
		connectionRefused(t, at("127.0.0.3", port))
		if state, err := ts.Connect(ts.Request{Addr: at("127.0.0.1", port), SNI: "any.test"}); err == nil {
			t.Errorf("TLS at the address of http: got certificate %s", ts.Subject(state.PeerCertificates[0]))
		}
		answer, err := ts.Raw(at(secure, port), "GET / HTTP/1.1\r\nHost: any.test\r\nConnection: close\r\n\r\n")
		if err != nil || !strings.HasPrefix(answer, "HTTP/1.0 400 Bad Request") || !strings.Contains(answer, "HTTPS server") {
			t.Errorf("http at the address of https: got %q, %v; want status 400 and a hint", answer, err)
		}
	}
	check("127.0.0.2")
	refusedLoad(t, s, "same address", config("127.0.0.1"), "site 1", "site 2", fmt.Sprintf("127.0.0.1:%d", port))
	refusedLoad(t, s, "all addresses", config("*"), "site 1", "site 2", fmt.Sprintf("*:%d:", port))
	check("127.0.0.2")
	if err := s.Load(config("[::1]")); err != nil {
		t.Fatal(err)
	}
	check("::1")
}

// TestServeSwappedPorts: the ports that Caddy's http app takes for http and https
// mean nothing for bindings.
func TestServeSwappedPorts(t *testing.T) {
	httpPort, httpsPort, thirdPort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	options := fmt.Sprintf("http_port %d\nhttps_port %d", httpPort, httpsPort)
	iis := certificates(t, "D") + fmt.Sprintf(`
		site 1 {
			binding http *:%d:www.test
			binding https *:%d:www.test {
				certificate D
			}
		}
	`, httpsPort, httpPort) + exampleDefaults
	for _, ordinary := range []string{"", fmt.Sprintf("http://:%d {\nrespond ordinary\n}\n", thirdPort)} {
		t.Run("ordinary="+fmt.Sprint(ordinary != ""), func(t *testing.T) {
			ts.Start(t, iisConfig(iis, options)+ordinary)
			exchange{name: "http on the https port", request: ts.Request{Addr: at("127.0.0.1", httpsPort), Plain: true, Host: "www.test"}, body: "1"}.check(t)
			exchange{name: "https on the http port", request: ts.Request{Addr: at("127.0.0.1", httpPort), SNI: "www.test"}, cert: "D", body: "1"}.checkAll(t)
			if ordinary != "" {
				exchange{name: "ordinary site", request: ts.Request{Addr: at("127.0.0.1", thirdPort), Plain: true, Host: "www.test"}, body: "ordinary"}.check(t)
			}
		})
	}
}
