package ownroutes

import (
	"errors"
	"fmt"

	"github.com/caddy-iis/caddy-iis/config"
)

// Limit counts the sites of a source that have routes of their own, as they would be
// after a change.
type Limit struct {
	had   func(id uint32) bool // before the change
	rules *config.RouteRules
	name  string // of the source
	sites int
	after map[uint32]bool // whether the sites of the change have them
}

// Limit begins to count; without a pool there are no sites before.
func (p *Pool[T]) Limit(name string, rules *config.RouteRules) *Limit {
	l := &Limit{rules: rules, name: name, after: make(map[uint32]bool)}
	if p == nil {
		l.had = func(uint32) bool { return false }
		return l
	}
	l.had = func(id uint32) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		use, own := p.of[id]
		return own && use.source == name
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.sites = p.counts[name]
	return l
}

// has reports whether a site has routes of its own, as far as the change is known.
func (l *Limit) has(id uint32) bool {
	if own, known := l.after[id]; known {
		return own
	}
	return l.had(id)
}

// Had reports whether a site had routes of its own before the change.
func (l *Limit) Had(id uint32) bool { return l.had(id) }

// HadFirst compares two sites by whether they had routes of their own before the change. Who
// had keeps its place: it is admitted before others.
func (l *Limit) HadFirst(a, b uint32) int {
	switch x, y := l.had(a), l.had(b); {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

// Remove counts a site no longer.
func (l *Limit) Remove(id uint32) {
	if l.has(id) {
		l.sites--
	}
	l.after[id] = false
}

// Stays counts a site as it was before the change.
func (l *Limit) Stays(id uint32) {
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

// ErrTooMany is in the error of a site that is one too many.
var ErrTooMany = errors.New("no more sites may have routes of their own")

// Full reports whether no more sites may have routes of their own.
func (l *Limit) Full() bool { return l.rules != nil && l.sites >= l.rules.MaxSites }

// Over reports whether more sites have routes of their own than may.
func (l *Limit) Over() bool { return l.rules != nil && l.sites > l.rules.MaxSites }

// Admit counts a site, with routes of its own or without, or refuses it if there would be
// too many.
func (l *Limit) Admit(id uint32, own bool) error {
	if !own && !l.has(id) {
		return nil
	}
	l.Remove(id)
	if own && l.Full() {
		return fmt.Errorf("%w: %d sites of %s have them (allow_routes max_sites)", ErrTooMany, l.sites, l.name)
	}
	l.Serves(id, own)
	return nil
}

// Serves counts a site as it is served after the change: what was admitted and cannot be
// served leaves its place to others.
func (l *Limit) Serves(id uint32, own bool) {
	l.Remove(id)
	if own {
		l.sites++
		l.after[id] = true
	}
}
