// Package caddyiis is a Caddy app that serves many web sites on one IP address
// and port the way IIS does: the certificate is chosen by the connection
// (local address, port, server name), the site by the request (local address,
// port, Host), each from the sites' bindings.
//
// The two decisions, tables D1 and D2, are documented in package binding.
package caddyiis

import (
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-iis/caddy-iis/config"
	_ "github.com/caddy-iis/caddy-iis/iishttp"          // registers the handlers
	_ "github.com/caddy-iis/caddy-iis/iislog/accesslog" // registers the encoder
	"github.com/caddy-iis/caddy-iis/internal/commands"
	"github.com/caddy-iis/caddy-iis/internal/inspect"
	"github.com/caddy-iis/caddy-iis/internal/serve"
	_ "github.com/caddy-iis/caddy-iis/matcher" // registers the guest modules
)

func init() {
	caddy.RegisterModule(new(App))
	caddycmd.RegisterCommand(commands.New(inspect.Functions))
}

// App serves web sites by IIS bindings. Its bindings alone decide on which
// addresses and ports Caddy listens for them.
type App struct {
	config.App

	instance *serve.Instance // nil before it is provisioned
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "iis",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision compiles the configuration. It opens no socket and changes
// nothing that serves.
func (a *App) Provision(ctx caddy.Context) error {
	a.instance = serve.New(&a.App, inspect.NewLog)
	return a.instance.Provision(ctx)
}

// Start makes certificates and sockets ready. The configuration serves from
// the moment when all other apps have started as well.
func (a *App) Start() error { return a.instance.Start() }

// Stop takes the configuration out of service. Requests in flight finish.
func (a *App) Stop() error {
	a.instance.End()
	return nil
}

// Cleanup releases what Provision and Start took. Caddy calls it alone when
// the configuration was refused late.
func (a *App) Cleanup() error { return a.Stop() }

// Instance returns what the configuration has come to, for the parts of this module that
// find the app through Caddy.
func (a *App) Instance() *serve.Instance { return a.instance }

// ClaimsConnection reports whether a binding or an endpoint has a certificate
// for a TLS connection to this local address with this server name.
func (a *App) ClaimsConnection(local netip.AddrPort, serverName string) bool {
	return a.instance.ClaimsConnection(local, serverName)
}

// SiteOf returns the site that the bindings route a request to. The request
// need not have come through a binding's port; it is then asked for what the
// bindings say about its local address, scheme and Host.
func (a *App) SiteOf(r *http.Request) (id uint32, name string, ok bool) {
	return a.instance.SiteOf(r)
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
