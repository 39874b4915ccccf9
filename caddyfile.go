package caddyiis

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("iis", parseGlobalOption)
}

// parseGlobalOption parses one iis block. Several blocks add up to one app.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	app := new(App)
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
//		metrics
//		order          <directive> first|last|before|after [<directive>]
//		servers {
//			<options of Caddy's servers option>
//		}
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
	return p.compileBodies()
}

// caddyfileParser is the state of parsing one iis block.
type caddyfileParser struct {
	app       *App
	endpoints map[netip.AddrPort]string // the keys of app.Endpoints
	orders    []caddyfile.Segment
	bodies    []siteBody
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
	"unknown_host", "conflicts", "wildcard_depth", "misdirected", "substatus_header", "drain", "drain_upgraded", "log", "log_sni", "metrics", "order", "servers",
}

func (p *caddyfileParser) option(d *caddyfile.Dispenser) error {
	a := p.app
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
	case "sni_missing":
		return oneWord(d, &a.SNIMissing, "fallback", "reject")
	case "sni_unmatched":
		return oneWord(d, &a.SNIUnmatched, "fallback", "reject")
	case "unknown_host":
		return oneWord(d, &a.UnknownHost, "400", "404", "421", "abort")
	case "conflicts":
		return oneWord(d, &a.Conflicts, "reject", "first_wins")
	case "wildcard_depth":
		return oneWord(d, &a.WildcardDepth, "one", "any")
	case "misdirected":
		return oneWord(d, &a.Misdirected, "secure", "allow", "strict")
	case "substatus_header":
		return parseSubStatusHeader(d, &a.SubStatusHeader)
	case "log_sni":
		a.LogSNI = true
		return bareWord(d)
	case "metrics":
		a.Metrics = true
		return bareWord(d)
	case "drain":
		return parseDrain(d, &a.Drain)
	case "drain_upgraded":
		return parseDrainUpgraded(d, &a.DrainUpgraded)
	case "log":
		return bareLog(d, &a.AccessLog, "iis_access", accessLogger)
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

// atToken returns a dispenser that stands on a token, for errors at its line: a
// dispenser that has read a block stands behind it.
func atToken(token caddyfile.Token) *caddyfile.Dispenser {
	d := caddyfile.NewDispenser([]caddyfile.Token{token})
	d.Next()
	return d
}

// oneWord parses an option with one argument out of a few.
func oneWord(d *caddyfile.Dispenser, dst *string, accepted ...string) error {
	option := d.Val()
	usage := option + " " + strings.Join(accepted, "|")
	word, err := oneArg(d, usage)
	if err != nil {
		return err
	}
	if !slices.Contains(accepted, word) {
		return d.Errf("%s: unknown word %q, expected: %s%s", option, word, usage, near.Hint(word, accepted))
	}
	return setOnce(d, dst, option, word)
}

// oneArg parses the one argument of an option that takes no block.
func oneArg(d *caddyfile.Dispenser, usage string) (string, error) {
	option := d.Val()
	if !d.NextArg() {
		return "", d.Errf("%s needs an argument, expected: %s", option, usage)
	}
	arg := d.Val()
	if d.NextArg() {
		return "", d.Errf("%s takes one argument, not %q as well, expected: %s", option, d.Val(), usage)
	}
	return arg, noBlock(d, option)
}

// setOnce sets what may be set to one value only.
func setOnce(d *caddyfile.Dispenser, dst *string, option, value string) error {
	if *dst != "" && *dst != value {
		return d.Errf("%s is set twice: first %s, now %s", option, *dst, value)
	}
	*dst = value
	return nil
}

// bareWord parses an option that is a word and nothing else.
func bareWord(d *caddyfile.Dispenser) error {
	option := d.Val()
	if d.NextArg() {
		return d.Errf("%s stands alone, without %q", option, d.Val())
	}
	return noBlock(d, option)
}

// noBlock refuses a block, even an empty one, after an option that takes
// none: its lines would be read as the next options.
func noBlock(d *caddyfile.Dispenser, option string) error {
	here := d.Token()
	if d.NextBlock(d.Nesting()) || d.Val() == "}" && !d.Token().Quoted() {
		return atToken(here).Errf("%s takes no block", option)
	}
	return nil
}

// gluedBrace refuses a last argument that ends with a brace: it opens no block.
func gluedBrace(d *caddyfile.Dispenser) error {
	if word := d.Val(); len(word) > 1 && strings.HasSuffix(word, "{") && !d.Token().Quoted() {
		return d.Errf("put a blank before the { of %q", word)
	}
	return nil
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

// accessLogger is the logger whose children, by site id, are the access logs.
const accessLogger = "iis.log.access"

// bareLog parses log without arguments: where a log is written, only Caddy's
// global log option can say.
func bareLog(d *caddyfile.Dispenser, dst *bool, name, logger string) error {
	segment := d.NextSegment()
	*dst = true
	if len(segment) == 1 {
		return nil
	}
	return fmt.Errorf("%s:%d: log stands alone here and turns the access log on; where it is written, "+
		"Caddy's global option log says, beside iis:\n%s", segment[0].File, segment[0].Line, globalLog(segment, name, logger))
}

// globalLog writes a site's log option as the global one.
func globalLog(segment caddyfile.Segment, name, logger string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tlog %s {\n\t\tinclude %s", name, logger)
	d := caddyfile.NewDispenser(segment)
	d.Next() // log
	d.RemainingArgs()
	for d.NextBlock(0) {
		if opensBlock(d.Token()) {
			b.WriteString(" {")
			continue
		}
		line := strings.Join(append([]string{d.ValRaw()}, d.RemainingArgsRaw()...), " ")
		if line == "no_hostname" || strings.HasPrefix(line, "hostnames ") {
			continue // not in the global option
		}
		b.WriteString("\n" + strings.Repeat("\t", 1+d.Nesting()) + line)
	}
	b.WriteString("\n\t}")
	return b.String()
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

// certificate parses a certificate option: its form tells the source.
func (p *caddyfileParser) certificate(d *caddyfile.Dispenser) error {
	segment := d.NextSegment()
	here := atToken(segment[0])
	if len(segment) < 2 || opensBlock(segment[1]) {
		return here.Errf("certificate needs a name, expected: certificate <name> <certificate_file> [<key_file>], " +
			"or certificate <name> and a block with subjects to obtain it for")
	}
	name := segment[1].Text
	if _, ok := p.app.CertificatesRaw[name]; ok {
		return here.Errf("certificate %q is configured twice: names must differ", name)
	}
	source, tokens := certificateSource(segment)
	if source == "" {
		return here.Errf("certificate %q: unknown source %q: expected one of %s, or a certificate file",
			name, segment[2].Text, strings.Join(certificateSources(), ", "))
	}
	if len(tokens) < 2 {
		return here.Errf("certificate %q: expected a certificate file and a key file, or a block with subjects to obtain it for", name)
	}
	sd := caddyfile.NewDispenser(tokens)
	sd.Next()
	mod, err := caddyfile.UnmarshalModule(sd, "iis.certificates."+source)
	if err != nil {
		return fmt.Errorf("certificate %q: %w", name, err)
	}
	if p.app.CertificatesRaw == nil {
		p.app.CertificatesRaw = make(map[string]json.RawMessage)
	}
	p.app.CertificatesRaw[name] = caddyconfig.JSONModuleObject(mod, "source", source, nil)
	return nil
}

// certificateSource finds the source module of a certificate option and the
// tokens that it parses, of which the first is the source's name. There is no
// source if the option has a block and its first argument is no file.
func certificateSource(segment caddyfile.Segment) (string, []caddyfile.Token) {
	rest := segment[2:]
	word := func(text string) (string, []caddyfile.Token) {
		token := segment[1]
		token.Text = text
		return text, append([]caddyfile.Token{token}, rest...)
	}
	if len(rest) == 0 || opensBlock(rest[0]) {
		if slices.ContainsFunc(rest, func(t caddyfile.Token) bool { return t.Text == "for_bindings" && !t.Quoted() }) {
			return word("auto")
		}
		return word("managed")
	}
	first := rest[0].Text
	if _, err := caddy.GetModule("iis.certificates." + first); err == nil {
		return first, rest
	}
	switch strings.ToLower(filepath.Ext(first)) {
	case ".pfx", ".p12":
		return word("pfx")
	}
	if slices.ContainsFunc(rest, opensBlock) && !looksLikeFile(first) {
		return "", nil
	}
	return word("pem")
}

// looksLikeFile tells a file from the name of a source.
func looksLikeFile(word string) bool { return strings.ContainsAny(word, `./\{`) }

// certificateSources lists the registered sources of certificates.
func certificateSources() []string {
	var names []string
	for _, mod := range caddy.GetModules("iis.certificates") {
		names = append(names, mod.ID.Name())
	}
	slices.Sort(names)
	return names
}

func opensBlock(token caddyfile.Token) bool { return token.Text == "{" && !token.Quoted() }

func (p *caddyfileParser) endpoint(d *caddyfile.Dispenser) error {
	here := atToken(d.Token())
	args := d.RemainingArgs()
	if err := gluedBrace(d); err != nil {
		return err
	}
	if len(args) != 1 {
		return here.Errf("expected: endpoint <ip>:<port> { ... }, such as endpoint 10.0.0.5:8443 or *:8443")
	}
	address := args[0]
	if err := p.newEndpoint(address); err != nil {
		return here.Errf("endpoint %w", err)
	}
	endpoint := p.app.Endpoints[address]
	var options tlsOptions
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := parseEndpointOption(d, endpoint, &options); err != nil {
			return fmt.Errorf("endpoint %s: %w", address, err)
		}
	}
	var err error
	if endpoint.TLS, err = options.policy(); err != nil {
		return fmt.Errorf("endpoint %s: %w", address, err)
	}
	if endpoint.Certificate == "" && !endpoint.Reject {
		return here.Errf("endpoint %s: expected a block with certificate <name>, or with reject", address)
	}
	return nil
}

// newEndpoint adds an endpoint, unless there is one for the same address in
// this or in another spelling.
func (p *caddyfileParser) newEndpoint(address string) error {
	ip, port, err := binding.ParseEndpoint(address)
	if err != nil {
		return err
	}
	parsed := netip.AddrPortFrom(ip, port)
	if other, ok := p.endpoints[parsed]; ok {
		return fmt.Errorf("%s is configured twice, first as %s", address, other)
	}
	p.endpoints[parsed] = address
	if p.app.Endpoints == nil {
		p.app.Endpoints = make(map[string]*Endpoint)
	}
	p.app.Endpoints[address] = new(Endpoint)
	return nil
}

func parseEndpointOption(d *caddyfile.Dispenser, endpoint *Endpoint, options *tlsOptions) error {
	switch word := d.Val(); word {
	case "certificate":
		return parseCertificateName(d, &endpoint.Certificate)
	case "sni_missing":
		return oneWord(d, &endpoint.SNIMissing, "fallback", "reject")
	case "sni_unmatched":
		return oneWord(d, &endpoint.SNIUnmatched, "fallback", "reject")
	case "legacy_tls":
		endpoint.LegacyTLS = true
		return bareWord(d)
	case "reject":
		endpoint.Reject = true
		return bareWord(d)
	default:
		if ok, err := options.add(d); ok {
			return err
		}
		return d.Errf("unknown word %q: expected certificate, reject, sni_missing, sni_unmatched, legacy_tls, protocols, ciphers, curves, alpn or client_auth%s", word,
			near.Hint(word, append([]string{"certificate", "reject", "sni_missing", "sni_unmatched", "legacy_tls"}, tlsWords...)))
	}
}

// parseCertificateName parses the option that names a certificate of the iis block.
func parseCertificateName(d *caddyfile.Dispenser, dst *string) error {
	name, err := oneArg(d, "certificate <name>, the name of a certificate option of iis")
	if err != nil {
		return err
	}
	return setOnce(d, dst, "certificate", name)
}

// Interface guard
var _ caddyfile.Unmarshaler = (*App)(nil)
