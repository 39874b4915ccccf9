package iishttp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-iis/caddy-iis/internal/testserver"
)

// guarded is a real Caddy with a site on http and on https.
type guarded struct {
	t             testing.TB
	plain, secure string // host:port
	clients       map[string]*http.Client
}

const guardedHost = "guarded.test"

// newGuarded starts Caddy with global options and the directives of one site,
// whose refusals are answered with status and sub-status.
func newGuarded(t testing.TB, options, directives string) *guarded {
	t.Helper()
	certFile, keyFile := testserver.PEM(t, guardedHost)
	g := &guarded{t: t, plain: fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t)), secure: fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))}
	testserver.Start(t, fmt.Sprintf(`{
		auto_https disable_redirects
		%s
	}
	(site) {
		%s
		handle_errors {
			respond "{err.status_code} {http.vars.iis_sub_status}" {err.status_code}
		}
	}
	http://%s {
		import site
	}
	https://%s {
		tls %q %q
		import site
	}`, options, directives, strings.Replace(g.plain, "127.0.0.1", guardedHost, 1), strings.Replace(g.secure, "127.0.0.1", guardedHost, 1), certFile, keyFile))
	insecure := &tls.Config{InsecureSkipVerify: true, ServerName: guardedHost}
	h1, h2 := &http.Transport{}, &http.Transport{TLSClientConfig: insecure, ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: insecure}
	t.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		h3.Close()
	})
	g.clients = make(map[string]*http.Client)
	for proto, transport := range map[string]http.RoundTripper{"HTTP/1.1": h1, "HTTP/2.0": h2, "HTTP/3.0": h3} {
		g.clients[proto] = &http.Client{Transport: transport, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return g
}

// do makes a request over a protocol and returns the answer: its body, or the
// target of a redirect.
func (g *guarded) do(proto, method, target string, body io.Reader, headers ...string) (string, error) {
	g.t.Helper()
	base := "https://" + g.secure
	if proto == "HTTP/1.1" {
		base = "http://" + g.plain
	}
	req, err := http.NewRequestWithContext(context.Background(), method, base+target, body)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Host = guardedHost
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := g.clients[proto].Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.Proto != proto {
		g.t.Errorf("the answer came over %s, not %s", resp.Proto, proto)
	}
	if to := resp.Header.Get("Location"); to != "" {
		return to, nil
	}
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// each makes a request over each protocol; all answers must be as wanted.
func (g *guarded) each(method, target, want string, headers ...string) {
	g.t.Helper()
	for proto := range g.clients {
		if got, err := g.do(proto, method, target, nil, headers...); got != want || err != nil {
			g.t.Errorf("%s %s %s: got %q, %v, want %q", proto, method, target, got, err, want)
		}
	}
}

// raw sends the line of a request over HTTP/1.1 as it is.
func (g *guarded) raw(line, want string) {
	g.t.Helper()
	answer, err := testserver.Raw(g.plain, line+" HTTP/1.1\r\nHost: "+guardedHost+"\r\nConnection: close\r\n\r\n")
	_, body, _ := strings.Cut(answer, "\r\n\r\n")
	if strings.TrimSpace(body) != want || err != nil {
		g.t.Errorf("%s: got %q, %v, want %q", line, answer, err, want)
	}
}

func TestServeFilter(t *testing.T) {
	g := newGuarded(t, "", `
		respond "served {http.request.uri}"
		iis_filter {
			hidden_segments bin web.config
			file_extensions deny .asa .bak
			deny_url_sequences evil
			deny_query_string_sequences evil
			verbs deny TRACE
			max_url 200
		}`)
	for target, want := range map[string]string{
		"/a.txt":                       "served /a.txt",
		"/a%20b?q=a+b%252e":            "served /a%20b?q=a+b%252e",
		"/bin/x":                       "404 404.8",
		"/a/B%49N":                     "404 404.8",
		"/a%5cbin":                     "404 404.8",
		"/a%2fbin":                     "404 404.8",
		"/a/%2e%2e/bin":                "404 404.8",
		"/web.config::$DATA":           "404 404.8",
		"/a+b":                         "404 404.11",
		"/a%252e":                      "404 404.11",
		"/a%0ab":                       "400 400.0",
		"/a%00":                        "400 400.0",
		"/a%C2%85":                     "400 400.0",
		"/a%ff":                        "400 400.0",
		"/x.asa/y":                     "404 404.7",
		"/x.BAK":                       "404 404.7",
		"/x.bak.":                      "404 404.7",
		"/e%76il":                      "404 404.5",
		"/?e%76il":                     "404 404.18",
		"/" + strings.Repeat("a", 200): "404 404.14",
	} {
		g.each("GET", target, want)
	}
	g.each("TRACE", "/", "404 404.6")
	g.raw("trace /", "served /") // verbs have a case
	g.raw(`GET /a\bin`, "404 404.8")
	g.raw("GET http://"+guardedHost+"/bin", "404 404.8")
	g.raw("GET /x/../bin/", "404 404.8")
	g.raw("GET /a%zz", "400 Bad Request") // net/http
}

// TestServeFilterBody: bodies are limited while they are read, over each
// protocol, and no more than the limit reaches a worker.
func TestServeFilterBody(t *testing.T) {
	var most atomic.Int64
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		most.Store(max(most.Load(), n))
		fmt.Fprintf(w, "read %d", n)
	}))
	defer worker.Close()
	g := newGuarded(t, "", `
		iis_filter {
			max_content_length 1000
		}
		reverse_proxy `+worker.Listener.Addr().String())
	for proto := range g.clients {
		for _, c := range []struct {
			size  int
			known bool
			want  string
		}{{1000, true, "read 1000"}, {1000, false, "read 1000"}, {1001, true, "413 413.1"}, {1001, false, "413 413.1"}, {100_000, false, "413 413.1"}} {
			var body io.Reader = bytes.NewReader(make([]byte, c.size))
			if !c.known {
				body = struct{ io.Reader }{body}
			}
			if got, err := g.do(proto, "POST", "/", body); got != c.want || err != nil {
				t.Errorf("%s, %d bytes, length known %v: got %q, %v, want %q", proto, c.size, c.known, got, err, c.want)
			}
		}
	}
	if most.Load() > 1000 {
		t.Errorf("a worker has read %d bytes", most.Load())
	}
}

// TestServeFilterBehindRules: a rule may lead into a hidden segment, a client
// may not (examples 46 and 47); what a rule in front of the filter has made is
// filtered as well.
func TestServeFilterBehindRules(t *testing.T) {
	g := newGuarded(t, "", `
		iis_filter {
			hidden_segments sec
		}
		iis_rewrite {
			rule pub {
				match ^pub$
				action rewrite /sec/a.txt
				stop
			}
			rule sec {
				match ^sec/
				action rewrite /index.html
			}
		}
		respond "served {http.request.uri.path}"`)
	g.each("GET", "/pub", "served /sec/a.txt")
	g.each("GET", "/sec/a", "404 404.8")
	g = newGuarded(t, "", `
		route {
			rewrite /pub /sec/a.txt
			rewrite /sec/b /pub/b
			iis_filter {
				hidden_segments sec
			}
			respond "served {http.request.uri.path}"
		}`)
	g.each("GET", "/pub", "404 404.8")
	g.each("GET", "/sec/b", "404 404.8")
	g.each("GET", "/x", "served /x")
}

func TestServeIPSecurity(t *testing.T) {
	const directives = `
		iis_ip_security {
			deny 9.9.9.9 2001:db8::/32
			proxy_mode
		}
		respond served`
	g := newGuarded(t, "", directives)
	g.each("GET", "/", "served")
	g.each("GET", "/", "served", "X-Forwarded-For", "1.1.1.1, 2.2.2.2:80")
	g.each("GET", "/", "403 403.503", "X-Forwarded-For", "1.1.1.1, 9.9.9.9")
	g.each("GET", "/", "403 403.503", "X-Forwarded-For", "1.1.1.1", "X-Forwarded-For", "[2001:db8::1]:99")
	g.each("GET", "/", "403 403.503", "X-Forwarded-For", "unknown")
	g.each("GET", "/", "403 403.503", "x-forwarded-for", "::ffff:9.9.9.9")

	g = newGuarded(t, "servers {\n trusted_proxies static 127.0.0.1/32\n trusted_proxies_strict\n}", `
		iis_ip_security {
			allow 9.9.9.0/24
			unlisted deny
		}
		respond served`)
	g.each("GET", "/", "403 403.503")
	g.each("GET", "/", "served", "X-Forwarded-For", "9.9.9.9")
	g.each("GET", "/", "403 403.503", "X-Forwarded-For", "9.9.9.9, 8.8.8.8")

	g = newGuarded(t, "", `
		iis_ip_security {
			unlisted deny
			deny_action abort
		}
		respond served`)
	for proto := range g.clients {
		if got, err := g.do(proto, "GET", "/", nil); err == nil {
			t.Errorf("%s: got %q, want no answer", proto, got)
		}
	}
}

func TestServeAuthorization(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	g := newGuarded(t, "", fmt.Sprintf(`
		respond served
		iis_authorization {
			anonymous off
			allow users *
			deny users BOB parent
			deny users ann verbs POST
		}
		@login header Authorization *
		basic_auth @login {
			ann %[1]q
			bob %[1]q
		}`, hash))
	basic := func(user string) []string {
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(user, "secret")
		return []string{"Authorization", req.Header.Get("Authorization")}
	}
	g.each("GET", "/", "401 401.2")
	g.each("GET", "/", "served", basic("ann")...)
	g.each("POST", "/", "401 401.2", basic("ann")...)
	g.each("GET", "/", "401 401.2", basic("bob")...)
}

func TestServeRedirect(t *testing.T) {
	g := newGuarded(t, "", `
		iis_redirect * /new/ {
			at /old
			exact_destination
			wildcard *.php http://new.example$V$Q
			wildcard *.txt /new$S
			wildcard */keep !
		}
		respond served`)
	for target, want := range map[string]string{
		"/old/a.html":              "/new/",
		"/old/a%20b.php?q=%41+b":   "http://new.example/old/a%20b.php?q=%41+b",
		"/OLD/a%2Fb%3fc.txt?q":     "/new/a/b%3Fc.txt",
		"/old/keep":                "served",
		"/other/a.php":             "served",
		"/old//evil.example/x.txt": "/new/evil.example/x.txt",
		"/%6fld/a%c3%a9.txt":       "/new/a%c3%a9.txt",
	} {
		g.each("GET", target, want)
		g.each("POST", target, want)
	}
}

// TestDirectiveOrder: the handlers run in IIS's order, however the Caddyfile has
// them.
func TestDirectiveOrder(t *testing.T) {
	raw, err := testserver.Adapt(`{
	}
	http://h {
		file_server
		iis_content_types
		iis_redirect * /x
		iis_authorization {
			deny users ?
		}
		basic_auth {
			a $2a$04$......................................................
		}
		redir /r /s
		iis_rewrite {
			rule r {
				match .*
				action none
			}
		}
		iis_ip_security
		iis_filter
		iis_url
	}`, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	decoder := json.NewDecoder(bytes.NewReader(raw))
	for wantName := false; ; {
		token, err := decoder.Token()
		if err != nil {
			break
		}
		text, _ := token.(string)
		if wantName {
			got = append(got, text)
		}
		wantName = text == "handler"
	}
	got = slices.DeleteFunc(got, func(name string) bool { return name == "subroute" || name == "vars" })
	want := []string{
		"iis_url", "iis_filter", "iis_ip_security", "iis_rewrite", "static_response", "authentication", "iis_authorization", "iis_redirect", "iis_content_types", "file_server",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestForwardAuthUser: the user that forward_auth has found out stands in a header, which a
// map makes the name that the rules go by, and not one that the client sends.
func TestForwardAuthUser(t *testing.T) {
	auth := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if user := r.Header.Get("Cookie"); user != "" {
			w.Header().Set("Remote-User", user)
		}
	})
	s := newSite(t, `
	forward_auth `+strings.TrimPrefix(auth, "http://")+` {
		uri /
		copy_headers Remote-User
	}
	map {header.Remote-User} {http.auth.user.id} {
		~.+ ${0}
	}
	iis_authorization {
		anonymous off
		deny users carl
		allow users *
	}
	respond "user {http.auth.user.id}"`+errorPage)
	for cookie, want := range map[string]string{"ann": "user ann", "carl": "401: 401.2", "": "401: 401.2"} {
		if _, body := s.ask("/", "Cookie", cookie, "Remote-User", "root"); body != want {
			t.Errorf("%q: %q, want %q", cookie, body, want)
		}
	}
}
