package iisconfig

import (
	"cmp"
	"slices"
	"strings"
)

// Besides whole sections, a configuration file can lock parts of one to those below it: an
// attribute, an element, an entry of a collection (IIS: lockAttributes, lockElements, lockItem).

// itemLock is a section of a configuration file that has such locks.
type itemLock struct {
	rank int // of the layer, as that of a lock
	el   *element
}

var itemLockAttributes = []string{"lockItem", "lockAttributes", "lockElements", "lockAllAttributesExcept", "lockAllElementsExcept"}

func (el *element) locksParts() bool {
	return slices.ContainsFunc(itemLockAttributes, el.has) || slices.ContainsFunc(el.kids, (*element).locksParts)
}

// lockParts notes the locks in a section of IIS, which alone heeds them, at a configuration path.
func (b *builder) lockParts(section, configPath string, rank int, el *element) {
	if !strings.HasPrefix(section, webServer) || !el.locksParts() {
		return
	}
	if b.itemLocks[section] == nil {
		b.itemLocks[section] = make(map[string][]itemLock)
	}
	key := strings.ToLower(configPath)
	b.itemLocks[section][key] = append(b.itemLocks[section][key], itemLock{rank, el})
}

// lockedPart names what a section of the web.config of a rank says that a level above has
// locked.
func (b *builder) lockedPart(section, configPath string, rank int, el *element) (part string) {
	locks := b.itemLocks[section]
	if len(locks) == 0 || el == nil {
		return ""
	}
	for p := range upwards(configPath) {
		for _, l := range locks[p] {
			switch {
			case l.rank >= rank: // its own, or one below
			case l.el.isLocked():
				return "the section"
			default:
				part = cmp.Or(part, l.el.forbids(el))
			}
		}
	}
	return part
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
// entry that is locked can neither be removed nor cleared away. Which one a remove is about
// its collection tells by their keys; where none has read them, it may be about any.
func (el *element) forbidsBeside(lower *element) string {
	switch lower.name {
	case "clear", "remove":
		if el.isLocked() && (lower.name == "clear" || lower.key == el.key) {
			return "an entry " + el.name
		}
	case el.name:
		switch {
		case el.entry:
			return "" // an entry of its own: the merge tells one that is there already
		case el.isLocked():
			return "the element " + el.name
		}
		return el.forbids(lower)
	}
	return ""
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
