package certsel

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
)

// automation is what an automation policy of Caddy's tls app says about certificates:
// there the Caddyfile puts email, acme_ca and its other global options.
type automation struct {
	KeyType          string
	MustStaple       bool
	RenewalWindow    float64
	ReusePrivateKeys bool

	// What the issuers are configured as, as far as Caddy remembers: it tells groups
	// of certificates apart.
	Settings []json.RawMessage

	policy   *caddytls.AutomationPolicy // nil: there is none
	subjects []string                   // empty: for all names
}

func newAutomation(p *caddytls.AutomationPolicy) *automation {
	a := &automation{
		KeyType: p.KeyType, MustStaple: p.MustStaple, RenewalWindow: p.RenewalWindowRatio, ReusePrivateKeys: p.ReusePrivateKeys,
		policy: p, subjects: p.Subjects(),
	}
	for _, issuer := range p.Issuers {
		if module, ok := issuer.(caddy.Module); ok {
			a.Settings = append(a.Settings, caddyconfig.JSONModuleObject(issuer, "module", module.CaddyModule().ID.Name(), nil))
		}
	}
	return a
}

// has reports whether a policy is for a name.
func (a *automation) has(name string) bool {
	return slices.ContainsFunc(a.subjects, func(subject string) bool { return certmagic.MatchWildcard(name, subject) })
}

// automations lists the policies in the order in which they are asked, as Caddy asks
// them: up to the first that is for all names. That one comes last, and is empty if
// there is none.
func automations(ctx caddy.Context) ([]*automation, error) {
	val, err := ctx.App("tls")
	if err != nil {
		return nil, fmt.Errorf("getting tls app: %w", err)
	}
	var list []*automation
	if settings := val.(*caddytls.TLS).Automation; settings != nil {
		for _, policy := range settings.Policies {
			one := newAutomation(policy)
			list = append(list, one)
			if len(one.subjects) == 0 {
				return list, nil
			}
		}
	}
	return append(list, new(automation)), nil
}

// automationFor returns the policy that holds for certificates with these subjects:
// the first that has one of them, or that is for all names. That one's issuers are not
// for names that cannot have a public certificate.
func automationFor(ctx caddy.Context, subjects []string, public bool) (*automation, error) {
	list, err := automations(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		if slices.ContainsFunc(subjects, one.has) {
			return one, nil
		}
	}
	last := list[len(list)-1]
	if !public {
		return last.withoutPublic(), nil
	}
	return last, nil
}

// withoutPublic is the policy for names that cannot have a public certificate: of its
// issuers only Caddy's internal authority serves them.
func (a *automation) withoutPublic() *automation {
	if a.policy == nil || allInternal(a.policy.Issuers) {
		return a
	}
	private := *a
	private.policy, private.Settings = nil, nil
	return &private
}

// allInternal reports whether certificates come from Caddy's internal authority, which
// takes no network.
func allInternal(issuers []certmagic.Issuer) bool {
	return !slices.ContainsFunc(issuers, func(issuer certmagic.Issuer) bool {
		_, internal := issuer.(*caddytls.InternalIssuer)
		return !internal
	})
}

// issuers returns issuers with the settings of the policy's, for one certmagic
// configuration. There are none if the policy names none.
func (a *automation) issuers(ctx caddy.Context) ([]certmagic.Issuer, error) {
	if a.policy == nil {
		return nil, nil
	}
	var issuers []certmagic.Issuer
	for _, issuer := range a.policy.Issuers {
		own, err := ownIssuer(ctx, issuer)
		if err != nil {
			return nil, err
		}
		issuers = append(issuers, own)
	}
	return issuers, nil
}

// ownIssuer returns an issuer with the settings of another one. An issuer that is told
// the certmagic configuration it works for belongs to that one. That of ACME is made
// anew from its fields: provisioned again, it keeps the DNS provider that it has
// loaded, of which the settings are not there any more. Others can be shared.
func ownIssuer(ctx caddy.Context, issuer certmagic.Issuer) (certmagic.Issuer, error) {
	if _, bound := issuer.(caddytls.ConfigSetter); !bound {
		return issuer, nil
	}
	acme, ok := issuer.(*caddytls.ACMEIssuer)
	if !ok {
		return nil, fmt.Errorf("the issuer %T of the global options cannot be taken over: it belongs to the certificates that it was loaded for; name an issuer in the certificate", issuer)
	}
	own := *acme
	if err := own.Provision(ctx); err != nil {
		return nil, fmt.Errorf("taking over the ACME issuer of the global options: %w", err)
	}
	return &own, nil
}
