package iisconfig

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

// maxSegments bounds the depth of a path that has settings.
const maxSegments = 128

// change is what one section does to the settings that it inherits.
type change struct {
	section Section
	apply   func(*Settings) // may be nil
	faults  []Fault
	unknown []UnknownPart
	// el is what a web.config says, until it is known whether it may.
	el *element
}

func (c *change) to(s *Settings) {
	if c.apply != nil {
		c.apply(s)
	}
	s.Faults = append(slices.Clip(s.Faults), c.faults...)
	s.Unknown = append(slices.Clip(s.Unknown), c.unknown...)
}

// layer is what one location element, one web.config or one node of a metabase sets
// at one path.
type layer struct {
	// rank orders the layers of one path: applicationHost.config comes first, then the
	// web.config files from the outermost folder to the innermost.
	rank    int
	changes []change
	// appOnly is inheritInChildApplications="false": applications below do not
	// inherit it.
	appOnly bool
}

// scope is a node of the tree of a site's paths.
type scope struct {
	name   string
	layers []*layer
	app    bool // an application starts here
	kids   map[string]*scope
}

// at returns the node of a path and makes it if need be.
func (s *scope) at(path string) *scope {
	for _, part := range segments(path) {
		key := strings.ToLower(part)
		kid := s.kids[key]
		if kid == nil {
			kid = &scope{name: part}
			if s.kids == nil {
				s.kids = make(map[string]*scope)
			}
			s.kids[key] = kid
		}
		s = kid
	}
	return s
}

// segments splits a URL path. IIS compares them without case.
func segments(path string) []string {
	var parts []string
	for part := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
		if len(parts) > maxSegments {
			break
		}
	}
	return parts
}

// sort orders the layers of the node and of those below it.
func (s *scope) sort() {
	slices.SortStableFunc(s.layers, func(a, b *layer) int { return cmp.Compare(a.rank, b.rank) })
	for _, kid := range s.kids {
		kid.sort()
	}
}

// merge applies the layers to the inherited settings.
func merge(base *Settings, layers []*layer, all bool) *Settings {
	var out *Settings
	for _, l := range layers {
		if l.appOnly && !all {
			continue
		}
		if out == nil && len(l.changes) > 0 {
			out = base.clone()
		}
		for _, c := range l.changes {
			c.to(out)
		}
	}
	if out == nil {
		return base
	}
	return out
}

// clone copies the struct. Sections are shared: a change replaces them.
func (s *Settings) clone() *Settings {
	if s == nil {
		return &Settings{}
	}
	c := *s
	c.Findings = nil
	return &c
}

func (s *Settings) fault(section, code string, src Source, message string) {
	s.Faults = append(slices.Clip(s.Faults), Fault{Code: code, Section: section, Message: message, Source: src})
}

func (s *Settings) duplicate(list, key string, src Source) {
	s.Findings = append(s.Findings, Finding{
		Severity: binding.Warning, Code: CodeDuplicate, Source: src,
		Message: list + " has an entry " + key + " already, for which IIS answers 500.19; the later one is used",
		Fix:     "remove one of them",
	})
	s.fault(list, CodeDuplicate, src, "an entry "+key+" is there already")
}

// At returns the settings that are in force at a path of the site, such as "/" or
// "/shop/images". It is never nil.
//
// The order is that of IIS: from the server down to the path, at each level
// applicationHost.config before the web.config files, and these from the outermost
// folder to the innermost. Collections are merged with their remove and clear.
func (s *Site) At(path string) *Settings {
	// What an application below inherits may differ from what this path has.
	current, inherited := s.base, s.base
	node, parts := s.settings, segments(path)
	for node != nil {
		if node.app {
			current = inherited
		}
		if current == inherited && !node.hasAppOnly() {
			current = merge(current, node.layers, true)
			inherited = current
		} else {
			current, inherited = merge(current, node.layers, true), merge(inherited, node.layers, false)
		}
		if len(parts) == 0 {
			break
		}
		node, parts = node.kids[strings.ToLower(parts[0])], parts[1:]
	}
	if current == nil {
		return &Settings{}
	}
	return current
}

func (s *scope) hasAppOnly() bool {
	return slices.ContainsFunc(s.layers, func(l *layer) bool { return l.appOnly })
}

// configured lists the nodes that have sections, sorted by path.
func (s *scope) configured(path string, out []ConfiguredPath) []ConfiguredPath {
	var sections []Section
	for _, l := range s.layers {
		for _, c := range l.changes {
			sections = append(sections, c.section)
		}
	}
	if sections != nil {
		out = append(out, ConfiguredPath{Path: cmp.Or(path, "/"), Sections: sections})
	}
	for _, key := range slices.Sorted(maps.Keys(s.kids)) {
		kid := s.kids[key]
		out = kid.configured(path+"/"+kid.name, out)
	}
	return out
}
