package caddyiis_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestServeUnknownHost: what a host that no site has is answered, and that HTTP/1
// connections end with it while those of HTTP/2 and HTTP/3 go on.
func TestServeUnknownHost(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	certs := certificates(t, "D")
	config := func(option string) string {
		return iisConfig(certs + option + fmt.Sprintf(`
			site 1 {
				server_bindings :%[1]d:www.test
				secure_bindings :%[2]d:www.test
				certificate D
			}
			site 2 {
				server_bindings :%[1]d:offline.test
				secure_bindings :%[2]d:offline.test
				offline
			}
		`, httpPort, httpsPort) + exampleDefaults)
	}
	s := ts.Start(t, config(""))
	for _, c := range []struct {
		option, host string
		status       int
		heading      string
	}{
		{"", "unknown.test", 400, "Bad Request - Invalid Hostname"},
		{"unknown_host 400", "unknown.test", 400, "Bad Request - Invalid Hostname"},
		{"unknown_host 404", "unknown.test", 404, "Not Found"},
		{"unknown_host 421", "unknown.test", 421, "Misdirected Request"},
		{"unknown_host 404", "no_dot.test.", 400, "Bad Request - Invalid Hostname"},
		{"unknown_host abort", "no_dot.test.", 400, "Bad Request - Invalid Hostname"},
		{"unknown_host 404", "offline.test", 503, "Service Unavailable"},
	} {
		name := fmt.Sprintf("%q, host %s", c.option, c.host)
		if err := s.Load(config(c.option + "\n")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		get := "GET / HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n"
		plain, err := ts.Raw(at("127.0.0.1", httpPort), get+get)
		checkPage(t, name+", http", plain, err, c.status, c.heading)
		secure, err := ts.RawTLS(ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test"}, get+get)
		checkPage(t, name+", https", secure, err, c.status, c.heading)
		head, err := ts.Raw(at("127.0.0.1", httpPort), strings.Replace(get, "GET", "HEAD", 1))
		if err != nil || !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", c.status)) || !strings.HasSuffix(head, "\r\n\r\n") {
			t.Errorf("%s, HEAD: got %q, %v; want status %d and no content", name, head, err, c.status)
		}
		for _, proto := range []string{"h2", "h3"} {
			request := ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test", Proto: proto}
			client := ts.NewClient(request)
			bad := request
			bad.Host = c.host
			for range 2 {
				exchange{name: name, request: bad, status: c.status, cert: "D", body: "<h1>" + c.heading + "</h1>"}.onKept(t, client)
				exchange{name: name + ", then", request: request, cert: "D", body: "1"}.onKept(t, client)
			}
			if n := client.Dials(); n != 1 {
				t.Errorf("%s, %s: %d connections, want 1", name, proto, n)
			}
			client.Close()
		}
	}
}

// checkPage looks at what came back until the end of a connection: one page,
// though two were asked for.
func checkPage(t *testing.T, name, answer string, err error, status int, heading string) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v after %q", name, err, answer)
		return
	}
	head, body, _ := strings.Cut(answer, "\r\n\r\n")
	for _, want := range []string{"\r\nConnection: close", "\r\nContent-Type: text/html; charset=us-ascii", fmt.Sprintf("\r\nContent-Length: %d", len(body))} {
		if !strings.Contains(head, want) {
			t.Errorf("%s: no %q in %q", name, want, head)
		}
	}
	if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d %s\r\n", status, http.StatusText(status))) ||
		!strings.Contains(body, "<h1>"+heading+"</h1>") || strings.Contains(body, "HTTP/1.1") {
		t.Errorf("%s: got %q, want one page with status %d and heading %q", name, answer, status, heading)
	}
}

// TestServeUnknownHostAbort: no answer at all. HTTP/2 and HTTP/3 reset the stream
// and keep the connection.
func TestServeUnknownHostAbort(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	startIIS(t, certificates(t, "D")+fmt.Sprintf(`
		unknown_host abort
		site 1 {
			server_bindings :%d:www.test
			secure_bindings :%d:www.test
			certificate D
			test_slow 200ms
			respond {iis.site.id}
		}
	`, httpPort, httpsPort))
	get := "GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n"
	if answer, err := ts.Raw(at("127.0.0.1", httpPort), get); answer != "" || err != nil && !ts.IsReset(err) {
		t.Errorf("http: got %q, %v; want the connection to end without an answer", answer, err)
	}
	answer, err := ts.RawTLS(ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test"}, get)
	if answer != "" || err != nil && !ts.IsReset(err) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("https: got %q, %v; want the connection to end without an answer", answer, err)
	}
	for _, proto := range []string{"h2", "h3"} {
		// A request in flight on the connection is answered all the same.
		request := ts.Request{Addr: at("127.0.0.1", httpsPort), SNI: "www.test", Proto: proto}
		client := ts.NewClient(request)
		before := slowStats.started.Load()
		done := make(chan struct{})
		go func() {
			defer close(done)
			exchange{name: "in flight", request: request, cert: "D", body: "1"}.onKept(t, client)
		}()
		waitFor(t, "the request to begin", func() bool { return slowStats.started.Load() > before })
		request.Host = "unknown.test"
		if answer, err := client.Do(request); err == nil {
			t.Errorf("%s: got %v, want none", proto, answer)
		}
		if n := client.Dials(); n != 1 {
			t.Errorf("%s: %d connections, want 1", proto, n)
		}
		<-done
		client.Close()
	}
	if lines := ts.Logs.Lines("panic"); len(lines) > 0 {
		t.Errorf("aborting is logged as a failure: %q", lines)
	}
}

// TestServeHosts: which site a Host header stands for, by raw bytes.
func TestServeHosts(t *testing.T) {
	namedPort, boundPort, anyPort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	startIIS(t, fmt.Sprintf(`
		site 1 {
			server_bindings :%[1]d:www.test :%[2]d:www.test :%[3]d:www.test
		}
		site 2 {
			server_bindings :%[1]d:under_score.test :%[3]d:*.sub.test
		}
		site 3 {
			server_bindings 127.0.0.1:%[2]d:
		}
		site 4 {
			server_bindings :%[3]d:
		}
		site 5 {
			server_bindings :%[1]d:bücher.test
		}
	`, namedPort, boundPort, anyPort)+exampleDefaults)
	named, bound, other, anyone := at("127.0.0.1", namedPort), at("127.0.0.1", boundPort), at("127.0.0.2", boundPort), at("127.0.0.1", anyPort)
	const bad = "400"
	for _, c := range []struct {
		addr, request string
		want          string // the site or the status
	}{
		{named, "GET / HTTP/1.1\nHost: www.test", "1"},
		{named, "GET / HTTP/1.1\nHost: WWW.TEST", "1"},
		{named, "GET / HTTP/1.1\nhost:www.test", "1"},
		{named, "GET / HTTP/1.1\nHost: www.test:80", "1"},
		{named, "GET / HTTP/1.1\nHost: www.test:65535", "1"},
		{named, "GET / HTTP/1.1\nHost: www.test:", "1"},
		{named, "GET / HTTP/1.1\nHost: www.test:port", bad},
		{named, "GET / HTTP/1.1\nHost: www.test.", bad},
		{named, "GET / HTTP/1.1\nHost: under_score.test", "2"},
		{named, "GET / HTTP/1.1\nHost: xn--bcher-kva.test", "5"},
		{named, "GET / HTTP/1.1\nHost: unknown.test", bad},
		{named, "GET / HTTP/1.1\nHost: 127.0.0.1", bad},
		{named, "GET / HTTP/1.1\nHost: *", bad},
		{named, "GET / HTTP/1.1\nHost: user@www.test", bad},
		{named, "GET / HTTP/1.1\nHost: www.test/", bad},
		{named, "GET / HTTP/1.1\nHost: www.test,www.test", bad},
		{named, "GET / HTTP/1.1\nHost: www..test", bad},
		{named, "GET / HTTP/1.1\nHost: ", bad},
		{named, "GET / HTTP/1.1\nX: y", bad},
		{named, "GET / HTTP/1.1\nHost: www.test\nHost: www.test", bad},
		{named, "GET / HTTP/1.0\nX: y", bad},
		{named, "GET / HTTP/1.0\nHost: www.test", "1"},

		// The host of an absolute target counts, whatever the header says.
		{named, "GET http://www.test/ HTTP/1.1\nHost: unknown.test", "1"},
		{named, "GET http://WWW.test:1234/ HTTP/1.1\nHost: under_score.test", "1"},
		{named, "GET https://www.test/ HTTP/1.1\nHost: unknown.test", "1"},
		{named, "GET http://unknown.test/ HTTP/1.1\nHost: www.test", bad},
		{named, "GET http://www.test./ HTTP/1.1\nHost: www.test", bad},
		{named, "GET http://www.test/ HTTP/1.0\nX: y", "1"},

		// A site that is bound to the address takes what has no host, or an
		// unknown one, but nothing that is no host.
		{bound, "GET / HTTP/1.1\nHost: www.test", "1"},
		{bound, "GET / HTTP/1.1\nHost: unknown.test", "3"},
		{bound, "GET / HTTP/1.1\nHost: 127.0.0.1", "3"},
		{bound, "GET / HTTP/1.1\nHost: 127.0.0.2:80", "3"},
		{bound, "GET / HTTP/1.1\nHost: [::1]:80", "3"},
		{bound, "GET / HTTP/1.0\nX: y", "3"},
		{bound, "GET / HTTP/1.0\nHost: ", "3"},
		{bound, "GET / HTTP/1.1\nHost: ", bad},
		{bound, "GET / HTTP/1.1\nHost: www.test.", bad},
		{bound, "GET / HTTP/1.1\nHost: *", bad},
		{other, "GET / HTTP/1.1\nHost: www.test", "1"},
		{other, "GET / HTTP/1.1\nHost: 127.0.0.1", bad},
		{other, "GET / HTTP/1.0\nX: y", bad},

		// And so does one for all addresses.
		{anyone, "GET / HTTP/1.1\nHost: unknown.test", "4"},
		{anyone, "GET / HTTP/1.1\nHost: a.sub.test", "2"},
		{anyone, "GET / HTTP/1.1\nHost: sub.test", "4"},
		{anyone, "GET / HTTP/1.1\nHost: [::1]", "4"},
		{anyone, "GET / HTTP/1.0\nX: y", "4"},
		{anyone, "GET / HTTP/1.1\nHost: ", bad},
		{anyone, "GET / HTTP/1.1\nX: y", bad},
		{anyone, "GET / HTTP/1.1\nHost: unknown.test.", bad},
	} {
		end := "\r\n\r\n"
		if c.want != bad {
			end = "\r\nConnection: close\r\n\r\n"
		}
		answer, err := ts.Raw(c.addr, strings.ReplaceAll(c.request, "\n", "\r\n")+end)
		if err != nil {
			t.Errorf("%s %q: %v after %q", c.addr, c.request, err, answer)
			continue
		}
		head, got, _ := strings.Cut(answer, "\r\n\r\n")
		if c.want == bad {
			// Some never reach the sites: net/http refuses them in one line.
			status, _, _ := strings.Cut(head, "\r\n")
			if strings.Contains(status, " 400 Bad Request") &&
				(strings.Contains(got, "<h1>Bad Request - Invalid Hostname</h1>") || strings.HasPrefix(got, "400 Bad Request")) {
				got = bad
			}
			if !strings.Contains(head, "\r\nConnection: close") {
				t.Errorf("%s %q: no Connection: close in %q", c.addr, c.request, head)
			}
		}
		if got != c.want {
			t.Errorf("%s %q: got %q, want %s", c.addr, c.request, answer, c.want)
		}
	}
}

// TestServeAuthorities is TestServeHosts for HTTP/2 and HTTP/3: a bad authority ends no
// connection.
func TestServeAuthorities(t *testing.T) {
	port := ts.FreePort(t)
	startIIS(t, certificates(t, "D")+fmt.Sprintf(`
		site 1 {
			secure_bindings :%[1]d:www.test
			certificate D
		}
		site 2 {
			secure_bindings :%[1]d:
		}
	`, port)+exampleDefaults)
	for _, proto := range []string{"h2", "h3"} {
		request := ts.Request{Addr: at("127.0.0.1", port), SNI: "www.test", Proto: proto}
		client := ts.NewClient(request)
		for _, c := range []struct {
			host   string
			status int
			site   string
		}{
			{"www.test", 200, "1"},
			{"WWW.test:8080", 200, "1"},
			{"www.test.", 400, ""},
			{"*", 400, ""},
			{"www..test", 400, ""},
			{"other.test", 200, "2"},
			{"[::1]:443", 200, "2"},
			{"127.0.0.1", 200, "2"},
			{"under_score.test", 200, "2"},
		} {
			request.Host = c.host
			exchange{name: "authority", request: request, status: c.status, cert: "D", body: c.site}.onKept(t, client)
		}
		if n := client.Dials(); n != 1 {
			t.Errorf("%s: %d connections, want 1", proto, n)
		}
		client.Close()
	}
}
