package caddyiis_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/cli"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// rawServer answers each request with bytes as they are, and closes the connection.
func rawServer(t *testing.T, answer string) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, answer)
		conn.Close()
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// TestVerifyWrongWorlds: what looks right by its status and is not.
func TestVerifyWrongWorlds(t *testing.T) {
	port, securePort := ts.FreePort(t), ts.FreePort(t)
	cert, key := ts.PEM(t, "www.contoso.test", "www.contoso.test")
	plain := func(body string) string {
		return fmt.Sprintf("site 1 {\nserver_bindings :%d:www.contoso.test\n%s\n}", port, body)
	}
	both := func(http, https string) string {
		return fmt.Sprintf(`certificate c %q %q
			site 1 {
				server_bindings :%d:www.contoso.test
				%s
			}
			site 2 {
				secure_bindings :%d:www.contoso.test
				certificate c
				%s
			}`, cert, key, port, http, securePort, https)
	}
	toHTTPS, toHTTP := fmt.Sprintf("redir https://WWW.contoso.test:%d/", securePort), fmt.Sprintf("redir http://www.contoso.test:%d/#top", port)
	for _, c := range []struct {
		name, iis, answer string
		class             cli.Class
		code              int
		cause             string
	}{
		{"a redirect to itself", plain("redir * /"), "", cli.ClassBroken, 2, "redirects in a circle"},
		{"a circle of two pages", plain("redir / /a\nredir /a /"), "", cli.ClassBroken, 2, "redirects in a circle"},
		{"a circle by https", both(toHTTPS, toHTTP), "", cli.ClassBroken, 2, "redirects in a circle"},
		{"redirects without an end", plain("redir {path}x"), "", cli.ClassBroken, 2, "redirects do not end"},
		{"to https, where it ends", both(toHTTPS, "respond ok"), "", cli.ClassExpected, 0, ""},
		{"a redirect that sets a cookie", plain("header Set-Cookie a=b\nredir * /"), "", cli.ClassExpected, 0, ""},
		{"a redirect elsewhere", plain("redir https://www.example.com/"), "", cli.ClassExpected, 0, ""},
		{"a body that is cut off", plain("respond ok"), "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", cli.ClassBroken, 2, "the answer is cut off"},
		{"chunks that are cut off", plain("respond ok"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", cli.ClassBroken, 2, "the answer is cut off"},
		{"a body without a length", plain("respond ok"), "HTTP/1.0 200 OK\r\n\r\nwhole", cli.ClassExpected, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &session{Server: startIIS(t, c.iis)}
			args := []string{"--roots", cert}
			if c.answer != "" {
				args = append(args, "--server", rawServer(t, c.answer))
			}
			v, code := verify(t, s, args...)
			got, causes := v.of("http", "www.contoso.test"), []string{""}
			for _, reason := range got.Reasons {
				causes = append(causes, reason.Cause)
			}
			// An answer that is always the same is wrong for names of nobody as well.
			if got.Class != c.class || causes[len(causes)-1] != c.cause || code != c.code && c.answer == "" {
				t.Errorf("exit code %d, %s, %q, %+v; want %d, %s, %q", code, got.Class, causes, v.Causes, c.code, c.class, c.cause)
			}
		})
	}
}

// TestVerifyEndless: a body that does not end within the time is not judged.
func TestVerifyEndless(t *testing.T) {
	events := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer events.Close()
	s := &session{Server: startIIS(t, fmt.Sprintf("site 1 {\nserver_bindings :%d:www.contoso.test\nreverse_proxy %s\n}", ts.FreePort(t), events.Listener.Addr()))}
	v, code := verify(t, s, "--timeout", "1s")
	if c := v.of("http", "www.contoso.test"); code != cli.ExitUnknown || c.Class != cli.ClassUnknown || c.Reasons[0].Cause != "the answer does not end" {
		t.Errorf("exit code %d, %+v", code, c)
	}
}

// TestVerifyRoots: two sites with each other's roots answer 200 both. The other server
// tells it, also where pages are not the same twice.
func TestVerifyRoots(t *testing.T) {
	port := ts.FreePort(t)
	page := func(title, body string) string {
		return "<html><TITLE>\n " + title + " </title>" + body
	}
	roots := make(map[string]string)
	for host, content := range map[string]string{"a": page("A", ""), "b": page("B", ""), "c": "c", "d": page("D", "here"), "e": "e"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		roots[host] = dir
	}
	requests := 0
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		host, _, _ := strings.Cut(r.Host, ".")
		switch body := map[string]string{"a": page("B", ""), "b": page("A", ""), "c": "see", "d": page("D", fmt.Sprint(requests)), "e": "e"}[host]; body {
		case "":
			w.WriteHeader(http.StatusBadRequest)
		default:
			_, _ = io.WriteString(w, body)
		}
	}))
	defer old.Close()
	var sites strings.Builder
	for i, host := range []string{"a", "b", "c", "d", "e"} {
		fmt.Fprintf(&sites, "site %d {\nserver_bindings :%d:%s.contoso.test\nroot %q\nfile_server\n}\n", i+1, port, host, roots[host])
	}
	s := &session{Server: startIIS(t, sites.String())}
	v, code := verify(t, s, "--parallel", "1", "--against", old.Listener.Addr().String())
	for host, want := range map[string]string{
		"a": `[{differs the other server has another page the other server has a page with the title "B", this one with "A"}]`,
		"b": `[{differs the other server has another page the other server has a page with the title "A", this one with "B"}]`,
		"c": `[{differs the other server sends another body the other server sends another body with status 200 OK}]`,
		"d": `[]`, // has another body each time
		"e": `[]`,
	} {
		if got := fmt.Sprint(v.of("http", host+".contoso.test").Reasons); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if code != cli.ExitDiffers || len(v.NotLookedAt) != 0 {
		t.Errorf("exit code %d, %+v", code, v.Summary)
	}
	if v, code = verify(t, s); code != cli.ExitOK || len(v.NotLookedAt) != 1 || !strings.HasPrefix(v.NotLookedAt[0], "what pages say") {
		t.Errorf("alone: exit code %d, %+v", code, v.Summary)
	}
}

// TestVerifyNotSpoken: HTTP/2 from a server that answers by HTTP/1.1 without a word about it,
// and HTTP/3 where no socket is open for it, are no answers by them.
func TestVerifyNotSpoken(t *testing.T) {
	certFile, key := ts.PEM(t, "www.contoso.test", "www.contoso.test")
	site := func() string {
		return fmt.Sprintf("certificate c %q %q\nsite 1 {\nbinding https *:%d:www.contoso.test {\nsni\ncertificate c\n}\nrespond ok\n}", certFile, key, ts.FreePort(t))
	}
	s := &session{Server: startIIS(t, site())}
	cert, err := tls.LoadX509KeyPair(certFile, key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}}) // no ALPN
	if err != nil {
		t.Fatal(err)
	}
	old := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ErrorLog: nil}
	go func() { _ = old.Serve(ln) }()
	defer old.Close()
	v, code := verify(t, s, "--roots", certFile, "--protocols", "h2", "--server", ln.Addr().String())
	if c := v.of("https", "www.contoso.test"); code != cli.ExitBroken || c.Class != cli.ClassBroken || c.Reasons[0].Cause != "the handshake fails: the server does not offer h2" {
		t.Errorf("exit code %d, %+v", code, c)
	}
	// A machine that has the port by TCP alone: its firewall, or a proxy before it.
	v, code = verify(t, s, "--roots", certFile, "--protocols", "h3", "--timeout", "2s", "--server", ln.Addr().(*net.TCPAddr).String())
	if c := v.of("https", "www.contoso.test"); code != cli.ExitBroken || c.Class != cli.ClassBroken || !strings.HasPrefix(c.Reasons[0].Cause, "nothing answers: ") {
		t.Errorf("h3 that is offered: exit code %d, %+v", code, c)
	}
	// Where the configuration leaves it out, no socket is open, and that is found out.
	if err := s.Restart(iisConfig("servers {\nprotocols h1 h2\n}\n" + site())); err != nil {
		t.Fatal(err)
	}
	v, code = verify(t, s, "--roots", certFile, "--protocols", "h3", "--timeout", "2s")
	if c := v.of("https", "www.contoso.test"); code != cli.ExitOK || c.Class != cli.ClassExpected || c.Protocol != "h3" || !c.Got.Unreachable {
		t.Errorf("h3 that is left out: exit code %d, %+v", code, c)
	}
}

// TestVerifyStopped: nobody waits for the https names of a site that is meant to be stopped,
// and it has no certificate for them. For those of one that lost its binding to another somebody
// does.
func TestVerifyStopped(t *testing.T) {
	port, plain := ts.FreePort(t), ts.FreePort(t)
	cert, key := ts.PEM(t, "www.contoso.test", "www.contoso.test")
	const sni = "binding https *:%d:off.contoso.test {\nsni\ncertificate auto\n}"
	for name, c := range map[string]struct {
		site string
		code int
	}{
		"without a certificate":   {fmt.Sprintf("autostart off\nsecure_bindings :%d:off.contoso.test", port), cli.ExitOK},
		"with one for each host":  {fmt.Sprintf("autostart off\n"+sni, port), cli.ExitOK},
		"stopped by another site": {fmt.Sprintf("server_bindings :%d:www.contoso.test\nsecure_bindings :%d:off.contoso.test", plain, port), cli.ExitBroken},
		"both":                    {fmt.Sprintf("autostart off\nsecure_bindings :%d:off.contoso.test\n}\nsite 3 {\nserver_bindings :%d:www.contoso.test\nsecure_bindings :%d:off.contoso.test", port, plain, port), cli.ExitBroken},
	} {
		t.Run(name, func(t *testing.T) {
			s := &session{Server: startIIS(t, fmt.Sprintf(`
				conflicts first_wins
				certificate on %q %q
				certificate auto {
					for_bindings
					issuer internal
				}
				site 1 {
					server_bindings :%d:www.contoso.test
					binding https *:%d:www.contoso.test {
						sni
						certificate on
					}
					respond ok
				}
				site 2 {
					%s
				}`, cert, key, plain, port, c.site))}
			v, code := verify(t, s, "--roots", cert)
			got := v.of("https", "off.contoso.test")
			if code != c.code || got.Expected.Handshake != "refused" || (got.Class == cli.ClassBroken) != (code == cli.ExitBroken) {
				t.Errorf("exit code %d, %+v, want %d", code, got, c.code)
			}
		})
	}
}
