package centralstore

import (
	"context"
	"errors"
	"sync"
	"time"
)

// silence is how many accesses in a row the store must leave without answer
// to count as unreachable.
const silence = 3

// EventKind says what happened in a store.
type EventKind uint8

// The events that are reported, each once until something else happens.
const (
	// Failed: a file cannot be used, and its hosts have no certificate in the
	// store.
	Failed EventKind = iota + 1

	// Kept: a changed file cannot be used; the last good certificate stays.
	Kept

	// Recovered: a file can be used again.
	Recovered

	// Removed: a file was deleted; its hosts have no certificate in the store
	// any more.
	Removed

	// Unreachable: the store does not answer, is not there, or is empty.
	// Cached certificates serve on.
	Unreachable

	// Reachable: the store answers again.
	Reachable
)

// String returns the event in words.
func (k EventKind) String() string {
	switch k {
	case Failed:
		return "certificate file cannot be used"
	case Kept:
		return "changed certificate file cannot be used; the last good certificate stays"
	case Recovered:
		return "certificate file can be used again"
	case Removed:
		return "certificate file was deleted"
	case Unreachable:
		return "certificate store cannot be read; cached certificates serve on"
	case Reachable:
		return "certificate store can be read again"
	default:
		return "unknown event"
	}
}

// Event is something that an administrator should know.
type Event struct {
	Kind EventKind
	File string // in full; empty if it is about the whole store
	Err  error
}

// health is whether the store answers.
type health struct {
	mu     sync.Mutex
	silent int  // accesses in a row without answer
	lost   bool // the store is gone, so that absent files say nothing
	since  time.Time
	err    error
}

// fail counts accesses without answer, and reports whether they are enough
// now to count as unreachable.
func (h *health) fail(err error, n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.silent
	if h.silent += n; before == 0 {
		h.since = time.Now()
	}
	h.err = err
	return before < silence && h.silent >= silence
}

// answer takes note of an answer, and reports whether the store was
// unreachable until now.
func (h *health) answer(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost && err != nil {
		return false
	}
	was := h.silent >= silence
	h.silent, h.lost, h.err = 0, false, nil
	return was
}

// note takes note of how an access to the store ended.
func (s *Store) note(err error) {
	if errors.Is(err, context.Canceled) {
		return // by us
	}
	if kindOf(err) != unavailable {
		if s.health.answer(err) {
			s.opts.Report(Event{Kind: Reachable})
		}
	} else if s.health.fail(err, 1) {
		s.opts.Report(Event{Kind: Unreachable, Err: err})
	}
}

// lose takes note that the store is gone, as it is when a share is not
// mounted: its files are absent, but nobody deleted them.
func (s *Store) lose(err error) {
	report := s.health.fail(err, silence)
	s.health.mu.Lock()
	s.health.lost = true
	s.health.mu.Unlock()
	if report {
		s.opts.Report(Event{Kind: Unreachable, Err: err})
	}
}

// reportLoad reports what came of a stem that was looked for, unless that is
// known.
func (s *Store) reportLoad(l loaded, old *miss) {
	wasBroken := old != nil && old.kind == broken
	switch {
	case l.kind == broken && (!wasBroken || old.err.Error() != l.err.Error()):
		s.opts.Report(Event{Kind: Failed, File: l.file, Err: l.err})
	case l.kind == found && wasBroken:
		s.opts.Report(Event{Kind: Recovered, File: l.file})
	}
}
