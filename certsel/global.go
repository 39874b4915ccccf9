package certsel

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
)

// automation is what the automation policies of Caddy's tls app say about a
// certificate: there the Caddyfile puts email, acme_ca and its other global options.
type automation struct {
	Issuers          []json.RawMessage `json:"issuers,omitempty"`
	KeyType          string            `json:"key_type,omitempty"`
	MustStaple       bool              `json:"must_staple,omitempty"`
	RenewalWindow    float64           `json:"renewal_window,omitempty"`
	ReusePrivateKeys bool              `json:"reuse_private_keys,omitempty"`
}

// globalAutomation returns what holds for certificates with these subjects: the policy
// that has one of them as subject, or that for all names. That one's issuers are not
// for names that cannot have a public certificate.
func globalAutomation(ctx caddy.Context, subjects []string, public bool) (automation, error) {
	val, err := ctx.App("tls")
	if err != nil {
		return automation{}, fmt.Errorf("getting tls app: %w", err)
	}
	policies := val.(*caddytls.TLS).Automation
	if policies == nil {
		return automation{}, nil
	}
	named := func(p *caddytls.AutomationPolicy) bool {
		return slices.ContainsFunc(p.SubjectsRaw, func(name string) bool {
			return slices.ContainsFunc(subjects, func(subject string) bool { return certmagic.MatchWildcard(subject, name) })
		})
	}
	for _, p := range policies.Policies {
		if named(p) {
			return takeOver(p, true)
		}
	}
	for _, p := range policies.Policies {
		if len(p.SubjectsRaw) == 0 {
			return takeOver(p, public)
		}
	}
	return automation{}, nil
}

// takeOver copies a policy. Issuers are made anew from their settings: an instance
// belongs to the certificates that it was loaded for.
func takeOver(p *caddytls.AutomationPolicy, issuers bool) (automation, error) {
	a := automation{KeyType: p.KeyType, MustStaple: p.MustStaple, RenewalWindow: p.RenewalWindowRatio, ReusePrivateKeys: p.ReusePrivateKeys}
	if !issuers {
		return a, nil
	}
	for _, issuer := range p.Issuers {
		module, ok := issuer.(caddy.Module)
		if !ok {
			return a, fmt.Errorf("the issuer %T of the global options is no module: name an issuer in the certificate", issuer)
		}
		if acme, ok := issuer.(*caddytls.ACMEIssuer); ok {
			if err := forgotten(acme); err != nil {
				return a, err
			}
		}
		a.Issuers = append(a.Issuers, caddyconfig.JSONModuleObject(issuer, "module", module.CaddyModule().ID.Name(), nil))
	}
	return a, nil
}

// forgotten refuses an issuer whose settings are not there any more when it has been
// loaded: Caddy keeps of nested modules only what it made of them.
func forgotten(acme *caddytls.ACMEIssuer) error {
	if acme.Challenges != nil && acme.Challenges.DNS != nil && acme.Challenges.DNS.ProviderRaw == nil {
		return errors.New("the global options obtain certificates by DNS (acme_dns), which cannot be taken over: name the issuer with its dns provider in the certificate")
	}
	return nil
}
