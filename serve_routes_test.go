package caddyiis_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestServeRoutes: a site is served by its own directives, else by the defaults,
// with what each says about errors.
func TestServeRoutes(t *testing.T) {
	port := ts.FreePort(t)
	startIIS(t, fmt.Sprintf(`
		site 1 Defaults {
			server_bindings :%[1]d:defaults.test
		}
		site 2 Own {
			server_bindings :%[1]d:own.test
			@post path /only/*
			respond @post "own only"
			handle_path /api/* {
				respond "own api {path}"
			}
			error /teapot 418
			error /fail "no luck" 500
			respond /ok "own ok"
		}
		site 3 Errors {
			server_bindings :%[1]d:errors.test
			error /gone 410
			error /fail "no luck" 500
			error /teapot 418
			respond "errors ok"
			handle_errors 410 {
				respond "gone from {iis.site.name}" 410
			}
			handle_errors 5xx {
				respond "{err.status_code} {err.message} in {iis.site.id}" 503
			}
		}
		site 4 OtherErrors {
			server_bindings :%[1]d:others.test
			error 410
			handle_errors {
				respond "others {err.status_code}"
			}
		}
		site 5 BrokenErrors {
			server_bindings :%[1]d:broken.test
			error 410
			handle_errors {
				error "twice" 502
			}
		}
		defaults {
			error /fail 500
			respond "defaults of {iis.site.id}"
			handle_errors {
				respond "default error {err.status_code} in {iis.site.id}" {err.status_code}
			}
		}
	`, port))
	for _, c := range []struct {
		host, path string
		status     int
		body       string
	}{
		{"defaults.test", "/", 200, "defaults of 1"},
		{"defaults.test", "/fail", 500, "default error 500 in 1"},
		{"own.test", "/only/x", 200, "own only"},
		{"own.test", "/api/x", 200, "own api /x"},
		{"own.test", "/ok", 200, "own ok"},
		{"own.test", "/nothing", 200, ""}, // as a site of Caddy
		{"own.test", "/teapot", 418, ""},
		{"own.test", "/fail", 500, ""},
		{"errors.test", "/", 200, "errors ok"},
		{"errors.test", "/gone", 410, "gone from Errors"},
		{"errors.test", "/fail", 503, "500 no luck in 3"},
		{"errors.test", "/teapot", 418, ""}, // no error route has it
		{"others.test", "/", 410, "others 410"},
		{"broken.test", "/", 410, ""},
	} {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Plain: true, Host: c.host, Path: c.path})
		if err != nil || answer.Status != c.status || answer.Body != c.body {
			t.Errorf("%s%s: got %v, %v; want %d %q", c.host, c.path, answer, err, c.status, c.body)
		}
	}
}

// TestServeSiteWithoutRoutes: with no directives at all a site answers 200 without
// content, as one of Caddy does.
func TestServeSiteWithoutRoutes(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	startIIS(t, certificates(t, "D")+fmt.Sprintf(`
		site 1 {
			server_bindings :%d:www.test
			secure_bindings :%d:www.test
			certificate D
		}
	`, httpPort, httpsPort))
	exchange{name: "http", request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "www.test"}}.check(t)
	exchange{name: "https", request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test"}, cert: "D"}.checkAll(t)
	exchange{name: "unknown", request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "unknown.test"}, status: 400, body: "Invalid Hostname"}.check(t)
}

func TestServePlaceholders(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	startIIS(t, certificates(t, "port", "named")+fmt.Sprintf(`
		site 4294967295 "A Name" {
			server_bindings :%[1]d:www.test 127.0.0.2:%[1]d:www.test :%[1]d:
			secure_bindings :%[2]d:www.test [::1]:%[2]d:
			binding https *:%[2]d:*.sub.test {
				sni
				certificate named
			}
			certificate port
		}
		site 2 {
			server_bindings :%[1]d:two.test
		}
		defaults {
			header X-Site {iis.site.id}
			@named vars {iis.site.name} "A Name"
			header @named X-Named yes
			respond "{iis.site.id}|{iis.site.name}|{iis.binding}|{iis.certificate}|{iis.sni}"
		}
	`, httpPort, httpsPort))
	const largest = "4294967295"
	for _, c := range []struct {
		request ts.Request
		cert    string
		body    string
	}{
		{ts.Request{Addr: at("127.0.0.1", httpPort), Host: "www.test"}, "", fmt.Sprintf("%s|A Name|*:%d:www.test||", largest, httpPort)},
		{ts.Request{Addr: at("127.0.0.2", httpPort), Host: "WWW.test:99"}, "", fmt.Sprintf("%s|A Name|127.0.0.2:%d:www.test||", largest, httpPort)},
		{ts.Request{Addr: at("127.0.0.1", httpPort), Host: "x.test"}, "", fmt.Sprintf("%s|A Name|*:%d:||", largest, httpPort)},
		{ts.Request{Addr: at("127.0.0.1", httpPort), Host: "two.test"}, "", fmt.Sprintf("2||*:%d:two.test||", httpPort)},
		{ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test"}, "port", fmt.Sprintf("%s|A Name|*:%d:www.test|port|www.test", largest, httpsPort)},
		{ts.Request{Addr: at("127.0.0.1", httpsPort), Host: "www.test"}, "port", fmt.Sprintf("%s|A Name|*:%d:www.test|port|none", largest, httpsPort)},
		{ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "a.sub.test"}, "named", fmt.Sprintf("%s|A Name|*:%d:*.sub.test|named|a.sub.test", largest, httpsPort)},
		{ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "a.sub.test", Host: "www.test"}, "named", fmt.Sprintf("%s|A Name|*:%d:www.test|named|a.sub.test", largest, httpsPort)},
		{ts.Request{Addr: at("::1", httpsPort), Host: "x.test"}, "port", fmt.Sprintf("%s|A Name|[::1]:%d:|port|none", largest, httpsPort)},
	} {
		for _, c.request.Proto = range protocols {
			c.request.Plain = c.cert == ""
			if c.request.Plain && c.request.Proto != "h1" {
				continue
			}
			e := exchange{name: "placeholders", request: c.request, cert: c.cert, body: c.body}
			answer, err := ts.Do(e.request)
			e.compare(t, answer, err)
			if err != nil {
				continue
			}
			wantID, wantNamed := largest, "yes"
			if c.body[0] == '2' {
				wantID, wantNamed = "2", ""
			}
			if id, named := answer.Header.Get("X-Site"), answer.Header.Get("X-Named"); id != wantID || named != wantNamed {
				t.Errorf("%v: got headers X-Site %q, X-Named %q; want %q, %q", e, id, named, wantID, wantNamed)
			}
		}
	}
}

// TestServeFileServer: defaults serve each site from a directory of its own.
func TestServeFileServer(t *testing.T) {
	httpPort, httpsPort, root := ts.FreePort(t), ts.FreePort(t), t.TempDir()
	for id, text := range map[string]string{"1": "files of one", "2": "files of two"} {
		dir := filepath.Join(root, id)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	startIIS(t, certificates(t, "D")+fmt.Sprintf(`
		site 1 {
			server_bindings :%[1]d:one.test
			secure_bindings :%[2]d:one.test
		}
		site 2 {
			secure_bindings :%[2]d:
			certificate D
		}
		site 3 {
			server_bindings :%[1]d:own.test
			root * %[3]q
			file_server
			handle_errors {
				respond "no such file: {path}"
			}
		}
		defaults {
			root * "%[3]s/{iis.site.id}"
			encode gzip
			file_server
		}
	`, httpPort, httpsPort, root))
	exchange{name: "http", request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "one.test"}, body: "files of one"}.check(t)
	exchange{name: "https", request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "one.test"}, cert: "D", body: "files of one"}.checkAll(t)
	exchange{name: "another site", request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "two.test"}, cert: "D", body: "files of two"}.checkAll(t)
	exchange{name: "no file", request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "one.test", Path: "/none"}, cert: "D", status: 404}.checkAll(t)
	exchange{name: "out of the root", request: ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "one.test", Path: "/../2/index.html"}, cert: "D", status: 404}.checkAll(t)
	exchange{name: "subdirectory", request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "own.test", Path: "/2/"}, body: "files of two"}.check(t)
	exchange{name: "error route", request: ts.Request{Addr: at("127.0.0.1", httpPort), Plain: true, Host: "own.test", Path: "/3/"}, status: 404, body: "no such file: /3/"}.check(t)
}
