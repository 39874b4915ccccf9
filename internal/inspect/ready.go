package inspect

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/caddytext"
	"github.com/caddy-iis/caddy-iis/internal/live"
)

func init() {
	caddy.RegisterModule(Ready{})
	httpcaddyfile.RegisterHandlerDirective("iis_ready", parseReady)
	httpcaddyfile.RegisterDirectiveOrder("iis_ready", httpcaddyfile.Before, "respond")
}

// Ready is a handler for balancers that cannot reach the admin endpoint: it answers as
// GET /iis/ready does, 200 when this server serves its sites, else 503.
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

// readyView tells whether this server serves its sites, or is not to get requests: since a
// source is not read yet, or since too much of it cannot be shown.
func (sn view) readyView(q query) (any, error) {
	fresh, err := q.flag("fresh", "sites of a local copy too")
	if err != nil {
		return nil, err
	}
	ready := adminapi.Ready{Ready: true, Sites: sn.Tables.SiteCount(), Sources: map[string]uint64{}}
	for _, source := range sn.App.Live {
		if _, err := source.Follower.Head(); err != nil {
			return nil, apiError(http.StatusServiceUnavailable, "%s: %v", source.Name, err)
		}
		served := source.Follower.Served()
		if served.Source == "" { // it has just been read for the first time
			return nil, apiError(http.StatusServiceUnavailable, "%s: its sites are not served yet", source.Name)
		}
		if shared := source.Follower.Shared; fresh && shared != nil {
			switch status := shared.Status(); {
			case status.Contact.IsZero():
				return nil, apiError(http.StatusServiceUnavailable, "%s: the database was not reached since the start", source.Name)
			case status.Snapshot: // what the database has is not taken, or not yet
				return nil, apiError(http.StatusServiceUnavailable, "%s: its sites are from the local copy", source.Name)
			}
		}
		if err := sn.lacks(source); err != nil {
			return nil, err
		}
		ready.Sources[source.Name] = served.Revision
		ready.HeldBack += sn.HeldCount(source)
	}
	return ready, nil
}

// lacks says so if this server cannot show more than one and more than a tenth of the rows of
// a source: another server can, which has accepted them. A single row takes no server out
// that has other sites, of any source: it may be wrong by itself, for all servers. Nor do
// rows that are refused, whose fault is their own, those that nobody has judged yet, which is
// so for all servers, and bindings without certificate, which another row may have given.
func (sn view) lacks(source *live.Source) error {
	var missing int
	var reason string
	source.EachHeld(func(id uint32, held *live.HeldBack) {
		if !held.Partly && sn.ServesRow(source, id) { // as it was before
			return
		}
		if missing++; missing == 1 {
			reason = fmt.Sprintf("%s: %s", config.SiteLabel(id, held.Name), held.Reason)
		}
	})
	rows := source.Follower.CountAccepted()
	if missing == 0 || missing == 1 && sn.Tables.SiteCount() > 0 || missing > 1 && missing*10 <= rows {
		return nil
	}
	return apiError(http.StatusServiceUnavailable, "%s: %d of its %d sites are held back here, such as %s", source.Name, missing, rows, reason)
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = Ready{}
	_ caddyfile.Unmarshaler       = (*Ready)(nil)
	_ caddytext.Marshaler         = (*Ready)(nil)
)
