package inspect

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	caddy.RegisterModule(Ready{})
	httpcaddyfile.RegisterHandlerDirective("iis_ready", parseReady)
	httpcaddyfile.RegisterDirectiveOrder("iis_ready", httpcaddyfile.Before, "respond")
}

// Ready is a handler for balancers that cannot reach the admin endpoint: it answers as
// GET /iis/ready does, 200 when all sites that there are can be served, else 503.
type Ready struct{}

// CaddyModule returns the Caddy module information.
func (Ready) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_ready", New: func() caddy.Module { return new(Ready) }}
}

// UnmarshalCaddyfile sets up the handler. Syntax:
//
//	iis_ready [<matcher>]
func (*Ready) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

func parseReady(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	ready := new(Ready)
	return ready, ready.UnmarshalCaddyfile(h.Dispenser)
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (Ready) ServeHTTP(w http.ResponseWriter, _ *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Cache-Control", "no-store")
	now, err := activeSnapshot()
	if err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	ready, err := now.readyView(query{})
	if err != nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	return writeJSON(w, ready)
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (*Ready) MarshalCaddyfile() *caddytext.Line { return new(caddytext.Line) }

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = Ready{}
	_ caddyfile.Unmarshaler       = (*Ready)(nil)
	_ caddytext.Marshaler         = (*Ready)(nil)
)
