package caddyiis_test

import (
	"fmt"
	"slices"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// Where clients connect to: two ports with a certificate each for all clients,
// and an address that has another one on the first of them.
const (
	atFirst  = "first port"
	atSecond = "second port"
	atOne    = "one address"
)

// serverNames has certificate D on the first port, Q on the second, and E at
// 127.0.0.2 on the first. On the first, www.test and the subdomains of wild.test
// have certificates of their own; header.test and its subdomains have only host
// header bindings, with the certificate of the port.
func serverNames(t *testing.T, firstPort, secondPort int, options, secondOptions, oneOptions string) string {
	t.Helper()
	return certificates(t, "A", "D", "E", "Q", "W") + fmt.Sprintf(`
		site 1 {
			binding https *:%[1]d: {
				certificate D
			}
		}
		site 2 {
			binding https *:%[1]d:www.test {
				sni
				certificate A
			}
		}
		site 3 {
			secure_bindings :%[1]d:header.test :%[1]d:*.header.test
		}
		site 4 {
			binding https *:%[1]d:*.wild.test {
				sni
				certificate W
			}
		}
		site 5 {
			secure_bindings :%[2]d:
		}
		site 6 {
			secure_bindings :%[2]d:second.test
		}
		site 7 {
			secure_bindings :%[1]d:stopped.test
			autostart off
		}
		endpoint *:%[2]d {
			certificate Q
			%[4]s
		}
		endpoint 127.0.0.2:%[1]d {
			certificate E
			%[5]s
		}
		%[3]s
	`, firstPort, secondPort, options, secondOptions, oneOptions) + exampleDefaults
}

// TestServeServerNames: no server name, unknown ones and those of another port get
// the certificate of the endpoint or, where that is rejected, a reset; and names
// that bindings know work all the same.
func TestServeServerNames(t *testing.T) {
	firstPort, secondPort := ts.FreePort(t), ts.FreePort(t)
	handshakes := []struct {
		known      bool // a binding has the server name
		where      string
		sni, host  string
		cert, site string
		overIPv6   bool
	}{
		{known: true, where: atFirst, sni: "www.test", cert: "A", site: "2"},
		{known: true, where: atFirst, sni: "WWW.Test", cert: "A", site: "2"},
		{known: true, where: atFirst, sni: "www.test", host: "header.test", cert: "A", site: "3"},
		{known: true, where: atFirst, sni: "header.test", cert: "D", site: "3"},
		{known: true, where: atFirst, sni: "a.header.test", cert: "D", site: "3"},
		{known: true, where: atFirst, sni: "a.wild.test", cert: "W", site: "4"},
		{known: true, where: atFirst, sni: "stopped.test", cert: "D", site: "1"},
		{known: true, where: atFirst, sni: "header.test", cert: "D", site: "3", overIPv6: true},
		{known: true, where: atSecond, sni: "second.test", cert: "Q", site: "6"},
		{known: true, where: atOne, sni: "www.test", cert: "E", site: "2"},
		{known: true, where: atOne, sni: "header.test", cert: "E", site: "3"},

		{where: atFirst, host: "www.test", cert: "D", site: "2"},
		{where: atFirst, host: "a.wild.test", cert: "D", site: "4"},
		{where: atFirst, host: "unknown.test", cert: "D", site: "1"},
		{where: atFirst, host: "www.test", cert: "D", site: "2", overIPv6: true},
		{where: atSecond, host: "www.test", cert: "Q", site: "5"},
		{where: atSecond, host: "second.test", cert: "Q", site: "6"},
		{where: atOne, host: "www.test", cert: "E", site: "2"},

		{where: atFirst, sni: "unknown.test", cert: "D", site: "1"},
		{where: atFirst, sni: "unknown.test", host: "header.test", cert: "D", site: "3"},
		{where: atFirst, sni: "wild.test", cert: "D", site: "1"},
		{where: atFirst, sni: "b.a.wild.test", cert: "D", site: "1"},
		{where: atFirst, sni: "second.test", cert: "D", site: "1"},
		{where: atFirst, sni: "unknown.test", cert: "D", site: "1", overIPv6: true},
		{where: atSecond, sni: "unknown.test", cert: "Q", site: "5"},
		{where: atSecond, sni: "www.test", cert: "Q", site: "5"},
		{where: atSecond, sni: "header.test", cert: "Q", site: "5"},
		{where: atSecond, sni: "a.wild.test", cert: "Q", site: "5"},
		{where: atOne, sni: "unknown.test", cert: "E", site: "1"},
		{where: atOne, sni: "second.test", cert: "E", site: "1"},
	}
	const bothReject, bothFallBack = "sni_missing reject\nsni_unmatched reject", "sni_missing fallback\nsni_unmatched fallback"
	for _, set := range []struct {
		name                               string
		options, secondOptions, oneOptions string
		missing, unmatched                 []string // where they are rejected
	}{
		{name: "fallback"},
		{name: "missing", options: "sni_missing reject", missing: []string{atFirst, atSecond, atOne}},
		{name: "unmatched", options: "sni_unmatched reject", unmatched: []string{atFirst, atSecond, atOne}},
		{name: "both", options: bothReject, missing: []string{atFirst, atSecond, atOne}, unmatched: []string{atFirst, atSecond, atOne}},
		{name: "only the second port", secondOptions: bothReject, missing: []string{atSecond}, unmatched: []string{atSecond}},
		{name: "only one address", oneOptions: "sni_unmatched reject", unmatched: []string{atOne}},
		{name: "not the second port", options: bothReject, secondOptions: bothFallBack, missing: []string{atFirst, atOne}, unmatched: []string{atFirst, atOne}},
		{name: "not one address", options: bothReject, oneOptions: "sni_missing fallback", missing: []string{atFirst, atSecond}, unmatched: []string{atFirst, atSecond, atOne}},
	} {
		t.Run(set.name, func(t *testing.T) {
			startIIS(t, serverNames(t, firstPort, secondPort, set.options, set.secondOptions, set.oneOptions))
			addrs := map[string]string{atFirst: at("127.0.0.1", firstPort), atSecond: at("127.0.0.1", secondPort), atOne: at("127.0.0.2", firstPort)}
			for _, h := range handshakes {
				request := ts.Request{Addr: addrs[h.where], SNI: h.sni, Host: h.host}
				if h.overIPv6 {
					request.Addr = at("::1", firstPort)
				}
				rejected := set.unmatched
				if h.sni == "" {
					rejected = set.missing
				}
				if h.known || !slices.Contains(rejected, h.where) {
					exchange{name: h.where, request: request, cert: h.cert, body: h.site}.checkAll(t)
					continue
				}
				for _, request.Proto = range protocols {
					refused(t, h.where, request)
				}
			}
		})
	}
}
