package serve

import (
	"errors"
	"fmt"

	"github.com/caddy-iis/caddy-iis/config"
)

// ownLimit counts the sites of a source that have routes of their own, as they would be
// after a change.
type ownLimit struct {
	of    *ownRoutes
	rules *config.RouteRules
	name  string // of the source
	sites int
	after map[uint32]bool // whether the sites of the change have them
}

// limit begins to count; without ownRoutes there are no sites before.
func (p *ownRoutes) limit(name string, rules *config.RouteRules) *ownLimit {
	l := &ownLimit{of: p, rules: rules, name: name, after: make(map[uint32]bool)}
	if l.of != nil {
		l.of.mu.Lock()
		l.sites = l.of.counts[name]
		l.of.mu.Unlock()
	}
	return l
}

func (a *Instance) ownLimitOf(source *LiveSource) *ownLimit {
	return a.own.limit(source.Name, source.routes)
}

// has reports whether a site has routes of its own, as far as the change is known.
func (l *ownLimit) has(id uint32) bool {
	if own, known := l.after[id]; known || l.of == nil {
		return own
	}
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	use, own := l.of.of[id]
	return own && use.source == l.name
}

// remove counts a site no longer.
func (l *ownLimit) remove(id uint32) {
	if l.has(id) {
		l.sites--
	}
	l.after[id] = false
}

// stays counts a site as it was before the change.
func (l *ownLimit) stays(id uint32) {
	own, known := l.after[id]
	if !known {
		return
	}
	delete(l.after, id)
	if own {
		l.sites--
	}
	if l.has(id) {
		l.sites++
	}
}

// errTooManyOwn is in the error of a site that is one too many.
var errTooManyOwn = errors.New("no more sites may have routes of their own")

func (l *ownLimit) full() bool { return l.rules != nil && l.sites >= l.rules.MaxSites }

// admit counts a site, or refuses it if there would be too many.
func (l *ownLimit) admit(c *configured) error {
	if c.cfg.OwnRoutes == nil && !l.has(c.id) {
		return nil
	}
	l.remove(c.id)
	switch {
	case c.cfg.OwnRoutes == nil:
		return nil
	case l.full():
		return fmt.Errorf("%w: %d sites of %s have them (allow_routes max_sites)", errTooManyOwn, l.sites, l.name)
	}
	l.sites++
	l.after[c.id] = true
	return nil
}
