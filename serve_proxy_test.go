package caddyiis_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// backend tells what it is asked for. Requests for an upgrade get a connection
// that repeats each line.
func backend(t *testing.T) (addr string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			fmt.Fprintf(w, "%s %s %s %s", r.Host, r.URL.Path, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-Host"))
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("taking over the connection: %v", err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(conn, line)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func TestServeReverseProxy(t *testing.T) {
	httpPort, httpsPort, upstream := ts.FreePort(t), ts.FreePort(t), backend(t)
	startIIS(t, certificates(t, "D")+fmt.Sprintf(`
		site 1 {
			server_bindings :%[1]d:one.test
			secure_bindings :%[2]d:one.test
			certificate D
			reverse_proxy %[3]s
		}
		site 2 {
			secure_bindings :%[2]d:two.test
			handle_path /app/* {
				reverse_proxy %[3]s {
					header_up Host site{iis.site.id}.internal
				}
			}
		}
	`, httpPort, httpsPort, upstream))
	exchange{name: "http", request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "one.test", Path: "/x"}, body: "one.test /x http one.test"}.check(t)
	exchange{name: "https", request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "one.test", Path: "/x"}, cert: "D", body: "one.test /x https one.test"}.checkAll(t)
	exchange{name: "another site", request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "two.test", Path: "/app/y"}, cert: "D", body: "site2.internal /y https two.test"}.checkAll(t)
}

// TestServeProxyMetrics: the metrics of modules in sites are at the admin
// endpoint, also beside those of the same modules in ordinary sites, and after
// further loads.
func TestServeProxyMetrics(t *testing.T) {
	iisPort, ordinaryPort := ts.FreePort(t), ts.FreePort(t)
	ofSite, ofOrdinary := backend(t), backend(t)
	config := func(i int, ordinary string) string {
		return iisConfig(fmt.Sprintf(`
			site 1 {
				server_bindings :%d:www.test
				header X-Load %d
				reverse_proxy %s
			}
		`, iisPort, i, ofSite), "metrics") + fmt.Sprintf("http://:%d {\n%s\n}\n", ordinaryPort, ordinary)
	}
	s := ts.Start(t, config(0, "respond ordinary"))
	healthy := func(text, upstream string) int {
		return strings.Count(text, fmt.Sprintf("caddy_reverse_proxy_upstreams_healthy{upstream=%q} 1\n", upstream))
	}
	for i := range 4 {
		ordinary := i > 1 // a reverse_proxy there, too
		cfg := config(i, "respond ordinary")
		if ordinary {
			cfg = config(i, "reverse_proxy "+ofOrdinary)
		}
		if err := s.Load(cfg); err != nil {
			t.Fatalf("load %d: %v", i, err)
		}
		exchange{name: fmt.Sprintf("load %d", i), request: ts.Request{Addr: at("127.0.0.1", iisPort), Plain: true, Host: "www.test", Path: "/m"}, body: "www.test /m http www.test"}.check(t)
		// Caddy's own listeners can lose a connection when they are replaced.
		waitFor(t, "the ordinary site", func() bool {
			answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", ordinaryPort), Plain: true})
			return err == nil && answer.Status == 200
		})
		// Each reverse_proxy that is loaded takes the values of the others
		// away, which come back with its next look at its upstreams.
		waitFor(t, "the metrics of reverse_proxy", func() bool {
			status, text := s.Admin(http.MethodGet, "/metrics", "")
			if status != 200 || !strings.Contains(text, "\ncaddy_http_requests_total{") {
				return false
			}
			n, m := healthy(text, ofSite), healthy(text, ofOrdinary)
			return n == 1 && m == 0 || ordinary && n+m > 0 && n <= 1 && m <= 1
		})
	}
}
