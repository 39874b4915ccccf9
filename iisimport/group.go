package iisimport

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// slot is a word of a directive in which sites that are otherwise alike differ.
type slot struct {
	word  int    // its place among the words
	name  string // of the variable that stands there in a template
	value string // as it is, without the escapes of a Caddyfile
	path  bool   // a folder of this machine
	to    bool   // an address of an upstream
}

// Template has the directives of sites that are alike.
type Template struct {
	Name  string
	Sites []*Site

	body []*Directive
	vars []templateVar
}

// templateVar is a variable that a template declares.
type templateVar struct {
	name  string
	below []string // for folders of this machine
	to    []string // for addresses
}

// The limits of variables, as config has them.
const (
	maxVars     = 32
	maxVarName  = 32
	maxVarValue = 1024
)

var reNoVarName = regexp.MustCompile(`[^a-z0-9]+`)

// variable returns the name of the variable for the folder of a node.
func (w *siteWriter) variable(kind string, n *node) string {
	name := kind
	if rest := strings.Trim(reNoVarName.ReplaceAllString(strings.ToLower(n.path), "_"), "_"); rest != "" {
		name += "_" + rest
	}
	name = name[:min(len(name), maxVarName-4)] // room for a number
	for i, base := 2, name; w.variables[name] != "" && w.variables[name] != n.path; i++ {
		name = base + strconv.Itoa(i)
	}
	w.variables[name] = n.path
	return name
}

// group finds the sites that are alike but for their folders. They have a template, if
// that makes the Caddyfile shorter; in a source of sites all have one.
func (b *builder) group() {
	var order []string
	alike := make(map[string][]*Site)
	for _, s := range b.plan.Sites {
		if !slices.ContainsFunc(s.body, func(d *Directive) bool { return len(d.Words) > 0 }) {
			continue
		}
		shape := plainText(fill(s.body, slot.placeholder))
		if alike[shape] == nil {
			order = append(order, shape)
		}
		alike[shape] = append(alike[shape], s)
	}
	for _, shape := range order {
		b.groupAlike(alike[shape])
	}
}

// groupAlike makes the templates of sites of one shape. Those that have no place in one of
// all leave it to the others.
func (b *builder) groupAlike(sites []*Site) {
	var alone []*Site
	groups := [][]*Site{sites}
	if newTemplate(sites) == nil {
		groups, alone = split(sites)
	}
	for _, group := range groups {
		switch t := newTemplate(group); {
		case t != nil && (t.shorter() || b.plan.opts.elsewhere()):
			b.addTemplate(t)
		default:
			alone = append(alone, group...)
		}
	}
	if b.plan.opts.elsewhere() {
		for _, s := range alone {
			b.addTemplate(newTemplate([]*Site{s}))
		}
	}
}

// split puts sites into groups whose folders can be bounded, and returns those whose values
// no template can have.
func split(sites []*Site) (groups [][]*Site, alone []*Site) {
	var tops map[string]map[string]bool // of each slot
	for _, s := range sites {
		slots := slotsOf(s.body)
		fits, full := true, groups == nil
		for name, slot := range slots {
			fits = fits && slot.fits()
			full = full || slot.bounded() && len(tops[name]) == maxBelow && !tops[name][slot.bound()]
		}
		if !fits {
			alone = append(alone, s)
			continue
		}
		if full {
			groups, tops = append(groups, nil), make(map[string]map[string]bool)
		}
		for name, slot := range slots {
			if tops[name] == nil {
				tops[name] = make(map[string]bool)
			}
			tops[name][slot.bound()] = true
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], s)
	}
	return groups, alone
}

// fits tells whether the value can be that of a variable.
func (s slot) fits() bool {
	return s.value != "" && len(s.value) <= maxVarValue && expressible(s.value) && (!s.path || absolute(s.value) && topOf(s.value) != "")
}

// bounded tells whether a template must say what values the slot may have, and bound is what
// it says for one: the value is it, or in it.
func (s slot) bounded() bool { return s.path || s.to }

func (s slot) bound() string {
	if s.to {
		return s.value
	}
	return topKey(s.value)
}

func (b *builder) addTemplate(t *Template) {
	t.Name = b.templateNames.unused(templateName(t.body))
	for _, s := range t.Sites {
		s.template = t
	}
	b.plan.Templates = append(b.plan.Templates, t)
}

// newTemplate makes one of sites of one shape, or nil if their differences have no form.
func newTemplate(sites []*Site) *Template {
	t := &Template{Sites: sites}
	first := slotsOf(sites[0].body)
	varying := make(map[string]bool)
	values := make(map[string][]string)
	unfit := make(map[string]bool)
	for _, s := range sites {
		s.vars = nil
		own := slotsOf(s.body)
		for _, name := range slices.Sorted(maps.Keys(own)) {
			if own[name].value != first[name].value {
				varying[name] = true
			}
			values[name] = append(values[name], own[name].value)
			unfit[name] = unfit[name] || !own[name].fits()
		}
	}
	if len(varying) > maxVars {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(varying)) {
		v := templateVar{name: name}
		if unfit[name] {
			return nil
		}
		switch {
		case first[name].path:
			if v.below = below(values[name]); v.below == nil {
				return nil
			}
		case first[name].to:
			v.to = slices.Compact(slices.Sorted(slices.Values(values[name])))
			if len(v.to) > maxBelow {
				return nil
			}
		}
		t.vars = append(t.vars, v)
		for i, s := range sites {
			s.vars = append(s.vars, slot{name: name, value: values[name][i]})
		}
	}
	t.body = fill(sites[0].body, func(s slot) (string, bool) {
		if varying[s.name] {
			return s.placeholder()
		}
		return "", false
	})
	return t
}

func (s slot) placeholder() (string, bool) { return "{iis.vars." + s.name + "}", true }

// slotsOf lists the slots of directives by their names.
func slotsOf(list []*Directive) map[string]slot {
	out := make(map[string]slot)
	for _, d := range list {
		for _, s := range d.slots {
			out[s.name] = s
		}
		maps.Copy(out, slotsOf(d.Block))
	}
	return out
}

// fill copies directives with other words in their slots. What a comment says of a slot
// is not true any more.
func fill(list []*Directive, with func(slot) (string, bool)) []*Directive {
	out := make([]*Directive, 0, len(list))
	for _, d := range list {
		other := *d
		other.Block = fill(d.Block, with)
		for _, s := range d.slots {
			if text, ok := with(s); ok {
				other.Words = slices.Clone(other.Words)
				other.Words[s.word], other.Comments = text, nil
			}
		}
		out = append(out, &other)
	}
	return out
}

var reWindowsRoot = regexp.MustCompile(`^(?:[A-Za-z]:[\\/]|\\\\)`)

// absolute tells whether a folder can be the value of a bounded variable, on the system that
// it is for.
func absolute(p string) bool {
	up := slices.Contains(strings.FieldsFunc(p, isSeparator), "..")
	return !up && (strings.HasPrefix(p, "/") || reWindowsRoot.MatchString(p))
}

func isSeparator(r rune) bool { return r == '/' || r == '\\' }

// maxBelow bounds the folders that values of a variable may be in: a longer list bounds
// nothing that anybody would read.
const maxBelow = 64

// below returns the folders that folders are in: of each folder below a drive, a share or
// the root, what all have in common. A whole drive or share is never among them: it is nil
// where a folder is one, and where the list would be too long.
func below(folders []string) []string {
	common := make(map[string]string)
	for _, folder := range folders {
		top := topKey(folder)
		if top == "" {
			return nil
		}
		parent := parentFolder(folder)
		have, ok := common[top]
		if !ok {
			if len(common) == maxBelow {
				return nil
			}
			common[top] = parent
			continue
		}
		for !inFolder(have, parent) {
			have = parentFolder(have)
		}
		common[top] = have
	}
	return slices.Sorted(maps.Values(common))
}

// parentFolder returns the folder that another is in; itself for one below a drive, a share
// or the root.
func parentFolder(p string) string {
	clean := strings.TrimRight(p, `/\`)
	if len(clean) <= len(strings.TrimRight(topOf(p), `/\`)) {
		return clean
	}
	return clean[:strings.LastIndexFunc(clean, isSeparator)]
}

// topKey is what folders with the same topOf have in common.
func topKey(p string) string {
	if reWindowsRoot.MatchString(p) {
		return strings.ToLower(topOf(p))
	}
	return topOf(p)
}

// topOf is the folder below the drive, the share or the root that a folder is in, as it is
// written; empty if it is none.
func topOf(p string) string {
	names := 1
	if reWindowsRoot.MatchString(p) {
		if names = 2; isSeparator(rune(p[0])) { // the drive and the folder, or the server, the share and the folder
			names = 3
		}
	}
	for i := 0; i < len(p); i++ {
		if !isSeparator(rune(p[i])) {
			end := strings.IndexFunc(p[i:], isSeparator)
			if names--; names == 0 && end < 0 {
				return p
			}
			if end < 0 {
				return ""
			}
			if i += end; names == 0 {
				return p[:i]
			}
		}
	}
	return ""
}

// inFolder compares as config does: the names of a path.
func inFolder(folder, p string) bool {
	if reWindowsRoot.MatchString(p) {
		folder, p = strings.ToLower(folder), strings.ToLower(p)
	}
	names, of := strings.FieldsFunc(folder, isSeparator), strings.FieldsFunc(p, isSeparator)
	return len(of) >= len(names) && slices.Equal(names, of[:len(names)])
}

// shorter tells whether the template makes fewer lines than its sites have alone.
func (t *Template) shorter() bool {
	each := 1 + len(t.vars)
	if len(t.vars) > 1 {
		each += 2 // the lines around them
	}
	own := lines(t.body)
	return len(t.Sites) > 1 && len(t.Sites)*own > lines([]*Directive{t.directive()})+len(t.Sites)*each
}

func lines(list []*Directive) (n int) {
	for _, d := range list {
		n += len(d.Comments)
		if len(d.Words) > 0 {
			n++
		}
		if d.hasBlock {
			n += 1 + lines(d.Block)
		}
	}
	return n
}

// templateName says what sites of a template do.
func templateName(body []*Directive) string {
	name := "closed"
	switch {
	case has(body, "file_server"):
		name = "files"
	case has(body, "iis_redirect"):
		name = "redirect"
	case has(body, "reverse_proxy"):
		name = "worker"
	}
	if has(body, "iis_rewrite") {
		name += "-rules"
	}
	return name
}

func has(list []*Directive, word string) bool {
	return slices.ContainsFunc(list, func(d *Directive) bool {
		return len(d.Words) > 0 && d.Words[0] == word || has(d.Block, word)
	})
}

func (t *Template) directive() *Directive {
	var kids []*Directive
	for _, v := range t.vars {
		d := directive(v.name)
		switch {
		case v.below != nil:
			d = block([]*Directive{directive(append([]string{"below"}, v.below...)...)}, v.name)
		case v.to != nil:
			d = block([]*Directive{directive(append([]string{"to"}, v.to...)...)}, v.name)
		}
		kids = append(kids, d)
	}
	if kids != nil {
		kids = []*Directive{block(kids, "site_vars")}
	}
	d := block(append(kids, t.body...), "template", t.Name)
	if len(t.Sites) == 1 {
		return d.because(fmt.Sprintf("What site %d does.", t.Sites[0].ID))
	}
	return d.because(fmt.Sprintf("What %d sites do, with the comments of site %d.", len(t.Sites), t.Sites[0].ID))
}

// use is what a site of the template says in place of directives.
func (t *Template) use(s *Site) []*Directive {
	out := []*Directive{directive("template", t.Name)}
	switch len(s.vars) {
	case 0:
		return out
	case 1:
		return append(out, directive("site_vars", s.vars[0].name, s.vars[0].value))
	}
	var kids []*Directive
	for _, v := range s.vars {
		kids = append(kids, directive(v.name, v.value))
	}
	return append(out, block(kids, "site_vars"))
}
