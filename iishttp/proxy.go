package iishttp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
)

func init() {
	caddy.RegisterModule(new(Proxy))
	httpcaddyfile.RegisterHandlerDirective("iis_proxy", parseProxy)
}

// Proxy sends what a rule of iis_rewrite has rewritten to another server there, as
// Application Request Routing does, by Caddy's reverse_proxy. It stands behind
// iis_authorization: who may is decided before. All other requests pass.
//
// NTLM and Negotiate sign in a connection (RFC 4559, 6), and reverse_proxy uses
// connections for many clients: a request with such credentials is answered with 401, and
// challenges of that kind are taken out of answers.
type Proxy struct {
	// The server as the rule names it: http://10.0.0.1:8080.
	Origin string `json:"origin"`

	// The handler reverse_proxy.
	HandlerRaw json.RawMessage `json:"proxy" caddy:"namespace=http.handlers inline_key=handler"`

	// Location in answers stays as the server has it
	// (reverseRewriteHostInResponseHeaders="false").
	KeepLocation bool `json:"keep_location,omitempty"`

	origin  string
	handler caddyhttp.MiddlewareHandler
}

// CaddyModule returns the Caddy module information.
func (*Proxy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_proxy", New: func() caddy.Module { return new(Proxy) }}
}

// Provision implements caddy.Provisioner.
func (p *Proxy) Provision(ctx caddy.Context) (err error) {
	if p.origin, err = rewrite.Origin(p.Origin); err != nil {
		return fmt.Errorf("iis_proxy: %w", err)
	}
	if p.HandlerRaw == nil {
		return fmt.Errorf("iis_proxy %s: no proxy", p.Origin)
	}
	module, err := ctx.LoadModule(p, "HandlerRaw")
	if err != nil {
		return fmt.Errorf("iis_proxy %s: %w", p.Origin, err)
	}
	handler, ok := module.(*reverseproxy.Handler)
	if !ok {
		return fmt.Errorf("iis_proxy %s: the handler is not reverse_proxy", p.Origin)
	}
	p.handler = handler
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	target, ok := caddyhttp.GetVar(r.Context(), proxyTargetVar).(*url.URL)
	if !ok || target == nil || !isOrigin(target, p.origin) {
		return next.ServeHTTP(w, r)
	}
	if slices.ContainsFunc(r.Header["Authorization"], signsInConnection) {
		return refuse(r, http.StatusUnauthorized, 2, "credentials for a connection, which clients share")
	}
	caddyhttp.SetVar(r.Context(), proxyTargetVar, nil)
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.URL.ForceQuery = target.Path, target.RawPath, target.RawQuery, false
	r.RequestURI = r.URL.RequestURI()
	answer := &proxiedWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, origin: p.origin, request: r, keepLocation: p.KeepLocation,
	}
	err := p.handler.ServeHTTP(answer, r, next)
	if err != nil {
		answer.headers() // what handle_response has copied
	}
	return err
}

// isOrigin tells whether a URL is on the server of an origin.
func isOrigin(u *url.URL, origin string) bool {
	have, err := rewrite.Origin(u.Scheme + "://" + u.Host)
	return err == nil && have == origin
}

// signsInConnection tells whether credentials or a challenge are for a whole connection.
func signsInConnection(value string) bool {
	scheme := strings.ToLower(value[:schemeEnd(value)])
	return scheme == "ntlm" || scheme == "kerberos" || strings.HasPrefix(scheme, "nego")
}

// schemeEnd is where the first word of credentials, a challenge or a parameter ends.
func schemeEnd(value string) int {
	if i := strings.IndexAny(value, " \t=,"); i >= 0 {
		return i
	}
	return len(value)
}

// otherChallenges takes challenges for a whole connection out of a header, which may have
// several in a value (RFC 9110, 11.6.1).
func otherChallenges(values []string) (out []string) {
	for _, value := range values {
		var kept []string
		keep := false
		for _, part := range splitList(value) {
			end := schemeEnd(part)
			if rest := strings.TrimLeft(part[end:], " \t"); !strings.HasPrefix(rest, "=") {
				keep = !signsInConnection(part) // a challenge begins; else it is a parameter
			}
			if keep {
				kept = append(kept, part)
			}
		}
		if kept != nil {
			out = append(out, strings.Join(kept, ", "))
		}
	}
	return out
}

// splitList splits a header at its commas, but not in quotes.
func splitList(value string) (out []string) {
	quoted, from := false, 0
	for i := 0; i <= len(value); i++ {
		switch {
		case i == len(value) || value[i] == ',' && !quoted:
			if part := strings.Trim(value[from:i], " \t"); part != "" {
				out = append(out, part)
			}
			from = i + 1
		case value[i] == '"':
			quoted = !quoted
		case value[i] == '\\' && quoted:
			i = min(i+1, len(value)-1)
		}
	}
	return out
}

// proxiedWriter changes the headers of answers.
type proxiedWriter struct {
	*caddyhttp.ResponseWriterWrapper
	origin       string
	request      *http.Request
	keepLocation bool
}

// WriteHeader implements http.ResponseWriter.
func (w *proxiedWriter) WriteHeader(status int) {
	w.headers()
	w.ResponseWriterWrapper.WriteHeader(status)
}

// headers changes those that the client gets.
func (w *proxiedWriter) headers() {
	h := w.Header()
	if challenges := otherChallenges(h["Www-Authenticate"]); challenges != nil {
		h["Www-Authenticate"] = challenges
	} else {
		h.Del("WWW-Authenticate")
	}
	if location := h.Get("Location"); location != "" && !w.keepLocation {
		h.Set("Location", w.turnBack(location))
	}
}

// turnBack makes a URL on the server one on the host that the client asked for, as
// reverseRewriteHostInResponseHeaders of IIS does, which is on by default. The server is
// the one that the rule names or the one of its web farm that answered.
func (w *proxiedWriter) turnBack(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || u.User != nil {
		return location
	}
	scheme, _, _ := strings.Cut(w.origin, "://")
	if u.Scheme == "" {
		u.Scheme = scheme
	}
	repl, _ := w.request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	member, _ := repl.GetString("http.reverse_proxy.upstream.hostport")
	if upstream, err := rewrite.Origin(scheme + "://" + member); !isOrigin(u, w.origin) && (err != nil || !isOrigin(u, upstream)) {
		return location
	}
	u.Scheme, u.Host = "http", w.request.Host
	if w.request.TLS != nil {
		u.Scheme = "https"
	}
	if host, ok := caddyhttp.GetVar(w.request.Context(), clientHostVar).(string); ok {
		u.Host = host // a rule has set HTTP_HOST
	}
	return u.String()
}

// parseProxy reads:
//
//	iis_proxy [<matcher>] <origin> {
//		preserve_host
//		keep_location
//		<subdirectives of reverse_proxy>
//	}
//
// Without preserve_host, the server gets its own name as Host. Without to, the server is
// the one that origin names.
func parseProxy(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	p := new(Proxy)
	first := h.Token()
	if !h.Args(&p.Origin) || h.NextArg() {
		return nil, h.ArgErr()
	}
	if _, err := rewrite.Origin(p.Origin); err != nil {
		return nil, h.WrapErr(err)
	}
	preserve, to := false, false
	var inner []caddyfile.Token
	for h.NextBlock(0) {
		if word := h.Val(); word == "preserve_host" || word == "keep_location" {
			if h.NextArg() {
				return nil, h.ArgErr()
			}
			preserve = preserve || word == "preserve_host"
			p.KeepLocation = p.KeepLocation || word == "keep_location"
			continue
		}
		to = to || h.Val() == "to"
		inner = append(inner, h.NextSegment()...)
	}
	proxy, err := reverseProxy(h, first, p.Origin, to, inner)
	if err != nil {
		return nil, err
	}
	host := "{http.reverse_proxy.upstream.hostport}"
	if preserve {
		host = "{http.request.hostport}" // reverse_proxy has the server's for https
	}
	setHost(proxy, host)
	p.HandlerRaw = caddyconfig.JSONModuleObject(proxy, "handler", "reverse_proxy", nil)
	return p, nil
}

// reverseProxy has reverse_proxy read its subdirectives.
func reverseProxy(h httpcaddyfile.Helper, at caddyfile.Token, origin string, to bool, inner []caddyfile.Token) (*reverseproxy.Handler, error) {
	word := func(text string, line int) caddyfile.Token {
		return caddyfile.Token{File: at.File, Line: line, Text: text}
	}
	tokens := []caddyfile.Token{word("reverse_proxy", at.Line)}
	if !to {
		tokens = append(tokens, word(origin, at.Line))
	}
	if inner != nil {
		tokens = append(tokens, word("{", at.Line))
		tokens = append(tokens, inner...)
		tokens = append(tokens, word("}", inner[len(inner)-1].Line+1))
	}
	proxy := new(reverseproxy.Handler)
	sub := h.WithDispenser(caddyfile.NewDispenser(tokens))
	if err := proxy.UnmarshalCaddyfile(sub.Dispenser); err != nil {
		return nil, err
	}
	return proxy, proxy.FinalizeUnmarshalCaddyfile(sub)
}

// setHost says what the server gets as Host, unless the Caddyfile says another.
func setHost(p *reverseproxy.Handler, host string) {
	if p.Headers == nil {
		p.Headers = new(headers.Handler)
	}
	if p.Headers.Request == nil {
		p.Headers.Request = new(headers.HeaderOps)
	}
	if p.Headers.Request.Set == nil {
		p.Headers.Request.Set = make(http.Header)
	}
	if p.Headers.Request.Set["Host"] == nil {
		p.Headers.Request.Set["Host"] = []string{host}
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Proxy)(nil)
	_ caddyhttp.MiddlewareHandler = (*Proxy)(nil)
)
