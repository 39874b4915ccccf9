//go:build unix

package iishttp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// fileChain is the handler in front of Caddy's file_server, without a network.
type fileChain struct {
	ours  *ContentTypes
	files *fileserver.FileServer
}

func newFileChain(t testing.TB) fileChain {
	t.Helper()
	canonical := false
	c := fileChain{
		&ContentTypes{Documents: []string{"index.php", "index.aspx", "index.html"}, Scripts: []string{"*.php"}, Closed: []string{"*.aspx"}, Type: map[string]string{".php": "text/plain", ".aspx": "text/plain"}},
		&fileserver.FileServer{CanonicalURIs: &canonical, IndexNames: []string{".no-default-document"}},
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	for _, module := range []caddy.Provisioner{c.files, c.ours} {
		if err := module.Provision(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// ask returns the answer for a decoded path: the sub-status of a refusal, a
// Location, "script", or "file" with the name that is the file's content.
func (c fileChain) ask(root, path string) string {
	server := new(caddyhttp.Server)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.URL = &url.URL{Path: path}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, server)
	caddyhttp.SetVar(r.Context(), "root", root)
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if caddyhttp.GetVar(r.Context(), "fs") == noSourceFS {
			w.Header().Set("Content-Type", "script")
			return nil
		}
		return c.files.ServeHTTP(w, r, nil)
	})
	err := c.ours.ServeHTTP(w, r, next)
	switch failed, isError := errors.AsType[caddyhttp.HandlerError](err); {
	case isError:
		sub, _ := caddyhttp.GetVar(r.Context(), SubStatusVar).(string)
		if sub == "" {
			return "refused by file_server with " + strconv.Itoa(failed.StatusCode)
		}
		return sub
	case err != nil:
		return err.Error()
	case w.Code == http.StatusMovedPermanently:
		return "to " + w.Header().Get("Location")
	case w.Header().Get("Content-Type") == "script":
		return "script " + r.URL.Path
	}
	return "file " + w.Body.String()
}

// slowAnswer says once more what the answer is, reading every folder on the way.
func slowAnswer(root string, names []string, folder bool) string {
	handler := func(names []string) string {
		path := strings.ToLower("/" + strings.Join(names, "/") + "/")
		switch {
		case strings.Contains(path, ".aspx/"):
			return "404.4"
		case strings.Contains(path, ".php/"):
			return "script"
		}
		return ""
	}
	match := func(at, name string) string {
		entries, _ := os.ReadDir(at)
		first := ""
		for _, e := range slices.Backward(entries) {
			if e.Name() == name {
				return name
			}
			if strings.EqualFold(e.Name(), name) {
				first = e.Name()
			}
		}
		return first
	}
	path := "/" + strings.Join(names, "/")
	if folder && len(names) > 0 {
		path += "/"
	}
	if h := handler(names); h == "script" {
		return "script " + path
	} else if h != "" {
		return h
	}
	var found []string
	for _, name := range names {
		entry := match(filepath.Join(root, strings.Join(found, "/")), name)
		if entry == "" {
			return "404.0"
		}
		found = append(found, entry)
	}
	for {
		at := filepath.Join(root, strings.Join(found, "/"))
		info, err := os.Stat(at)
		switch {
		case err != nil:
			return err.Error()
		case !info.IsDir() && folder:
			return "404.0"
		case !info.IsDir() && strings.EqualFold(filepath.Ext(at), ".html"):
			return "file " + strings.Join(found, "/")
		case !info.IsDir():
			return "404.3"
		case !folder:
			return "to " + path + "/"
		}
		document := ""
		for _, name := range []string{"index.php", "index.aspx", "index.html"} {
			entry := match(at, name)
			if info, err := os.Stat(filepath.Join(at, entry)); document == "" && entry != "" && err == nil && !info.IsDir() {
				document = entry
			}
		}
		if document == "" {
			return "403.14"
		}
		found, folder = append(found, document), false
		if h := handler(found); h == "script" {
			return "script /" + strings.Join(found, "/")
		} else if h != "" {
			return h
		}
	}
}

// TestContentTypesAsReference compares answers with slowAnswer, on random trees.
func TestContentTypesAsReference(t *testing.T) {
	base := t.TempDir()
	needs.CaseSensitive(t, base)
	chain := newFileChain(t)
	name := rapid.SampledFrom([]string{"a", "A", "b.html", "B.Html", "c.php", "C.PHP", "d.aspx", "e.bak", "index.html", "Index.html", "INDEX.php", "index.Aspx", ".html", "f."})
	trees := 0
	rapid.Check(t, func(rt *rapid.T) {
		trees++
		root := filepath.Join(base, strconv.Itoa(trees))
		if err := os.Mkdir(root, 0o700); err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(root)
		var paths [][]string
		for _, names := range rapid.SliceOfN(rapid.SliceOfN(name, 1, 3), 0, 10).Draw(rt, "tree") {
			path := strings.Join(names, "/")
			// What is in the way stays: some of these fail, and shall.
			_ = os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o755)
			if os.WriteFile(filepath.Join(root, path), []byte(path), 0o600) == nil {
				paths = append(paths, names)
			}
		}
		for range 20 {
			names := rapid.SliceOfN(name, 0, 4).Draw(rt, "path")
			if len(paths) > 0 && rapid.Bool().Draw(rt, "existing") {
				existing := rapid.SampledFrom(paths).Draw(rt, "of the tree")
				names = slices.Clone(existing[:rapid.IntRange(0, len(existing)).Draw(rt, "parts")])
				for i := range names {
					if rapid.Bool().Draw(rt, "upper case") && !strings.HasSuffix(names[i], ".") {
						names[i] = strings.ToUpper(names[i])
					}
				}
			}
			folder := len(names) == 0 || rapid.Bool().Draw(rt, "folder")
			path := "/" + strings.Join(names, "/")
			if folder && len(names) > 0 {
				path += "/"
			}
			if got, want := chain.ask(root, path), slowAnswer(root, names, folder); got != want {
				rt.Fatalf("%q: %s, not %s", path, got, want)
			}
		}
	})
}

func TestContentTypesOfPipes(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(root, "pipe.html"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("pipe.html", filepath.Join(root, "index.html")); err != nil {
		t.Fatal(err)
	}
	chain := newFileChain(t)
	for path, want := range map[string]string{"/pipe.html": "404.0", "/": "403.14"} {
		if got := chain.ask(root, path); got != want {
			t.Errorf("%s: %s, not %s", path, got, want)
		}
	}
	chain.ours.documents.names, chain.ours.documents.paths = nil, [][]string{{"index.html"}}
	if got := chain.ask(root, "/"); got != "403.14" {
		t.Errorf("a pipe as default document: %s", got)
	}
}

// FuzzContentTypes looks for a path that brings what is not to be had.
func FuzzContentTypes(f *testing.F) {
	chain := newFileChain(f)
	outside := f.TempDir()
	root := filepath.Join(outside, "root")
	for _, path := range []string{"secret.html", "root/a.html", "root/x.php", "root/y.aspx", "root/z.bak", "root/noext", "root/dir/Page.html", "root/doc/index.php"} {
		full := filepath.Join(outside, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(path), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	for _, seed := range []string{"/a.html", "/../secret.html", `/..\secret.html`, "/x.php", "/X.php/", "/x.php.", "/x.php::$DATA", "/y.aspx/x", "/dir", "/doc/", "/noext", "/%2e", "//evil/..", "/dir//PAGE.HTML", "/z.bak\x00.html"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		answer := chain.ask(root, path)
		if name, ok := strings.CutPrefix(answer, "file "); ok && name != "root/a.html" && name != "root/dir/Page.html" {
			t.Errorf("%q brings %s", path, name)
		}
		if to, ok := strings.CutPrefix(answer, "to "); ok {
			u, err := url.Parse(to)
			if err != nil || u.Host != "" || u.Scheme != "" || strings.HasPrefix(to, "//") || !strings.HasSuffix(u.Path, "/") {
				t.Errorf("%q leads to %s", path, to)
			}
		}
	})
}
