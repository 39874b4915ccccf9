package caddyiis_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestOneTruth: what endpoints shows of an address, explain says of it and verify finds
// there, whatever listen leaves.
func TestOneTruth(t *testing.T) {
	const certificates = `
		certificate main {
			subjects www.contoso.test
			issuer internal
		}
		certificate other {
			subjects other.contoso.test
			issuer internal
		}`
	for name, test := range map[string]struct {
		config  string
		silent  []string // endpoints where nothing listens
		without string   // what clients get without SNI at *
	}{
		"all addresses": {`
			site 1 {
				secure_bindings *:TLS:www.contoso.test
				certificate main
				respond ok
			}`, nil, "main"},
		"one address": {`
			listen 127.0.0.1
			site 1 {
				server_bindings *:HTTP:www.contoso.test
				secure_bindings *:TLS:www.contoso.test
				certificate main
				respond ok
			}`, nil, "main"},
		"one address, which has a certificate of its own": {`
			listen 127.0.0.1
			endpoint 127.0.0.1:TLS {
				certificate other
			}
			site 1 {
				secure_bindings *:TLS:www.contoso.test
				certificate main
				respond ok
			}`, nil, "other"},
		"two addresses, of which one has a certificate of its own": {`
			listen 127.0.0.1 127.0.0.2
			endpoint 127.0.0.1:TLS {
				certificate other
			}
			site 1 {
				secure_bindings *:TLS:www.contoso.test
				certificate main
				respond ok
			}`, nil, "main"},
		"a binding to an address that is left out": {`
			listen 127.0.0.1
			site 1 {
				secure_bindings *:TLS:www.contoso.test 127.0.0.2:TLS:www.contoso.test
				certificate main
				respond ok
			}`, []string{"127.0.0.2:TLS"}, "main"},
		"a certificate for an address that is left out": {`
			listen 127.0.0.1
			endpoint 127.0.0.2:TLS {
				certificate other
			}
			site 1 {
				autostart off
				secure_bindings *:TLS:stopped.contoso.test
				certificate main
				respond ok
			}
			site 2 {
				server_bindings *:HTTP:www.contoso.test
				respond ok
			}`, []string{"127.0.0.2:TLS"}, "main"},
		"an address that rejects": {`
			listen 127.0.0.1
			endpoint 127.0.0.1:TLS {
				reject
			}
			site 1 {
				secure_bindings *:TLS:www.contoso.test
				certificate main
				respond ok
			}`, nil, ""},
		"IPv6 alone": {`
			listen ::1
			site 1 {
				secure_bindings *:TLS:www.contoso.test
				certificate main
				respond ok
			}`, nil, "main"},
		"a stopped site": {`
			listen 127.0.0.1
			site 1 {
				autostart off
				server_bindings *:HTTP:www.contoso.test
				respond ok
			}
			site 2 {
				secure_bindings *:TLS:www.contoso.test
				certificate main
				respond ok
			}`, []string{"*:HTTP"}, "main"},
	} {
		t.Run(name, func(t *testing.T) {
			tlsPort, httpPort := fmt.Sprint(ts.FreePort(t)), fmt.Sprint(ts.FreePort(t))
			ports := strings.NewReplacer("TLS", tlsPort, "HTTP", httpPort)
			s := &session{Server: startIIS(t, certificates+ports.Replace(test.config))}
			client, err := adminapi.New(s.AdminAddr())
			if err != nil {
				t.Fatal(err)
			}
			for p, err := range client.Endpoints(context.Background()) {
				if err != nil {
					t.Fatal(err)
				}
				if silent := slices.ContainsFunc(test.silent, func(at string) bool { return ports.Replace(at) == p.Address }); p.Listening == silent {
					t.Errorf("endpoint %s: listening is %t (%s)", p.Address, p.Listening, p.Reason)
				}
				x, err := client.Explain(context.Background(), adminapi.Question{Local: p.Address, Scheme: p.Protocol})
				if err != nil {
					t.Fatal(err)
				}
				if x.Listening != p.Listening || x.Reason != p.Reason {
					t.Errorf("%s: endpoints says listening %t (%s), explain %t (%s)", p.Address, p.Listening, p.Reason, x.Listening, x.Reason)
				}
				if local, err := netip.ParseAddrPort(x.Local); err != nil || p.Listening && strings.Contains(test.config, "listen ") && local.Addr().IsUnspecified() {
					t.Errorf("%s: explain answers for %s, where no connection arrives (%v)", p.Address, x.Local, err)
				}
				if p.Protocol == "https" && p.Listening && x.Handshake.Certificate != p.WithoutSNI.Certificate {
					t.Errorf("%s: endpoints has certificate %q, explain %q", p.Address, p.WithoutSNI.Certificate, x.Handshake.Certificate)
				}
				if !p.Listening && strings.HasPrefix(p.Address, "127.0.0.2:") && p.Reason != "the listen option leaves this address out" {
					t.Errorf("%s: %s", p.Address, p.Reason)
				}
				if p.Address == "*:"+tlsPort && p.WithoutSNI.Certificate != test.without {
					t.Errorf("%s: certificate %q, want %q", p.Address, p.WithoutSNI.Certificate, test.without)
				}
			}
			for site, err := range client.Sites(context.Background()) {
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range site.Bindings {
					parsed, err := binding.Parse(b.Protocol, b.Binding)
					if err != nil {
						t.Fatal(err)
					}
					x, err := client.Explain(context.Background(), adminapi.Question{Local: strings.TrimSuffix(b.Binding, ":"+parsed.Host), Scheme: b.Protocol, SNI: parsed.Host})
					if err != nil {
						t.Fatal(err)
					}
					if h := x.Handshake; h != nil && !b.Reject && (h.Record != b.Record || h.Certificate != b.Certificate) || b.Reject != (test.without == "" && b.Protocol == "https") {
						t.Errorf("binding %s: show has record %s with certificate %q (reject %t), explain %+v", b.Binding, b.Record, b.Certificate, b.Reject, h)
					}
				}
			}
			v, code := verify(t, s, "--roots", "internal")
			for _, c := range v.comparisons {
				if host, _, _ := strings.Cut(c.Address, ":"); strings.Contains(test.config, "listen 127.0.0.1 127.0.0.2") && strings.HasPrefix(c.Endpoint, "*:") && host != "127.0.0.2" {
					t.Errorf("verify connects to %s for %s, which is another endpoint", c.Address, c.Endpoint)
				}
			}
			for _, c := range v.comparisons {
				for _, r := range c.Reasons {
					if r.Class == cli.ClassDiffers {
						t.Errorf("verify at %s: %s", c.Address, r.Message)
					}
				}
			}
			if v.Total == 0 {
				t.Errorf("verify, exit code %d: no connections", code)
			}
		})
	}
}

// TestListFilters: each flag leaves the sites that it names, and pages are parts of the list.
func TestListFilters(t *testing.T) {
	port, tlsPort := ts.FreePort(t), ts.FreePort(t)
	s := startIIS(t, fmt.Sprintf(`
		certificate main {
			subjects www.contoso.test
			issuer internal
		}
		site 1 Shop {
			server_bindings *:%[1]d:www.contoso.test
			secure_bindings *:%[2]d:www.contoso.test
			certificate main
			require_ssl
			respond ok
		}
		site 2 Off {
			autostart off
			server_bindings *:%[1]d:off.contoso.test
			respond ok
		}
		site 3 Empty {
			respond ok
		}
		site 4 Books {
			server_bindings *:%[1]d:bücher.contoso.test *:%[1]d:*.bücher.contoso.test
			respond ok
		}`, port, tlsPort))
	for args, want := range map[string]string{
		"":                                       "1 2 3 4",
		"--host BÜCHER.contoso.test":             "4",
		"--host xn--bcher-kva.contoso.test:80":   "4",
		"--host *.bücher.contoso.test":           "4",
		"--host WWW.contoso.test":                "1",
		"--host contoso.test":                    "",
		"--state stopped":                        "2",
		"--certificate main":                     "1",
		"--findings":                             "3",
		"--findings=error":                       "",
		"--findings=info":                        "3",
		"--source configuration":                 "1 2 3 4",
		"--source configuration --state started": "1 3 4",
		"--limit 2":                              "1 2",
		"--limit 2 --after 2":                    "3 4",
		"--after 2 --limit 2":                    "3 4",
		"--after 3":                              "4",
	} {
		var out, errOut bytes.Buffer
		code := caddyiis.RunCommand(&out, &errOut, append([]string{"list", "--address", s.AdminAddr()}, strings.Fields(args)...)...)
		var ids []string
		for line := range strings.Lines(out.String()) {
			if id := strings.Fields(line)[0]; id != "ID" && id != "There" {
				ids = append(ids, id)
			}
		}
		if got := strings.Join(ids, " "); code != 0 || got != want {
			t.Errorf("list %s: exit code %d, sites %q, want %q\n%s%s", args, code, got, want, &out, &errOut)
		}
		if next := strings.Contains(errOut.String(), "--after 2 shows"); next != (args == "--limit 2") {
			t.Errorf("list %s: %s", args, &errOut)
		}
	}
	for args, says := range map[string]string{
		"--state halted": "halted", "--findings=bad": "bad", "--limit 0": "1 to", "--limit 100000": "1 to", "--after x": "x",
		"--host=": "--host is empty", "--state=": "--state is empty", "--certificate=": "--certificate is empty",
		"--source=": "--source is empty", "--findings=": "--findings is empty", "--after=": "--after is empty",
		"--source bolt": `no source "bolt"`, "--source sites_file": `no source "sites_file"`,
	} {
		var out, errOut bytes.Buffer
		code := caddyiis.RunCommand(&out, &errOut, append([]string{"list", "--address", s.AdminAddr()}, strings.Fields(args)...)...)
		if !strings.Contains(errOut.String(), says) || code == 0 || strings.HasSuffix(says, "empty") && code != cli.ExitUsage {
			t.Errorf("list %s: exit code %d: %s%s", args, code, &out, &errOut)
		}
	}
}

// TestShowServes: show tells what serves a site and what it demands.
func TestShowServes(t *testing.T) {
	port, tlsPort, root := ts.FreePort(t), ts.FreePort(t), t.TempDir()
	s := startIIS(t, fmt.Sprintf(`
		certificate main {
			subjects www.contoso.test
			issuer internal
		}
		template app {
			site_vars {
				upstream {
					to 127.0.0.1
				}
			}
			reverse_proxy {iis.vars.upstream} 127.0.0.1:1
		}
		endpoint *:%[2]d {
			certificate main
			client_auth {
				mode request
			}
		}
		site 1 Files {
			server_bindings *:%[1]d:www.contoso.test
			secure_bindings *:%[2]d:www.contoso.test
			certificate main
			require_ssl redirect
			hsts 1h
			log
			w3c_log %[3]s/w3c
			root * %[3]s
			file_server
		}
		site 2 App {
			server_bindings *:%[1]d:app.contoso.test
			template app
			site_vars {
				upstream 127.0.0.1:2
			}
		}`, port, tlsPort, root))
	for site, want := range map[string][]string{
		"Files": {"source: configuration", "served by: routes of its own", "root: " + root, "require_ssl: redirect", "hsts: max-age=3600", "log: iis.log.access.1", "w3c_log: " + root + "/w3c", "CLIENT CERTIFICATE", "requested"},
		"2":     {`served by: template "app"`, "upstream: 127.0.0.1:1", `variable: upstream = "127.0.0.1:2"`},
	} {
		var out, errOut bytes.Buffer
		code := caddyiis.RunCommand(&out, &errOut, "show", site, "--address", s.AdminAddr())
		for _, text := range want {
			if code != 0 || !strings.Contains(out.String(), text) {
				t.Errorf("show %s: exit code %d, no %q in\n%s%s", site, code, text, &out, &errOut)
			}
		}
	}
	for template, want := range map[string]int{"app": 1, "App": 0} {
		var found adminapi.Page[adminapi.Site]
		s.AdminJSON("/iis/sites?template="+template, &found)
		if found.Total != want || want == 1 && found.Items[0].ID != 2 {
			t.Errorf("template %s: %+v", template, found)
		}
	}
}

// TestShowOwnRoutes: the routes of a row are those of its document.
func TestShowOwnRoutes(t *testing.T) {
	l := startLive(t, fmt.Sprintf(allowSome, "to 127.0.0.1:7"), "")
	l.want(201, "PUT", "sites/10", l.site("Row", "a.test", `"routes":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:7"}]}]}]`))
	l.want(201, "PUT", "sites/11", l.site("Page", "b.test", `"template":"page"`))
	for site, want := range map[string][]string{
		"Row": {"source: bolt", "served by: routes of its own", "upstream: 127.0.0.1:7"}, "Page": {`served by: template "page"`},
	} {
		out, _ := l.run(0, "show", site)
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("show %s: no %q in\n%s", site, text, out)
			}
		}
	}
}

// TestShowUnreadable: what cannot be read of the configuration is said, and is not nothing.
func TestShowUnreadable(t *testing.T) {
	for config, want := range map[string]string{
		`{"error":"no access"}`: "no access", `null`: "nothing is there", `7`: "cannot be read",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/iis/sites/1":
				fmt.Fprint(w, `{"id":1,"state":"started","serves":{"template":"a b"}}`)
			case r.URL.Path != "/config/apps/iis/templates/a b":
				t.Errorf("asked for %s", r.URL.Path)
			default:
				if strings.Contains(config, "error") {
					w.WriteHeader(http.StatusForbidden)
				}
				fmt.Fprint(w, config)
			}
		}))
		defer srv.Close()
		var out, errOut bytes.Buffer
		code := caddyiis.RunCommand(&out, &errOut, "show", "1", "--address", strings.TrimPrefix(srv.URL, "http://"))
		if code != 0 || !strings.Contains(out.String(), "served by: unknown") || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d\n%s%s", config, code, &out, &errOut)
		}
	}
}
