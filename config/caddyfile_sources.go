package config

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/internal/near"
	"github.com/caddy-iis/caddy-iis/sites"
)

// parseSitesFrom parses a source of sites: its kind, and what that kind takes.
func (a *App) parseSitesFrom(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	kind := d.Val()
	id := sites.Namespace + "." + kind
	if _, err := caddy.GetModule(id); err != nil {
		var kinds []string
		for _, module := range caddy.GetModules(sites.Namespace) {
			kinds = append(kinds, strings.TrimPrefix(string(module.ID), sites.Namespace+"."))
		}
		slices.Sort(kinds)
		return d.Errf("sites_from: there is no source %q: %s", kind, near.Expected(kinds))
	}
	source, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	a.SitesFromRaw = append(a.SitesFromRaw, caddyconfig.JSONModuleObject(source, "source", kind, nil))
	return nil
}
