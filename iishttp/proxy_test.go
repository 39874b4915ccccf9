package iishttp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// upstream starts a server, and returns its origin.
func upstream(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return srv.URL
}

// proxyRules lead from /api/x to /x of a server.
func proxyRules(origin string) string {
	return `
	iis_rewrite {
		proxy ` + origin + `
		allow_variables HTTP_HOST
		rule host {
			match ^api/host$
			set HTTP_HOST set.test
		}
		rule api {
			match ^api/(.*)
			action rewrite ` + origin + `/{R:1}
		}
		rule elsewhere {
			match ^else/(.*)
			action rewrite http://127.0.0.1:1/{R:1}
		}
	}`
}

func TestProxy(t *testing.T) {
	origin := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s", r.Host, r.RequestURI, r.Header.Get("X-Original-URL"), r.Header.Get("X-Forwarded-Host"))
	})
	host := strings.TrimPrefix(origin, "http://")
	s := newSite(t, proxyRules(origin)+"\n iis_proxy "+origin+"\n respond /x \"local {http.request.uri}\""+errorPage)
	s.answered([][2]string{
		{"/api/a%20b%2Fc?d=%20+e", fmt.Sprintf("%s /a%%20b/c?d=%%20+e /api/a b/c?d=%%20+e %s", host, s.addr)},
		{"/api/", fmt.Sprintf("%s / /api/ %s", host, s.addr)},
		{"/api/a%3Fb", fmt.Sprintf("%s /a%%3Fb /api/a?b %s", host, s.addr)},
		{"/else/x", "404: 404.0"},
		{"/x?y", "local /x?y"},
	})
}

// TestProxyPreserveHost: Host of the client, and the servers of a farm.
func TestProxyPreserveHost(t *testing.T) {
	member := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://"+r.Host+"/next")
		w.WriteHeader(http.StatusFound)
		fmt.Fprint(w, r.Host)
	})
	for preserve, host := range map[string]string{"": strings.TrimPrefix(member, "http://"), "preserve_host": ""} {
		kept := newSite(t, proxyRules("http://farm")+"\n iis_proxy http://farm {\n to "+member+"\n keep_location\n"+preserve+"\n}")
		if resp, body := kept.ask("/api/x"); resp.Header.Get("Location") != "http://"+body+"/next" {
			t.Errorf("keep_location: %s", resp.Header.Get("Location"))
		}
		s := newSite(t, proxyRules("http://farm")+"\n iis_proxy http://farm {\n to "+member+"\n"+preserve+"\n}")
		if host == "" {
			host = s.addr
		}
		if resp, _ := s.ask("/api/host"); resp.Header.Get("Location") != "http://"+s.addr+"/next" && preserve == "" {
			t.Errorf("with another Host: Location %s", resp.Header.Get("Location"))
		}
		resp, body := s.ask("/api/x")
		if location := resp.Header.Get("Location"); body != host || location != "http://"+s.addr+"/next" {
			t.Errorf("%s: Host %s, Location %s", preserve, body, location)
		}
	}
}

// TestProxyPreserveHostTLS: by https as well, for which reverse_proxy has another way.
func TestProxyPreserveHostTLS(t *testing.T) {
	member := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	t.Cleanup(member.Close)
	for preserve, own := range map[string]bool{"": true, "preserve_host": false} {
		s := newSite(t, proxyRules("https://farm")+"\n iis_proxy https://farm {\n to "+member.URL+"\n transport http {\n tls_insecure_skip_verify\n}\n"+preserve+"\n}")
		want := s.addr
		if own {
			want = strings.TrimPrefix(member.URL, "https://")
		}
		if _, body := s.ask("/api/x"); body != want {
			t.Errorf("%q: Host %s, want %s", preserve, body, want)
		}
	}
}

// TestProxyGuarded: who may is decided by the path that the request had, before it goes.
func TestProxyGuarded(t *testing.T) {
	var asked atomic.Int32
	origin := upstream(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	s := newSite(t, `
	iis_proxy `+origin+`
	iis_authorization @api {
		deny users ?
	}
	@api path /api/*
	`+proxyRules(origin)+errorPage)
	s.answered([][2]string{{"/api/x", "401: 401.2"}, {"/API/x", "401: 401.2"}})
	if asked.Load() != 0 {
		t.Error("the server was asked")
	}
}

// TestProxyOrder: what guards a reverse_proxy in a Caddyfile, or changes its requests, does so
// with an iis_proxy, wherever the lines stand.
func TestProxyOrder(t *testing.T) {
	var asked atomic.Int32
	origin := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		fmt.Fprintf(w, "user %q", r.Header["X-User"])
	})
	s := newSite(t, `
	iis_proxy `+origin+`
	respond /api/respond 410
	error /api/error 410
	handle /api/handle {
		respond 410
	}
	abort /api/abort
	request_header -X-User
	`+proxyRules(origin)+errorPage)
	for _, path := range []string{"/api/respond", "/api/error", "/api/handle"} {
		if resp, body := s.ask(path); !strings.Contains(resp.Status+body, "410") {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
	if _, err := ts.Do(ts.Request{Addr: s.addr, Host: s.addr, Path: "/api/abort", Plain: true}); err == nil {
		t.Error("/api/abort is answered")
	}
	if asked.Load() != 0 {
		t.Error("the server was asked")
	}
	if _, body := s.ask("/api/x", "X-User", "root"); body != "user []" {
		t.Error(body)
	}
}

func TestProxyLocation(t *testing.T) {
	origin := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.ReplaceAll(r.URL.Query().Get("to"), "SELF", r.Host))
		w.WriteHeader(http.StatusFound)
	})
	s := newSite(t, proxyRules(origin)+"\n iis_proxy "+origin)
	for to, want := range map[string]string{
		"http://SELF/a?b%3Dc":     "http://" + s.addr + "/a?b=c",
		"HTTP://SELF":             "http://" + s.addr,
		"//SELF//x":               "http://" + s.addr + "//x",
		"/a":                      "/a",
		"http://SELF.evil.test/a": origin + ".evil.test/a",
		"http://other.test/a":     "http://other.test/a",
		"https://SELF/a":          strings.Replace(origin, "http", "https", 1) + "/a",
	} {
		if resp, _ := s.ask("/api/x?to=" + to); resp.Header.Get("Location") != want {
			t.Errorf("%s: %s, not %s", to, resp.Header.Get("Location"), want)
		}
	}
}

type connKey struct{}

// TestProxyNeverSharesSignedInConnections: a server that signs in connections, as NTLM
// does, and two clients.
func TestProxyNeverSharesSignedInConnections(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := r.Context().Value(connKey{}).(*atomic.Value)
		if scheme, name, ok := strings.Cut(strings.ReplaceAll(r.Header.Get("Authorization"), "\t", " "), " "); ok && scheme != "Basic" {
			user.Store(name)
		}
		if name := user.Load(); name != nil {
			fmt.Fprint(w, "welcome ", name)
			return
		}
		w.Header()["Www-Authenticate"] = []string{"Negotiate", "NTLM TlRM==", `Basic realm="a, NTLM", charset=UTF-8, nEgotiate YII=, Digest realm = "x\"", nonce=1`, "Negotiate, NTLM", "Bearer"}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	srv.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, new(atomic.Value))
	}
	srv.Start()
	t.Cleanup(srv.Close)
	s := newSite(t, proxyRules(srv.URL)+"\n iis_proxy "+srv.URL+errorPage)
	for _, credentials := range []string{"NTLM secret", "Negotiate secret", "negotiate\tsecret", "nTlM  secret"} {
		if resp, body := s.ask("/api/", "Authorization", credentials); resp.StatusCode != http.StatusUnauthorized || body != "401: 401.2" {
			t.Errorf("%s: %d %s", credentials, resp.StatusCode, body)
		}
		resp, body := s.ask("/api/")
		if resp.StatusCode != http.StatusUnauthorized || strings.Contains(body, "welcome") {
			t.Errorf("the second client: %d %s", resp.StatusCode, body)
		}
		if got := strings.Join(resp.Header["Www-Authenticate"], " | "); got != `Basic realm="a, NTLM", charset=UTF-8, Digest realm = "x\"", nonce=1 | Bearer` {
			t.Errorf("challenges %s", got)
		}
	}
	if strings.Contains(ts.Logs.String(), "secret") {
		t.Error("the log has credentials")
	}
}

// TestProxyStreams: an answer comes as it is written, and a connection can be upgraded.
func TestProxyStreams(t *testing.T) {
	release := make(chan struct{})
	origin := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "one\n")
			_ = http.NewResponseController(w).Flush()
			<-release
			fmt.Fprint(w, "two\n")
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("taking over the connection: %v", err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprint(conn, r.RequestURI, " ", line)
	})
	s := newSite(t, proxyRules(origin)+"\n iis_proxy "+origin)

	resp, err := http.Get("http://" + s.addr + "/api/events")
	if err != nil {
		close(release)
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	first, err := body.ReadString('\n') // before the second is written
	close(release)
	rest, _ := io.ReadAll(body)
	if first != "one\n" || err != nil || string(rest) != "two\n" {
		t.Errorf("%q %q %v", first, rest, err)
	}

	answer, err := ts.Raw(s.addr, "GET /api/socket HTTP/1.1\r\nHost: "+s.addr+"\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello\n")
	if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 101 ") || !strings.HasSuffix(answer, "/socket hello\n") {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestProxyCaddyfileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"iis_proxy *":                                 "wrong argument count",
		"iis_proxy http://a http://b":                 "wrong argument count",
		"iis_proxy a":                                 "no origin",
		"iis_proxy http://a/b":                        "no origin",
		"iis_proxy http://a {\n preserve_host x\n}":   "wrong argument count",
		"iis_proxy http://a {\n nothing\n}":           "nothing",
		"iis_proxy http://a {\n lb_policy nothing\n}": "nothing",
	} {
		_, err := adapt("http://x {\n" + text + "\n}")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%s: %v", text, err)
		}
	}
	raw, err := adapt("http://x {\n iis_proxy http://a:80 {\n preserve_host\n lb_retries 2\n}\n}")
	if err != nil || !strings.Contains(string(raw), `{"handler":"iis_proxy","origin":"http://a:80","proxy":{"handler":"reverse_proxy","headers":{"request":{"set":{"Host":["{http.request.hostport}"]}}},"load_balancing":{"retries":2},"upstreams":[{"dial":"a:80"}]}}`) {
		t.Errorf("%s, %v", raw, err)
	}
}

func adapt(text string) ([]byte, error) {
	raw, _, err := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}.Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return raw, err
}

// TestProxyJSON: what is not a proxy is not taken.
func TestProxyJSON(t *testing.T) {
	server := ts.Start(t, "{\n auto_https off\n}\n")
	for module, want := range map[string]string{
		`{"handler":"iis_proxy","origin":"http://a"}`:                                           "no proxy",
		`{"handler":"iis_proxy","origin":"http://a","proxy":{"handler":"static_response"}}`:     "not reverse_proxy",
		`{"handler":"iis_proxy","origin":"a","proxy":{"handler":"reverse_proxy"}}`:              "no origin",
		`{"handler":"iis_proxy","origin":"http://a","proxy":{"handler":"reverse_proxy","x":1}}`: "unknown field",
	} {
		err := server.LoadJSON([]byte(fmt.Sprintf(`{"admin":{"disabled":true},"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%d"],"routes":[{"handle":[%s]}]}}}}}`, ts.FreePort(t), module)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", module, err)
		}
	}
}
