package caddyiis_test

import (
	"fmt"
	"strings"
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

// TestAddressNotHere: what has an address that this machine does not have is said, once
// an address; it is served when the address is there, and behind the PROXY protocol the
// addresses are a proxy's.
func TestAddressNotHere(t *testing.T) {
	port, tlsPort := ts.FreePort(t), ts.FreePort(t)
	config := func(servers string) string {
		return iisConfig(certificates(t, "D") + fmt.Sprintf(`
			%[3]s
			site 1 Elsewhere {
				server_bindings 203.0.113.7:%[1]d:a.test 203.0.113.7:%[1]d:b.test 127.0.0.1:%[1]d:c.test :%[1]d:d.test
				respond elsewhere
			}
			site 2 {
				server_bindings 203.0.113.9:%[1]d:
				autostart off
			}
			endpoint [2001:db8::7]:%[2]d {
				certificate D
			}
			site 3 {
				secure_bindings :%[2]d:
				certificate D
			}
		`, port, tlsPort, servers))
	}
	s := ts.Start(t, config(""))
	found := func() (messages []string) {
		for _, f := range findings(t, s) {
			if f.Code == "address-not-here" {
				messages = append(messages, f.Message)
			}
		}
		return messages
	}
	messages := found()
	if len(messages) != 2 {
		t.Fatalf("findings %q, want one for each of the two addresses", messages)
	}
	for i, want := range []string{
		fmt.Sprintf(`nobody reaches site 1 "Elsewhere", binding 203.0.113.7:%d:a.test (and one more): this machine does not have the address 203.0.113.7; it has `, port),
		fmt.Sprintf(`nobody reaches endpoint [2001:db8::7]:%d: this machine does not have the address 2001:db8::7; it has `, tlsPort),
	} {
		if !strings.HasPrefix(messages[i], want) || !strings.Contains(messages[i], "127.0.0.1") {
			t.Errorf("got %q, want %q and what is here", messages[i], want)
		}
	}
	var page struct {
		Items []struct {
			Address           string
			Listening, Absent bool
		}
	}
	s.AdminJSON("/iis/endpoints", &page)
	for _, e := range page.Items {
		absent := strings.HasPrefix(e.Address, "203.0.113.7") || strings.HasPrefix(e.Address, "[2001:db8")
		if e.Absent != absent || absent && e.Listening {
			t.Errorf("%+v", e)
		}
	}
	if len(ts.Logs.Lines("this machine does not have the address 203.0.113.7")) == 0 {
		waitFor(t, "a warning in the log", func() bool {
			return len(ts.Logs.Lines("this machine does not have the address 203.0.113.7")) > 0
		})
	}
	if err := s.Load(config("servers {\nlistener_wrappers {\nproxy_protocol\ntls\n}\n}")); err != nil {
		t.Fatal(err)
	}
	if messages := found(); len(messages) > 0 {
		t.Errorf("behind a proxy: %q", messages)
	}
}
