package config

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// parseRequireSSL parses require_ssl, alone or with the words redirect and
// except_acme_challenges.
func parseRequireSSL(d *caddyfile.Dispenser, site *Site) error {
	const usage = "require_ssl [redirect] [except_acme_challenges]"
	if site.RequireSSL != "" {
		return d.Errf("require_ssl is set twice")
	}
	site.RequireSSL = "on"
	for d.NextArg() {
		switch word := d.Val(); {
		case word == "redirect" && site.RequireSSL == "on" && !site.ExceptACMEChallenges:
			site.RequireSSL = "redirect"
		case word == "except_acme_challenges" && !site.ExceptACMEChallenges:
			site.ExceptACMEChallenges = true
		default:
			return d.Errf("require_ssl: unknown word %q, expected: %s", word, usage)
		}
	}
	return noBlock(d, "require_ssl")
}

// parseHSTS parses an hsts option. Syntax:
//
//	hsts <max_age> {
//		include_subdomains
//		preload
//		redirect_http
//	}
func parseHSTS(d *caddyfile.Dispenser, site *Site) error {
	const usage = "hsts <max_age>, such as hsts 365d"
	if site.HSTS != nil {
		return d.Errf("hsts is set twice")
	}
	if !d.NextArg() {
		return d.Errf("hsts needs the time for which browsers shall use https only, expected: %s", usage)
	}
	age, err := caddy.ParseDuration(d.Val())
	if err != nil || age < 0 {
		return d.Errf("hsts: %q is not a duration, expected: %s", d.Val(), usage)
	}
	site.HSTS = &HSTS{MaxAge: caddy.Duration(age)}
	if d.NextArg() {
		return d.Errf("hsts takes one argument, not %q as well, expected: %s", d.Val(), usage)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch word := d.Val(); word {
		case "include_subdomains":
			site.HSTS.IncludeSubdomains = true
		case "preload":
			site.HSTS.Preload = true
		case "redirect_http":
			site.HSTS.RedirectHTTP = true
		default:
			return d.Errf("hsts: unknown word %q: expected include_subdomains, preload or redirect_http", word)
		}
		if err := bareWord(d); err != nil {
			return err
		}
	}
	return nil
}

// parseSubStatusHeader parses substatus_header on|off.
func parseSubStatusHeader(d *caddyfile.Dispenser, dst **bool) error {
	var word string
	if *dst != nil {
		word = map[bool]string{true: "on", false: "off"}[**dst]
	}
	if err := oneWord(d, &word, "on", "off"); err != nil {
		return err
	}
	on := word == "on"
	*dst = &on
	return nil
}
