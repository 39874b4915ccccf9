package iisimport

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iishttp"
)

// handlerOf makes the handler of a directive that is checked before it is written.
var handlerOf = map[string]func() caddyfile.Unmarshaler{
	"iis_filter":              func() caddyfile.Unmarshaler { return new(iishttp.Filter) },
	"iis_dynamic_ip_security": func() caddyfile.Unmarshaler { return new(iishttp.DynamicIPSecurity) },
	"iis_ip_security":         func() caddyfile.Unmarshaler { return new(iishttp.IPSecurity) },
	"iis_authorization":       func() caddyfile.Unmarshaler { return new(iishttp.Authorization) },
	"iis_rewrite":             func() caddyfile.Unmarshaler { return new(iishttp.Rewrite) },
	"iis_redirect":            func() caddyfile.Unmarshaler { return new(iishttp.Redirect) },
	"iis_content_types":       func() caddyfile.Unmarshaler { return new(iishttp.ContentTypes) },
}

// accepted asks the handler of a directive whether it takes its words, as Caddy asks when
// it loads the result: a value that one tenant has mistyped must not stop everybody's
// configuration.
func accepted(d *Directive) error {
	_, err := provisioned(d)
	return err
}

// provisioned makes the handler of a directive.
func provisioned(d *Directive) (caddyfile.Unmarshaler, error) {
	if err := exact([]*Directive{{Words: d.Words, Block: slices.DeleteFunc(slices.Clone(d.Block), isFolder)}}); err != nil {
		return nil, err
	}
	plain := *d
	plain.Comments = nil
	if len(plain.Words) > 1 && plain.Words[1] == "*" { // the matcher is not the handler's
		plain.Words = append([]string{plain.Words[0]}, plain.Words[2:]...)
	}
	var sb strings.Builder
	writeDirectives(&sb, []*Directive{&plain}, 0)
	tokens, err := caddyfile.Tokenize([]byte(sb.String()), "Caddyfile")
	if err != nil {
		return nil, err
	}
	h := handlerOf[d.Words[0]]()
	if err := h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
		return nil, err
	}
	if r, ok := h.(*iishttp.Rewrite); ok {
		r.Folders = nil // see isFolder
	}
	if p, ok := h.(caddy.Provisioner); ok {
		if err := p.Provision(caddy.Context{Context: context.Background()}); err != nil {
			return nil, err
		}
	}
	if v, ok := h.(caddy.Validator); ok {
		return h, v.Validate()
	}
	return h, nil
}

// passes tells whether a request for a path passes a filter, as it does when the result serves.
func passes(filter []*Directive, at string) bool {
	if len(filter) != 1 || filter[0].Words[0] != "iis_filter" {
		return false
	}
	h, err := provisioned(filter[0])
	if err != nil {
		return false
	}
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: at}, Header: http.Header{}}
	pass := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	return h.(*iishttp.Filter).ServeHTTP(nil, r.WithContext(context.WithValue(context.Background(), caddyhttp.VarsCtxKey, map[string]any{})), pass) == nil
}

// isFolder tells whether a line of iis_rewrite has a folder, which may have variables of the
// machine that will serve.
func isFolder(d *Directive) bool { return len(d.Words) > 0 && d.Words[0] == "folder" }

// acceptedOr returns the directive, or what closes its place if its handler refuses it.
func (w *siteWriter) acceptedOr(d *Directive, status int, src iisconfig.Source) *Directive {
	if err := accepted(d); err != nil {
		return w.mistyped(d, status, src, err)
	}
	return d
}

// mistyped closes the place of a directive that its handler refuses.
func (w *siteWriter) mistyped(d *Directive, status int, src iisconfig.Source, err error) *Directive {
	return w.closed(status, src, d.Words[0], "mend the value and import again", err.Error())
}
