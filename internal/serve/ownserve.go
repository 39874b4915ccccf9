package serve

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// serveOwn has routes of a row answer a request. They see the request, its site, the time
// and the error that they are asked about, and nothing else that Caddy's placeholders
// tell, by whatever way a placeholder comes into their texts: what a client sends may be
// one. What Caddy itself keeps for the request, such as the names of loggers, is not
// theirs to change.
func (sr *siteRequest) serveOwn(routes caddyhttp.Handler, w http.ResponseWriter, r *http.Request) error {
	repl := caddy.NewEmptyReplacer()
	repl.Map(func(key string) (any, bool) {
		if strings.HasPrefix(key, "http.request.body") {
			return "", true // it would be read as a whole, however large
		}
		return nil, false
	})
	if outer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(func(key string) (any, bool) {
			if !slices.ContainsFunc(ownPlaceholders, func(p string) bool { return strings.HasPrefix(key, p) }) {
				return nil, false
			}
			return outer.Get(key)
		})
	}
	inner := caddyhttp.PrepareRequest(r, repl, w, sr.site.Content.server)
	err := routes.ServeHTTP(w, inner)
	if unhandled, _ := caddyhttp.GetVar(inner.Context(), varUnhandled).(bool); unhandled {
		caddyhttp.SetVar(r.Context(), varUnhandled, true) // the access log says so
	}
	return err
}

// ownPlaceholders begin those that are the same as outside.
var ownPlaceholders = []string{"iis.", "time.", "http.error."}
