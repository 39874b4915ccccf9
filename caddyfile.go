package caddyiis

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-iis/caddy-iis/config"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("iis", parseGlobalOption)
}

// parseGlobalOption parses one iis block. Several blocks add up to one app.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	app := new(config.App)
	if previous, ok := existing.(httpcaddyfile.App); ok {
		if err := json.Unmarshal(previous.Value, app); err != nil {
			return nil, d.WrapErr(err)
		}
	}
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "iis", Value: caddyconfig.JSON(app, nil)}, nil
}
