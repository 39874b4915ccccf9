package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"iter"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/front"
)

// siteRequest is what the front has decided about a request.
type siteRequest struct {
	site    *site
	binding binding.Binding // a copy: the entry would hold all tables
	answer  Answer          // instead of the routes
	handled context.Context // of the request in Caddy's server; nil before it is there

	exit func() // from the routes of a row, once; nil: they are of the configuration

	// A handler of the site made the request: demands are met already.
	admitted bool
}

// Handled implements w3clog.Inside.
func (sr *siteRequest) Handled() context.Context { return sr.handled }

type siteRequestKey struct{}

func siteRequestOf(ctx context.Context) (*siteRequest, bool) {
	req, ok := ctx.Value(siteRequestKey{}).(*siteRequest)
	return req, ok
}

// siteContext is the context of a request with what the front has decided, in
// one allocation.
type siteContext struct {
	context.Context
	request siteRequest
}

// Value implements context.Context.
func (c *siteContext) Value(key any) any {
	if key == (siteRequestKey{}) {
		return &c.request
	}
	return c.Context.Value(key)
}

// siteRoutes is the only route of the HTTP servers: it goes on with the routes
// of the site that the front has chosen.
type siteRoutes struct{}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (siteRoutes) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if own, ok := r.Context().Value(ownAnswerKey{}).(ownAnswer); ok {
		writePage(w, r, own.Status, own.heading)
		return nil
	}
	req, ok := siteRequestOf(r.Context())
	if !ok {
		return next.ServeHTTP(w, r)
	}
	req.handled = r.Context()
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(req.placeholders(r))
	}
	if req.site.Content.server.Logs != nil {
		caddyhttp.SetVar(r.Context(), caddyhttp.AccessLoggerNameVarKey, req.site.logName)
		if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
			extra.Add(zap.Uint32("site", req.site.id))
			extra.Add(zap.Stringer("binding", req.binding))
		}
	}
	if to := req.demanded(w, r); to.Status != 0 {
		tellSubStatus(r, to)
		req.site.Access.write(w, r, to)
		return nil
	}
	if req.site.Content.routes == nil {
		return next.ServeHTTP(w, r)
	}
	return req.serve(req.site.Content.routes, w, r)
}

// serve has handlers of the site answer a request.
func (sr *siteRequest) serve(routes caddyhttp.Handler, w http.ResponseWriter, r *http.Request) error {
	r, err := sr.withInclude(r)
	if err != nil {
		return err
	}
	if sr.mayBeTakenOver(r) {
		up := newUpgrade(sr, r)
		defer up.Returned()
		w, r = up.Wrap(w, r)
	}
	if sr.site.Content.own != nil {
		return sr.serveOwn(routes, w, r)
	}
	return routes.ServeHTTP(w, r)
}

// demanded is what the site demands. Which proxies are trusted is known here
// only, where the server has looked at the request.
func (sr *siteRequest) demanded(w http.ResponseWriter, r *http.Request) Answer {
	if r.TLS == nil && !sr.site.Offline && sr.site.Access.excepts(r) {
		return Answer{}
	}
	if sr.admitted || !forwardedHTTPS(r) {
		return sr.answer
	}
	to := sr.site.forwarded(sr.answer, r.TLS != nil)
	if to.Status == 0 && r.TLS == nil && sr.site.Access.hsts != "" {
		w.Header().Set("Strict-Transport-Security", sr.site.Access.hsts)
	}
	return to
}

// forwarded is what the site demands of a client that came to a proxy by https, if it
// demands this of the proxy's connection.
func (s *site) forwarded(demanded Answer, secure bool) Answer {
	if secure || s.Offline {
		return demanded
	}
	return s.Access.OverHTTP(true)
}

// siteErrors is the only error route: it goes on with those of the site.
type siteErrors struct{}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (siteErrors) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	req, ok := siteRequestOf(r.Context())
	if !ok || req.site.Content.errors == nil {
		return next.ServeHTTP(w, r)
	}
	return req.serve(req.site.Content.errors, w, r)
}

// varUnhandled is Caddy's variable of a request that nothing has handled.
const varUnhandled = "unhandled"

// endOfRoutes ends a site's routes as Caddy ends a server's: a request that
// nothing handles is a successful one without content.
var endOfRoutes caddyhttp.Handler = caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
	caddyhttp.SetVar(r.Context(), varUnhandled, true)
	return nil
})

// endOfErrors ends a site's error routes: the error's status is the answer.
var endOfErrors caddyhttp.Handler = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
	status := http.StatusInternalServerError
	if err, ok := r.Context().Value(caddyhttp.ErrorCtxKey).(caddyhttp.HandlerError); ok {
		status = err.StatusCode
	}
	w.WriteHeader(status)
	return nil
})

// placeholders provides what routes can say about the request's site:
//
//	{iis.site.id}      the site's id
//	{iis.site.name}    the site's name
//	{iis.binding}      the binding that routed the request, as *:443:host
//	{iis.certificate}  the name of the certificate that the client got, or of its
//	                   file in the central store
//	{iis.sni}          the server name that the client sent, or none
//	{iis.vars.<name>}  a variable of the site
//
// Certificate and server name are empty on http.
func (sr *siteRequest) placeholders(r *http.Request) caddy.ReplacerFunc {
	return func(key string) (any, bool) {
		switch key {
		case "iis.site.id":
			return sr.site.id, true
		case "iis.site.name":
			return sr.site.name, true
		case "iis.binding":
			return sr.binding.String(), true
		case "iis.certificate":
			return sr.certificateName(r.TLS, front.ConnFrom(r.Context())), true
		case "iis.sni":
			return serverName(r.TLS), true
		}
		if name, ok := strings.CutPrefix(key, config.VarsPrefix); ok {
			return sr.site.vars.get(name)
		}
		return nil, false
	}
}

// vars are the variables of a site, names and values in turn, before each its length in two
// bytes: very many sites have some few, for which a map would take ten times the memory.
type vars string

func varsOf(values map[string]string) vars {
	var b []byte
	for name, value := range values {
		for _, text := range [...]string{name, value} {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(text))), text...)
		}
	}
	return vars(b)
}

func (v vars) all() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for rest := v; rest != ""; {
			var name, value vars
			name, rest = rest.cut()
			value, rest = rest.cut()
			if !yield(string(name), string(value)) {
				return
			}
		}
	}
}

// cut cuts the first text off.
func (v vars) cut() (text, rest vars) {
	end := 2 + int(v[0])<<8 + int(v[1])
	return v[2:end], v[end:]
}

// get returns the value of a variable as a placeholder has it.
func (v vars) get(wanted string) (any, bool) {
	for name, value := range v.all() {
		if name == wanted {
			return value, true
		}
	}
	return "", false
}

func serverName(state *tls.ConnectionState) string {
	switch {
	case state == nil:
		return ""
	case state.ServerName == "":
		return "none"
	}
	return state.ServerName
}

// certificateName names the certificate of a connection: as the configuration
// does, or by its file in the central store.
func (sr *siteRequest) certificateName(state *tls.ConnectionState, conn *front.Conn) string {
	if state == nil || conn == nil {
		return ""
	}
	made := handshakeOf(conn)
	switch store := sr.site.Content.http.store; {
	case made == nil || made.ordinary != nil:
		return ""
	case made.name != "" || store == nil:
		return made.name
	default:
		// A file that has gone meanwhile has no name any more.
		return cmp.Or(store.File(state.ServerName), certsel.CentralStoreName)
	}
}
