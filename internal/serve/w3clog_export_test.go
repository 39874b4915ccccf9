package serve

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/iislog"
	"github.com/caddy-iis/caddy-iis/iislog/logfile"
)

// W3CHandled returns a request whose line is written by end, with the writer and
// the body that its handlers have.
func W3CHandled(dir string, w http.ResponseWriter, r *http.Request) (lw http.ResponseWriter, lr *http.Request, end func(panicked bool), err error) {
	format, err := iislog.NewFormat([]string{"sc-status", "sc-win32-status", "cs-version", "sc-bytes", "cs-bytes"}, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	log := &siteLog{folder: logfile.New(dir, nil), layout: &logfile.Layout{Format: format}}
	l := log.begin(w, r, new(front.Conn))
	l.inside = &siteRequest{site: &site{id: 1, w3c: log}}
	end = func(panicked bool) {
		l.returned = !panicked
		l.end()
		_ = log.folder.Close()
	}
	return l, l.countBody(r), end, nil
}

// W3CRequest returns a function that is all that a W3C log costs a request, and
// one that waits for the disk.
func W3CRequest(dir string) (request func(w http.ResponseWriter, r *http.Request), flush func() error, err error) {
	format, err := iislog.NewFormat(nil, nil)
	if err != nil {
		return nil, nil, err
	}
	folder := logfile.New(dir, nil)
	log := &siteLog{folder: folder, layout: &logfile.Layout{Format: format}, computer: "A"}
	conn := &front.Conn{Local: netip.MustParseAddrPort("10.0.0.5:443")}
	handled := context.WithValue(context.Background(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "192.0.2.7"})
	handled = context.WithValue(handled, caddy.ReplacerCtxKey, caddy.NewReplacer())
	inside := &siteRequest{site: &site{id: 1, w3c: log}, handled: handled}
	return func(w http.ResponseWriter, r *http.Request) {
		l := log.begin(w, r, conn)
		l.inside = inside
		defer l.end()
		_, _ = l.Write(nil)
		l.returned = true
	}, folder.Flush, nil
}
