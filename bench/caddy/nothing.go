package main

import (
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(new(nothing))
}

// nothing is an app that takes any configuration, does nothing with it, and
// keeps nothing of it. With the configuration of another app it shows what the
// core of Caddy itself needs for that.
type nothing struct {
	raw json.RawMessage
}

// CaddyModule returns the Caddy module information.
func (*nothing) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "bench_nothing",
		New: func() caddy.Module { return new(nothing) },
	}
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *nothing) UnmarshalJSON(raw []byte) error {
	n.raw = slices.Clone(raw)
	return nil
}

// Provision forgets the configuration.
func (n *nothing) Provision(caddy.Context) error {
	n.raw = nil
	return nil
}

// Start implements caddy.App.
func (*nothing) Start() error { return nil }

// Stop implements caddy.App.
func (*nothing) Stop() error { return nil }

// Interface guards
var (
	_ caddy.App         = (*nothing)(nil)
	_ caddy.Provisioner = (*nothing)(nil)
	_ json.Unmarshaler  = (*nothing)(nil)
)
