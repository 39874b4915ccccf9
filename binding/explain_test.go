package binding

import (
	"strings"
	"testing"
)

func TestExplainCertificate(t *testing.T) {
	tables := compile(t, []Site{
		site(1, "https *:443: cert=D"),
		site(2, "https *:443:www.contoso.com flags=1 cert=A", "https *:443:*.contoso.com flags=1 cert=W"),
		site(3, "https 10.0.0.5:443: cert=E"),
		site(4, "https *:443:s.example flags=3", "https *:444:s.example flags=2"),
	}, nil, Options{CentralStore: true, SNIMissing: Reject})
	for _, tc := range []struct{ to, sni, want string }{
		{"10.0.0.9:443", "www.contoso.com", `
- D1 row 1: local address and port, 10.0.0.9:443: no record for 10.0.0.9:443
+ D1 row 2: server name, www.contoso.com:443: certificate "A"
`},
		{"10.0.0.9:443", "Shop.contoso.com", `
- D1 row 1: local address and port, 10.0.0.9:443: no record for 10.0.0.9:443
- D1 row 2: server name, shop.contoso.com:443: no record for shop.contoso.com:443
+ D1 row 3: wildcard server name, *.contoso.com:443: certificate "W"
`},
		{"10.0.0.9:443", "x.org", `
- D1 row 1: local address and port, 10.0.0.9:443: no record for 10.0.0.9:443
- D1 row 2: server name, x.org:443: no record for x.org:443
- D1 row 3: wildcard server name, *.org:443: no record for *.org:443
- D1 row 4: scoped central store: bindings never make such a record
+ D1 row 5: central store, ccs:443: the central store, if it has a file for the name; else certificate "D" of 0.0.0.0:443 (D1 row 7: any address)
`},
		{"10.0.0.9:444", "x", `
- D1 row 1: local address and port, 10.0.0.9:444: no record for 10.0.0.9:444
- D1 row 2: server name, x:444: no record for x:444
- D1 row 3: wildcard server name: no wildcard stands for a name like this
- D1 row 4: scoped central store: bindings never make such a record
+ D1 row 5: central store, ccs:444: the central store, if it has a file for the name; else the handshake is refused
`},
		{"10.0.0.5:443", "", `
- D1 row 1: local address and port, 10.0.0.5:443: there is a record, but the client sent no server name, and sni_missing is reject
- D1 row 2: server name: the client sent no server name
- D1 row 3: wildcard server name: the client sent no server name
- D1 row 4: scoped central store: bindings never make such a record
- D1 row 5: central store, ccs:443: the client sent no server name
- D1 row 6: any IPv6 address, [::]:443: the connection is IPv4
- D1 row 7: any address, 0.0.0.0:443: there is a record, but the client sent no server name, and sni_missing is reject
+ D1 row 8: no certificate: the handshake is refused: the client sent no server name, and sni_missing is reject
`},
		{"[fe80::1%e0]:8443", strings.Repeat("a.", 127) + "x", `
nothing serves https on [fe80::1%e0]:8443
- D1 row 1: local address and port, [fe80::1%e0]:8443 or [fe80::1]:8443: no record for [fe80::1%e0]:8443 or [fe80::1]:8443
- D1 row 2: server name: the server name is longer than any host name
- D1 row 3: wildcard server name: the server name is longer than any host name
- D1 row 4: scoped central store: bindings never make such a record
- D1 row 5: central store, ccs:8443: no binding on this port takes its certificate from the central store
- D1 row 6: any IPv6 address, [::]:8443: no record for [::]:8443
- D1 row 7: any address, 0.0.0.0:8443: no record for 0.0.0.0:8443
+ D1 row 8: no certificate: the handshake is refused: no TLS record for this address, port and server name
`},
	} {
		if got := tables.ExplainCertificate(local(tc.to), tc.sni).String(); got != tc.want[1:] {
			t.Errorf("to %s with %q:\n%s\nwant:%s", tc.to, tc.sni, got, tc.want)
		}
	}
}

func TestExplainSite(t *testing.T) {
	tables := compile(t, []Site{
		site(2, "http *:80:www.contoso.com", "http *:80:*.contoso.com"),
		site(3, "http 10.0.0.5:80:"),
		stopped(site(4, "http *:80:s")),
	}, nil, Options{})
	for _, tc := range []struct{ to, host, want string }{
		{"10.0.0.5:80", "WWW.contoso.com:81", `
- D2 row 1: strong wildcard: bindings never make such a prefix
- D2 row 2: address and host, 10.0.0.5:80:www.contoso.com: no such binding of a started site
+ D2 row 3: host, *:80:www.contoso.com: site 2 "S2"
`},
		{"[2001:db8::1]:80", "a.contoso.com", `
- D2 row 1: strong wildcard: bindings never make such a prefix
- D2 row 2: address and host, [2001:db8::1]:80:a.contoso.com: no such binding of a started site
- D2 row 2: address and host, [::]:80:a.contoso.com: no such binding of a started site
- D2 row 3: host, *:80:a.contoso.com: no such binding of a started site
- D2 row 4: address and wildcard host, [2001:db8::1]:80:*.contoso.com: no such binding of a started site
- D2 row 4: address and wildcard host, [::]:80:*.contoso.com: no such binding of a started site
+ D2 row 5: wildcard host, *:80:*.contoso.com: site 2 "S2"
`},
		{"10.0.0.5:80", "s", `
- D2 row 1: strong wildcard: bindings never make such a prefix
- D2 row 2: address and host, 10.0.0.5:80:s: no such binding of a started site
- D2 row 3: host, *:80:s: no such binding of a started site
- D2 row 4: address and wildcard host: no wildcard stands for a name of one label
- D2 row 5: wildcard host: no wildcard stands for a name of one label
+ D2 row 6: address without host, 10.0.0.5:80:: site 3 "S3"
`},
		{"10.0.0.9:80", "10.0.0.9", `
- D2 row 1: strong wildcard: bindings never make such a prefix
- D2 row 2: address and host: the host is an IP address, which matches no host of a binding
- D2 row 3: host: the host is an IP address, which matches no host of a binding
- D2 row 4: address and wildcard host: the host is an IP address, which matches no host of a binding
- D2 row 5: wildcard host: the host is an IP address, which matches no host of a binding
- D2 row 6: address without host, 10.0.0.9:80:: no such binding of a started site
- D2 row 7: any host, *:80:: no such binding of a started site
+ D2 row 8: no site: no binding of a started site matches
`},
		{"10.0.0.9:80", "a b", `
+ D2 row 0: invalid host, a b: this is no valid host
`},
	} {
		if got := tables.ExplainSite(local(tc.to), HTTP, tc.host).String(); got != tc.want[1:] {
			t.Errorf("to %s, host %q:\n%s\nwant:%s", tc.to, tc.host, got, tc.want)
		}
	}
	if e := tables.ExplainSite(local("10.0.0.9:80"), HTTPS, "a"); e.Listening || !strings.HasPrefix(e.String(), "nothing serves https on 10.0.0.9:80\n") {
		t.Errorf("https on an http port: %s", e)
	}
}
