package caddyiis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	_ "github.com/caddy-iis/caddy-iis"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// secondCaddy tells a copy of this test program to be another Caddy.
const secondCaddy = "CADDY_IIS_TEST_SECOND_CADDY"

func TestMain(m *testing.M) {
	caddy.RegisterModule(SlowHandler{})
	httpcaddyfile.RegisterHandlerDirective("test_slow", parseSlow)
	httpcaddyfile.RegisterDirectiveOrder("test_slow", httpcaddyfile.Before, "respond")
	caddy.RegisterModule(FailingApp{})
	caddy.RegisterModule(ListeningApp{})
	caddy.RegisterModule(OpaqueWrapper{})
	caddy.RegisterModule(ConnHook{})
	httpcaddyfile.RegisterHandlerDirective("test_hook", parseHook)
	httpcaddyfile.RegisterDirectiveOrder("test_hook", httpcaddyfile.Before, "respond")
	if config := os.Getenv(secondCaddy); config != "" {
		if err := caddy.Load([]byte(config), true); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(caddyProgram) != "" {
		runCaddyProgram()
	}
	if raw := os.Getenv(caddyMain); raw != "" {
		runCaddyMain(raw)
	}
	// What Caddy keeps for this user is none of the tests' business.
	data, err := os.MkdirTemp("", "caddy-data-")
	if err == nil {
		err = os.Setenv("XDG_DATA_HOME", data)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(data)
	os.Exit(status)
}

// slowStats counts what SlowHandlers of all configurations did.
var slowStats struct {
	provisioned, cleaned, started atomic.Int64
	usedAfterCleanup              atomic.Int64
}

// SlowHandler answers after a delay, and notices when it is cleaned up first.
type SlowHandler struct {
	Delay caddy.Duration `json:"delay,omitempty"`
	gone  *atomic.Bool
}

// CaddyModule returns the Caddy module information.
func (SlowHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_slow", New: func() caddy.Module { return new(SlowHandler) }}
}

// Provision implements caddy.Provisioner.
func (h *SlowHandler) Provision(caddy.Context) error {
	h.gone = new(atomic.Bool)
	slowStats.provisioned.Add(1)
	return nil
}

// Cleanup implements caddy.CleanerUpper.
func (h *SlowHandler) Cleanup() error {
	h.gone.Store(true)
	slowStats.cleaned.Add(1)
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *SlowHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	slowStats.started.Add(1)
	time.Sleep(time.Duration(h.Delay))
	if h.gone.Load() {
		slowStats.usedAfterCleanup.Add(1)
	}
	return next.ServeHTTP(w, r)
}

func parseSlow(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	if !h.NextArg() {
		return nil, h.ArgErr()
	}
	delay, err := caddy.ParseDuration(h.Val())
	return &SlowHandler{Delay: caddy.Duration(delay)}, err
}

// FailingApp fails when it is started, a little after the other apps.
type FailingApp struct{}

// CaddyModule returns the Caddy module information.
func (FailingApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "test_failing", New: func() caddy.Module { return new(FailingApp) }}
}

var errFailingApp = errors.New("the other app fails on purpose")

// Start implements caddy.App.
func (FailingApp) Start() error {
	time.Sleep(20 * time.Millisecond)
	return errFailingApp
}

// Stop implements caddy.App.
func (FailingApp) Stop() error { return nil }

// ListeningApp listens as apps for other protocols do, such as layer4.
type ListeningApp struct {
	Servers map[string]*struct {
		Listen []string `json:"listen,omitempty"`
	} `json:"servers,omitempty"`
	Address caddy.NetworkAddress `json:"address,omitzero"`

	closers []io.Closer
}

// CaddyModule returns the Caddy module information.
func (ListeningApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "test_listening", New: func() caddy.Module { return new(ListeningApp) }}
}

// Start implements caddy.App.
func (a *ListeningApp) Start() error {
	for _, server := range a.Servers {
		for _, listen := range server.Listen {
			addr, err := caddy.ParseNetworkAddress(listen)
			if err != nil {
				return err
			}
			all, err := addr.ListenAll(context.Background(), net.ListenConfig{})
			if err != nil {
				return err
			}
			for _, ln := range all {
				a.closers = append(a.closers, ln.(io.Closer))
			}
		}
	}
	return nil
}

// Stop implements caddy.App.
func (a *ListeningApp) Stop() error {
	for _, c := range a.closers {
		c.Close()
	}
	return nil
}

// ConnHook is a handler that registers for the connections of its server.
type ConnHook struct{}

// CaddyModule returns the Caddy module information.
func (ConnHook) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_hook", New: func() caddy.Module { return new(ConnHook) }}
}

// Provision implements caddy.Provisioner.
func (*ConnHook) Provision(ctx caddy.Context) error {
	ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server).RegisterConnContext(func(c context.Context, _ net.Conn) context.Context { return c })
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (*ConnHook) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

func parseHook(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	return new(ConnHook), nil
}

// OpaqueWrapper is a listener wrapper that shows nothing of the connections it
// wraps but net.Conn.
type OpaqueWrapper struct{}

// CaddyModule returns the Caddy module information.
func (OpaqueWrapper) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.test_opaque", New: func() caddy.Module { return new(OpaqueWrapper) }}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler.
func (*OpaqueWrapper) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

// WrapListener implements caddy.ListenerWrapper.
func (OpaqueWrapper) WrapListener(ln net.Listener) net.Listener { return opaqueListener{ln} }

type opaqueListener struct{ net.Listener }

func (l opaqueListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &struct{ net.Conn }{conn}, nil
}

// Interface guards
var (
	_ caddy.App             = FailingApp{}
	_ caddyfile.Unmarshaler = (*ts.LogWriter)(nil)
)
