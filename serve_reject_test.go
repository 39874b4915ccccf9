package caddyiis_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestReject: the word reject refuses the clients of one record, by a reset
// over TCP and a failed handshake over QUIC, and requests for its host on
// connections that were made for another.
func TestReject(t *testing.T) {
	first, second, plain := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	file := filepath.Join(t.TempDir(), "sites")
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := func(options string) string {
		return certificates(t, "D", "A") + fmt.Sprintf(`
			%[4]s
			sites_file %[5]q
			defaults {
				respond {iis.site.id}
			}
			endpoint *:%[2]d {
				reject
			}
			site 1 {
				secure_bindings :%[1]d:
				certificate D
			}
			site 2 {
				server_bindings :%[3]d:old.test
				binding https *:%[1]d:old.test {
					sni
					reject
				}
				binding https *:%[1]d:*.bad.test {
					sni
					reject
				}
				certificate D
			}
			site 3 {
				binding https *:%[1]d:good.bad.test {
					sni
					certificate A
				}
				binding https *:%[2]d:www.test {
					sni
					certificate A
				}
			}
			site 4 {
				binding https 127.0.0.2:%[1]d: {
					reject
				}
			}
		`, first, second, plain, options, file)
	}
	for _, word := range []string{"", "misdirected allow", "misdirected strict"} {
		s := startIIS(t, config(word))
		for _, c := range []struct {
			ip        string
			port      int
			sni, host string
			cert      string // empty: refused
			body      string // empty: 421
		}{
			{"127.0.0.1", first, "", "old.test", "D", ""},
			{"127.0.0.1", first, "other.test", "old.test", "D", ""},
			{"127.0.0.1", first, "other.test", "x.bad.test", "D", ""},
			{"127.0.0.1", first, "", "other.test", "D", "1"},
			{"127.0.0.1", first, "other.test", "", "D", "1"},
			{"127.0.0.1", first, "old.test", "", "", ""},
			{"127.0.0.1", first, "OLD.test", "", "", ""},
			{"127.0.0.1", first, "x.bad.test", "", "", ""},
			{"127.0.0.1", first, "good.bad.test", "", "A", "3"},
			{"127.0.0.1", first, "good.bad.test", "x.bad.test", "A", ""},
			{"127.0.0.2", first, "", "", "", ""},
			{"127.0.0.2", first, "good.bad.test", "", "", ""},
			{"127.0.0.1", second, "", "", "", ""},
			{"127.0.0.1", second, "other.test", "", "", ""},
			{"127.0.0.1", second, "www.test", "", "A", "3"},
		} {
			if word == "misdirected strict" && c.sni == "" {
				continue // 421 for another reason
			}
			r := ts.Request{Addr: at(c.ip, c.port), SNI: c.sni, Host: c.host}
			e := exchange{name: word, request: r, cert: c.cert, body: c.body}
			if c.body == "" {
				e.status = 421
			}
			for _, e.request.Proto = range protocols {
				if c.cert == "" {
					refused(t, word, e.request)
				} else {
					e.check(t)
				}
			}
			var x adminapi.Explanation
			s.AdminJSON(fmt.Sprintf("/iis/explain?local=%s&sni=%s&host=%s", r.Addr, c.sni, c.host), &x)
			if got := x.Handshake.Outcome == adminapi.OutcomeRefused; got != (c.cert == "") {
				t.Errorf("%+v: explain tells %+v", c, x.Handshake)
			} else if !got && (x.Request.Status == 421) != (c.body == "") {
				t.Errorf("%+v: explain tells %+v", c, x.Request)
			}
		}
		exchange{name: "over http", request: ts.Request{Addr: at("127.0.0.1", plain), Host: "old.test", Plain: true}, body: "2"}.check(t)
	}
	// A name that is added while Caddy runs.
	r := ts.Request{Addr: at("127.0.0.1", first), SNI: "late.test"}
	exchange{name: "before", request: r, cert: "D", body: "1"}.checkAll(t)
	line := fmt.Sprintf(`{"id":9,"bindings":[{"protocol":"https","binding":"*:%d:late.test","flags":1,"reject":true}]}`+"\n", first)
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the name to be rejected", func() bool {
		_, err := ts.Connect(r)
		return err != nil && ts.IsReset(err)
	})
	for _, r.Proto = range protocols {
		refused(t, "in the sites file", r)
	}
}

// TestRejectContradictions: what cannot be meant is refused.
func TestRejectContradictions(t *testing.T) {
	port := ts.FreePort(t)
	s := ts.Start(t, "{\n}\n")
	binding := func(options string) string {
		return fmt.Sprintf("binding https *:%d:a.test {\n%s\n}\n", port, options)
	}
	for _, c := range []struct{ name, config, reason string }{
		{"a certificate", "site 1 {\n" + binding("sni\nreject\ncertificate D") + "}", "reject refuses its clients"},
		{"client certificates", "site 1 {\n" + binding("sni\nreject\nclient_auth {\nmode request\n}") + "}", "reject refuses its clients"},
		{"on http", fmt.Sprintf("site 1 {\nbinding http *:%d:a.test {\nreject\n}\n}", port), "for https"},
		{"another site serves the name", "site 1 {\n" + binding("sni\nreject") + "}\nsite 2 {\nautostart off\n" + binding("sni\ncertificate D") + "}", "rejects its clients"},
		{"an endpoint with a certificate", fmt.Sprintf("endpoint *:%d {\nreject\ncertificate D\n}", port), "stands alone"},
		{"an endpoint, and a binding with a certificate", fmt.Sprintf("endpoint *:%[1]d {\nreject\n}\nsite 1 {\nsecure_bindings :%[1]d:\ncertificate D\n}", port), "rejects its clients"},
		{"an endpoint with a certificate, and a binding", fmt.Sprintf("endpoint *:%[1]d {\ncertificate D\n}\nsite 1 {\nbinding https *:%[1]d: {\nreject\n}\n}", port), "rejects its clients"},
		{"clients that nothing else serves", fmt.Sprintf("endpoint *:%[1]d {\nreject\n}\nsite 1 {\nsecure_bindings :%[1]d:\n}", port), "which rejects them"},
		{"the only way to https", fmt.Sprintf("site 1 {\nserver_bindings :%d:\nrequire_ssl\n", ts.FreePort(t)) + binding("sni\nreject") + "}", "needs an https binding"},
	} {
		refusedLoad(t, s, c.name, iisConfig(certificates(t, "D")+c.config), c.reason)
	}
}
