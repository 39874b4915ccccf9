package iishttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/caddy-iis/caddy-iis" // the option iis
	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/internal/testserver"
)

// site is a real Caddy with files.
type site struct {
	t    testing.TB
	root string
	addr string
}

// errorPage shows in the tests which sub-status a refusal has.
const errorPage = `
	handle_errors {
		respond "{err.status_code}: {http.vars.iis_sub_status}"
	}`

// files are what file_server needs behind iis_content_types.
const files = `
	file_server {
		disable_canonical_uris
		index .no-default-document
	}`

// newSite starts Caddy with directives of one site. {root} is the folder of
// the files, whose paths are given; one that ends in a slash is a folder.
func newSite(t testing.TB, directives string, paths ...string) *site {
	t.Helper()
	s := &site{t: t, root: t.TempDir(), addr: fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))}
	needs.CaseSensitive(t, s.root)
	for _, path := range paths {
		s.plant(path)
	}
	testserver.Start(t, "{\n auto_https off\n}\nhttp://"+s.addr+" {\n"+strings.ReplaceAll(directives, "{root}", s.root)+"\n}")
	return s
}

func (s *site) plant(path string) {
	s.t.Helper()
	full := filepath.Join(s.root, filepath.FromSlash(path))
	dir := filepath.Dir(full)
	if strings.HasSuffix(path, "/") {
		dir = full
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if dir != full {
		if err := os.WriteFile(full, []byte("content of "+path), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
}

// ask makes a request, "/path" or "METHOD /path", and returns the answer and
// its body. Redirects are not followed.
func (s *site) ask(request string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	method, target, ok := strings.Cut(request, " ")
	if !ok {
		method, target = http.MethodGet, request
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+s.addr+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

// check compares answers. A wanted answer is a status with sub-status
// ("404.3"), "301 <location>", "listing", or the path of the file whose
// content is wanted, perhaps with its content type.
func (s *site) check(cases [][2]string) {
	s.t.Helper()
	for _, c := range cases {
		request, want := c[0], c[1]
		resp, body := s.ask(request)
		var got string
		switch path, isFile := strings.CutPrefix(body, "content of "); {
		case resp.StatusCode == http.StatusOK && isFile:
			if got = path; strings.Contains(strings.TrimPrefix(want, "script "), " ") {
				got += " " + resp.Header.Get("Content-Type")
			}
		case resp.StatusCode == http.StatusOK && strings.Contains(body, "<html"):
			got = "listing"
		case resp.StatusCode == http.StatusMovedPermanently:
			got = "301 " + resp.Header.Get("Location")
		default:
			got = strings.TrimPrefix(body, fmt.Sprintf("%d: ", resp.StatusCode))
			if !strings.HasPrefix(got, fmt.Sprint(resp.StatusCode)) {
				got = fmt.Sprintf("%d with %q", resp.StatusCode, body)
			}
		}
		if got != want {
			s.t.Errorf("%s: %.200s, not %s", request, got, want)
		}
	}
}

// worker runs a server that answers for scripts, and returns its address.
func worker(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x-worker")
		fmt.Fprintf(w, "content of script %s", r.URL.Path)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestContentTypesOfFiles(t *testing.T) {
	s := newSite(t, `
		root {root}
		iis_content_types
		`+files+errorPage,
		"Page.HTML", "Img/Logo.PNG", "img2/a.js", "a.css", "x.bak", ".env", ".git/config", "noext", "web.config", "data.json", "f.woff2",
		"x.php", "dot.", "dir.v1/a.txt", "a b+c%.txt", "{http.request.host}.txt", "con.txt", "progra~1.txt", "a:b.txt", "é/ö.txt")
	s.check([][2]string{
		{"/Page.HTML", "Page.HTML text/html"},
		{"/page.html", "Page.HTML text/html"},
		{"/PAGE.html?x=1", "Page.HTML text/html"},
		{"/img/LOGO.png", "Img/Logo.PNG image/png"},
		{"//Img//Logo.PNG", "Img/Logo.PNG image/png"},
		{"/img2/a.js", "img2/a.js application/javascript"},
		{"/a.css", "a.css text/css"},
		{"/data.json", "data.json application/json"},
		{"/f.woff2", "f.woff2 application/font-woff2"},
		{"/a%20b+c%25.txt", "a b+c%.txt text/plain"},
		{"/%7Bhttp.request.host%7D.txt", "{http.request.host}.txt"},
		{"/%C3%89/%C3%96.TXT", "é/ö.txt"},
		{"/dir.v1/a.txt", "dir.v1/a.txt"},
		// Worked example 65, and what is alike.
		{"/x.bak", "404.3"},
		{"/X.BAK", "404.3"},
		{"/.env", "404.3"},
		{"/.git/config", "404.3"},
		{"/noext", "404.3"},
		{"/web.config", "404.3"},
		{"/x.php", "404.3"},
		{"/dot.", "404.3"},
		{"POST /x.bak", "404.3"},
		// Nothing there; path info behind a file.
		{"/nothing.html", "404.0"},
		{"POST /nothing.html", "404.0"},
		{"/nothing/", "404.0"},
		{"/page.html/", "404.0"},
		{"/page.html/x", "404.0"},
		{"/x.php/x", "404.0"},
		{"/x.php/?p=1", "404.0"}, // worked example 48
		{"/.%2e/%2e%2e/etc/passwd", "404.0"},
		{"/..%5c..%5cpage.html", "404.0"},
		{"/Img%5CLogo.PNG", "404.0"},
		{"/page.html::$DATA", "404.0"},
		{"/page.html.", "404.0"},
		{"/Page.HTML%20", "404.0"},
		{"/img./logo.png", "404.0"},
		{"/con.txt", "con.txt"},
		{"/CON.txt", "404.0"},
		{"/progra~1.txt", "progra~1.txt"},
		{"/PROGRA~1.txt", "404.0"},
		{"/a:b.txt", "a:b.txt"},
		{"/A:b.txt", "404.0"},
		{"/page%00.html", "400.0"},
		{"/page%0a.html", "400.0"},
		{"/page%ff.html", "400.0"},
		{strings.Repeat("/x", 300), "404.0"},
		// Methods.
		{"POST /page.html", "405.0"},
		{"PUT /page.html", "405.0"},
		{"TRACE /page.html", "405.0"},
		{"get /page.html", "405.0"},
	})
	if resp, body := s.ask("HEAD /PAGE.html"); resp.StatusCode != 200 || body != "" || resp.Header.Get("Content-Type") != "text/html" || resp.ContentLength != int64(len("content of Page.HTML")) {
		t.Errorf("HEAD: %v, %q", resp, body)
	}
	if resp, _ := s.ask("POST /page.html"); resp.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("405 allows %q", resp.Header.Get("Allow"))
	}
	for _, path := range []string{"/page.html", "/nothing", "/x.bak", "/"} {
		resp, body := s.ask("OPTIONS " + path)
		if want := "OPTIONS, TRACE, GET, HEAD, POST"; resp.StatusCode != 200 || body != "" || resp.Header.Get("Allow") != want || resp.Header.Get("Public") != want {
			t.Errorf("OPTIONS %s: %v", path, resp)
		}
	}
	if resp, body := s.ask("/PAGE.html", "Range", "bytes=0-6"); resp.StatusCode != 206 || body != "content" || resp.Header.Get("Content-Type") != "text/html" {
		t.Errorf("a part: %v, %q", resp, body)
	}
	resp, _ := s.ask("/PAGE.html")
	if resp, _ := s.ask("/page.html", "If-None-Match", resp.Header.Get("Etag")); resp.StatusCode != 304 {
		t.Errorf("a file that the client has: %v", resp)
	}
}

func TestContentTypesOfFolders(t *testing.T) {
	paths := []string{
		"dir/a.txt", "withdoc/INDEX.htm", "withdoc/index.html", "asp/default.ASP", "typed/index.html/", "typed/iisstart.htm",
		"html/index.html", "txt/index.txt", "Deep/Er/default.htm", "x.php/a.txt", "list/index.txt", "list/secret.bak",
	}
	t.Run("no listing", func(t *testing.T) {
		s := newSite(t, `
			root {root}
			iis_content_types
			`+files+errorPage, paths...)
		s.check([][2]string{
			{"/", "403.14"},
			// Worked example 67.
			{"/dir?x=1", "301 /dir/?x=1"},
			{"/dir/", "403.14"},
			{"HEAD /dir", "301 /dir/"},
			{"/DIR", "301 /DIR/"},
			{"//dir", "301 /dir/"},
			{"/deep//er?a=%20", "301 /deep/er/?a=%20"},
			{"/x.php", "301 /x.php/"},
			{"/./dir", "301 /dir/"},
			{"POST /dir", "405.0"},
			{"POST /dir/", "405.0"},
			{"POST /withdoc/", "405.0"},
			{"/withdoc/", "withdoc/INDEX.htm text/html"},
			{"/WITHDOC/", "withdoc/INDEX.htm text/html"},
			{"/withdoc/?x=1", "withdoc/INDEX.htm text/html"},
			{"/asp/", "404.3"}, // the first one there is it, and has no type
			{"/typed/", "typed/iisstart.htm"},
			{"/html/", "html/index.html"},
			{"/txt/", "403.14"}, // not what file_server would take
			{"/deep/er/", "Deep/Er/default.htm"},
		})
		resp, body := s.ask("/withdoc/")
		if resp.Header.Get("Location") != "" || body == "" {
			t.Errorf("default document: %v", resp)
		}
	})
	t.Run("listing", func(t *testing.T) {
		s := newSite(t, `
			root {root}
			iis_content_types {
				documents Main.HTML sub/home.htm
				browse
				remove .html
				type .HTML text/html;charset=utf-8
			}
			file_server {
				disable_canonical_uris
				index .no-default-document
				browse
			}
			`+errorPage, append(paths, "m/main.html", "n/SUB/Home.htm")...)
		s.check([][2]string{
			{"/", "listing"},
			{"/list/", "listing"},
			{"/LIST/", "listing"},
			{"/html/", "listing"},
			{"/list", "301 /list/"},
			{"POST /list/", "405.0"},
			{"/m/", "m/main.html text/html;charset=utf-8"},
			{"/n/", "n/SUB/Home.htm text/html"},
			{"/list/secret.bak", "404.3"},
		})
	})
	t.Run("documents off", func(t *testing.T) {
		s := newSite(t, `
			root {root}
			iis_content_types {
				documents off
			}
			`+files+errorPage, paths...)
		s.check([][2]string{{"/html/", "403.14"}, {"/html/index.html", "html/index.html"}})
	})
}

// TestContentTypesAfterRewrites: what led to a file does not matter. Worked
// examples 15, 47 and 48.
func TestContentTypesAfterRewrites(t *testing.T) {
	s := newSite(t, `
		root {root}
		@pub path /pub
		rewrite @pub /sec/a.txt
		@v path /v1
		rewrite @v /x.php/?p=1
		@w path /w1
		rewrite @w /x.php?y
		@bak path /bak
		rewrite @bak /sec/x.bak
		@slash path /old.txt/
		rewrite @slash /sec/old.txt
		@folder path /f /g/
		rewrite @folder /sec/sub?z=1
		@spa not file {path} {path}/
		rewrite @spa /?{query}
		iis_content_types
		`+files+errorPage,
		"index.html", "css/a.css", "sub/", "sec/a.txt", "sec/x.bak", "x.php", "sec/old.txt", "sec/sub/x")
	s.check([][2]string{
		{"/pub", "sec/a.txt text/plain"},
		{"/v1", "404.0"},
		{"/w1", "404.3"},
		{"/bak", "404.3"},
		{"/old.txt/", "sec/old.txt"},
		{"/f", "301 /sec/sub/?z=1"},
		{"/g/", "301 /sec/sub/?z=1"},
		{"/css/a.css", "css/a.css text/css"},
		{"/route?x=1", "index.html text/html"},
		{"/sub", "301 /sub/"},
	})
}

func TestContentTypesScripts(t *testing.T) {
	const config = `
		root {root}
		iis_content_types {
			documents index.php Default.aspx index.html
			type .php text/plain
			type .aspx text/plain
			type .axd text/plain
			scripts *.php /Api/*
			closed *.aspx trace.axd /old/*.html old?/x
		}
		%s
		`
	paths := []string{
		"x.php", "x.aspx", "Trace.axd", "p/INDEX.php", "q/default.ASPX", "r/index.html", "api/a.txt", "api/sub/", "old/a.html", "old/sub/b.html",
		"a.php.txt", "b.phpx", "x.php.", "old1/x", "oldest/x.txt", "d.php/a.txt",
	}
	t.Run("answered", func(t *testing.T) {
		s := newSite(t, fmt.Sprintf(config, `
			@scripts path *.php *.php/* /api/*
			reverse_proxy @scripts `+worker(t)+`
			file_server`)+errorPage, paths...)
		s.check([][2]string{
			{"/x.php", "script /x.php"},
			{"/X.PHP/Info?q=1", "script /X.PHP/Info"},
			{"POST /x.php", "script /x.php"},
			{"OPTIONS /x.php", "script /x.php"},
			{"/nothing.php", "script /nothing.php"},
			{"/P/", "script /p/INDEX.php"},
			{"POST /p/", "script /p/INDEX.php"},
			{"/p", "301 /p/"},
			{"/api/v1/things", "script /api/v1/things"},
			{"/API/", "script /API/"},
			{"/api", "301 /api/"},
			{"/r/", "r/index.html"},
			{"/a.php.txt", "a.php.txt"},
			{"/b.phpx", "404.3"},
		})
	})
	t.Run("answered if there is a file", func(t *testing.T) {
		s := newSite(t, fmt.Sprintf(config, `
			@scripts {
				path *.php
				file {
					try_files {path}
				}
			}
			reverse_proxy @scripts `+worker(t)+`
			file_server`)+errorPage, paths...)
		s.check([][2]string{{"/x.php", "script /x.php"}, {"/nothing.php", `404 with "404: "`}})
	})
	t.Run("not answered", func(t *testing.T) {
		s := newSite(t, fmt.Sprintf(config, `
			file_server {
				browse
			}`)+`
			handle_errors {
				@page not path /api/missing
				rewrite @page /r/index.html
				file_server
			}`, paths...)
		for _, path := range []string{"/x.php", "/p/", "/P/", "/api/a.txt", "/d.php/a.txt"} {
			if resp, body := s.ask(path); resp.StatusCode != 500 || strings.Contains(body, "content of") || resp.Header.Get("Etag") != "" {
				t.Errorf("%s: %d with %.200q", path, resp.StatusCode, body)
			}
		}
		for _, path := range []string{"/X.php", "/x.php/y", "/api/", "/api/sub/", "/x.aspx", "/X.aspx/y", "/q/", "/trace.axd"} {
			if resp, body := s.ask(path); resp.StatusCode != 404 || body != "content of r/index.html" {
				t.Errorf("%s: %d with %.200q", path, resp.StatusCode, body)
			}
		}
	})
	t.Run("closed", func(t *testing.T) {
		s := newSite(t, fmt.Sprintf(config, files)+errorPage, paths...)
		s.check([][2]string{
			{"/x.aspx", "404.4"},
			{"/X.ASPX", "404.4"},
			{"/x.aspx/", "404.4"},
			{"/x.aspx/info.html", "404.4"},
			{"/nothing.aspx", "404.4"},
			{"POST /x.aspx", "404.4"},
			{"OPTIONS /x.aspx", "404.4"},
			{"/q/", "404.4"},
			{"/trace.axd", "404.4"},
			{"/sub/TRACE.axd/x", "404.4"},
			{"/old/a.html", "404.4"},
			{"/old/sub/b.html", "404.4"},
			{"/old1/x", "404.4"},
			{"/oldest/x.txt", "oldest/x.txt"},
			{"/z/../x.aspx", "404.4"},
			{"/x.aspx.", "404.0"},
			{"/x.aspx::$DATA", "404.0"},
			{"/x%2Easpx", "404.4"},
			{"/x.php.", "404.3"},
		})
	})
}

func TestContentTypesPrefix(t *testing.T) {
	s := newSite(t, `
		iis_content_types {
			root {root}
			prefix /App/One/
			documents index.php index.html
			scripts *.php
		}
		reverse_proxy /app/one/p/index.php `+worker(t)+`
		file_server {
			root {root}
			disable_canonical_uris
			index .no-default-document
		}
		`+errorPage, "index.html", "dir/a.txt", "p/index.php")
	s.check([][2]string{
		{"/app/one/", "index.html"},
		{"/app/one", "301 /app/one/"},
		{"/APP/ONE/dir?x=%2F", "301 /APP/ONE/dir/?x=%2F"},
		{"/app/one/DIR/a.txt", "dir/a.txt"},
		{"/App/One/p/", "script /app/one/p/index.php"},
		{"/dir/a.txt", "404.0"},
		{"/app/dir/a.txt", "404.0"},
		{"/app/onedir/a.txt", "404.0"},
		{"/app", "404.0"},
		{"/", "404.0"},
	})
}

func TestContentTypesLists(t *testing.T) {
	paths := []string{"a.html", "noext", "b.webp", "c.json", ".env", "d.x.y", "s.php"}
	t.Run("wildcard", func(t *testing.T) {
		s := newSite(t, `
			root {root}
			iis_content_types {
				type * application/octet-stream
				type .webp image/webp
				closed *.php
			}
			`+files+errorPage, paths...)
		s.check([][2]string{
			{"/a.html", "a.html text/html"},
			{"/b.webp", "b.webp image/webp"},
			{"/noext", "noext application/octet-stream"},
			{"/.env", ".env application/octet-stream"},
			{"/s.php", "404.4"},
		})
	})
	t.Run("none", func(t *testing.T) {
		s := newSite(t, `
			root {root}
			iis_content_types {
				types none
				type . text/plain
				type .Y text/y
				cache_control max-age=60,public
				expires "Thu, 01 Jan 2037 00:00:00 GMT"
			}
			`+files+errorPage, paths...)
		s.check([][2]string{
			{"/a.html", "404.3"},
			{"/c.json", "404.3"},
			{"/noext", "noext text/plain"},
			{"/d.x.y", "d.x.y text/y"},
		})
		if resp, _ := s.ask("/noext"); resp.Header.Get("Cache-Control") != "max-age=60,public" || resp.Header.Get("Expires") != "Thu, 01 Jan 2037 00:00:00 GMT" {
			t.Errorf("clientCache: %v", resp.Header)
		}
		for _, path := range []string{"/a.html", "/", "/nothing"} {
			if resp, _ := s.ask(path); resp.Header.Get("Cache-Control") != "" || resp.Header.Get("Expires") != "" {
				t.Errorf("%s is cached: %v", path, resp.Header)
			}
		}
	})
	t.Run("set before", func(t *testing.T) {
		s := newSite(t, `
			root {root}
			header Content-Type text/mine
			iis_content_types
			`+files, paths...)
		s.check([][2]string{{"/a.html", "a.html text/mine"}})
	})
	t.Run("removed", func(t *testing.T) {
		s := newSite(t, `
			root {root}
			iis_content_types {
				remove .JSON .unknown
			}
			`+files+errorPage, paths...)
		s.check([][2]string{{"/a.html", "a.html"}, {"/c.json", "404.3"}})
	})
}

// TestContentTypesOfErrorPages: what was set for a file that could not be sent
// is not for the page about it. Worked example 79 as well.
func TestContentTypesOfErrorPages(t *testing.T) {
	s := newSite(t, `
		root {root}
		route {
			iis_content_types {
				cache_control max-age=60
			}
			error /gone.png "gone meanwhile" 404
			file_server
		}
		handle_errors {
			@type vars iis_sub_status 404.3
			rewrite @type /b/type.html
			rewrite * /B/Missing.html
			iis_content_types
			file_server
		}`, "gone.png", "x.bak", "b/type.html", "b/missing.html")
	for path, want := range map[string]string{
		"/gone.png": "b/missing.html", "/x.bak": "b/type.html", "/nope.html": "b/missing.html",
		"POST /x.bak": "b/type.html", "OPTIONS /b\\missing.html": "b/missing.html",
	} {
		resp, body := s.ask(path)
		if resp.StatusCode != 404 || body != "content of "+want || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || resp.Header.Get("Cache-Control") != "" {
			t.Errorf("%s: %d, %q, %v", path, resp.StatusCode, body, resp.Header)
		}
	}
}

// TestContentTypesInSite: the same in a site of iis, whose handlers are set up
// by the plugin itself.
func TestContentTypesInSite(t *testing.T) {
	s := &site{t: t, root: t.TempDir(), addr: fmt.Sprintf("127.0.0.1:%d", testserver.FreePort(t))}
	for _, path := range []string{"Index.html", "x.php", "x.bak"} {
		s.plant(path)
	}
	_, port, _ := strings.Cut(s.addr, ":")
	testserver.Start(t, `{
		iis {
			site 1 "Files" {
				server_bindings 127.0.0.1:`+port+`:
				file_server
				root * `+s.root+`
				iis_content_types {
					scripts *.php
				}
				`+errorPage+`
			}
		}
	}`)
	s.check([][2]string{{"/", "Index.html text/html"}, {"/x.bak", "404.3"}})
	if resp, body := s.ask("/x.php"); resp.StatusCode != 500 || strings.Contains(body, "content of") {
		t.Errorf("a script that nobody runs: %d with %q", resp.StatusCode, body)
	}
}
