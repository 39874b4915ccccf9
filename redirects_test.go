package caddyiis_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestRedirectsToNowhere: a redirect to a host that no https binding has is a
// finding, and no other redirect is.
func TestRedirectsToNowhere(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	sites := certificates(t, "D") + fmt.Sprintf(`
		endpoint *:%[2]d {
			certificate D
		}
		site 1 {
			server_bindings :%[1]d:both.test :%[1]d:lost.test :%[1]d:a.wild.test :%[1]d:others.test
			secure_bindings :%[2]d:both.test :%[2]d:*.wild.test
			require_ssl redirect
		}
		site 2 {
			secure_bindings 127.0.0.2:%[2]d:others.test
		}
		site 3 {
			server_bindings :%[1]d:plain.test
		}
		site 4 {
			server_bindings :%[1]d:stopped.test
			secure_bindings :%[2]d:elsewhere.test
			require_ssl redirect
			autostart off
		}
		site 5 {
			server_bindings :%[1]d:*.deep.test 127.0.0.3:%[1]d:others.test
			secure_bindings :%[2]d:deep.test
			require_ssl redirect
		}
		site 6 {
			server_bindings :%[1]d:gone.test
			binding https *:%[2]d:gone.test {
				sni
				reject
			}
			binding https *:%[2]d:six.test
			require_ssl redirect
		}
		site 7 {
			server_bindings :%[1]d:
			secure_bindings :%[2]d:seven.test
			require_ssl redirect
		}
		site 8 {
			server_bindings :%[1]d:hsts.test
			secure_bindings :%[2]d:hsts.test
			hsts 1h {
				redirect_http
			}
		}
	`, httpPort, httpsPort)
	found := func(s *ts.Server) (list []string) {
		var page adminapi.Page[adminapi.Finding]
		s.AdminJSON("/iis/check", &page)
		for _, f := range page.Items {
			if f.Code == "redirect-to-nowhere" {
				list = append(list, fmt.Sprintf("%s %d %s", f.Severity, f.Site, f.Binding))
			}
		}
		slices.Sort(list)
		return list
	}
	at := func(severity string, site int, ip, host string) string {
		return fmt.Sprintf("%s %d %s:%d:%s", severity, site, ip, httpPort, host)
	}
	want := []string{
		at("info", 7, "*", ""),
		at("warning", 1, "*", "lost.test"),
		at("warning", 5, "*", "*.deep.test"), at("warning", 5, "127.0.0.3", "others.test"),
		at("warning", 6, "*", "gone.test"),
		at("warning", 8, "*", "hsts.test"), // always to port 443
	}
	slices.Sort(want)
	s := startIIS(t, sites)
	if got := found(s); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	var site adminapi.Site
	s.AdminJSON("/iis/sites/6", &site)
	if !slices.ContainsFunc(site.Findings, func(f adminapi.Finding) bool { return f.Code == "redirect-to-nowhere" }) {
		t.Errorf("the site does not show it: %+v", site.Findings)
	}
	// A balancer may have https for a site without https bindings; where a
	// site answers all hosts, nothing is lost.
	s = startIIS(t, sites+fmt.Sprintf(`
		site 9 {
			server_bindings :%[1]d:balanced.test
			require_ssl redirect
		}
		site 10 {
			secure_bindings :%[2]d:
		}
		servers {
			trusted_proxies static 10.0.0.0/8
		}`, httpPort, httpsPort))
	want = []string{at("warning", 6, "*", "gone.test"), at("warning", 8, "*", "hsts.test")}
	if got := found(s); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
