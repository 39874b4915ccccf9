package caddyiis_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	caddyiis "github.com/caddy-iis/caddy-iis"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// allowSome lets rows have routes of some modules.
const allowSome = `allow_routes {
	modules http.handlers.static_response http.handlers.headers http.handlers.subroute http.handlers.error
	modules http.matchers.* http.handlers.reverse_proxy http.handlers.file_server http.handlers.rewrite
	%s
}`

// says is a site with routes of its own that answer with a text.
func (l *live) says(host, text string, more ...string) string {
	routes := fmt.Sprintf(`"routes":[{"handle":[{"handler":"static_response","body":%q}]}]`, text)
	return l.site("", host, append([]string{routes}, more...)...)
}

// body is what a host is answered with over http.
func (l *live) body(host string) string {
	l.t.Helper()
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: host, Plain: true})
	if err != nil {
		l.t.Fatal(err)
	}
	return answer.Body
}

// ends waits until so many contents are left.
func contentsLeft(t *testing.T, want int) {
	t.Helper()
	eventually(t, fmt.Sprint(want, " contents are left"), 10*time.Second, func() bool {
		contents, _ := caddyiis.OwnRoutes()
		return contents == want
	})
}

// TestOwnRoutes: rows bring routes with them, which serve when the API has answered; equal
// ones are there once, and go with their last site; a restart and a load know them.
func TestOwnRoutes(t *testing.T) {
	l := startLive(t, fmt.Sprintf(allowSome, "max_sites 4"), "log")
	l.want(201, "PUT", "sites/10", l.says("a.test", "hello from {iis.site.id}"))
	l.want(201, "PUT", "sites/11", l.says("b.test", "hello from {iis.site.id}", `"access_log":true`))
	l.want(201, "PUT", "sites/12", l.says("c.test", "another"))
	l.want(201, "PUT", "sites/13", l.site("", "d.test", `"template":"page"`))
	check := func() {
		t.Helper()
		l.serves("a.test", "hello from 10")
		l.serves("b.test", "hello from 11")
		l.serves("c.test", "another")
		l.serves("d.test", "13")
		if contents, sites := caddyiis.OwnRoutes(); contents != 2 || sites != 3 {
			t.Errorf("%d contents of %d sites", contents, sites)
		}
	}
	check()
	if err := l.Load(l.config("log_sni")); err != nil {
		t.Fatal(err)
	}
	check()
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	check()
	l.want(200, "PATCH", "sites/10", `{"routes":[{"handle":[{"handler":"static_response","body":"changed"}]}]}`)
	l.serves("a.test", "changed")
	l.serves("b.test", "hello from 11")
	l.want(200, "PATCH", "sites/10", `{"routes":null}`)
	l.serves("a.test", "default 10")
	l.want(200, "PUT", "sites/10?dry_run=1", l.says("a.test", "dry"))
	contentsLeft(t, 2)
	// Routes for errors.
	l.want(200, "PUT", "sites/12", l.site("", "c.test", `"routes":[{"handle":[{"handler":"error","error":"oh","status_code":418}]}],
		"errors":{"routes":[{"handle":[{"handler":"static_response","body":"{http.error.status_code} at {iis.site.id} {http.request.method}"}]}]}`))
	if body := l.body("c.test"); body != "418 at 12 GET" {
		t.Errorf("got %q", body)
	}
	l.want(204, "DELETE", "sites/11", "")
	contentsLeft(t, 1)
	l.want(204, "DELETE", "sites/12", "")
	contentsLeft(t, 0)
	// A bound of all changes together.
	four := func(from int) string {
		var list []string
		for i := range 4 {
			list = append(list, fmt.Sprintf(`{"op":"put","id":%d,"site":%s}`, from+i, l.says(fmt.Sprintf("m%d.test", from+i), "x")))
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	l.want(200, "POST", "changes", four(20))
	l.refused(422, "PUT", "sites/30", l.says("e.test", "x"), "max_sites")
	l.refused(422, "POST", "changes", four(40), "max_sites")
	l.want(200, "PUT", "sites/21", l.says("m21.test", "y"))
	l.want(200, "POST", "changes", fmt.Sprintf(`[{"op":"put","id":30,"site":%s},{"op":"delete","id":20}]`, l.says("e.test", "x")))
	l.want(200, "POST", "changes", four(21)[:0]+fmt.Sprintf(`[{"op":"put","id":21,"site":%s}]`, l.says("m21.test", "y")))
	l.refused(422, "PUT", "sites/31", l.says("f.test", "x"), "max_sites")
	if err := l.Load(strings.Replace(l.config(""), "max_sites 4", "max_sites 3", 1)); err == nil || !strings.Contains(err.Error(), "max_sites") {
		t.Errorf("a load that would hold a site back: %v", err)
	}
	if err := l.Load(strings.Replace(l.config(""), "http.handlers.static_response", "", 1)); err == nil || !strings.Contains(err.Error(), "allow_routes modules") {
		t.Errorf("a load without the module: %v", err)
	}
}

// TestOwnRoutesAreBounded: what whoever writes a row must not reach is refused, by the API,
// with a reason, and nothing changes.
func TestOwnRoutesAreBounded(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"site", "other"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "site", "index.html"), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "from upstream") }))
	defer upstream.Close()
	address := strings.TrimPrefix(upstream.URL, "http://")
	l := startLive(t, fmt.Sprintf(allowSome, fmt.Sprintf("below %q\nto %s", filepath.Join(folder, "site"), address)), "")
	handle := func(handlers string) string { return l.site("", "a.test", `"routes":[{"handle":[`+handlers+`]}]`) }
	match := func(matchers string) string {
		return l.site("", "a.test", `"routes":[{"match":[{`+matchers+`}],"handle":[{"handler":"static_response"}]}]`)
	}
	quoted := func(s string) string { raw, _ := json.Marshal(s); return string(raw) }
	for _, c := range []struct{ document, mentions string }{
		{handle(`{"handler":"static_response","body":"{env.HOME}"}`), "placeholder"},
		{handle(`{"handler":"static_response","body":"{env.HOME:x}"}`), "placeholder"},
		{handle(`{"handler":"static_response","body":"{{env.HOME"}`), "placeholder"},
		{handle(`{"handler":"static_response","body":"{file./etc/passwd}"}`), "placeholder"},
		{handle(`{"handler":"static_response","body":"{system.hostname}"}`), "placeholder"},
		{handle(`{"handler":"static_response","body":"{secret.x}"}`), "placeholder"},
		{handle(`{"handler":"static_response","body":"{http.request.body}"}`), "placeholder"},
		{handle(`{"handler":"static_response","headers":{"{env.HOME}":["x"]}}`), "placeholder"},
		{handle(`{"handler":"static_response","body":"{http.response.header.X}"}`), "placeholder"},
		{handle(`{"handler":"headers","response":{"set":{"X":["{http.response.header.X}{http.response.header.X}"]}}}`), "placeholder"},
		{handle(`{"handler":"headers","request":{"set":{"X":["{http.request.header.X}{http.request.header.X}"]}}}`), "no place in a header"},
		{handle(`{"handler":"headers","request":{"add":{"X":["{http.request.uri}"]}}}`), "no place in a header"},
		{handle(`{"handler":"headers","request":{"set":{"X-{http.request.cookie.a}":["x"]}}}`), "no place in a header"},
		{handle(`{"handler":"headers","request":{"set":{"X":["{http.regexp.a.1}"]}}}`), "no place in a header"},
		{handle(`{"handler":"headers","request":{"set":{"X":["{x}"]}}}`), "no place in a header"},
		{handle(`{"handler":"headers","request":{"replace":{"X":[{"search":"a","replace":"aaaaaaaaaa"}]}}}`), "cannot be used"},
		{handle(`{"handler":"headers","response":{"replace":{"X":[{"search_regexp":"{http.request.header.P}","replace":""}]}}}`), "cannot be used"},
		{handle(`{"handler":"rewrite","uri":"{http.request.uri}{http.request.uri}"}`), "one placeholder"},
		{handle(`{"handler":"rewrite","method":"{http.request.header.X}"}`), "no placeholders"},
		{handle(`{"handler":"rewrite","uri_substring":[{"find":"a","replace":"aa"}]}`), "cannot be used"},
		{handle(`{"handler":"rewrite","path_regexp":[{"find":"a","replace":"aa"}]}`), "cannot be used"},
		{handle(`{"handler":"rewrite","query":{"add":[{"key":"a","val":"{http.request.uri.query}"}]}}`), "cannot be used"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"` + address + `"}],"headers":{"request":{"set":{"X":["{http.request.header.X}"]}}}}`), "no place in a header"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"` + address + `"}],"rewrite":{"query":{}}}`), "cannot be used"},
		{handle(`{"handler":"map","source":"{a}","destinations":["{a}"]}`), "no module"},
		{handle(`{"handler":"file_server","root":` + quoted(folder+"/site") + `,"etag_file_extensions":["b/../../../etc/passwd"]}`), "cannot be used"},
		{match(`"file":{"root":` + quoted(folder+"/site") + `,"try_files":["/*/*/*"]}`), "without * ? ["},
		{handle(`{"handler":"static_response","body":"` + strings.Repeat("{http.request.uri}", 201) + `"}`), "placeholders"},
		{handle(`{"handler":"templates"}`), "no module"},
		{handle(`{"handler":"vars","root":"/"}`), "no module"},
		{handle(`{"handler":"invoke","name":"x"}`), "no module"},
		{handle(`{"handler":"encode","encodings":{"gzip":{}}}`), "allow_routes modules"},
		{handle(`{"Handler":"static_response"}`), "handler is missing"},
		{handle(`{"handler":"static_response","Body":"x"}`), "cannot be used"},
		{handle(`{"handler":"subroute","routes":[{"handle":[{"handler":"templates"}]}]}`), "no module"},
		{handle(`{"handler":"subroute","errors":{"routes":[{"handle":[{"handler":"templates"}]}]}}`), "no module"},
		{handle(`{"handler":"subroute","errors":{"routes":[{"match":[{"expression":"true"}]}]}}`), "no module"},
		{handle(`{"handler":"file_server"}`), "root is missing"},
		{handle(`{"handler":"file_server","root":"/etc"}`), "is not a path below"},
		{handle(`{"handler":"file_server","root":` + quoted(folder+"/site/../other") + `}`), "is not a path below"},
		{handle(`{"handler":"file_server","root":` + quoted(folder+"/site{http.request.uri.query.x}") + `}`), "without placeholders"},
		{handle(`{"handler":"file_server","root":` + quoted(folder+"/site") + `,"fs":"x"}`), "cannot be used"},
		{handle(`{"handler":"file_server","root":` + quoted(folder+"/site") + `,"browse":{"template_file":"/etc/passwd"}}`), "cannot be used"},
		{handle(`{"handler":"reverse_proxy"}`), "upstreams is missing"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{}]}`), "dial is missing"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"` + l.AdminAddr() + `"}]}`), "is not one of"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"localhost:2019"}]}`), "is not one of"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"unix//run/caddy.sock"}]}`), "is not host:port"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"{http.request.host}:80"}]}`), "without placeholders"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"` + address + `"}],"transport":{"protocol":"fastcgi"}}`), "no module"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"` + address + `"}],"transport":{"protocol":"http","tls":{"client_certificate_file":"/etc/x"}}}`), "cannot be used"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"` + address + `"}],"health_checks":{"active":{"interval":1}}}`), "cannot be used"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"` + address + `"}],"dynamic_upstreams":{"source":"a"}}`), "cannot be used"},
		{handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"` + address + `"}],"handle_response":[]}`), "cannot be used"},
		{match(`"file":{"try_files":["/etc/passwd"]}`), "root is missing"},
		{match(`"file":{"root":"/etc"}`), "is not a path below"},
		{match(`"not":[{"file":{"root":"/etc"}}]`), "is not a path below"},
		{match(`"expression":"{env.HOME} != ''"`), "placeholder"},
		{match(`"vars":{"x":["y"]}`), "no module"},
		{match(`"path_regexp":{"pattern":"(((a{100}){100}){100}){10}"}`), ""},
		{match(`"path_regexp":{"pattern":"(thirty letters are more than enough){1000}"}`), "steps"},
		{match(`"path_regexp":{"pattern":"("}`), "missing closing"},
		{l.site("", "a.test", `"routes":[],"template":"page"`), "remove one of them"},
		{l.site("", "a.test", `"routes":[{"handle":[],"unknown":1}]`), "unknown"},
		{l.site("", "a.test", `"site_vars":{}`), "site_vars"},
		{handle(`{"handler":"static_response","status_code":"x","headers":1}`), ""},
		{handle(`{"handler":"rewrite","path_regexp":[{"find":""}]}`), ""},
		{match(`"remote_ip":{"ranges":["nonsense"]}`), "nonsense"},
	} {
		l.refused(422, "PUT", "sites/10", c.document, c.mentions)
	}
	contentsLeft(t, 0)
	l.want(201, "PUT", "sites/10", handle(`{"handler":"file_server","root":`+quoted(folder+"/site")+`}`))
	if body := l.body("a.test"); body != "a file" {
		t.Errorf("got %q", body)
	}
	l.want(200, "PUT", "sites/10", handle(`{"handler":"reverse_proxy","upstreams":[{"dial":"`+address+`"}],"headers":{"response":{"set":{"X-It":["{http.request.host}"]}}}}`))
	if body := l.body("a.test"); body != "from upstream" {
		t.Errorf("got %q", body)
	}
}

// TestOwnRoutesReadNothing: placeholders that come into texts by other ways than the row's
// documents, such as from what clients send, tell nothing of the machine.
func TestOwnRoutesReadNothing(t *testing.T) {
	t.Setenv("OWN_ROUTES_SECRET", "s3cret")
	l := startLive(t, fmt.Sprintf(allowSome, ""), "")
	l.want(201, "PUT", "sites/10", l.site("", "a.test", `"routes":[
		{"match":[{"header_regexp":{"X-In":{"name":"r","pattern":"(.*)"}}}],"handle":[
			{"handler":"headers","request":{"set":{"X-From":["{http.request.orig_uri} {http.request.remote.host}"]}},"response":{"set":{"X-Out":["{http.request.header.X-In} {http.request.header.X-From}"]}}},
			{"handler":"static_response","body":"[{http.regexp.r.1}] [{http.request.header.X-In}] {time.now.year}"}]}]`, `"vars":{"x":"{env.OWN_ROUTES_SECRET}"}`))
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "a.test", Plain: true, Header: http.Header{"X-In": {"{env.OWN_ROUTES_SECRET}{file./etc/passwd}"}}})
	if err != nil {
		t.Fatal(err)
	}
	all := answer.Body + fmt.Sprint(answer.Header)
	if strings.Contains(all, "s3cret") || strings.Contains(all, "root:") || !strings.Contains(answer.Body, fmt.Sprint(time.Now().Year())) {
		t.Errorf("got %s %v", answer, answer.Header)
	}
}

// TestOwnRoutesWithoutBounds: files and upstreams that the source names none for are nobody's.
func TestOwnRoutesWithoutBounds(t *testing.T) {
	l := startLive(t, fmt.Sprintf(allowSome, ""), "")
	l.refused(422, "PUT", "sites/10", l.site("", "a.test", `"routes":[{"handle":[{"handler":"file_server","root":"/srv"}]}]`), "allow_routes below")
	l.refused(422, "PUT", "sites/10", l.site("", "a.test", `"routes":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"10.0.0.1:80"}]}]}]`), "allow_routes to")
	for settings, mentions := range map[string]string{
		"allow_routes {\n}": "modules is missing",
		"allow_routes {\nmodules http.handlers.templates\n}":             "cannot be allowed",
		"allow_routes {\nmodules http.*\n}":                              "cannot be allowed",
		"allow_routes {\nmodules http.matchers.expression\n}":            "cannot be allowed",
		"allow_routes {\nmodules http.handlers.error\nto 127.0.0.0/8\n}": "name the port",
		"allow_routes {\nmodules http.handlers.error\nto 0.0.0.0/0\n}":   "name the port",
		"allow_routes {\nmodules http.handlers.error\nto localhost\n}":   "name the port",
		"allow_routes {\nmodules http.handlers.error\nto ::1\n}":         "name the port",
		"allow_routes {\nmodules http.handlers.error\nbelow relative\n}": "absolute",
		"allow_routes {\nmodules http.handlers.error\nmax_sites 0\n}":    "max_sites",
		"allow_routes {\nmodules http.handlers.error\nunknown 0\n}":      "unknown word",
		"allow_routes x {\nmodules http.handlers.error\n}":               "argument",
		"allow_routes {\nmodules http.handlers.error\nmodules\n}":        "argument",
	} {
		other := strings.Replace(l.config(""), fmt.Sprintf(allowSome, ""), settings, 1)
		if err := l.Load(other); err == nil || !strings.Contains(err.Error(), mentions) {
			t.Errorf("%s: %v, want %q", settings, err, mentions)
		}
	}
}

// TestOwnRoutesOfRequests: a request ends with the routes it began with, and so does a
// connection that was taken over, though its site has others meanwhile; those of other
// sites go on.
func TestOwnRoutesOfRequests(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{}, 10)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			began <- struct{}{}
			<-release
			io.WriteString(w, "late")
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		for {
			line, err := buffered.ReadString('\n')
			if err != nil {
				return
			}
			io.WriteString(conn, line)
		}
	}))
	defer upstream.Close()
	address := strings.TrimPrefix(upstream.URL, "http://")
	l := startLive(t, fmt.Sprintf(allowSome, "to "+address), "drain_upgraded 2s")
	proxy := func(host, more string) string {
		return l.site("", host, fmt.Sprintf(`"routes":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":%q}]%s}]}]`, address, more))
	}
	l.want(201, "PUT", "sites/10", proxy("a.test", ""))
	l.want(201, "PUT", "sites/11", proxy("b.test", `,"flush_interval":-1`))
	slow := make(chan string, 1)
	go func() {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "a.test", Plain: true})
		if err != nil {
			slow <- err.Error()
			return
		}
		slow <- answer.Body
	}()
	<-began
	mine, others := upgradePlain(t, l.plain, "a.test"), upgradePlain(t, l.plain, "b.test")
	l.want(200, "PUT", "sites/10", l.says("a.test", "new"))
	if body := l.body("a.test"); body != "new" {
		t.Errorf("got %q", body)
	}
	mine.echo(t, "still there")
	close(release)
	if body := <-slow; body != "late" {
		t.Errorf("the request that was under way: %q", body)
	}
	gone := time.Now()
	_ = mine.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := mine.r.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection of routes that are gone: %v", err)
	}
	if after := time.Since(gone); after > 8*time.Second {
		t.Errorf("it ended after %s", after)
	}
	others.echo(t, "not touched")
	contentsLeft(t, 2)
}

// TestOwnRoutesBesideChanges: while a site's routes change all the time, no request fails.
func TestOwnRoutesBesideChanges(t *testing.T) {
	l := startLive(t, fmt.Sprintf(allowSome, ""), "")
	l.want(201, "PUT", "sites/10", l.says("a.test", "0"))
	var failed, asked atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			client := ts.NewClient(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "a.test", Plain: true})
			defer client.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				answer, err := client.Do(ts.Request{Host: "a.test", Plain: true, Addr: at("127.0.0.1", l.plain)})
				if asked.Add(1); err != nil || answer.Status != 200 || answer.Body == "" {
					failed.Add(1)
				}
			}
		}()
	}
	for i := 1; i <= 60; i++ {
		l.want(200, "PUT", "sites/10", l.says("a.test", fmt.Sprint(i)))
	}
	close(stop)
	for range 4 {
		<-done
	}
	if failed.Load() > 0 || asked.Load() == 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
	contentsLeft(t, 1)
}

func init() {
	caddy.RegisterModule(badHandler{})
}

// badHandler is a module that does what it should not when it is provisioned.
type badHandler struct {
	Does string `json:"does"`
}

// badHandlers counts those that are provisioned and not cleaned up.
var badHandlers atomic.Int64

func (badHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_bad", New: func() caddy.Module { return new(badHandler) }}
}

func (b *badHandler) Provision(caddy.Context) error {
	badHandlers.Add(1)
	switch b.Does {
	case "panic":
		panic("provisioning")
	case "error":
		return errors.New("it does not want to")
	case "hang":
		time.Sleep(6 * time.Second)
	}
	return nil
}

func (b *badHandler) Cleanup() error {
	badHandlers.Add(-1)
	if b.Does == "panic later" {
		panic("cleaning up")
	}
	return nil
}

func (badHandler) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error { return nil }

// TestOwnRoutesOfBadModules: a module that panics, hangs or does not want to when routes are
// provisioned is an error of the row, and what came before it is cleaned up.
func TestOwnRoutesOfBadModules(t *testing.T) {
	l := startLive(t, fmt.Sprintf(allowSome, ""), "")
	before := badHandlers.Load()
	routes := func(does string) string {
		return fmt.Sprintf(`{"routes":[{"handle":[{"handler":"test_bad"},{"handler":"test_bad","does":%q}]}]}`, does)
	}
	for does, want := range map[string]string{"panic": "in a way that it should not", "error": "it does not want to", "hang": "not ready after", "panic later": "", "": ""} {
		for range 2 { // the second time it is known
			err := caddyiis.ProvisionOwnRoutes(routes(does))
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v", does, err)
			}
		}
	}
	eventually(t, "all handlers are cleaned up", 10*time.Second, func() bool { return badHandlers.Load() <= before+1 }) // the one that has panicked was none
	l.want(201, "PUT", "sites/10", l.says("a.test", "all is well"))
	l.serves("a.test", "all is well")
}

// TestOwnRoutesAddNoApps: an app that was first asked for by a row would never start.
func TestOwnRoutesAddNoApps(t *testing.T) {
	l := startLive(t, fmt.Sprintf(allowSome, "below /srv\nto 10.0.0.1\nmodules http.handlers.encode http.encoders.gzip"), "")
	apps := func() (names []string) {
		for _, module := range caddy.GetModules("") {
			if _, err := caddy.ActiveContext().AppIfConfigured(string(module.ID)); err == nil {
				names = append(names, string(module.ID))
			}
		}
		return names
	}
	before := apps()
	l.want(201, "PUT", "sites/10", l.site("", "a.test", `"routes":[{"match":[{"file":{"root":"/srv"},"not":[{"path":["/x"]}]}],"handle":[
		{"handler":"encode","encodings":{"gzip":{}}},{"handler":"file_server","root":"/srv","pass_thru":true},
		{"handler":"reverse_proxy","upstreams":[{"dial":"10.0.0.1:443"}],"transport":{"protocol":"http","tls":{"server_name":"x.test"}}}]}]`))
	if after := apps(); !slices.Equal(after, before) {
		t.Errorf("%v, and %v before", after, before)
	}
}

// TestOwnRoutesOfFile: lines of a sites file may have routes where the source says so.
func TestOwnRoutesOfFile(t *testing.T) {
	port, file := ts.FreePort(t), filepath.Join(t.TempDir(), "sites.jsonl")
	line := func(id int, handler string) string {
		return fmt.Sprintf(`{"id":%d,"server_bindings":[":%d:s%d.test"],"routes":[{"handle":[%s]}]}`+"\n", id, port, id, handler)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(line(10, `{"handler":"static_response","body":"ten"}`))
	config := func(block string) string {
		return iisConfig(fmt.Sprintf("sites_from file %q %s\n", file, block))
	}
	s := ts.Start(t, config("{\nallow_routes {\nmodules http.handlers.static_response\nmax_sites 2\n}\n}"))
	l := &live{t: t, Server: s, plain: port}
	if body := l.body("s10.test"); body != "ten" {
		t.Errorf("got %q", body)
	}
	write(line(10, `{"handler":"static_response","body":"ten"}`) + line(11, `{"handler":"static_response","body":"eleven"}`))
	eventually(t, "the new line serves", 10*time.Second, func() bool { return l.body("s11.test") == "eleven" })
	refused := func(mentions string) {
		t.Helper()
		eventually(t, mentions, 10*time.Second, func() bool {
			_, answer := l.Admin("GET", "/iis/check", "")
			return strings.Contains(answer, mentions)
		})
		if body := l.body("s11.test"); body != "eleven" {
			t.Errorf("got %q", body)
		}
	}
	write(line(11, `{"handler":"templates"}`))
	refused("no module")
	write(line(11, `{"handler":"static_response"}`) + line(12, `{"handler":"static_response"}`) + line(13, `{"handler":"static_response"}`))
	refused("max_sites")
	if err := s.Load(config("")); err == nil && l.body("s11.test") == "eleven" {
		t.Error("routes without allow_routes")
	}
}
