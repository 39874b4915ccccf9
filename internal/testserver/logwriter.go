package testserver

import (
	"io"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() {
	caddy.RegisterModule(LogWriter{})
}

// LogWriter writes Caddy's log to Logs.
type LogWriter struct{}

// CaddyModule returns the Caddy module information.
func (LogWriter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.writers.testserver",
		New: func() caddy.Module { return new(LogWriter) },
	}
}

// String implements caddy.WriterOpener.
func (LogWriter) String() string { return "testserver" }

// WriterKey implements caddy.WriterOpener.
func (LogWriter) WriterKey() string { return "testserver" }

// OpenWriter implements caddy.WriterOpener.
func (LogWriter) OpenWriter() (io.WriteCloser, error) { return &Logs, nil }

// UnmarshalCaddyfile accepts the bare name.
func (*LogWriter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

// Interface guards
var (
	_ caddy.WriterOpener    = (*LogWriter)(nil)
	_ caddyfile.Unmarshaler = (*LogWriter)(nil)
)
