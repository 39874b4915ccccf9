package e2e

import (
	"math/rand/v2"
	"net/netip"
	"strings"
)

// nameKind makes server names of one kind. Those on the wire are none that Go's client
// would send as they are.
type nameKind struct {
	what   string
	onWire bool
	make   func(rng *rand.Rand, t *target) string
}

// target is what a name is made for.
type target struct {
	local       netip.AddrPort
	now, before *world
}

// host is the host of some binding that a condition holds for, "" if there is none.
func (t *target) host(rng *rand.Rand, in *world, holds func(*iisSite, *siteBinding) bool) string {
	var hosts []string
	for _, s := range in.sites {
		for _, b := range s.bindings {
			if b.host != "" && holds(s, b) {
				hosts = append(hosts, b.host)
			}
		}
	}
	if len(hosts) == 0 {
		return ""
	}
	return pick(rng, hosts)
}

// exact is a host at the target's port that is no wildcard.
func (t *target) exact(rng *rand.Rand) string {
	host := t.host(rng, t.now, func(_ *iisSite, b *siteBinding) bool { return b.port == t.local.Port() && b.host[0] != '*' })
	if host == "" {
		return pick(rng, bindingHosts)
	}
	return host
}

// below is the domain of a wildcard.
func (t *target) below(rng *rand.Rand) string {
	host := t.host(rng, t.now, func(_ *iisSite, b *siteBinding) bool { return b.port == t.local.Port() && b.host[0] == '*' })
	if host == "" {
		host = pick(rng, wildcardHosts)
	}
	return host[2:]
}

func mixedCase(rng *rand.Rand, s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' && chance(rng, 2) {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

// concrete has a host stand for itself or, if it is a wildcard, for one below it.
func concrete(host string) string {
	if rest, ok := strings.CutPrefix(host, "*"); ok {
		return "some" + rest
	}
	return host
}

var nameKinds = []nameKind{
	{what: "exact", make: func(rng *rand.Rand, t *target) string { return t.exact(rng) }},
	{what: "upper case", make: func(rng *rand.Rand, t *target) string { return strings.ToUpper(t.exact(rng)) }},
	{what: "mixed case", make: func(rng *rand.Rand, t *target) string { return mixedCase(rng, t.exact(rng)) }},
	{what: "dot at the end", onWire: true, make: func(rng *rand.Rand, t *target) string { return t.exact(rng) + "." }},
	{what: "child of a wildcard", make: func(rng *rand.Rand, t *target) string {
		return pick(rng, []string{"a.", "www.", "x-1.", "9."}) + t.below(rng)
	}},
	{what: "child in mixed case", make: func(rng *rand.Rand, t *target) string { return mixedCase(rng, "child."+t.below(rng)) }},
	{what: "grandchild of a wildcard", make: func(rng *rand.Rand, t *target) string { return "grand.child." + t.below(rng) }},
	{what: "domain of a wildcard", make: func(rng *rand.Rand, t *target) string { return t.below(rng) }},
	{what: "wildcard itself", make: func(rng *rand.Rand, t *target) string { return "*." + t.below(rng) }},
	{what: "IPv4 address", onWire: true, make: func(rng *rand.Rand, t *target) string { return pick(rng, loopbacks[:4]).String() }},
	{what: "IPv6 address", onWire: true, make: func(*rand.Rand, *target) string { return "::1" }},
	{what: "IPv6 address in brackets", onWire: true, make: func(*rand.Rand, *target) string { return "[::1]" }},
	{what: "unknown sibling", make: func(rng *rand.Rand, _ *target) string {
		return "nobody." + pick(rng, []string{"contoso.test", "b.contoso.test", "fabrikam.test"})
	}},
	{what: "unknown", make: func(*rand.Rand, *target) string { return "unknown.invalid" }},
	{what: "unknown, one label", make: func(*rand.Rand, *target) string { return "localhost" }},
	{what: "none", make: func(*rand.Rand, *target) string { return "" }},
	{what: "xn--", make: func(rng *rand.Rand, _ *target) string {
		return pick(rng, []string{"xn--bcher-kva.test", "www.xn--bcher-kva.test"})
	}},
	{what: "XN--", make: func(rng *rand.Rand, _ *target) string { return mixedCase(rng, "some.XN--bcher-kva.test") }},
	{what: "Unicode", make: func(*rand.Rand, *target) string { return "bücher.test" }},
	{what: "another port's", make: func(rng *rand.Rand, t *target) string {
		return concrete(t.host(rng, t.now, func(_ *iisSite, b *siteBinding) bool { return b.port != t.local.Port() }))
	}},
	{what: "another address's", make: func(rng *rand.Rand, t *target) string {
		return concrete(t.host(rng, t.now, func(_ *iisSite, b *siteBinding) bool { return b.port == t.local.Port() && !b.at(t.local) }))
	}},
	{what: "a stopped or offline site's", make: func(rng *rand.Rand, t *target) string {
		return concrete(t.host(rng, t.now, func(s *iisSite, _ *siteBinding) bool { return s.stopped || s.offline }))
	}},
	{what: "the configuration's before", make: func(rng *rand.Rand, t *target) string {
		return concrete(t.host(rng, t.before, func(*iisSite, *siteBinding) bool { return true }))
	}},
	{what: "the central store's", make: func(rng *rand.Rand, _ *target) string {
		return pick(rng, []string{"www.store.test", "WWW.Store.test", "a.store.test", "b.a.store.test", "store.test", "other.store.test"})
	}},
	{what: "a rejected one", make: func(rng *rand.Rand, t *target) string {
		return concrete(t.host(rng, t.now, func(_ *iisSite, b *siteBinding) bool { return b.rec != nil && b.rec.reject }))
	}},
	{what: "underscore", make: func(*rand.Rand, *target) string { return "under_score.fabrikam.test" }},
	{what: "dot at the start", make: func(rng *rand.Rand, t *target) string { return "." + t.below(rng) }},
	{what: "two dots", make: func(rng *rand.Rand, t *target) string { return "a.." + t.below(rng) }},
	{what: "long label", make: func(rng *rand.Rand, t *target) string { return strings.Repeat("l", 64) + "." + t.below(rng) }},
	{what: "long name", make: func(rng *rand.Rand, t *target) string { return strings.Repeat("l.", 130) + t.below(rng) }},
	{what: "with a port", make: func(rng *rand.Rand, t *target) string { return t.exact(rng) + ":443" }},
	{what: "a certificate's", make: func(rng *rand.Rand, _ *target) string { return pick(rng, []string{"cert-1", "store-exact"}) }},
	{what: "longer at one end", make: func(rng *rand.Rand, t *target) string {
		return pick(rng, []string{"x" + t.exact(rng), t.exact(rng) + ".evil.invalid", t.exact(rng) + "x"})
	}},
	{what: "blanks and the like", make: func(rng *rand.Rand, t *target) string {
		return pick(rng, []string{" ", "a b.", "\x00.", "\x7f", "@"}) + t.exact(rng)
	}},
}
