package iisconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

// element is one element of a section with what it contains.
type element struct {
	name  string
	attrs []attribute
	kids  []*element
	file  string
	line  int
	// missing says that the file of its configSource is not here.
	missing bool
	// outside says that this file is not in the folder of a web.config or below it.
	outside bool
	// entry says that it is one of a collection, and key what it or a remove is known by there.
	entry bool
	key   string
	// meant is the name that it has in another case.
	meant string
	// ignored are the names of attributes that it has and that have no meaning here.
	ignored []string
}

// attribute remembers whether somebody read it, so that the others can be reported.
type attribute struct {
	name, value string
	line        int
	read        bool
	meant       string // the name that somebody looked for, in another case
}

// lookup returns an attribute, and notes those that have its name in another case.
func (el *element) lookup(name string) (value string, ok bool) {
	for i := range el.attrs {
		switch a := &el.attrs[i]; {
		case a.name == name && !ok:
			a.read = true
			value, ok = a.value, true
		case inOtherCase(a.name, name):
			a.meant = name
		}
	}
	return value, ok
}

// is tells whether an element has one of these names, and notes one that it has in another case.
func (el *element) is(names ...string) bool {
	for _, name := range names {
		if el.name == name {
			return true
		}
		if inOtherCase(el.name, name) {
			el.meant = name
		}
	}
	return false
}

// inOtherCase tells whether a word is a name but for its case: to IIS it is none.
func inOtherCase(word, name string) bool {
	return len(word) == len(name) && word != name && strings.EqualFold(word, name)
}

func (el *element) str(name string) string {
	s, _ := el.lookup(name)
	return s
}

// context is what a section is read in: where it applies and who hears of oddities.
type context struct {
	rep   *reporter
	scope string
	name  string // of the section, or of the kind of file around sections
	// section is the name of the section that is read, if it protects something: what is
	// odd in it is kept, so that nobody opens what it closes.
	section  string
	unknowns []UnknownPart
	faults   []Fault
}

// protects reports whether a section decides who may see what. Rewrite rules do: many
// of them block. serverRuntime may switch a place off.
func protects(section string) bool {
	return section == runtimeSection || strings.HasPrefix(section, securityGroup+"/") || strings.HasPrefix(section, rewriteGroup+"/")
}

// closesUnread are sections that may close a place, besides those that protect, or lead all of
// it elsewhere: their files have to be there.
var closesUnread = map[string]bool{
	handlersSection: true, modulesSection: true, globalModulesSection: true, filtersSection: true, redirectSection: true,
}

// mark keeps what is not understood.
func (c *context) mark(src Source, format string, args ...any) {
	if c.section != "" {
		c.unknowns = append(c.unknowns, UnknownPart{Section: c.section, What: fmt.Sprintf(format, args...), Source: src})
	}
}

// fault keeps a reason for IIS to answer 500.19, in a section of IIS.
func (c *context) fault(code string, src Source, format string, args ...any) {
	if section := cmp.Or(c.section, c.name); strings.Contains(section, "/") {
		c.faults = append(c.faults, Fault{Code: code, Section: section, Message: fmt.Sprintf(format, args...), Source: src})
	}
}

// otherCase is for what has a name of IIS in another case: IIS answers 500.19, in any section.
func (c *context) otherCase(src Source, what, meant string) {
	why := what + ", which IIS knows as " + meant + " only"
	c.rep.warn(CodeUnknown, src, "write it as IIS does, or take it out", "%s; IIS answers 500.19 here", why)
	c.faults = append(c.faults, Fault{Code: CodeUnknown, Section: cmp.Or(c.section, c.name), Message: why, Source: src})
}

func (c *context) src(el *element) Source {
	return Source{File: el.file, Line: el.line, Scope: c.scope}
}

// boolean reads an attribute as IIS does: "true" and "false" in any case.
func (c *context) boolean(el *element, name string, def bool) bool {
	s, ok := el.lookup(name)
	if !ok {
		return def
	}
	switch strings.ToLower(s) {
	case "true", "1":
		return true
	case "false", "0":
		return false
	}
	c.badValue(el, name, s, "true or false")
	return def
}

func (c *context) number(el *element, name string, def, lowest, highest int64) int64 {
	s, ok := el.lookup(name)
	if !ok {
		return def
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < lowest || n > highest {
		c.badValue(el, name, s, "a number from "+strconv.FormatInt(lowest, 10)+" to "+strconv.FormatInt(highest, 10))
		return def
	}
	return n
}

// word reads an attribute that has one of a few values and returns it as IIS
// spells it.
func (c *context) word(el *element, name string, values ...string) string {
	s, ok := el.lookup(name)
	if !ok {
		return ""
	}
	for _, v := range values {
		if strings.EqualFold(s, v) {
			return v
		}
	}
	c.badValue(el, name, s, strings.Join(values, ", "))
	return s
}

func (c *context) badValue(el *element, name, value, accepted string) {
	c.rep.warn(CodeBadValue, c.src(el), "accepted: "+accepted, "%s: the attribute %s has the value %q", el.name, name, shorten(value))
	c.fault(CodeBadValue, c.src(el), "%s: the attribute %s has the value %q", el.name, name, shorten(value))
}

// lockAttributes say what files below may change. They change nothing themselves.
var lockAttributes = []string{
	"lockItem", "lockAttributes", "lockElements", "lockAllAttributesExcept", "lockAllElementsExcept",
	"configSource", "overrideMode", "allowOverride",
}

// done reports the attributes that nobody read, and the children if the element
// should have none.
func (c *context) done(el *element) {
	c.attributes(el)
	for _, kid := range el.kids {
		c.unknown(kid, "in "+el.name)
	}
}

func (c *context) attributes(el *element) {
	if el.ignored != nil {
		c.rep.info(CodeIgnored, c.src(el), "%s: %s has no meaning here", el.name, strings.Join(el.ignored, ", "))
		el.ignored = nil
	}
	c.cases(el)
	for i := range el.attrs {
		a := &el.attrs[i]
		if a.read || slices.Contains(lockAttributes, a.name) {
			continue
		}
		a.read = true // it is told once
		src := c.src(el)
		src.Line = a.line
		if strings.HasPrefix(a.name, "xdt:") {
			c.rep.warn(CodeUnsupported, src, "use the file that the transformation makes",
				"%s: %s is a transformation, which is not carried out", el.name, a.name)
			c.mark(src, "the transformation %s of %s", a.name, el.name)
			continue
		}
		c.mark(src, "the attribute %s of %s", shorten(a.name), el.name)
		c.rep.info(CodeUnknown, src, "%s: the attribute %s is not understood", el.name, a.name)
	}
}

// cases reports the attributes that have a name of IIS in another case.
func (c *context) cases(el *element) {
	for i := range el.attrs {
		a := &el.attrs[i]
		if a.read {
			continue
		}
		for _, name := range lockAttributes {
			if inOtherCase(a.name, name) {
				a.meant = name
			}
		}
		if a.meant == "" {
			continue
		}
		a.read = true
		src := c.src(el)
		src.Line = a.line
		c.otherCase(src, "the attribute "+shorten(a.name)+" of "+el.name, a.meant)
	}
}

// ignore marks attributes as read that change nothing of what is served. They are told in
// one finding.
func (el *element) ignore(names ...string) {
	for _, n := range names {
		if _, ok := el.lookup(n); ok {
			el.ignored = append(el.ignored, n)
		}
	}
}

func (c *context) unknown(el *element, where string) {
	if el.meant != "" {
		c.otherCase(c.src(el), "the element "+shorten(el.name)+" "+where, el.meant)
		return
	}
	c.rep.add(Finding{
		Severity: binding.Warning, Code: CodeUnknown, Source: c.src(el),
		Message: "the element " + el.name + " " + where + " is not understood",
	})
	c.mark(c.src(el), "the element %s %s", shorten(el.name), where)
}

// shorten keeps messages readable.
func shorten(s string) string {
	if len(s) <= 120 {
		return s
	}
	return strings.ToValidUTF8(s[:117], "") + "..."
}
