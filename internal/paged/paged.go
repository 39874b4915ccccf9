// Package paged has slices of which a copy that differs in few places shares the rest.
package paged

import (
	"iter"
	"slices"
)

const (
	pageBits = 9
	pageSize = 1 << pageBits
)

// Slice is a slice in pages. Once it is published it does not change: [Slice.Edit] makes
// the next one.
type Slice[T any] struct {
	pages [][]T
	len   int
}

// Make returns a slice of n zero values.
func Make[T any](n int) *Slice[T] {
	s := new(Slice[T])
	s.grow(n)
	return s
}

// Of returns the values of a slice, which must not be changed any more.
func Of[T any](values []T) *Slice[T] {
	s := Make[T](0)
	for page := range slices.Chunk(values, pageSize) {
		if len(page) < pageSize {
			page = append(make([]T, 0, pageSize), page...)[:pageSize]
		}
		s.pages = append(s.pages, page)
	}
	s.len = len(values)
	return s
}

// grow adds zero values.
func (s *Slice[T]) grow(n int) {
	for s.len < n {
		if s.len&(pageSize-1) == 0 {
			s.pages = append(s.pages, make([]T, pageSize))
		}
		s.len = min(n, s.len+pageSize-s.len&(pageSize-1))
	}
}

// Len returns how many values there are.
func (s *Slice[T]) Len() int { return s.len }

// At returns the value at an index below Len.
func (s *Slice[T]) At(i int) T { return s.pages[i>>pageBits][i&(pageSize-1)] }

// Set sets a value, before the slice is published.
func (s *Slice[T]) Set(i int, v T) { s.pages[i>>pageBits][i&(pageSize-1)] = v }

// All lists the values. A nil slice has none.
func (s *Slice[T]) All() iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		if s == nil {
			return
		}
		for i := range s.len {
			if !yield(i, s.At(i)) {
				return
			}
		}
	}
}

// Edit makes the next slice, which has at least n values.
func (s *Slice[T]) Edit(n int) *Edit[T] {
	next := &Slice[T]{pages: slices.Clone(s.pages), len: s.len}
	shared := len(next.pages)
	own := make(map[int]bool)
	if s.len&(pageSize-1) != 0 && n > s.len {
		next.own(shared-1, own)
	}
	next.grow(n)
	return &Edit[T]{next, shared, own}
}

// Edit is a slice that is being changed.
type Edit[T any] struct {
	next   *Slice[T]
	shared int          // pages below this are those of the slice before, but for own
	own    map[int]bool // pages
}

func (s *Slice[T]) own(page int, own map[int]bool) {
	if !own[page] {
		own[page] = true
		s.pages[page] = slices.Clone(s.pages[page])
	}
}

// Set sets a value.
func (e *Edit[T]) Set(i int, v T) {
	if page := i >> pageBits; page < e.shared {
		e.next.own(page, e.own)
	}
	e.next.Set(i, v)
}

// At returns a value as it is now.
func (e *Edit[T]) At(i int) T { return e.next.At(i) }

// Append adds a value, and returns its place.
func (e *Edit[T]) Append(v T) int {
	i := e.next.len
	if i&(pageSize-1) != 0 && i>>pageBits < e.shared {
		e.next.own(i>>pageBits, e.own)
	}
	e.next.grow(i + 1)
	e.Set(i, v)
	return i
}

// Slice returns the slice; it is not to be changed any more.
func (e *Edit[T]) Slice() *Slice[T] { return e.next }
