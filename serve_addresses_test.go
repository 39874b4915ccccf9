package caddyiis_test

import (
	"fmt"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestCertificatesForAddresses: clients send no server name for an address
// (RFC 6066 section 3), and get the certificate of the address that they came
// to, over every protocol; explain tells the same.
func TestCertificatesForAddresses(t *testing.T) {
	port := ts.FreePort(t)
	s := startIIS(t, fmt.Sprintf(`
		certificate addresses {
			subjects 127.0.0.2 127.0.0.3 name.test ::1
			issuer internal
		}
		site 1 {
			secure_bindings :%d:
			certificate addresses
			respond served
		}`, port))
	for _, c := range []struct{ ip, sni, want string }{
		{"127.0.0.2", "", "127.0.0.2"},
		{"127.0.0.3", "", "127.0.0.3"},
		{"::1", "", "::1"},
		{"127.0.0.3", "name.test", "name.test"},
		{"127.0.0.3", "unknown.test", "127.0.0.3"},
		{"127.0.0.4", "", "127.0.0.2"}, // nobody's: the first subject
		{"127.0.0.4", "unknown.test", "127.0.0.2"},
	} {
		for _, proto := range protocols {
			r := ts.Request{Addr: at(c.ip, port), SNI: c.sni, Proto: proto, Host: "any.test"}
			answer, err := ts.Do(r)
			if err != nil {
				t.Errorf("%s, %s, SNI %q: %v", proto, c.ip, c.sni, err)
				continue
			}
			got := ts.Subject(answer.Leaf)
			if len(answer.Leaf.IPAddresses) > 0 {
				got = answer.Leaf.IPAddresses[0].String()
			}
			if got != c.want {
				t.Errorf("%s, %s, SNI %q: certificate of %s, want %s", proto, c.ip, c.sni, got, c.want)
			}
		}
		var x adminapi.Explanation
		s.AdminJSON(fmt.Sprintf("/iis/explain?local=%s&sni=%s&host=any.test", at(c.ip, port), c.sni), &x)
		if x.Handshake == nil || x.Handshake.Leaf == nil || x.Handshake.Leaf.Subjects[0] != c.want {
			t.Errorf("%s, SNI %q: explain tells %+v", c.ip, c.sni, x.Handshake)
		}
	}
}
