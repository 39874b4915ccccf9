package w3clog_test

import (
	"context"
	"net/http"
	"net/netip"
	"testing"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/w3clog"
)

// within is a request in Caddy's server.
type within struct{ context.Context }

// Handled implements w3clog.Inside.
func (w within) Handled() context.Context { return w.Context }

// logIn returns a log in a folder, and what ends it and waits for the disk.
func logIn(tb testing.TB, dir string, fields ...string) (log *w3clog.Log, logs *w3clog.Logs) {
	tb.Helper()
	logs = new(w3clog.Logs)
	if err := logs.Provision(&config.App{W3CLog: &config.W3CLog{Folder: dir, Fields: fields}}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(logs.Release)
	log, err := logs.Of(new(config.Site))
	if err != nil {
		tb.Fatal(err)
	}
	return log, logs
}

var local = netip.MustParseAddrPort("10.0.0.5:443")

// handled returns a request whose line is written by end, with the writer and the body
// that its handlers have.
func handled(tb testing.TB, dir string, w http.ResponseWriter, r *http.Request) (lw http.ResponseWriter, lr *http.Request, end func(panicked bool)) {
	tb.Helper()
	log, logs := logIn(tb, dir, "sc-status", "sc-win32-status", "cs-version", "sc-bytes", "cs-bytes")
	l := log.Begin(w, r, local, 1)
	lr = l.Enter(r, within{})
	return l, lr, func(panicked bool) {
		if !panicked {
			l.Returned()
		}
		l.End()
		logs.Flush()
	}
}
