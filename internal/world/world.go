// Package world compares a configuration with the machine that it is for: the
// folders that sites are served from, the applications behind them, and the
// addresses that their names have in DNS. It touches the disk and the network, which
// a load of a configuration must not do.
package world

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
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

// Finder finds the parts of a configuration and of rows of its sources. What is only known
// when a request comes, such as a root with a placeholder, is left out; variables of sites
// are known.
type Finder struct {
	roots, upstreams collection
	templates        map[string]shared
	defaults         shared
}

// shared is what serves many sites, and what those have that give a variable no value.
type shared struct {
	walker
	defaults map[string]string
}

func sharedOf(raw []byte) shared {
	var content struct {
		SiteVars map[string]*struct {
			Default string `json:"default"`
		} `json:"site_vars"`
	}
	_ = json.Unmarshal(raw, &content)
	s := shared{walker: walked(raw), defaults: make(map[string]string)}
	for name, v := range content.SiteVars {
		if v != nil {
			s.defaults[name] = v.Default
		}
	}
	return s
}

// site is what counts here of a site, in the configuration or in a row.
type site struct {
	ID       uint32            `json:"id"`
	Name     string            `json:"name"`
	Template string            `json:"template"`
	Vars     map[string]string `json:"vars"`
	Routes   json.RawMessage   `json:"routes"`
	Errors   json.RawMessage   `json:"errors"`
}

// Find finds the parts in the JSON of an iis app.
func Find(raw []byte) (*Finder, error) {
	var app struct {
		Sites     map[string]json.RawMessage `json:"sites"`
		Templates map[string]json.RawMessage `json:"templates"`
		Defaults  json.RawMessage            `json:"defaults"`
	}
	if err := json.Unmarshal(raw, &app); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	f := &Finder{templates: make(map[string]shared), defaults: sharedOf(app.Defaults)}
	for name, content := range app.Templates {
		f.templates[name] = sharedOf(content)
	}
	number := func(key string) uint64 { id, _ := strconv.ParseUint(key, 10, 32); return id }
	keys := slices.SortedFunc(maps.Keys(app.Sites), func(a, b string) int { return cmp.Compare(number(a), number(b)) })
	for _, key := range keys {
		f.Site(uint32(number(key)), app.Sites[key])
	}
	for _, name := range slices.Sorted(maps.Keys(f.templates)) {
		f.add(0, fmt.Sprintf("template %q", name), f.templates[name].walker, nil)
	}
	f.add(0, "defaults", f.defaults.walker, nil)
	return f, nil
}

// Site finds the parts of one site more, by what the configuration or a row says of it.
func (f *Finder) Site(id uint32, raw []byte) {
	var s site
	_ = json.Unmarshal(raw, &s)
	owner := "site " + strconv.FormatUint(uint64(id), 10)
	if s.Name != "" {
		owner += fmt.Sprintf(" %q", s.Name)
	}
	by := f.defaults
	if s.Template != "" {
		by = f.templates[s.Template]
	}
	vars := make(map[string]string, len(by.defaults)+len(s.Vars))
	maps.Copy(vars, by.defaults)
	maps.Copy(vars, s.Vars)
	values := []string{"{iis.site.id}", strconv.FormatUint(uint64(id), 10), "{iis.site.name}", s.Name}
	for name, value := range vars {
		values = append(values, "{iis.vars."+name+"}", value)
	}
	replacer := strings.NewReplacer(values...)
	f.add(id, owner, walked(s.Routes), replacer)
	f.add(id, owner, walked(s.Errors), replacer)
	if s.Template != "" || s.Routes == nil && s.Errors == nil {
		f.add(id, owner, by.varying(), replacer)
	}
}

// Rows finds the parts of sites that are in lines, as a sites file and an export of a source
// have them.
func (f *Finder) Rows(lines io.Reader) error {
	for decoder := json.NewDecoder(lines); ; {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading sites: %w", err)
		}
		var s site
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("reading sites: %w", err)
		}
		f.Site(s.ID, raw)
	}
}

// SitesFile is the path of the sites file in the JSON of an iis app, empty if it has none.
func SitesFile(raw []byte) string {
	var app struct {
		SitesFile string `json:"sites_file"`
	}
	_ = json.Unmarshal(raw, &app)
	return app.SitesFile
}

// File finds the parts of the sites of a sites file. That it cannot be read is said elsewhere.
func (f *Finder) File(path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	_ = f.Rows(file)
}

// add adds what was found in content, with what its owner has in the place of placeholders.
func (f *Finder) add(id uint32, owner string, w walker, values *strings.Replacer) {
	for _, list := range []struct {
		of     *collection
		values []string
	}{{&f.roots, w.roots}, {&f.upstreams, w.dials}} {
		for _, value := range list.values {
			if values != nil {
				value = values.Replace(value)
			}
			if value != "" && !strings.Contains(value, "{") {
				list.of.add(Part{Value: value, Site: id, Owner: owner})
			}
		}
	}
}

// Parts are those that were found.
func (f *Finder) Parts() Parts { return Parts{f.roots.parts, f.upstreams.parts} }

// Of finds the parts in the JSON of routes, or of whatever has some.
func Of(raw []byte) (roots, upstreams []string) {
	w := walked(raw)
	distinct := func(list []string) []string {
		list = slices.DeleteFunc(list, hasPlaceholder)
		slices.Sort(list)
		return slices.Compact(list)
	}
	return distinct(w.roots), distinct(w.dials)
}

func hasPlaceholder(text string) bool { return strings.Contains(text, "{") }

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
type walker struct{ roots, dials []string }

func walked(raw []byte) (w walker) {
	var root any
	if json.Unmarshal(raw, &root) == nil {
		w.walk(root)
	}
	return w
}

// varying is what depends on the site.
func (w walker) varying() walker {
	fixed := func(text string) bool { return !hasPlaceholder(text) }
	return walker{slices.DeleteFunc(slices.Clone(w.roots), fixed), slices.DeleteFunc(slices.Clone(w.dials), fixed)}
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
			case text == "":
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
