package config

import (
	"fmt"
	"net/netip"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

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
		return fmt.Errorf("%s is configured twice, first as %s: remove one of them", address, other)
	}
	p.endpoints[parsed] = address
	if p.app.Endpoints == nil {
		p.app.Endpoints = make(map[string]*Endpoint)
	}
	p.app.Endpoints[address] = new(Endpoint)
	return nil
}

func parseEndpointOption(d *caddyfile.Dispenser, endpoint *Endpoint, options *tlsOptions) error {
	for _, choice := range endpointChoices {
		if d.Val() == choice.word {
			return oneWord(d, choice.field(endpoint), choice.accepted...)
		}
	}
	switch word := d.Val(); word {
	case "certificate":
		return parseCertificateName(d, &endpoint.Certificate)
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
