package iishttp

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	caddy.RegisterModule(URL{})
	httpcaddyfile.RegisterHandlerDirective("iis_url", parseURL)
}

// URL reads the path of a request as HTTP.sys does before any module of IIS sees it,
// so that matchers and handlers behind it and the file system agree on what was asked
// for: a backslash is a slash, dot segments are resolved. A path with control characters
// (U+0000 to U+001F, U+007F to U+009F), one that is not UTF-8, and one with more than 255
// segments or a segment of more than 260 characters is answered with 400. It stands first.
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
	forms, err := readURL(r.URL)
	if err != nil {
		return refuse(r, http.StatusBadRequest, 0, err.Error())
	}
	if clean := forms.resolved(); clean != r.URL.Path && strings.HasPrefix(r.URL.Path, "/") {
		r.URL.Path, r.URL.RawPath = clean, ""
		r.RequestURI = (&url.URL{Path: clean, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}).RequestURI()
	}
	return next.ServeHTTP(w, r)
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (*URL) MarshalCaddyfile() *caddytext.Line { return new(caddytext.Line) }

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*URL)(nil)
	_ caddyfile.Unmarshaler       = (*URL)(nil)
	_ caddytext.Marshaler         = (*URL)(nil)
)
