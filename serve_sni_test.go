package caddyiis_test

import (
	"fmt"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// twoPorts has sites on two ports, each with a certificate for all clients: D
// on the first, Q on the second. On the first, www has a certificate of its
// own and so have subdomains of wild.test; header.test and *.header.test share
// that of the port.
func twoPorts(t *testing.T, first, second int, options string) string {
	t.Helper()
	return certificates(t, "A", "D", "Q", "W", "E") + fmt.Sprintf(`
		site 1 Default {
			binding https *:%[1]d: {
				certificate D
			}
		}
		site 2 Www {
			binding https *:%[1]d:www.test {
				sni
				certificate A
			}
		}
		site 3 Header {
			secure_bindings :%[1]d:header.test :%[1]d:*.header.test
		}
		site 4 Wild {
			binding https *:%[1]d:*.wild.test {
				sni
				certificate W
			}
		}
		site 5 Second {
			binding https *:%[2]d: {
				certificate Q
			}
		}
		site 6 SecondNamed {
			binding https *:%[2]d:second.test
		}
		site 7 Stopped {
			secure_bindings :%[1]d:stopped.test
			autostart off
		}
		%[3]s
	`, first, second, options) + exampleDefaults
}

// handshake is a server name at one of two ports, and what it gets.
type handshake struct {
	ip     string // default 127.0.0.1
	second bool   // the second port
	sni    string
	host   string // default: sni
	cert   string // empty: refused
	site   string
}

// named are the server names that twoPorts knows, however the others are
// treated.
var named = []handshake{
	{sni: "www.test", cert: "A", site: "2"},
	{sni: "WWW.Test", cert: "A", site: "2"},
	{sni: "www.test", host: "header.test", cert: "A", site: "3"},
	{sni: "header.test", cert: "D", site: "3"},
	{sni: "a.header.test", cert: "D", site: "3"},
	{sni: "a.wild.test", cert: "W", site: "4"},
	{sni: "stopped.test", cert: "D", site: "1"},
	{second: true, sni: "second.test", cert: "Q", site: "6"},
	{ip: "::1", sni: "www.test", cert: "A", site: "2"},
	{ip: "::1", sni: "header.test", cert: "D", site: "3"},
}

func TestServerNames(t *testing.T) {
	first, second := ts.FreePort(t), ts.FreePort(t)
	missing := []handshake{
		{host: "www.test", cert: "D", site: "2"},
		{host: "header.test", cert: "D", site: "3"},
		{host: "a.wild.test", cert: "D", site: "4"},
		{ip: "::1", host: "www.test", cert: "D", site: "2"},
		{second: true, host: "www.test", cert: "Q", site: "5"},
		{second: true, host: "second.test", cert: "Q", site: "6"},
	}
	unmatched := []handshake{
		{sni: "unknown.test", cert: "D", site: "1"},
		{sni: "unknown.test", host: "header.test", cert: "D", site: "3"},
		{sni: "wild.test", cert: "D", site: "1"},     // a wildcard stands for a label
		{sni: "b.a.wild.test", cert: "D", site: "1"}, // for one only
		{sni: "second.test", cert: "D", site: "1"},   // of the other port
		{second: true, sni: "unknown.test", cert: "Q", site: "5"},
		{second: true, sni: "www.test", cert: "Q", site: "5"},
		{second: true, sni: "header.test", cert: "Q", site: "5"},
		{second: true, sni: "a.wild.test", cert: "Q", site: "5"},
		{ip: "::1", sni: "unknown.test", cert: "D", site: "1"},
	}
	for name, set := range map[string]struct {
		options    string
		handshakes []handshake
	}{
		"fallback":                  {"", join(named, missing, unmatched)},
		"sni_missing reject":        {"sni_missing reject", join(named, none(missing), unmatched)},
		"sni_unmatched reject":      {"sni_unmatched reject", join(named, missing, none(unmatched))},
		"both reject":               {"sni_missing reject\nsni_unmatched reject", join(named, none(missing), none(unmatched))},
		"the second port rejects":   {endpoint("*", second, "Q", "sni_missing reject", "sni_unmatched reject"), join(named, none(missing, true), none(unmatched, true))},
		"one address rejects":       {endpoint("127.0.0.2", first, "E", "sni_missing reject", "sni_unmatched reject"), join(named, missing, unmatched, other(first), none(other(first), false)[1:])},
		"the second port does not":  {"sni_missing reject\nsni_unmatched reject\n" + endpoint("*", second, "Q", "sni_missing fallback", "sni_unmatched fallback"), join(named, none(missing, false), none(unmatched, false))},
		"one address does not":      {"sni_missing reject\nsni_unmatched reject\n" + endpoint("127.0.0.2", first, "E", "sni_missing fallback", "sni_unmatched fallback"), join(named, none(missing), none(unmatched), other(first))},
		"without names it may come": {"sni_unmatched reject\n" + endpoint("*", second, "Q", "sni_missing reject", "sni_unmatched fallback"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_ = set
		})
	}
	_ = strings.TrimSpace
}
