package caddyiis_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestServeTargets: a request target that is neither a path nor the URL of a web server gets
// 400, whether the site would redirect it or not (RFC 9110, 4.2.4 and 7.1).
func TestServeTargets(t *testing.T) {
	port := ts.FreePort(t)
	ts.Start(t, fmt.Sprintf(`{
	iis {
		site 1 {
			binding http *:%[1]d:plain.test
			respond "plain {http.request.uri}"
		}
		site 2 {
			binding http *:%[1]d:redir.test
			binding https *:%[2]d:redir.test {
				certificate c
			}
			require_ssl redirect
			respond "secure"
		}
		certificate c {
			subjects redir.test
			issuer internal
		}
	}
}`, port, ts.FreePort(t)))
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for _, c := range []struct {
		line, host string
		status     string
	}{
		{"GET / HTTP/1.1", "plain.test", "200"},
		{"GET http://plain.test/x HTTP/1.1", "plain.test", "200"},
		{"GET http://plain.test HTTP/1.1", "plain.test", "200"},
		{"GET HTTP://plain.test/ HTTP/1.1", "plain.test", "200"},
		{"GET x:@evil.test/a HTTP/1.1", "plain.test", "400"},
		{"GET x:@evil.test/a HTTP/1.1", "redir.test", "400"},
		{"GET http:@evil.test/a HTTP/1.1", "redir.test", "400"},
		{"GET http://user@redir.test/ HTTP/1.1", "redir.test", "400"},
		{"GET http://user:pass@plain.test/ HTTP/1.1", "plain.test", "400"},
		{"GET http:///a HTTP/1.1", "redir.test", "400"},
		{"GET ftp://redir.test/a HTTP/1.1", "redir.test", "400"},
		{"GET //evil.test/a HTTP/1.1", "plain.test", "200"},
		{"CONNECT redir.test:443 HTTP/1.1", "redir.test:443", "400"},
		{"GET * HTTP/1.1", "plain.test", "400"},
	} {
		got, err := ts.Raw(addr, c.line+"\r\nHost: "+c.host+"\r\nConnection: close\r\n\r\n")
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.status) || strings.Contains(got, "evil.test") && c.status != "200" {
			t.Errorf("%s to %s: got %.80q, want %s", c.line, c.host, got, c.status)
		}
	}
}

// TestServeSlowBodies: a client that sends a body byte by byte is cut as Caddy cuts it at
// sites, also where no site has its host, and where its host is none. The time-out is not
// reset by each byte.
func TestServeSlowBodies(t *testing.T) {
	port := ts.FreePort(t)
	ts.Start(t, fmt.Sprintf(`{
	iis {
		servers {
			timeouts {
				read_body_idle 1s
			}
		}
		site 1 {
			binding http *:%d:a.test
			respond "a"
		}
	}
}`, port))
	for _, host := range []string{"a.test", "nobody.test", "not valid", "x@y"} {
		t.Run(host, func(t *testing.T) {
			conn, err := ts.Dial(fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 200000\r\n\r\n", host); err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for tick := time.NewTicker(200 * time.Millisecond); ; {
					select {
					case <-stop:
						tick.Stop()
						return
					case <-tick.C:
						if _, err := conn.Write([]byte("x")); err != nil {
							tick.Stop()
							return
						}
					}
				}
			}()
			if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil && !ts.IsReset(err) {
				t.Errorf("the connection is still open: %v", err)
			}
		})
	}
}
