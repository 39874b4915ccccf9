package files

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// maxReported bounds the memory for failures that were reported.
const maxReported = 16

// Slot holds a value that is loaded from files, and keeps the last good one
// while loading fails. Load must be set; OnError and OnRecover may be.
type Slot[T any] struct {
	// Load returns a new value.
	Load func(ctx context.Context) (T, error)

	// OnError is called when loading fails: once for each distinct failure
	// until it succeeds again.
	OnError func(err error)

	// OnRecover is called when loading succeeds after it failed.
	OnRecover func()

	value atomic.Pointer[T]

	loading sync.Mutex // one load at a time

	mu       sync.Mutex
	status   Status
	reported map[string]struct{}
}

// Status says how loading went.
type Status struct {
	LastAttempt time.Time // zero: none yet
	LastReload  time.Time // when the value in use was loaded
	LastError   error     // of the last attempt
	Since       time.Time // when loading began to fail, zero if it does not
}

// Get returns the last good value. It neither blocks nor allocates.
func (s *Slot[T]) Get() (value T, ok bool) {
	if p := s.value.Load(); p != nil {
		return *p, true
	}
	return value, false
}

// Set puts a value into the slot that was loaded elsewhere.
func (s *Slot[T]) Set(value T) {
	s.loading.Lock()
	defer s.loading.Unlock()
	s.succeed(value)
}

// Reload loads the value anew. When that fails the last good one stays.
func (s *Slot[T]) Reload(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	value, err := s.Load(ctx)
	if err == nil {
		s.succeed(value)
	} else if !errors.Is(err, context.Canceled) { // nobody wants to know any more
		s.fail(err)
	}
	return err
}

// Status returns how loading went.
func (s *Slot[T]) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Slot[T]) succeed(value T) {
	s.value.Store(&value)
	s.mu.Lock()
	now := time.Now()
	failed := s.status.LastError != nil
	s.status = Status{LastAttempt: now, LastReload: now}
	s.reported = nil
	s.mu.Unlock()
	if failed && s.OnRecover != nil {
		s.OnRecover()
	}
}

func (s *Slot[T]) fail(err error) {
	s.mu.Lock()
	now := time.Now()
	if s.status.LastError == nil {
		s.status.Since = now
	}
	s.status.LastAttempt, s.status.LastError = now, err
	known := s.known(err)
	s.mu.Unlock()
	if !known && s.OnError != nil {
		s.OnError(err)
	}
}

// known reports whether a failure was reported, and remembers it.
func (s *Slot[T]) known(err error) bool {
	text := err.Error()
	if errors.Is(err, ErrUnavailable) {
		text = ErrUnavailable.Error() // whichever call of several it was that hung
	}
	if _, ok := s.reported[text]; ok || len(s.reported) >= maxReported {
		return true
	}
	if s.reported == nil {
		s.reported = make(map[string]struct{})
	}
	s.reported[text] = struct{}{}
	return false
}
