package iishttp

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(URL{})
	httpcaddyfile.RegisterHandlerDirective("iis_url", parseURL)
}

// URL reads the path of a request as HTTP.sys does before any module of IIS sees it,
// so that matchers and handlers behind it and the file system agree on what was asked
// for: a backslash is a slash, dot segments are resolved, and a control character
// (U+0000 to U+001F, U+007F to U+009F) is answered with 400. It stands first.
type URL struct{}

// CaddyModule returns the Caddy module information.
func (URL) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_url", New: func() caddy.Module { return new(URL) }}
}

func parseURL(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	u := new(URL)
	return u, u.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive, which has no arguments:
//
//	iis_url
func (*URL) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() || d.NextBlock(0) {
		return d.ArgErr()
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (URL) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	p := r.URL.Path
	if strings.ContainsFunc(p, control) {
		return caddyhttp.Error(http.StatusBadRequest, fmt.Errorf("the path has a control character"))
	}
	if clean := cleanPath(p); clean != p {
		r.URL.Path, r.URL.RawPath = clean, ""
		r.RequestURI = (&url.URL{Path: clean, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}).RequestURI()
	}
	return next.ServeHTTP(w, r)
}

func control(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

// cleanPath resolves what HTTP.sys resolves; the slash at the end stays.
func cleanPath(p string) string {
	if !strings.Contains(p, `\`) && !strings.Contains(p, "/.") && !strings.Contains(p, "//") {
		return p
	}
	p = strings.ReplaceAll(p, `\`, "/")
	clean := path.Clean("/" + p)
	if last := p[strings.LastIndexByte(p, '/')+1:]; clean != "/" && (last == "" || last == "." || last == "..") {
		clean += "/"
	}
	return clean
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*URL)(nil)
	_ caddyfile.Unmarshaler       = (*URL)(nil)
)
