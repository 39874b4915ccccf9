package iisimport

import (
	"maps"
	"slices"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

// What tests of the package iisimport_test see.
var (
	Expressible = expressible
	Literal     = literal
	TakenBack   = takenBack
)

// OneDirective writes a Caddyfile with one site that has one directive.
func OneDirective(words ...string) []byte {
	site := block([]*Directive{directive("binding", "http", "*:80:a.test"), block([]*Directive{directive(words...)}, "route")}, "site", "1")
	return (&Plan{Sites: []*Site{{ID: 1, access: site.Block}}}).Caddyfile()
}

// Ungrouped writes the Caddyfile with the directives of each site in the site.
func (p *Plan) Ungrouped() []byte {
	other := *p
	other.Templates, other.Sites = nil, nil
	for _, s := range p.Sites {
		alone := *s
		alone.template = nil
		other.Sites = append(other.Sites, &alone)
	}
	return other.Caddyfile()
}

// Thumbprints lists those that were found.
func (c *Certificates) Thumbprints() []string { return slices.Sorted(maps.Keys(c.byThumbprint)) }

// Changed lists the words of a plan that no Caddyfile can have, and which are written as other
// texts therefore.
func (p *Plan) Changed() (words []string) {
	var walk func([]*Directive)
	walk = func(list []*Directive) {
		for _, d := range list {
			for _, w := range d.Words {
				if _, ok := caddytext.Quote(w); !ok && !reOwnVariable.MatchString(w) {
					words = append(words, w)
				}
			}
			walk(d.Block)
		}
	}
	for _, c := range p.Certificates {
		walk([]*Directive{c.directive()})
	}
	if p.CentralStore != nil {
		walk([]*Directive{p.CentralStore.directive()})
	}
	for _, s := range p.Sites {
		walk([]*Directive{s.directive()})
		walk(s.body)
	}
	if p.logs != nil {
		walk([]*Directive{p.logs})
	}
	return words
}

// Below is below.
func Below(folders []string) []string { return below(folders) }

// Names gives n things of one name names of their own.
func Names(n int) (last string) {
	var all names
	for range n {
		last = all.unused("x")
	}
	return last
}
