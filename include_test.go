package caddyiis_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

func init() {
	caddy.RegisterModule(includer{})
	httpcaddyfile.RegisterHandlerDirective("test_includer", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return includer{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("test_includer", httpcaddyfile.Before, "respond")
}

// includer is a handler of somebody else that answers /include with what the
// server that it finds answers to a request for /part with another context.
type includer struct{}

func (includer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_includer", New: func() caddy.Module { return new(includer) }}
}

func (includer) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.URL.Path != "/include" {
		return next.ServeHTTP(w, r)
	}
	server := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/part", nil))
	_, err := fmt.Fprintf(w, "%d %s", answer.Code, answer.Body)
	return err
}

// TestHandlersFindTheirSiteAgain: what a handler asks of the server that it
// finds, its own site answers, also where sites share a host, their handlers
// and everything else.
func TestHandlersFindTheirSiteAgain(t *testing.T) {
	root := t.TempDir()
	for _, id := range []string{"1", "2", "3"} {
		if err := os.Mkdir(filepath.Join(root, id), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"page.html": `<{{httpInclude "/part.html"}}>`,
			"part.html": `part of {{placeholder "iis.site.id"}} by {{placeholder "iis.binding"}}`,
			"lost.html": `<{{httpInclude "/missing.html"}}>`,
		} {
			if err := os.WriteFile(filepath.Join(root, id, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	firstPort, secondPort, securePort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	ca := newAuthority(t, "clients")
	log := filepath.Join(needs.OpenFolder(t), "access.log")
	file := filepath.Join(t.TempDir(), "sites")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"id":3,"server_bindings":[":%d:www.test"]}`+"\n", secondPort), 0o600); err != nil {
		t.Fatal(err)
	}
	startIIS(t, certificates(t, "D")+fmt.Sprintf(`
		sites_file %[5]q
		defaults {
			root * %[4]s/{iis.site.id}
			templates
			file_server
		}
		site 1 {
			server_bindings :%[1]d:www.test :%[1]d:other.test
		}
		site 2 {
			binding https *:%[3]d:www.test {
				certificate D
				client_auth {
					mode require_and_verify
					trust_pool file %[6]q
				}
			}
			require_client_certificate
			log
		}
		site 4 {
			server_bindings :%[1]d:handler.test
			test_includer
			respond /part* "part of {iis.site.id}, {client_ip}"
			handle_errors {
				root * %[4]s/1
				rewrite * /page.html
				templates
				file_server
			}
			error /broken 418
		}
		servers {
			trusted_proxies static 192.0.2.1/32
		}`, firstPort, secondPort, securePort, root, file, ca.file(t)),
		fmt.Sprintf("log access2 {\ninclude iis.log.access.2\noutput file %q\n}", log))
	get := func(r ts.Request, status int, want string) {
		t.Helper()
		answer, err := ts.Do(r)
		if err != nil || answer.Status != status || !strings.Contains(answer.Body, want) {
			t.Errorf("%s %s: got %v, %v; want %d %q", r.Host, r.Path, answer, err, status, want)
		}
	}
	first, second, secure := at("127.0.0.1", firstPort), at("127.0.0.1", secondPort), at("127.0.0.1", securePort)
	for range 2 { // the second time, all servers are there
		get(ts.Request{Addr: first, Plain: true, Host: "www.test", Path: "/page.html"}, 200, fmt.Sprintf("<part of 1 by *:%d:www.test>", firstPort))
		get(ts.Request{Addr: first, Plain: true, Host: "other.test", Path: "/page.html"}, 200, fmt.Sprintf("<part of 1 by *:%d:other.test>", firstPort))
		get(ts.Request{Addr: second, Plain: true, Host: "www.test", Path: "/page.html"}, 200, fmt.Sprintf("<part of 3 by *:%d:www.test>", secondPort))
		get(ts.Request{Addr: secure, SNI: "www.test", Path: "/page.html", TLS: with(ca.client(t))}, 200, fmt.Sprintf("<part of 2 by *:%d:www.test>", securePort))
		get(ts.Request{Addr: first, Plain: true, Host: "www.test", Path: "/lost.html"}, 500, "")
		get(ts.Request{Addr: first, Plain: true, Host: "handler.test", Path: "/include"}, 200, "200 part of 4, 192.0.2.1")
		get(ts.Request{Addr: first, Plain: true, Host: "handler.test", Path: "/broken"}, 418, "<part of 4, 127.0.0.1>")
	}
	waitFor(t, "4 lines in the log of site 2, of 2 requests and 2 includes", func() bool {
		lines, _ := os.ReadFile(log)
		return strings.Count(string(lines), "\n") == 4 && strings.Count(string(lines), "Caddy-Templates-Include") == 2
	})
}
