package caddyiis_test

import (
	"fmt"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestTwoPorts is the main job: two sites share a wildcard certificate on one
// port, a third has a certificate of its own there for clients with SNI, and
// another port has another certificate, whatever clients send.
func TestTwoPorts(t *testing.T) {
	a, b := ts.FreePort(t), ts.FreePort(t)
	ts.Start(t, fmt.Sprintf(`{
		iis {
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			certificate shop {
				subjects shop.fabrikam.test
				issuer internal
			}
			certificate partner {
				subjects partner.test
				issuer internal
			}
			site 1 Main {
				secure_bindings :%[1]d:www.contoso.test
				certificate wildcard
			}
			site 2 Api {
				secure_bindings :%[1]d:api.contoso.test
				certificate wildcard
			}
			site 3 Shop {
				binding https *:%[1]d:shop.fabrikam.test {
					sni
					certificate shop
				}
			}
			site 4 Partner {
				binding https *:%[2]d: {
					certificate partner
				}
			}
			defaults {
				respond "{iis.site.id} {iis.certificate} {iis.sni}"
			}
		}
	}`, a, b))
	portA, portB := fmt.Sprintf("127.0.0.1:%d", a), fmt.Sprintf("127.0.0.1:%d", b)
	for _, c := range []struct {
		addr, sni, host string
		status          int
		subject, body   string
	}{
		{portA, "www.contoso.test", "", 200, "*.contoso.test", "1 wildcard www.contoso.test"},
		{portA, "api.contoso.test", "", 200, "*.contoso.test", "2 wildcard api.contoso.test"},
		{portA, "SHOP.fabrikam.test", "", 200, "shop.fabrikam.test", "3 shop SHOP.fabrikam.test"},
		{portA, "", "api.contoso.test", 200, "*.contoso.test", "2 wildcard none"},
		{portA, "", "shop.fabrikam.test", 200, "*.contoso.test", "3 wildcard none"},
		{portA, "unknown.test", "", 400, "*.contoso.test", "Invalid Hostname"},
		{portA, "partner.test", "", 400, "*.contoso.test", "Invalid Hostname"},
		{portB, "", "", 200, "partner.test", "4 partner none"},
		{portB, "www.contoso.test", "", 200, "partner.test", "4 partner www.contoso.test"},
		{portB, "shop.fabrikam.test", "", 200, "partner.test", "4 partner shop.fabrikam.test"},
	} {
		for _, proto := range []string{"h1", "h2", "h3"} {
			name := fmt.Sprintf("%s sni=%s host=%s", proto, c.sni, c.host)
			answer, err := ts.Do(ts.Request{Addr: c.addr, SNI: c.sni, Host: c.host, Proto: proto})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if answer.Status != c.status || answer.Subject() != c.subject || !strings.Contains(answer.Body, c.body) {
				t.Errorf("%s: got %d, certificate %s, %q; want %d, %s, %q",
					name, answer.Status, answer.Subject(), answer.Body, c.status, c.subject, c.body)
			}
		}
	}
}

// TestWrapperAboveTLS: a listener wrapper in Caddy's default place, above TLS,
// may hide everything of the connections it wraps.
func TestWrapperAboveTLS(t *testing.T) {
	port := ts.FreePort(t)
	ts.Start(t, fmt.Sprintf(`{
		iis {
			servers {
				listener_wrappers {
					test_opaque
				}
			}
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			site 1 Main {
				secure_bindings :%d:www.contoso.test
				certificate wildcard
				respond "{iis.site.id} {iis.certificate}"
			}
		}
	}`, port))
	answer, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", port), SNI: "www.contoso.test"})
	if err != nil || answer.Body != "1 wildcard" || answer.Subject() != "*.contoso.test" {
		t.Errorf("got %+v, %v", answer, err)
	}
}
