package iishttp_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/testserver"
)

const outboundRules = `
	pre_condition pages {
		condition {RESPONSE_CONTENT_TYPE} ^text/html
		condition {RESPONSE_STATUS} not ^404
	}
	outbound_rule location {
		match RESPONSE_LOCATION ^http://[^/]+/(.*)
		condition {RESPONSE_STATUS} ^301
		action rewrite http://{HTTP_HOST}/{R:1}
	}
	outbound_rule mark {
		match RESPONSE_X_MARK ^$
		action rewrite "seen {RESPONSE_STATUS}"
	}
	outbound_rule "no server" {
		match RESPONSE_X_POWERED_BY .+
		action rewrite ""
	}
	outbound_rule page {
		pre_condition pages
		match RESPONSE_X_PAGE .*
		action rewrite yes
	}`

// backend answers in all the ways that change when headers go out.
func backend(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Powered-By", "x")
		switch r.URL.Path {
		case "/moved":
			w.Header().Set("Location", "http://inside:81/there")
			w.WriteHeader(http.StatusMovedPermanently)
		case "/hints":
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "hinted")
		case "/flush":
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "flushed")
		case "/nothing":
		case "/upgrade":
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "echo")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		default:
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "page")
		}
	})
}

// outboundSite starts a site with rules in front of what answers.
func outboundSite(t *testing.T, rules, handlers string) (get func(path, headers string) string) {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	testserver.Start(t, "{\nauto_https off\nservers {\nprotocols h1\n}\n}\nhttp://"+addr+" {\niis_rewrite {"+rules+"\n}\n"+handlers+"\n}")
	return func(path, headers string) string {
		t.Helper()
		method, path, ok := strings.Cut(path, " ")
		if !ok {
			method, path = "GET", method
		}
		answer, err := testserver.Raw(addr, method+" "+path+" HTTP/1.1\r\nHost: "+addr+"\r\n"+headers+"\r\n")
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

// seen is what of an answer a test looks at: the status, these headers, and the body.
func seen(t *testing.T, answer string) string {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(answer))
	var out []string
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return strings.Join(append(out, err.Error()), " ")
		}
		out = append(out, fmt.Sprint(res.StatusCode))
		for _, name := range []string{"Location", "X-Mark", "X-Powered-By", "X-Page", "Link"} {
			for _, v := range res.Header.Values(name) {
				out = append(out, name+"="+v)
			}
		}
		if res.StatusCode >= 200 || res.StatusCode == 101 {
			body := io.Reader(res.Body)
			if res.StatusCode == 101 {
				body = r
			}
			raw, _ := io.ReadAll(body)
			return strings.Join(append(out, string(raw)), " ")
		}
	}
}

// TestOutboundServed: rules see the headers of a response once, before they go out,
// whatever answers and however it does.
func TestOutboundServed(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.html"), []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	proxied := httptest.NewServer(backend(t))
	t.Cleanup(proxied.Close)
	worker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Close() })
	go func() { _ = fcgi.Serve(worker, backend(t)) }()
	for _, c := range []struct {
		name, handlers string
		cases          map[string]string
	}{
		{"files", "root " + root + "\nencode gzip\nfile_server", map[string]string{
			"/a.html": "200 X-Mark=seen 200 X-Page=yes file", "HEAD /a.html": "200 X-Mark=seen 200 X-Page=yes unexpected EOF",
		}},
		{"proxy", "reverse_proxy " + proxied.Listener.Addr().String() + " {\nflush_interval -1\n}", map[string]string{
			"/moved": "301 Location=http://ADDR/there X-Mark=seen 301 ", "/hints": "103 X-Powered-By=x Link=</a.css>; rel=preload 200 X-Mark=seen 200 Link=</a.css>; rel=preload hinted",
			"/flush": "200 X-Mark=seen 200 flushed", "/nothing": "200 X-Mark=seen 200 ", "/": "200 X-Mark=seen 200 X-Page=yes page",
			"/upgrade": "101 X-Powered-By=x hello",
		}},
		{"FastCGI", "reverse_proxy " + worker.Addr().String() + " {\ntransport fastcgi {\nroot " + root + "\n}\n}", map[string]string{
			"/moved": "301 Location=http://ADDR/there X-Mark=seen 301 ", "/": "200 X-Mark=seen 200 X-Page=yes page",
		}},
		{"respond", "respond ok", map[string]string{"/": "200 X-Mark=seen 200 ok"}},
		{"nothing", "", map[string]string{"/": "200 X-Mark=seen 200 "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			get := outboundSite(t, outboundRules, c.handlers)
			for path, want := range c.cases {
				headers := "Connection: close\r\n"
				if path == "/upgrade" {
					headers = "Connection: Upgrade\r\nUpgrade: echo\r\n"
				}
				got := seen(t, get(path, headers))
				if i := strings.Index(got, "http://127"); i > 0 {
					_, rest, _ := strings.Cut(got[i+len("http://"):], "/")
					got = got[:i] + "http://ADDR/" + rest
				}
				if strings.HasPrefix(path, "HEAD") {
					got, want = strings.TrimSuffix(got, " "), strings.TrimSuffix(want, " unexpected EOF")
				}
				if got != want {
					t.Errorf("%s: got %q, want %q", path, got, want)
				}
			}
		})
	}
}

// failing is a rule without an answer for a query with a line break.
const failing = `
	outbound_rule bad {
		match RESPONSE_X_A .*
		action rewrite {UrlDecode:{QUERY_STRING}}
	}`

// TestOutboundFails: what has no answer is 500.52, without anything of the response,
// whatever and whenever a handler writes, but with what stood in it before. Error routes
// make its page.
func TestOutboundFails(t *testing.T) {
	late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Secret", "s")
		if r.URL.Path != "/flush" {
			_, _ = io.WriteString(w, "secret")
			return
		}
		w.Header().Set("Trailer", "X-Secret-Sum")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "secret")
		w.Header().Set("X-Secret-Sum", "s")
		w.Header().Set(http.TrailerPrefix+"X-Secret-Too", "s")
	}))
	t.Cleanup(late.Close)
	proxy := "reverse_proxy " + late.Listener.Addr().String()
	pages := "\nhandle_errors {\nrespond \"page {http.error.status_code} {http.vars.iis_sub_status}\"\n}"
	for _, c := range []struct{ name, handlers, path, body string }{
		{"respond", "handle {\nheader X-Secret s\nrespond secret\n}" + pages, "/", "page 500 500.52"},
		{"no page", "respond secret", "/", ""},
		{"encoded", "encode {\nminimum_length 1\n}\nhandle {\nheader X-Secret s\nrespond secret\n}" + pages, "/", "page 500 500.52"},
		{"proxy", proxy + pages, "/", "page 500 500.52"},
		{"flushed", proxy + " {\nflush_interval -1\n}" + pages, "/flush", "Internal Server Error"},
		{"encoded and flushed", "encode {\nminimum_length 1\n}\n" + proxy + " {\nflush_interval -1\n}", "/flush", "Internal Server Error"},
		{"an error", "error 404" + pages, "/", "page 500 500.52"},
	} {
		t.Run(c.name, func(t *testing.T) {
			get := outboundSite(t, failing, "header X-Before b\n"+c.handlers)
			got := get(c.path+"?a%0d%0aSet-Cookie:b", "Connection: close\r\nAccept-Encoding: identity\r\nTE: trailers\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 500 ") || strings.Contains(got, "ecret") || strings.Contains(got, "Set-Cookie") || !strings.Contains(got, "X-Before: b\r\n") {
				t.Errorf("got %q", got)
			}
			res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); string(body) != c.body || err != nil {
				t.Errorf("body: got %q, %v", body, err)
			}
			if got := get("/?a", "Connection: close\r\n"); c.name != "an error" && (!strings.Contains(got, "X-A: a\r\n") || !strings.Contains(got, "secret")) {
				t.Errorf("without a fault: got %q", got)
			}
		})
	}
}

// TestOutboundFailsAtOnce: the client of a stream that is discarded learns it before the
// stream ends.
func TestOutboundFailsAtOnce(t *testing.T) {
	ends := make(chan struct{})
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-ends:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(endless.Close)
	t.Cleanup(func() { close(ends) })
	addr := fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))
	testserver.Start(t, "{\nauto_https off\n}\nhttp://"+addr+" {\niis_rewrite {"+failing+"\n}\nreverse_proxy "+endless.Listener.Addr().String()+"\n}")
	res, err := http.Get("http://" + addr + "/?%0a")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text := make([]byte, 8); res.StatusCode != 500 {
		t.Errorf("got %s", res.Status)
	} else if _, err := io.ReadFull(res.Body, text); string(text) != "Internal" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
}

// TestOutboundOfErrors: an error that a handler returns has passed the rules, too, before
// error routes make its page. A header that a rule takes away does not come back.
func TestOutboundOfErrors(t *testing.T) {
	get := outboundSite(t, `
	outbound_rule status {
		match RESPONSE_X_MARK ^$
		action rewrite {RESPONSE_STATUS}
	}
	outbound_rule type {
		match RESPONSE_CONTENT_TYPE .+
		action rewrite ""
	}`, "header X-Powered-By x\n@gone path /gone\nerror @gone 410\nrespond <html>\nhandle_errors {\nrespond page\n}")
	for path, want := range map[string]string{"/": "200 X-Mark=200 X-Powered-By=x <html>", "/gone": "410 X-Mark=410 X-Powered-By=x page"} {
		answer := get(path, "Connection: close\r\n")
		if got := seen(t, answer); got != want {
			t.Errorf("%s: got %q", path, got)
		}
		if path == "/" && strings.Contains(answer, "Content-Type") {
			t.Errorf("the type is guessed: %q", answer)
		}
	}
}
