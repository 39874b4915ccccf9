package config

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// parseSiteVars parses what a template or the defaults declare:
//
//	site_vars {
//		root {
//			below /srv/sites
//		}
//		upstream {
//			to 10.0.0.0/8
//		}
//		color    none
//		name
//	}
func parseSiteVars(d *caddyfile.Dispenser, content *Content) error {
	if d.NextArg() {
		return d.Errf("site_vars takes a block with a variable on each line, not %q; expected: site_vars { <name> [<default>] }", d.Val())
	}
	if content.SiteVars == nil {
		content.SiteVars = make(map[string]*SiteVar)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if content.SiteVars[name] != nil {
			return d.Errf("site_vars: %s is declared twice", name)
		}
		v := new(SiteVar)
		if d.NextArg() {
			value := d.Val()
			v.Default = &value
		}
		if d.NextArg() {
			return d.Errf("site_vars: %s has one default; quote what has spaces", name)
		}
		for inner := d.Nesting(); d.NextBlock(inner); {
			word, args := d.Val(), d.RemainingArgs()
			if len(args) == 0 {
				return d.ArgErr()
			}
			switch word {
			case "below":
				v.Below = append(v.Below, args...)
			case "to":
				v.To = append(v.To, args...)
			default:
				return d.Errf("site_vars: %s: unknown word %q: expected one of below, to", name, word)
			}
		}
		content.SiteVars[name] = v
	}
	return nil
}

// parseVars parses the values that a site gives:
//
//	site_vars {
//		root /srv/sites/shop
//	}
//	site_vars color blue
func parseVars(d *caddyfile.Dispenser, site *Site) error {
	if site.Vars == nil {
		site.Vars = make(map[string]string)
	}
	if d.NextArg() {
		if err := parseVar(d, site); err != nil {
			return err
		}
		return noBlock(d, "site_vars <name> <value>")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := parseVar(d, site); err != nil {
			return err
		}
	}
	return nil
}

func parseVar(d *caddyfile.Dispenser, site *Site) error {
	name, args := d.Val(), d.RemainingArgs()
	if len(args) != 1 {
		return d.Errf("site_vars: %s has one value; quote what has spaces", name)
	}
	if _, twice := site.Vars[name]; twice {
		return d.Errf("site_vars: %s is there twice", name)
	}
	site.Vars[name] = args[0]
	return nil
}
