package caddyiis_test

import (
	"crypto/tls"
	"fmt"
	"io"
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
