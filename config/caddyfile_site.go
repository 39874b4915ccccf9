package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// siteWords lists what a site accepts beside directives, in the order of the
// documentation.
var siteWords = []string{
	"server_bindings", "secure_bindings", "binding", "certificate", "store", "autostart", "offline",
	"require_ssl", "require_client_certificate", "hsts", "misdirected", "log", "w3c_log", "template", "site_vars",
}

// site parses a site block: siteWords are the site's own, all other words are
// directives.
func (p *caddyfileParser) site(d *caddyfile.Dispenser) error {
	id, site, err := p.newSite(d)
	if err != nil {
		return err
	}
	label := SiteLabel(id, site.Name)
	body := siteBody{label: label, words: siteWords, content: &site.Content}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := parseSiteOption(d, id, site, &body); err != nil {
			return fmt.Errorf("%s: %w", label, err)
		}
	}
	if site.Template != "" && len(body.segments) > 0 {
		first := body.segments[0][0]
		return atToken(first).Errf("%s: %s has no place beside template %s, which is all that serves the site", label, first.Text, site.Template)
	}
	p.addBody(body)
	return nil
}

func parseSiteOption(d *caddyfile.Dispenser, id uint32, site *Site, body *siteBody) error {
	switch d.Val() {
	case "server_bindings":
		return parseBindingList(d, "http", &site.ServerBindings)
	case "secure_bindings":
		return parseBindingList(d, "https", &site.SecureBindings)
	case "binding":
		return parseBinding(d, site)
	case "certificate":
		return parseCertificateName(d, &site.Certificate)
	case "store":
		return parseStoreName(d, &site.Store)
	case "autostart":
		return parseAutostart(d, site)
	case "offline":
		site.Offline = true
		return bareWord(d)
	case "require_ssl":
		return parseRequireSSL(d, site)
	case "require_client_certificate":
		site.RequireClientCertificate = true
		return bareWord(d)
	case "hsts":
		return parseHSTS(d, site)
	case misdirectedWord:
		return oneWord(d, &site.Misdirected, misdirectedWords...)
	case "template":
		return parseTemplateName(d, site)
	case "site_vars":
		return parseVars(d, site)
	case "w3c_log":
		return parseW3CLog(d, &site.W3CLog)
	case "log":
		number := strconv.FormatUint(uint64(id), 10)
		return bareLog(d, &site.AccessLog, "iis_site_"+number, accessLogger+"."+number)
	default:
		return body.add(d)
	}
}

func (p *caddyfileParser) newSite(d *caddyfile.Dispenser) (uint32, *Site, error) {
	here := atToken(d.Token())
	args := d.RemainingArgs()
	if err := gluedBrace(d); err != nil {
		return 0, nil, err
	}
	if len(args) == 0 || len(args) > 2 {
		return 0, nil, here.Errf("expected: site <id> [<name>] { ... }, such as site 1 \"Main site\"")
	}
	id, err := ParseSiteID(args[0])
	if err != nil {
		return 0, nil, here.Errf("%w, expected: site <id> [<name>] { ... }", err)
	}
	site := new(Site)
	if len(args) == 2 {
		site.Name = args[1]
	}
	if other, ok := p.app.Sites[args[0]]; ok {
		return 0, nil, here.Errf("%s: there is %s already, ids must differ: give one of them another", SiteLabel(id, site.Name), SiteLabel(id, other.Name))
	}
	if p.app.Sites == nil {
		p.app.Sites = make(map[string]*Site)
	}
	p.app.Sites[args[0]] = site
	return id, site, nil
}

func parseBindingList(d *caddyfile.Dispenser, protocol string, dst *[]string) error {
	option := d.Val()
	if d.CountRemainingArgs() == 0 {
		return d.Errf("%s expects bindings in the form IP:port:host, such as :443:www.example.com", option)
	}
	for d.NextArg() {
		if _, err := binding.Parse(protocol, d.Val()); err != nil {
			return d.Errf("%s: %w", option, err)
		}
		*dst = append(*dst, d.Val())
	}
	return noBlock(d, option)
}

// flagWords are the words for sslFlags in a binding.
var flagWords = map[string]binding.Flags{
	"sni":                   binding.FlagSNI,
	"central_store":         binding.FlagCentralStore,
	"disable_http2":         binding.FlagNoHTTP2,
	"disable_ocsp_stapling": binding.FlagNoOCSP,
	"disable_quic":          binding.FlagNoQUIC,
	"disable_tls13":         binding.FlagNoTLS13,
	"disable_legacy_tls":    binding.FlagNoLegacyTLS,
}

func parseBinding(d *caddyfile.Dispenser, site *Site) error {
	here := atToken(d.Token())
	args := d.RemainingArgs()
	if err := gluedBrace(d); err != nil {
		return err
	}
	if len(args) != 2 {
		return here.Errf("expected: binding http|https <ip:port:host>, such as binding https *:443:www.example.com")
	}
	if _, err := binding.Parse(args[0], args[1]); err != nil {
		return here.Errf("binding: %w", err)
	}
	b := &SiteBinding{Protocol: strings.ToLower(strings.TrimSpace(args[0])), Binding: args[1]}
	var number string
	var options tlsOptions
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := parseBindingOption(d, b, &number, &options); err != nil {
			return fmt.Errorf("binding %s %s: %w", b.Protocol, b.Binding, err)
		}
	}
	var err error
	if b.TLS, err = options.policy(); err != nil {
		return fmt.Errorf("binding %s %s: %w", b.Protocol, b.Binding, err)
	}
	site.Bindings = append(site.Bindings, b)
	return nil
}

func parseBindingOption(d *caddyfile.Dispenser, b *SiteBinding, number *string, options *tlsOptions) error {
	word := d.Val()
	flag, isFlag := flagWords[word]
	isTLS := slices.Contains(tlsWords, word)
	switch {
	case !isFlag && !isTLS && word != "certificate" && word != "store" && word != "flags" && word != "legacy_tls" && word != "reject":
		return d.Errf("unknown word %q: expected certificate, store, flags, %s, legacy_tls, reject, %s%s",
			word, strings.Join(slices.Sorted(maps.Keys(flagWords)), ", "), strings.Join(tlsWords, ", "),
			near.Hint(word, slices.Concat([]string{"certificate", "store", "flags", "legacy_tls", "reject"}, slices.Sorted(maps.Keys(flagWords)), tlsWords)))
	case b.Protocol == "http":
		return d.Errf("%s is for https bindings: remove it, or write binding https", word)
	case isFlag:
		b.Flags |= uint16(flag)
		return bareWord(d)
	case isTLS:
		_, err := options.add(d)
		return err
	case word == "legacy_tls":
		b.LegacyTLS = true
		return bareWord(d)
	case word == "reject":
		b.Reject = true
		return bareWord(d)
	case word == "certificate":
		return parseCertificateName(d, &b.Certificate)
	case word == "store":
		return parseStoreName(d, &b.Store)
	}
	return parseFlags(d, b, number)
}

// parseFlags parses the sslFlags as IIS writes them.
func parseFlags(d *caddyfile.Dispenser, b *SiteBinding, number *string) error {
	arg, err := oneArg(d, "flags <number>, the sslFlags of IIS")
	if err != nil {
		return err
	}
	if err := setOnce(d, number, "flags", arg); err != nil {
		return err
	}
	flags, err := strconv.ParseUint(arg, 10, 16)
	if err == nil {
		err = binding.Flags(flags).Validate()
	}
	if err != nil {
		return d.Errf("flags: %q is not a sum of sslFlags (1, 2, 4, 8, 16, 32, 64)", arg)
	}
	b.Flags |= uint16(flags)
	return nil
}

func parseAutostart(d *caddyfile.Dispenser, site *Site) error {
	var word string
	if site.Autostart != nil {
		word = "off"
		if *site.Autostart {
			word = "on"
		}
	}
	if err := oneWord(d, &word, "on", "off"); err != nil {
		return err
	}
	on := word == "on"
	site.Autostart = &on
	return nil
}

// defaults parses the directives for sites that have none of their own.
func (p *caddyfileParser) defaults(d *caddyfile.Dispenser) error {
	if p.app.Defaults != nil {
		return d.Errf("defaults are configured twice: one block holds for all sites")
	}
	if d.NextArg() {
		return d.Errf("defaults takes a block with directives, not %q", d.Val())
	}
	p.app.Defaults = new(Content)
	return p.sharedBody(d, "defaults", p.app.Defaults)
}

// template parses the directives for sites that name them.
func (p *caddyfileParser) template(d *caddyfile.Dispenser) error {
	here := atToken(d.Token())
	args := d.RemainingArgs()
	if err := gluedBrace(d); err != nil {
		return err
	}
	if len(args) != 1 || args[0] == "" {
		return here.Errf("expected: template <name> { ... }, with directives for the sites that name it")
	}
	name := args[0]
	if p.app.Templates[name] != nil {
		return here.Errf("template %s is configured twice", name)
	}
	if p.app.Templates == nil {
		p.app.Templates = make(map[string]*Content)
	}
	content := new(Content)
	p.app.Templates[name] = content
	return p.sharedBody(d, "template "+name, content)
}

// sharedBody parses a block of directives that serve many sites.
func (p *caddyfileParser) sharedBody(d *caddyfile.Dispenser, label string, content *Content) error {
	body := siteBody{label: label, content: content, words: []string{"w3c_log", "site_vars"}}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() == "site_vars" {
			if err := parseSiteVars(d, content); err != nil {
				return fmt.Errorf("%s: %w", label, err)
			}
			continue
		}
		if d.Val() == "w3c_log" {
			if err := parseW3CLog(d, &content.W3CLog); err != nil {
				return fmt.Errorf("%s: %w", label, err)
			}
			continue
		}
		if err := body.add(d); err != nil {
			return fmt.Errorf("%s: %w", label, err)
		}
	}
	p.addBody(body)
	return nil
}

func parseTemplateName(d *caddyfile.Dispenser, site *Site) error {
	name, err := oneArg(d, "template <name>")
	if err != nil {
		return err
	}
	return setOnce(d, &site.Template, "template", name)
}

func parseSitesFile(d *caddyfile.Dispenser, dst *string) error {
	path, err := oneArg(d, "sites_file <path>")
	if err != nil {
		return err
	}
	return setOnce(d, dst, "sites_file", path)
}
