package live

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"

	"go.uber.org/zap"
)

// A table outlives configurations: the one that serves its rows owns it. Another one, which
// is being loaded, looks at the rows under the lock, and takes over when it begins to serve
// what was written since.

// Lock locks the table: nobody writes, takes what others wrote, or takes the table over.
func (s *Source) Lock() { s.Follower.mu.Lock() }

// Unlock gives the lock back.
func (s *Source) Unlock() { s.Follower.mu.Unlock() }

// Owner returns the source by which the rows are served, nil if they are not.
func (f *Follower) Owner() *Source {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.owner
}

// Claim locks the table for a change if this source owns it. If not it returns who does, nil
// if nobody, and the table is not locked; nor is it after an error. While the engine is away
// nobody waits for the lock.
func (s *Source) Claim(ctx context.Context) (owner *Source, err error) {
	f := s.Follower
	if err := s.Reachable(); err != nil {
		return nil, err
	}
	if err := f.mu.LockToWrite(ctx); err != nil {
		return nil, RefuseWrite(http.StatusServiceUnavailable, CodeUnavailable, nil, "%s is busy with other changes: ask again", s.Name)
	}
	if f.owner != s {
		defer f.mu.Unlock()
		return f.owner, nil
	}
	if err := s.Reachable(); err != nil { // any more
		f.mu.Unlock()
		return nil, err
	}
	return s, nil
}

// Reachable refuses to write while the engine of a shared table is away. That it is back
// is looked for at once.
func (s *Source) Reachable() error {
	shared := s.Follower.Shared
	if shared == nil {
		return nil
	}
	status := shared.Status()
	if status.Up {
		return nil
	}
	shared.Wake()
	return RefuseWrite(http.StatusServiceUnavailable, CodeUnavailable, nil, "the database of %s is away: %s", s.Name, cmp.Or(status.Error, "it was not reached yet"))
}

// Reset is called before all rows are read: nothing is held back, and the certificates are
// read. The caller holds the lock.
func (s *Source) Reset() error {
	s.from = s.Follower.step
	s.mu.Lock()
	s.held, s.order = make(map[uint32]HeldBack), nil
	s.mu.Unlock()
	return s.readCertificates()
}

// TakeOver makes this configuration the one that serves the rows. Nobody writes until Unlock
// is called. It reports whether something was written since Reset.
func (s *Source) TakeOver() (moved bool) {
	f := s.Follower
	f.mu.Lock()
	serves := f.owner != nil
	f.owner = s
	if serves { // a start asks, too: nobody has looked at what it serves
		f.acceptPending()
	}
	return f.step != s.from
}

// Moved tells which rows were written since Reset, and which of those that are shown or
// held back are gone. Certificates are as they are now. The caller holds the lock.
func (s *Source) Moved(shown map[uint32]bool) (changed, gone []uint32) {
	f := s.Follower
	for id := range f.revision {
		if f.moved[id] > s.from || !shown[id] {
			changed = append(changed, id)
		}
	}
	held := s.AllHeldIDs()
	for _, id := range slices.Concat(slices.Collect(maps.Keys(shown)), held) {
		if _, there := f.revision[id]; !there {
			gone = append(gone, id)
		}
	}
	slices.Sort(changed)
	slices.Sort(gone)
	gone = slices.Compact(gone)
	if f.movedCerts > s.from {
		if err := s.readCertificates(); err != nil {
			s.logger.Error("certificates that were written while the configuration was loaded", zap.String("source", s.Name), zap.Error(err))
		}
	}
	return changed, gone
}

// WhenFree calls a function with the lock held, if this source owns the table: now, if
// nobody has the lock, else later, and then once however often it is called meanwhile.
// Whoever changes the source is not waited for.
func (s *Source) WhenFree(now, later func()) {
	f := s.Follower
	switch {
	case f.mu.TryLock():
		defer f.mu.Unlock()
		if f.owner == s {
			now()
		}
	case s.later.Swap(true): // somebody waits already, and will see this change
	default:
		go func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			s.later.Store(false)
			if f.owner == s {
				later()
				f.published()
			}
		}()
	}
}
