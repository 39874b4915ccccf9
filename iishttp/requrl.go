package iishttp

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

// urlForms are the forms in which a URL can be read: as it was sent, and as it
// is understood.
type urlForms struct {
	raw    string   // the path as it was sent, with its escapes
	path   string   // the path decoded once
	names  []string // its names: "\" is "/", dot segments are resolved
	folder bool     // whether the path ends as a folder's does
	query  string   // the query as it was sent, without "?"
}

// readURL reads a URL as HTTP.sys does before any module of IIS sees it. The
// error says what HTTP.sys answers with 400: control characters, text that is
// not UTF-8, too many or too long segments.
func readURL(u *url.URL) (urlForms, error) {
	f := urlForms{raw: rawPath(u), path: u.Path, query: u.RawQuery}
	var err error
	f.names, f.folder, err = winpath.Segments(u.Path)
	return f, err
}

// rawPath is the path of a URL as it was sent. A raw form that is not the
// path's (some handler has changed one of them only) does not count.
func rawPath(u *url.URL) string {
	if u.RawPath == "" {
		return u.EscapedPath()
	}
	if plain, err := url.PathUnescape(u.RawPath); err != nil || plain != u.Path {
		return u.EscapedPath()
	}
	return u.RawPath
}

// resolved is the decoded path with its dot segments resolved, in slashes.
func (f *urlForms) resolved() string {
	if !strings.Contains(f.path, `\`) && !strings.Contains(f.path, "//") && !strings.Contains(f.path, "/.") && strings.HasPrefix(f.path, "/") {
		return f.path
	}
	clean := "/" + strings.Join(f.names, "/")
	if f.folder && len(f.names) > 0 {
		clean += "/"
	}
	return clean
}

// clientURL returns the URL that the client has sent, if handlers in front have
// changed it, and else nil.
func clientURL(r *http.Request) *url.URL {
	orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || orig.URL == nil {
		return nil
	}
	if u := orig.URL; u.Path != r.URL.Path || u.RawPath != r.URL.RawPath || u.RawQuery != r.URL.RawQuery {
		return u
	}
	return nil
}
