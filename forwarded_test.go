package caddyiis_test

import (
	"fmt"
	"net/http"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestOffloadingBalancer: behind a balancer that has https for the sites,
// require_ssl believes the X-Forwarded-Proto of trusted proxies, and of nobody
// else.
func TestOffloadingBalancer(t *testing.T) {
	plainPort, securePort := ts.FreePort(t), ts.FreePort(t)
	ca := newAuthority(t, "clients")
	sites := certificates(t, "D") + fmt.Sprintf(`
		endpoint *:%[2]d {
			certificate D
			client_auth {
				mode verify_if_given
				trust_pool file %[3]q
			}
		}
		site 1 {
			server_bindings :%[1]d:redirect.test
			secure_bindings :%[2]d:redirect.test
			require_ssl redirect
			respond served
		}
		site 2 {
			server_bindings :%[1]d:on.test
			secure_bindings :%[2]d:on.test
			require_ssl
			respond served
		}
		site 3 {
			server_bindings :%[1]d:hsts.test
			secure_bindings :%[2]d:hsts.test
			hsts 1h {
				redirect_http
			}
			respond served
		}
		site 4 {
			server_bindings :%[1]d:client.test
			secure_bindings :%[2]d:client.test
			require_client_certificate
			respond served
		}
		site 6 {
			server_bindings :%[1]d:offline.test
			secure_bindings :%[2]d:offline.test
			require_ssl redirect
			offline
		}`, plainPort, securePort, ca.file(t))
	// A site that has https at the balancer only.
	outside := fmt.Sprintf("\nsite 5 {\nserver_bindings :%d:outside.test\nrequire_ssl redirect\nrespond served\n}", plainPort)
	untrusted := map[string]int{"redirect.test": 301, "on.test": 403, "hsts.test": 301, "client.test": 403, "outside.test": 301, "offline.test": 503}
	trusted := map[string]int{"redirect.test": 200, "on.test": 200, "hsts.test": 200, "client.test": 403, "outside.test": 200, "offline.test": 503}
	for _, set := range []struct {
		name, options string
		proto         []string
		want          map[string]int
	}{
		{"trusted", "trusted_proxies static 127.0.0.1/32", []string{"https"}, trusted},
		{"in capitals", "trusted_proxies static 127.0.0.1/32", []string{"HTTPS"}, trusted},
		{"two proxies", "trusted_proxies static 127.0.0.1/32", []string{"https, https"}, trusted},
		{"the client came by http", "trusted_proxies static 127.0.0.1/32", []string{"http"}, untrusted},
		{"no header", "trusted_proxies static 127.0.0.1/32", nil, untrusted},
		{"the client sent one of its own", "trusted_proxies static 127.0.0.1/32", []string{"https, http"}, untrusted},
		{"and another header", "trusted_proxies static 127.0.0.1/32", []string{"https", "http"}, untrusted},
		{"empty", "trusted_proxies static 127.0.0.1/32", []string{""}, untrusted},
		{"another proxy", "trusted_proxies static 10.0.0.0/8", []string{"https"}, untrusted},
	} {
		t.Run(set.name, func(t *testing.T) {
			startIIS(t, sites+outside+"\nservers {\n"+set.options+"\n}")
			for host, status := range set.want {
				r := ts.Request{Addr: at("127.0.0.1", plainPort), Host: host, Plain: true, Header: http.Header{"X-Forwarded-Proto": set.proto}}
				e := exchange{name: host, request: r, status: status}
				if status == 200 {
					e.body = "served"
				}
				answer, err := ts.Do(r)
				e.compare(t, answer, err)
				if err != nil {
					continue
				}
				if host == "outside.test" && status == 301 && answer.Header.Get("Location") != "https://outside.test/" {
					t.Errorf("%s: redirected to %q", host, answer.Header.Get("Location"))
				}
				if got := answer.Header.Get("Strict-Transport-Security"); (got != "") != (host == "hsts.test" && status == 200) {
					t.Errorf("%s: Strict-Transport-Security is %q", host, got)
				}
				sub := map[bool]string{true: "7", false: "4"}[set.want["on.test"] == 200]
				if got := answer.Header.Get("X-Iis-Substatus"); host == "client.test" && got != sub {
					t.Errorf("%s: sub-status %q, want %q", host, got, sub)
				}
			}
		})
	}
	s := ts.Start(t, "{\n}\n")
	refusedLoad(t, s, "no proxy is trusted", iisConfig(sites+outside), "site 5", "require_ssl needs an https binding", "trusted_proxies")
}
