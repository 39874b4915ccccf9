// Package world compares a configuration with the machine that it is for: the
// folders that sites are served from, the applications behind them, and the
// addresses that their names have in DNS. It touches the disk and the network, which
// a load of a configuration must not do.
package world

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/places"
)

// The codes of findings.
const (
	CodeRootMissing     = "root-missing"      // there is no such folder
	CodeRootForeign     = "root-foreign"      // no path of this system
	CodeUpstreamRefuses = "upstream-refuses"  // nothing answers there
	CodeNoAddress       = "host-not-in-dns"   // no address at all
	CodeOtherAddress    = "host-elsewhere"    // none of this machine's
	CodeNotLooked       = "not-all-looked-at" // there was too much, or no time
)

// Parts are what a configuration needs of its machine.
type Parts struct {
	Roots, Upstreams []Part
}

// Part is a folder or an address, and who has it.
type Part struct {
	Value string
	Site  uint32 // of the first owner; 0 if that is no site
	Owner string // the first one: site 1 "Main"
	More  int    // how many others
}

// owners says who has a part.
func (p Part) owners() string {
	if p.More == 0 {
		return p.Owner
	}
	return fmt.Sprintf("%s and %d more", p.Owner, p.More)
}

// In finds the parts in the JSON of an iis app. What is only known when a request
// comes, such as a root with a placeholder, is left out.
func In(raw []byte) (Parts, error) {
	var app struct {
		Sites     map[string]json.RawMessage `json:"sites"`
		Templates map[string]json.RawMessage `json:"templates"`
		Defaults  json.RawMessage            `json:"defaults"`
	}
	if err := json.Unmarshal(raw, &app); err != nil {
		return Parts{}, fmt.Errorf("reading the configuration: %w", err)
	}
	var roots, upstreams collection
	add := func(site uint32, owner string, content []byte) {
		var root any
		if json.Unmarshal(content, &root) != nil {
			return
		}
		w := walker{markers: make(map[string]bool)}
		w.walk(root)
		for _, value := range w.roots {
			roots.add(Part{Value: value, Site: site, Owner: owner})
		}
		for _, value := range w.dials {
			if !w.markers[value] { // that it must be set is said elsewhere
				upstreams.add(Part{Value: value, Site: site, Owner: owner})
			}
		}
	}
	number := func(key string) uint64 { id, _ := strconv.ParseUint(key, 10, 32); return id }
	keys := slices.SortedFunc(maps.Keys(app.Sites), func(a, b string) int { return cmp.Compare(number(a), number(b)) })
	for _, key := range keys {
		var site struct {
			Name string `json:"name"`
		}
		_ = json.Unmarshal(app.Sites[key], &site)
		owner := "site " + key
		if site.Name != "" {
			owner += fmt.Sprintf(" %q", site.Name)
		}
		add(uint32(number(key)), owner, app.Sites[key])
	}
	for _, name := range slices.Sorted(maps.Keys(app.Templates)) {
		add(0, fmt.Sprintf("template %q", name), app.Templates[name])
	}
	add(0, "defaults", app.Defaults)
	return Parts{roots.parts, upstreams.parts}, nil
}

// Of finds the parts in the JSON of routes, or of whatever has some.
func Of(raw []byte) (roots, upstreams []string) {
	w := walker{markers: make(map[string]bool)}
	var root any
	if json.Unmarshal(raw, &root) == nil {
		w.walk(root)
	}
	distinct := func(list []string) []string {
		slices.Sort(list)
		return slices.Compact(list)
	}
	return distinct(w.roots), distinct(w.dials)
}

// collection keeps each value once.
type collection struct {
	parts []Part
	index map[string]int
	last  map[string]string // the last owner of each
}

func (c *collection) add(p Part) {
	if c.index == nil {
		c.index, c.last = make(map[string]int), make(map[string]string)
	}
	i, ok := c.index[p.Value]
	switch {
	case !ok:
		c.index[p.Value] = len(c.parts)
		c.parts = append(c.parts, p)
	case c.last[p.Value] != p.Owner:
		c.parts[i].More++
	}
	c.last[p.Value] = p.Owner
}

// walker visits every part of a site's JSON.
type walker struct {
	roots, dials []string
	markers      map[string]bool
}

func (w *walker) walk(node any) {
	switch v := node.(type) {
	case []any:
		for _, kid := range v {
			w.walk(kid)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			text, isText := v[key].(string)
			switch {
			case !isText:
				w.walk(v[key])
			case key == places.Marker:
				w.markers[text] = true
			case strings.Contains(text, "{") || text == "":
			case key == "root":
				w.roots = append(w.roots, text)
			case key == "dial":
				w.dials = append(w.dials, text)
			}
		}
	}
}

func warning(code string, p Part, fix, format string, args ...any) adminapi.Finding {
	return adminapi.Finding{Severity: adminapi.SeverityWarning, Code: code, Site: p.Site, Message: fmt.Sprintf(format, args...), Fix: fix}
}
