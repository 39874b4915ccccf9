package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// UnmarshalCaddyfile sets up the app from the global option iis. Syntax:
//
//	iis {
//		certificate <name> <certificate_file> [<key_file>]
//		certificate <name> {
//			subjects <names...>
//			issuer   <module> [...]
//			key_type ed25519|p256|p384|rsa2048|rsa4096
//		}
//		certificate <name> {
//			for_bindings
//			on_demand
//			default  <name>
//			issuer   <module> [...]
//			key_type ed25519|p256|p384|rsa2048|rsa4096
//			permission <module> [...]
//			rate     <orders> <duration>
//			check_dns [<addresses...>] {
//				resolvers <addresses...>
//			}
//			capacity <number>
//			max_wait <duration>
//		}
//		certificate <name> <source> [...]
//
//		central_store <folder>|storage <prefix> {
//			password <password>
//			poll     <duration>
//		}
//
//		store <name> <module> [...]
//
//		endpoint <ip>:<port> {
//			certificate   <name>
//			sni_missing   fallback|reject
//			sni_unmatched fallback|reject
//			<tls options>
//		}
//		endpoint <ip>:<port> {
//			reject
//		}
//
//		site <id> [<name>] {
//			server_bindings <ip:port:host...>
//			secure_bindings <ip:port:host...>
//			binding http|https <ip:port:host> {
//				certificate <name>
//				store       <name>
//				sni
//				central_store
//				disable_http2
//				disable_ocsp_stapling
//				disable_quic
//				disable_tls13
//				disable_legacy_tls
//				flags <number>
//				<tls options>
//			}
//			binding https <ip:port:host> {
//				reject
//				sni
//			}
//			certificate <name>
//			store       <name>
//			autostart   on|off
//			offline
//			require_ssl [redirect]
//			require_client_certificate
//			hsts <max_age> {
//				include_subdomains
//				preload
//				redirect_http
//			}
//			misdirected secure|allow|strict
//			log
//			w3c_log     <as in iis>
//			template    <name>
//			site_vars {
//				<name> <value>
//			}
//			<directives...>
//		}
//
//		sites_file <path>
//		sites_from file <path>
//		sites_from bolt [<path>] {
//			name <word>
//			require_if_match
//			keep_log <duration>
//			certificate_key <key> [<older keys...>]
//			plain_keys
//			allow {
//				ports        <numbers...>
//				hosts        <names...>
//				wildcards
//				catch_all
//				addresses    <ips...>
//				templates    <names...>
//				certificates <names...>
//			}
//		}
//
//		defaults {
//			site_vars {
//				<name> [<default>] {
//					below <folders...>
//					to    <addresses...>
//				}
//			}
//			w3c_log <as in iis>
//			<directives...>
//		}
//
//		template <name> {
//			<as in defaults>
//		}
//
//		listen         <ip...>
//		sni_missing    fallback|reject
//		sni_unmatched  fallback|reject
//		unknown_host   400|404|421|abort
//		conflicts      reject|first_wins
//		wildcard_depth one|any
//		misdirected    secure|allow|strict
//		substatus_header on|off
//		drain          <duration>
//		drain_upgraded <duration>
//		log
//		log_sni
//		w3c_log        <folder> {
//			fields     <names...>
//			field      <name> request_header|response_header <header>
//			period     daily|hourly|weekly|monthly|none
//			max_size   <size>
//			local_time
//		}
//		w3c_log        off
//		metrics
//		order          <directive> first|last|before|after [<directive>]
//		servers {
//			<options of Caddy's servers option>
//		}
//		json           <JSON>
//	}
//
// The TLS options of a binding and an endpoint are legacy_tls, and these of
// Caddy's connection policies, with Caddy's syntax:
//
//	protocols   <min> [<max>]
//	ciphers     <cipher_suites...>
//	curves      <curves...>
//	alpn        <values...>
//	client_auth { ... }
//
// The directives of a site, of defaults and of a template are those of any Caddyfile site.
// An order option holds for the iis block that it stands in.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume option name
	if d.NextArg() {
		return d.Errf("iis takes a block, not %q", d.Val())
	}
	p := newCaddyfileParser(a)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := p.option(d); err != nil {
			return err
		}
	}
	if err := p.compileBodies(); err != nil {
		return err
	}
	return p.mergeJSON()
}

// caddyfileParser is the state of parsing one iis block.
type caddyfileParser struct {
	app       *App
	endpoints map[netip.AddrPort]string // the keys of app.Endpoints
	orders    []caddyfile.Segment
	bodies    []siteBody
	patches   []caddyfile.Token // of the option json
}

// newCaddyfileParser returns a parser that adds to an app.
func newCaddyfileParser(app *App) *caddyfileParser {
	p := &caddyfileParser{app: app, endpoints: make(map[netip.AddrPort]string, len(app.Endpoints))}
	for key := range app.Endpoints {
		if ip, port, err := binding.ParseEndpoint(key); err == nil {
			p.endpoints[netip.AddrPortFrom(ip, port)] = key
		}
	}
	return p
}

// words lists what an iis block accepts, in the order of the documentation.
var words = []string{
	"certificate", "central_store", "store", "endpoint", "site", "sites_file", "sites_from", "defaults", "template", "listen", "sni_missing", "sni_unmatched",
	"unknown_host", "conflicts", "wildcard_depth", "misdirected", "substatus_header", "drain", "drain_upgraded", "log", "log_sni", "w3c_log", "metrics", "order", "servers", "json",
}

// choice is a word with one argument out of a few.
type choice[T any] struct {
	word     string
	field    func(*T) *string
	accepted []string
}

// misdirectedWord is a word of an app and of a site.
const misdirectedWord = "misdirected"

var (
	policyWords      = []string{"fallback", "reject"}
	misdirectedWords = []string{"secure", "allow", "strict"}

	appChoices = []choice[App]{
		{"sni_missing", func(a *App) *string { return &a.SNIMissing }, policyWords},
		{"sni_unmatched", func(a *App) *string { return &a.SNIUnmatched }, policyWords},
		{"unknown_host", func(a *App) *string { return &a.UnknownHost }, []string{"400", "404", "421", "abort"}},
		{"conflicts", func(a *App) *string { return &a.Conflicts }, []string{"reject", "first_wins"}},
		{"wildcard_depth", func(a *App) *string { return &a.WildcardDepth }, []string{"one", "any"}},
		{misdirectedWord, func(a *App) *string { return &a.Misdirected }, misdirectedWords},
	}

	endpointChoices = []choice[Endpoint]{
		{"sni_missing", func(e *Endpoint) *string { return &e.SNIMissing }, policyWords},
		{"sni_unmatched", func(e *Endpoint) *string { return &e.SNIUnmatched }, policyWords},
	}
)

func (p *caddyfileParser) option(d *caddyfile.Dispenser) error {
	a := p.app
	for _, choice := range appChoices {
		if d.Val() == choice.word {
			return oneWord(d, choice.field(a), choice.accepted...)
		}
	}
	switch word := d.Val(); word {
	case "certificate":
		return p.certificate(d)
	case "central_store":
		return parseCentralStore(d, &a.CentralStore)
	case "store":
		return a.parseStore(d)
	case "endpoint":
		return p.endpoint(d)
	case "site":
		return p.site(d)
	case "sites_from":
		return a.parseSitesFrom(d)
	case "sites_file":
		return parseSitesFile(d, &a.SitesFile)
	case "defaults":
		return p.defaults(d)
	case "template":
		return p.template(d)
	case "listen":
		return parseListen(d, &a.Listen)
	case "substatus_header":
		return parseSubStatusHeader(d, &a.SubStatusHeader)
	case "log_sni":
		a.LogSNI = true
		return bareWord(d)
	case "w3c_log":
		return parseW3CLog(d, &a.W3CLog)
	case "metrics":
		a.Metrics = true
		return bareWord(d)
	case "drain":
		return parseDrain(d, &a.Drain)
	case "drain_upgraded":
		return parseDrainUpgraded(d, &a.DrainUpgraded)
	case "log":
		return bareLog(d, &a.AccessLog, "iis_access", accessLogger)
	case "json":
		return p.json(d)
	case "order":
		return p.order(d)
	case "servers":
		return p.servers(d)
	default:
		return d.Errf("unknown word %q in iis: %s%s", word, misplaced(word), near.Hint(word, slices.Concat(words, siteWords)))
	}
}

// misplaced says where a word belongs that iis does not know.
func misplaced(word string) string {
	if slices.Contains(siteWords, word) {
		return "it belongs in a site"
	}
	return "expected one of " + strings.Join(words, ", ") + "; directives belong in a site, in defaults or in a template"
}

func parseListen(d *caddyfile.Dispenser, dst *[]string) error {
	if d.CountRemainingArgs() == 0 {
		return d.Errf("listen expects IP addresses of this machine, such as 10.0.0.5 or ::1")
	}
	for d.NextArg() {
		if _, err := parseIPs([]string{d.Val()}); err != nil {
			return d.WrapErr(err)
		}
		*dst = append(*dst, d.Val())
	}
	return noBlock(d, "listen")
}

func parseDrain(d *caddyfile.Dispenser, dst *caddy.Duration) error {
	word, err := oneArg(d, "drain <duration>, such as drain 90s")
	if err != nil {
		return err
	}
	dur, err := caddy.ParseDuration(word)
	if err != nil || dur <= 0 {
		return d.Errf("drain: %q is not a duration above zero, such as 90s or 5m", word)
	}
	if *dst != 0 && *dst != caddy.Duration(dur) {
		return d.Errf("drain is set twice: first %s, now %s", time.Duration(*dst), word)
	}
	*dst = caddy.Duration(dur)
	return nil
}

func parseDrainUpgraded(d *caddyfile.Dispenser, dst **caddy.Duration) error {
	word, err := oneArg(d, "drain_upgraded <duration>, such as drain_upgraded 1h, or 0")
	if err != nil {
		return err
	}
	var dur time.Duration
	if word != "0" {
		if dur, err = caddy.ParseDuration(word); err != nil || dur < 0 {
			return d.Errf("drain_upgraded: %q is neither 0 nor a duration above it, such as 90s or 1h", word)
		}
	}
	if *dst != nil && **dst != caddy.Duration(dur) {
		return d.Errf("drain_upgraded is set twice: first %s, now %s", time.Duration(**dst), word)
	}
	*dst = new(caddy.Duration(dur))
	return nil
}

// order remembers an order option, after having Caddy's adapter check it.
func (p *caddyfileParser) order(d *caddyfile.Dispenser) error {
	segment := caddyfile.Segment{d.Token()}
	segment = append(segment, d.RemainingArgsAsTokens()...)
	if err := noBlock(d, "order"); err != nil {
		return err
	}
	p.orders = append(p.orders, segment)
	if _, err := p.setup(nil); err != nil {
		return fmt.Errorf("expected: order <directive> first|last|before|after [<directive>]: %w", err)
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*App)(nil)
