package iishttp_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-iis/caddy-iis/iishttp"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// answered compares statuses and texts of answers, or "301 <location>".
func (s *site) answered(cases [][2]string) {
	s.t.Helper()
	for _, c := range cases {
		resp, body := s.ask(c[0])
		got := body
		if l := resp.Header.Get("Location"); l != "" {
			got = fmt.Sprint(resp.StatusCode, " ", l)
		}
		if got != c[1] {
			s.t.Errorf("%s: %q, not %q", c[0], got, c[1])
		}
	}
}

func TestRewrite(t *testing.T) {
	s := newSite(t, `
	iis_rewrite {
		folder / {root} C:\site
		map Old {
			/php /default.aspx?tab=1
		}
		allow_variables HTTP_X_TEST HTTP_ACCEPT_LANGUAGE
		rule article {
			match ^article/([0-9]+)/(.+)
			action rewrite article.aspx?id={R:1}&title={R:2}
		}
		rule old {
			match ^old/(.*)$
			action redirect new.txt?p={R:1} see_other
		}
		rule gone {
			match ^gone$
			action respond 410.3 Gone "It is gone: {QUERY_STRING}"
		}
		rule refused {
			match ^refused$
			action respond 403.7
		}
		rule unknown {
			match ^variable$
			set HTTP_X_OTHER x
			action none
		}
		rule set {
			match ^set$
			set HTTP_X_TEST "from {HTTP_HOST}"
			set HTTP_ACCEPT_LANGUAGE ""
			action rewrite /shown
		}
		rule "front controller" {
			match ^app/
			file_condition {REQUEST_FILENAME} not file
			file_condition {REQUEST_FILENAME} not directory
			action rewrite /index.php
		}
		rule table {
			match .*
			condition {Old:{REQUEST_URI}} (.+)
			action rewrite {C:1}
			append_query_string off
		}
		rule out {
			match ^out/(.*)
			action rewrite http://10.0.0.1/{R:1}
		}
	}
	respond "{http.request.uri} {http.request.header.X-Test} {http.request.header.X-Original-URL} {http.request.header.X_Original_Url} {http.request.header.Accept-Language}"
	`+errorPage, "app/a.css", "app/sub/")
	s.answered([][2]string{
		{"/article/234/a-b", "/article.aspx?id=234&title=a-b  /article/234/a-b  "},
		{"/article/234/a-b?c=1", "/article.aspx?id=234&title=a-b&c=1  /article/234/a-b?c=1  "},
		{"/old/ab?z=1", "303 /new.txt?p=ab&z=1"},
		{"/old/%0d%0aSet-Cookie:x", "500: 500.50"}, // no line break reaches a pattern
		{"/PHP", "/default.aspx?tab=1  /PHP  "},
		{"/gone?a", "It is gone: a"},
		{"/gone?<b>", "It is gone: &lt;b&gt;"},
		{"/refused", "403: 403.7"},
		{"/variable", "500: 500.50"},
		{"/app/A.css", "/app/A.css    "},
		{"/app/sub", "/app/sub    "},
		{"/app/x%2Fy?q", "/index.php?q  /app/x/y?q  "},
		{"/app/a:b", "404: 404.0"},
		{"/out/x", "404: 404.0"},
		{"/a%2Fb%20c?d=%20", "/a%2Fb%20c?d=%20    "}, // untouched
	})
	for _, spelling := range []string{"X-Original-URL", "x-original-url", "X_Original_Url"} {
		if _, body := s.ask("/x", spelling, "/admin"); strings.Contains(body, "admin") {
			t.Errorf("%s of a client came through: %s", spelling, body)
		}
	}
	if _, body := s.ask("/set", "X-Test", "client", "X_Test", "client", "Accept-Language", "de"); body != "/shown from "+s.addr+" /set  " {
		t.Errorf("variables: %s", body)
	}
}

// TestRewriteTwice: rules of the server, then those of the site, as in IIS.
func TestRewriteTwice(t *testing.T) {
	s := newSite(t, `
	route {
		iis_rewrite {
			global
			rule one {
				match ^a$
				action rewrite b
			}
		}
		iis_rewrite {
			rule two {
				match ^b$
				condition {HTTP_X_ORIGINAL_URL} ^/a
				action rewrite c
			}
			rule three {
				match ^d$
				condition {HTTP_X_ORIGINAL_URL} .
				action abort
			}
		}
		respond "{http.request.uri} {http.request.header.X-Original-URL}"
	}`)
	s.answered([][2]string{{"/a?x", "/c?x /a?x"}, {"/b", "/b "}})
	if _, body := s.ask("/d", "X-Original-URL", "/x"); body != "/d " {
		t.Errorf("a client's header reached a rule: %s", body)
	}
}

// TestRewriteAbort: nothing is sent, nothing is logged as a fault, nothing stays.
func TestRewriteAbort(t *testing.T) {
	cert, key := ts.PEM(t, "abort.test", "abort.test")
	port := ts.FreePort(t)
	ts.Start(t, fmt.Sprintf(`{
	auto_https off
}
https://abort.test:%d {
	bind 127.0.0.1
	tls %s %s
	iis_rewrite {
		rule abort {
			match ^abort
			action abort
		}
	}
	respond ok
}`, port, cert, key))
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	// Connections of HTTP/3 are the test's own: http3.Transport gives up one with a
	// failure, but does not close it.
	conn, err := quic.DialAddr(t.Context(), addr, &tls.Config{InsecureSkipVerify: true, ServerName: "abort.test", NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	for proto, transport := range map[string]http.RoundTripper{
		"HTTP/1.1": abortClient(addr, false), "HTTP/2.0": abortClient(addr, true), "HTTP/3.0": new(http3.Transport).NewClientConn(conn),
	} {
		ask := func(path string) (string, error) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://abort.test:%d%s", port, path), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				return "", err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			return resp.Proto + " " + string(body), err
		}
		if got, err := ask("/"); err != nil || got != proto+" ok" {
			t.Fatalf("%s: %v, %v", proto, got, err)
		}
		before := runtime.NumGoroutine()
		for range 30 {
			if got, err := ask("/abort"); err == nil {
				t.Errorf("%s: %v", proto, got)
			}
		}
		if got, err := ask("/"); err != nil || got != proto+" ok" {
			t.Errorf("%s, afterwards: %v, %v", proto, got, err)
		}
		for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before+20; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d goroutines, %d before", proto, runtime.NumGoroutine(), before)
			}
		}
	}
	if raw, err := ts.RawTLS(ts.Request{Addr: addr, SNI: "abort.test"}, "GET /abort HTTP/1.1\r\nHost: abort.test\r\n\r\n"); raw != "" {
		t.Errorf("sent %q, %v", raw, err)
	}
	for _, word := range []string{`"level":"error"`, `"level":"warn"`, "panic"} {
		for _, line := range ts.Logs.Lines(word) {
			if strings.Contains(line, "abort") && !strings.Contains(line, "unmanaged certificate") {
				t.Errorf("logged: %s", line)
			}
		}
	}
}

// abortClient is a client of HTTP/1.1 or HTTP/2.
func abortClient(addr string, h2 bool) http.RoundTripper {
	return &http.Transport{
		ForceAttemptHTTP2: h2,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
}

const everyWord = `iis_rewrite {
	global
	folder / /srv C:\site
	folder /x /x
	allow_variables A B
	constant APP_POOL_ID x
	map m default d case_sensitive {
		k v
		"" e
	}
	proxy http://10.0.0.1 https://b
	keep_original_url_encoding off
	rule "a b" {
		base /x
		syntax wildcard
		match not case_sensitive *
		any_condition
		track_all_captures
		condition {URL} not case_sensitive "a b"
		condition {URL} not
		file_condition {URL} not file
		file_condition {URL} directory
		set A v keep
		set B ""
		action redirect /x temporary
		append_query_string off
		stop
	}
	rule c {
		match case_sensitive
		action respond 404.8 r d
	}
	rule d {
		match x
		action none
	}
}`

func TestRewriteCaddyfile(t *testing.T) {
	m := new(iishttp.Rewrite)
	if err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser(everyWord)); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"global":true,"allow_variables":["A","B"],"constants":{"APP_POOL_ID":"x"},` +
		`"maps":[{"name":"m","default":"d","case_sensitive":true,"entries":{"":"e","k":"v"}}],"proxy":["http://10.0.0.1","https://b"],"keep_escapes":true,` +
		`"rules":[{"name":"a b","base":"/x","syntax":"Wildcard","match":{"pattern":"*","case_sensitive":true,"not":true},"any_condition":true,"track_all_captures":true,` +
		`"conditions":[{"input":"{URL}","pattern":"a b","case_sensitive":true,"not":true},{"input":"{URL}","pattern":"not"},` +
		`{"input":"{URL}","is":"file","pattern":"","not":true},{"input":"{URL}","is":"directory","pattern":""}],` +
		`"set":[{"name":"A","value":"v","keep":true},{"name":"B","value":""}],` +
		`"action":{"type":"redirect","url":"/x","drop_query_string":true,"status":307},"stop":true},` +
		`{"name":"c","match":{"pattern":"case_sensitive"},"action":{"type":"respond","status":404,"sub_status":8,"reason":"r","description":"d"}},` +
		`{"name":"d","match":{"pattern":"x"},"action":{"type":"none"}}],` +
		`"folders":[{"url":"/","local":"/srv","windows":"C:\\site"},{"url":"/x","local":"/x"}]}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
	again := new(iishttp.Rewrite)
	if err := json.Unmarshal(raw, again); err != nil || !reflect.DeepEqual(m, again) {
		t.Errorf("JSON: %+v, %v", again, err)
	}
}

func TestRewriteCaddyfileRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"iis_rewrite x":                                                 "Testfile:1",
		"iis_rewrite {\n global x\n}":                                   "Testfile:2",
		"iis_rewrite {\n folder /\n}":                                   "Testfile:2",
		"iis_rewrite {\n nothing\n}":                                    "nothing",
		"iis_rewrite {\n\n map\n}":                                      "Testfile:3",
		"iis_rewrite {\n map m x\n}":                                    "expected default",
		"iis_rewrite {\n map m {\n a\n}\n}":                             "Testfile:3",
		"iis_rewrite {\n map m {\n a b\n a c\n}\n}":                     "twice",
		"iis_rewrite {\n keep_original_url_encoding on\n}":              "keep_original_url_encoding",
		"iis_rewrite {\n rule\n}":                                       "Testfile:2",
		"iis_rewrite {\n rule a b\n}":                                   "Testfile:2",
		"iis_rewrite {\n rule a {\n syntax perl\n}\n}":                  "Testfile:3",
		"iis_rewrite {\n rule a {\n match\n}\n}":                        "rule a: match",
		"iis_rewrite {\n rule a {\n match a b\n}\n}":                    "rule a: match",
		"iis_rewrite {\n rule a {\n condition {URL}\n}\n}":              "Testfile:3",
		"iis_rewrite {\n rule a {\n file_condition {URL}\n}\n}":         "file_condition",
		"iis_rewrite {\n rule a {\n file_condition {URL} x\n}\n}":       "file_condition",
		"iis_rewrite {\n rule a {\n file_condition {URL} is file\n}\n}": "file_condition",
		"iis_rewrite {\n rule a {\n set A v x\n}\n}":                    "set A v x",
		"iis_rewrite {\n rule a {\n action redirect /x moved\n}\n}":     "moved",
		"iis_rewrite {\n rule a {\n action respond 404.\n}\n}":          "404.",
		"iis_rewrite {\n rule a {\n action respond x\n}\n}":             "respond",
		"iis_rewrite {\n rule a {\n action rewrite\n}\n}":               "rewrite",
		"iis_rewrite {\n rule a {\n action abort now\n}\n}":             "abort",
		"iis_rewrite {\n rule a {\n append_query_string on\n}\n}":       "append_query_string",
		"iis_rewrite {\n rule a {\n stop it\n}\n}":                      "stop",
	} {
		if err := new(iishttp.Rewrite).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestRewriteFaultIsNamed: what loads is known to run.
func TestRewriteFaultIsNamed(t *testing.T) {
	server := ts.Start(t, "{\n auto_https off\n}\n")
	for rules, want := range map[string]string{
		"rule bad {\n match (a\n action none\n}":       `rule "bad"`,
		"rule r {\n match a\n action rewrite /{NO}\n}": `rule "r": {NO}`,
		"folder / {env.NO_SUCH_VARIABLE_IS_SET}":       "folder /",
		"proxy 10.0.0.1":                               "no origin",
		"rule r {\n match a\n action respond 302\n}":   "302",
	} {
		err := server.Load(fmt.Sprintf("{\n auto_https off\n}\nhttp://127.0.0.1:%d {\n iis_rewrite {\n%s\n}\n}", ts.FreePort(t), rules))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", rules, err)
		}
	}
}
