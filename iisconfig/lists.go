package iisconfig

import (
	"slices"
	"strings"
)

// The three things that a collection of a configuration file can say.
const (
	opAdd = iota
	opRemove
	opClear
)

type listOp[T any] struct {
	op     int
	key    string
	item   T
	source Source
}

// list is a collection at one level: what it does to the inherited one.
type list[T any] struct {
	name string // for findings
	// exact says that keys are compared with regard to case.
	exact bool
	ops   []listOp[T]
	// prepend puts entries before inherited ones, as the schema of IIS has it for
	// handlers and default documents (mergeAppend="false").
	prepend bool
}

// collection reads the children of el: add (or the name given), remove and clear.
// The key of an entry is what remove names.
func collection[T any](c *context, el *element, add string, key func(*element) string, item func(*element) T) list[T] {
	return exactCollection(c, el, add, false, key, item)
}

// exactCollection is a collection that may compare keys with regard to case.
func exactCollection[T any](c *context, el *element, add string, exact bool, key func(*element) string, item func(*element) T) list[T] {
	l := list[T]{name: el.name, exact: exact}
	for _, kid := range el.kids {
		switch {
		case kid.is(add):
			kid.entry, kid.key = true, l.fold(key(kid))
			l.ops = append(l.ops, listOp[T]{op: opAdd, key: kid.key, item: item(kid), source: c.src(kid)})
			c.attributes(kid)
		case kid.is("remove"):
			kid.key = l.fold(key(kid))
			l.ops = append(l.ops, listOp[T]{op: opRemove, key: kid.key})
			c.attributes(kid)
		case kid.is("clear"):
			l.ops = append(l.ops, listOp[T]{op: opClear})
			c.attributes(kid)
		default:
			c.unknown(kid, "in "+el.name)
		}
	}
	return l
}

// clears reports whether the list drops what it inherits.
func (l *list[T]) clears() bool {
	return slices.ContainsFunc(l.ops, func(op listOp[T]) bool { return op.op == opClear })
}

// Gone is what levels take out of a list: for the entries that every server has, where the
// server's own list is not among the files.
type Gone struct {
	// All says that a level begins with an empty list.
	All  bool     `json:"all,omitempty"`
	Keys []string `json:"keys,omitempty"` // in lower case
}

// Has tells whether an entry is gone.
func (g Gone) Has(key string) bool { return g.All || slices.Contains(g.Keys, strings.ToLower(key)) }

// Empty tells whether nothing is gone.
func (g Gone) Empty() bool { return !g.All && g.Keys == nil }

// gone adds to what levels above have taken out. What a level adds again is an entry of its
// own.
func (l *list[T]) gone(above Gone) Gone {
	if keys := l.removes(); keys != nil {
		above.Keys = slices.Concat(above.Keys, keys)
	}
	above.All = above.All || l.clears()
	return above
}

// removes lists the keys that the list takes out.
func (l *list[T]) removes() (keys []string) {
	for _, op := range l.ops {
		if op.op == opRemove {
			keys = append(keys, op.key)
		}
	}
	return keys
}

// adds reports whether the list has an entry of its own with the key.
func (l *list[T]) adds(key string) bool {
	return slices.ContainsFunc(l.ops, func(op listOp[T]) bool { return op.op == opAdd && op.key == l.fold(key) })
}

func (l *list[T]) fold(key string) string {
	if l.exact {
		return key
	}
	return strings.ToLower(key)
}

func byAttr(name string) func(*element) string {
	return func(el *element) string { return el.str(name) }
}

// apply merges the list into the inherited entries. It returns a new slice.
func (l *list[T]) apply(s *Settings, base []T, key func(T) string) []T {
	if len(l.ops) == 0 {
		return base
	}
	var own []T
	inherited := append([]T(nil), base...)
	index := make(map[string]int, len(base)+len(l.ops)) // into inherited, or ^index into own
	for i, item := range inherited {
		index[l.fold(key(item))] = i
	}
	gone, ownGone := map[int]bool{}, map[int]bool{}
	remove := func(k string) bool {
		i, ok := index[k]
		if !ok {
			return false
		}
		if i >= 0 {
			gone[i] = true
		} else {
			ownGone[^i] = true
		}
		delete(index, k)
		return true
	}
	for _, op := range l.ops {
		switch op.op {
		case opClear:
			inherited, own = nil, nil
			clear(index)
			clear(gone)
			clear(ownGone)
		case opRemove:
			remove(op.key)
		case opAdd:
			if remove(op.key) {
				s.duplicate(l.name, op.key, op.source)
			}
			index[op.key] = ^len(own)
			own = append(own, op.item)
		}
	}
	inherited, own = without(inherited, gone), without(own, ownGone)
	if l.prepend {
		return append(own, inherited...)
	}
	return append(inherited, own...)
}

func without[T any](items []T, gone map[int]bool) []T {
	if len(gone) == 0 {
		return items
	}
	kept := items[:0]
	for i, item := range items {
		if !gone[i] {
			kept = append(kept, item)
		}
	}
	return kept
}
