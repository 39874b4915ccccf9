package iishttp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"pgregory.net/rapid"
)

func TestContentTypesCaddyfile(t *testing.T) {
	for text, want := range map[string]string{
		`iis_content_types`:                                    `{}`,
		"iis_content_types {\n documents off\n}":               `{"documents":[]}`,
		"iis_content_types {\n documents a\n documents b c\n}": `{"documents":["a","b","c"]}`,
		`iis_content_types {
			root /srv/{env.SITE}
			prefix /app
			types none
			type .a text/a
			type . text/plain
			remove .b .c
			remove .d
			browse
			scripts *.php
			scripts /x/*
			closed *.aspx *.asmx
			handler files static/* file GET HEAD
			handler php *.php either
			handler 404.2 *.secret POST
			handler worker *
			cache_control no-cache
			expires "Thu, 01 Jan 2037 00:00:00 GMT"
		}`: `{"root":"/srv/{env.SITE}","prefix":"/app","types":"none","type":{".":"text/plain",".a":"text/a"},"remove":[".b",".c",".d"],"browse":true,` +
			`"handlers":[{"answer":"files","path":"static/*","verbs":["GET","HEAD"],"resource":"file"},{"answer":"php","path":"*.php","resource":"either"},{"answer":"404.2","path":"*.secret","verbs":["POST"]},{"answer":"worker","path":"*"}],` +
			`"scripts":["*.php","/x/*"],"closed":["*.aspx","*.asmx"],"cache_control":"no-cache","expires":"Thu, 01 Jan 2037 00:00:00 GMT"}`,
	} {
		c := new(ContentTypes)
		if err := c.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := json.Marshal(c)
		if err != nil || string(got) != want {
			t.Errorf("%s is\n%s, not\n%s, %v", text, got, want, err)
		}
		again := new(ContentTypes)
		if err := json.Unmarshal(got, again); err != nil || !reflect.DeepEqual(c, again) {
			t.Errorf("%s: JSON gives %+v, %v", text, again, err)
		}
	}
}

func TestContentTypesCaddyfileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"iis_content_types x":                                     "wrong argument count",
		"iis_content_types {\n root\n}":                           "root takes one value",
		"iis_content_types {\n root a b\n}":                       "root takes one value",
		"iis_content_types {\n root a\n root b\n}":                "root is there twice",
		"iis_content_types {\n types \"\"\n}":                     "types takes one value",
		"iis_content_types {\n type .a\n}":                        "an extension and a content type",
		"iis_content_types {\n type .a x/y\n type .a x/z\n}":      "has two types",
		"iis_content_types {\n remove\n}":                         "at least one value",
		"iis_content_types {\n scripts\n}":                        "at least one value",
		"iis_content_types {\n handler files\n}":                  "an answer and a path",
		"iis_content_types {\n documents\n}":                      "takes names, or off",
		"iis_content_types {\n documents off\n documents a\n}":    "named and off",
		"iis_content_types {\n documents a\n documents off\n}":    "named and off",
		"iis_content_types {\n browse yes\n}":                     "takes no value",
		"iis_content_types {\n browse {\n x\n }\n}":               "has no block",
		"iis_content_types {\n script *.php\n}":                   `unknown word "script"`,
		"iis_content_types {\n cache_control no-cache private\n}": "cache_control takes one value",
	} {
		err := new(ContentTypes).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, not %q", text, err, want)
		}
	}
}

// provisioned makes a handler ready.
func provisioned(t testing.TB, c *ContentTypes) error {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return c.Provision(ctx)
}

func TestContentTypesFaults(t *testing.T) {
	for _, c := range []struct {
		config ContentTypes
		want   string
	}{
		{ContentTypes{Types: "iis7"}, "types"},
		{ContentTypes{Type: map[string]string{"html": "text/html"}}, "is no extension"},
		{ContentTypes{Type: map[string]string{"./x": "text/html"}}, "is no extension"},
		{ContentTypes{Type: map[string]string{".a": ""}}, "no content type"},
		{ContentTypes{Type: map[string]string{".a": "text/a\r\nX: y"}}, "no content type"},
		{ContentTypes{Type: map[string]string{".a": "text/a", ".A": "text/b"}}, "there are two"},
		{ContentTypes{Type: map[string]string{"*": "text/a", ".*": "text/b"}}, "there are two"},
		{ContentTypes{Remove: []string{"html"}}, "remove: "},
		{ContentTypes{Prefix: `\app`}, "prefix"},
		{ContentTypes{Prefix: "/a\x00"}, "prefix"},
		{ContentTypes{Documents: []string{""}}, "documents: "},
		{ContentTypes{Documents: []string{"a/"}}, "documents: "},
		{ContentTypes{Documents: []string{".."}}, "documents: "},
		{ContentTypes{Scripts: []string{""}}, "scripts: "},
		{ContentTypes{Scripts: []string{"*.a,*.b"}}, "several words"},
		{ContentTypes{Closed: []string{`*\x`}}, "closed: "},
		{ContentTypes{Closed: []string{"\x01"}}, "closed: "},
		{ContentTypes{Handlers: []ContentHandler{{Answer: "Files", Path: "*"}}}, "is no answer"},
		{ContentTypes{Handlers: []ContentHandler{{Answer: "304", Path: "*"}}}, "is no answer"},
		{ContentTypes{Handlers: []ContentHandler{{Answer: "files", Path: "*", Verbs: []string{"get"}}}}, "capital letters"},
		{ContentTypes{Handlers: []ContentHandler{{Answer: "files", Path: "*", Resource: "folder"}}}, "file, directory or either"},
		{ContentTypes{Handlers: []ContentHandler{{Answer: "files", Path: ""}}}, "is no handler's path"},
		{ContentTypes{CacheControl: "a\nb"}, "cache_control: "},
		{ContentTypes{Expires: "a\nb"}, "expires: "},
	} {
		if err := provisioned(t, &c.config); err == nil || !strings.HasPrefix(err.Error(), "iis_content_types: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.config, err)
		}
	}
}

// TestContentTypesOfProxied: what a rule has rewritten to another server, and
// nobody took there, is not a file of the same path.
func TestContentTypesOfProxied(t *testing.T) {
	c := &ContentTypes{Root: t.TempDir()}
	if err := provisioned(t, c); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodOptions, "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{proxyTargetVar: "somewhere"}))
	err := c.ServeHTTP(httptest.NewRecorder(), r, nil)
	if failed, ok := errors.AsType[caddyhttp.HandlerError](err); !ok || failed.StatusCode != http.StatusNotFound {
		t.Errorf("the answer is %v", err)
	}
	// The page about an error of that server is a file.
	page := filepath.Join(c.Root, "page.html")
	if err := os.WriteFile(page, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.URL.Path = "/page.html"
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.ErrorCtxKey, errors.New("the server does not answer")))
	passed := false
	err = c.ServeHTTP(httptest.NewRecorder(), r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		passed = true
		return nil
	}))
	if err != nil || !passed {
		t.Errorf("the page about an error: %v", err)
	}
}

func TestIIS10Types(t *testing.T) {
	types := IIS10Types()
	if len(types) != 376 {
		t.Errorf("there are %d types", len(types))
	}
	for extension, want := range map[string]string{
		".html": "text/html", ".dll": "application/x-msdownload", ".inf": "application/octet-stream", ".ivf": "video/x-ivf", ".svg": "image/svg+xml",
		".config": "", ".env": "", ".bak": "", ".sql": "", ".pem": "", ".md": "", ".log": "", ".php": "", ".aspx": "", ".asp": "", ".cs": "", ".": "", "": "",
	} {
		if types[extension] != want {
			t.Errorf("%q has the type %q, not %q", extension, types[extension], want)
		}
	}
	for i, entry := range iis10Types {
		if i > 0 && iis10Types[i-1][0] > entry[0] {
			t.Errorf("%s is not in its place", entry[0])
		}
		for extension := range strings.FieldsSeq(entry[1]) {
			if key, err := extensionKey(extension); err != nil || key != extension || strings.Count(extension, ".") != 1 {
				t.Errorf("%q is no extension in the form in which they are looked up: %v", extension, err)
			}
		}
	}
}

// slowFit is handlerPaths said with regular expressions.
func slowFit(pattern, path string) bool {
	if pattern == "*." {
		return regexp.MustCompile(`/[^/.]+$`).MatchString(path)
	}
	start, end := `^`, `(/.*)?$`
	if !strings.HasPrefix(pattern, "/") {
		start = `^(.*/)`
	}
	if strings.HasSuffix(pattern, "/") {
		end = `.*$`
	}
	middle := strings.NewReplacer(`\*`, `.*`, `\?`, `[^/]`).Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile(`(?is)` + start + middle + end).MatchString(path)
}

func TestHandlerPathsAsRegexps(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", "b", "A", "é", ".", ".x", ".X", "/", "*", "?", "ab", "x."})
	rapid.Check(t, func(rt *rapid.T) {
		pattern := strings.Join(rapid.SliceOfN(piece, 1, 6).Draw(rt, "pattern"), "")
		p, err := newHandlerPaths([]string{pattern})
		if err != nil {
			rt.Fatal(err)
		}
		for range 20 {
			text := strings.NewReplacer("*", "q", "?", "é", "//", "/").Replace("/" + strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(rt, "path"), ""))
			if got, want := p.fit(strings.ToLower(text)), slowFit(pattern, text); got != want {
				rt.Fatalf("%q fits %q: %v, not %v", pattern, text, got, want)
			}
		}
	})
}

func TestHandlerPathsTakeNoLongTime(t *testing.T) {
	p, err := newHandlerPaths([]string{"a*a*a*a*a*a*a*b", "*.php"})
	if err != nil {
		t.Fatal(err)
	}
	if p.fit("/" + strings.Repeat("a", 60_000) + strings.Repeat(".php", 1000) + "c") {
		t.Error("it fits")
	}
}
