package iisconfig

import (
	"slices"
	"strings"
)

// Besides whole sections, applicationHost.config can lock parts of one: an attribute, an
// element, an entry of a collection (IIS: lockAttributes, lockElements, lockItem).

// itemLock is a section of applicationHost.config that has such locks.
type itemLock struct {
	scope string // in lower case
	el    *element
}

var itemLockAttributes = []string{"lockItem", "lockAttributes", "lockElements", "lockAllAttributesExcept", "lockAllElementsExcept"}

func (el *element) locksParts() bool {
	return slices.ContainsFunc(itemLockAttributes, el.has) || slices.ContainsFunc(el.kids, (*element).locksParts)
}

// lockParts notes the locks in a section of applicationHost.config.
func (b *builder) lockParts(section, scope string, el *element) {
	if el.locksParts() {
		b.itemLocks[section] = append(b.itemLocks[section], itemLock{strings.ToLower(scope), el})
	}
}

// lockedPart names what a section of a web.config says that a level above has locked.
func (b *builder) lockedPart(section, scope string, el *element) string {
	scope = strings.ToLower(scope)
	for _, l := range b.itemLocks[section] {
		if l.scope != "" && !under(scope, l.scope) {
			continue
		}
		if l.el.isLocked() {
			return "the section"
		}
		if part := l.el.forbids(el); part != "" {
			return part
		}
	}
	return ""
}

func (el *element) isLocked() bool { return strings.EqualFold(el.str("lockItem"), "true") }

// forbids compares an element with the same one of a level below.
func (el *element) forbids(lower *element) string {
	for _, a := range lower.attrs {
		if !slices.Contains(lockAttributes, a.name) && el.locksName("lockAttributes", "lockAllAttributesExcept", a.name) {
			return "the attribute " + a.name + " of " + el.name
		}
	}
	for _, kid := range lower.kids {
		if el.locksName("lockElements", "lockAllElementsExcept", kid.name) {
			return "the element " + kid.name + " of " + el.name
		}
	}
	for _, own := range el.kids {
		for _, kid := range lower.kids {
			if part := own.forbidsBeside(kid); part != "" {
				return part
			}
		}
	}
	return ""
}

// forbidsBeside compares an element with one in the same place of a level below. An
// entry that is locked can neither be removed nor cleared away.
func (el *element) forbidsBeside(lower *element) string {
	switch lower.name {
	case "clear", "remove":
		if el.isLocked() && (lower.name == "clear" || lower.names(el)) {
			return "an entry " + el.name
		}
	case el.name:
		if el.name == "add" || el.name == "rule" {
			return "" // an entry of its own
		}
		if el.isLocked() {
			return "the element " + el.name
		}
		return el.forbids(lower)
	}
	return ""
}

// names reports whether a remove is about an entry: all that it says, the entry says.
func (el *element) names(entry *element) bool {
	for _, a := range el.attrs {
		if v, ok := entry.lookup(a.name); !ok || !strings.EqualFold(v, a.value) {
			return false
		}
	}
	return true
}

// locksName looks a name up in a list of what is locked, and in one of all that is not.
func (el *element) locksName(locked, allExcept, name string) bool {
	if list, ok := el.lookup(locked); ok && (inList(list, "*") || inList(list, name)) {
		return true
	}
	list, ok := el.lookup(allExcept)
	return ok && !inList(list, name)
}

func inList(list, name string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }),
		func(word string) bool { return strings.EqualFold(word, name) })
}
