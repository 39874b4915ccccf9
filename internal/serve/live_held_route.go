package serve

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/policies"
)

// withHeldBack routes to the rows that are held back what they ask for and nobody has: a
// site with a wildcard host, or without host, is not to get their requests. More are those
// that will be held back.
func (a *Instance) withHeldBack(base *Snapshot, more ...bereft) *Snapshot {
	wanted := a.heldToRoute(base, more)
	before := base.Tables.HeldBack()
	if reflect.DeepEqual(wanted, before) {
		return base
	}
	still := make(map[uint32]bool, len(wanted))
	for i := range wanted {
		still[wanted[i].ID] = true
	}
	var gone []uint32
	for i := range before {
		if !still[before[i].ID] {
			gone = append(gone, before[i].ID)
		}
	}
	next, _, err := a.deriveFrom(base, wanted, nil, gone, nowhere)
	if err != nil {
		a.logger.Error("the bindings of sites that are held back are nobody's", zap.Error(err))
		return base
	}
	return next
}

// heldToRoute returns what the rows that are held back ask for, by id. What is outside of
// what a source may claim is left out, and so is what an ordinary server has.
func (a *Instance) heldToRoute(base *Snapshot, more []bereft) []binding.Site {
	wanted := []binding.Site{}
	seen := make(map[uint32]bool)
	add := func(source *live.Source, site binding.Site) {
		if seen[site.ID] || base.Tables.SiteByID(site.ID) != nil {
			return
		}
		seen[site.ID] = true
		site.HeldBack, site.Partly, site.Bindings = true, false, slices.Clone(site.Bindings)
		site.Bindings = slices.DeleteFunc(site.Bindings, func(b binding.SiteBinding) bool { return a.ordinaryHas(b.Binding) != nil })
		for i := range site.Bindings {
			if b := &site.Bindings[i]; b.Certificate != "" && !a.canShake(source, b) {
				b.Flags, b.Certificate, b.TLS = 0, "", ""
			}
		}
		wanted = append(wanted, site)
	}
	for i := range more {
		add(more[i].source, more[i].input)
	}
	for _, source := range a.Live {
		source.EachHeld(func(_ uint32, held *live.HeldBack) {
			if !held.Outside {
				add(source, held.Input)
			}
		})
	}
	slices.SortFunc(wanted, func(x, y binding.Site) int { return cmp.Compare(x.ID, y.ID) })
	return wanted
}

// canShake reports whether there is all that handshakes need for a binding of a row that is
// held back. A certificate for bindings has none for its host: only sites that are served
// give it one.
func (a *Instance) canShake(source *live.Source, b *binding.SiteBinding) bool {
	if !a.hasCertificateFor(source.Name, b.Certificate) {
		return false
	}
	from := a.CertificateSource(b.Certificate)
	if _, forBindings := from.(*certsel.Auto); forBindings || from == nil {
		return false
	}
	_, err := a.policies.Get(policies.Of(b.TLS, b.Flags, netip.Addr{}, b.Port))
	return err == nil
}

// routeHeldBack serves the rows that are held back as they are now. The caller holds the
// lock of changes.
func (a *Instance) routeHeldBack() {
	before := a.Now()
	next := a.withHeldBack(before)
	if next == before {
		return
	}
	if err := a.serve(before, next); err != nil {
		a.logger.Warn("the bindings of sites that are held back are nobody's", zap.Error(err))
	}
}
