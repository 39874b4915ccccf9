package centralstore

import (
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// refreshers is how many entries are refreshed at the same time. They
	// leave workers for handshakes.
	refreshers = 4

	// refreshGrain is how exact the refreshing is timed.
	refreshGrain = 20 * time.Millisecond
)

// refresh is what is known of the files of an entry. Only the goroutine that
// refreshes the entry writes it, with mu held for those who read it.
type refresh struct {
	mu      sync.Mutex
	due     time.Time // when to look at the files
	version version   // the certificate is from
	loaded  time.Time // when that was read

	changed bool    // the files are not version any more, but
	seen    version // this, for less than Settle
	gone    bool    // there was no file at the last look

	failed version // of the files that do not serve
	err    error   // that they do not serve for
	since  time.Time
}

// refreshRegularly looks at the files of all entries once in each interval.
func (s *Store) refreshRegularly() {
	defer close(s.done)
	timer := time.NewTimer(s.opts.Poll)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
			timer.Reset(s.refreshDue())
		}
	}
}

// refreshDue refreshes the entries that are due, and returns when to come
// back.
func (s *Store) refreshDue() time.Duration {
	now := time.Now()
	next := now.Add(s.opts.Poll)
	var due []*entry
	s.mu.RLock()
	for _, e := range s.entries {
		if at := e.dueAt(); at.After(now) {
			next = earlier(next, at)
		} else {
			due = append(due, e)
		}
	}
	s.mu.RUnlock()
	if !s.refreshAll(due) {
		return s.opts.Retry
	}
	for _, e := range due {
		next = earlier(next, e.dueAt())
	}
	return max(time.Until(next), refreshGrain)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// refreshAll refreshes entries, until the store has not answered for some in
// a row: the rest would only wait, too.
func (s *Store) refreshAll(due []*entry) (answered bool) {
	var (
		group  sync.WaitGroup
		silent atomic.Int32
		queue  = make(chan *entry)
	)
	for range min(refreshers, len(due)) {
		group.Go(func() {
			for e := range queue {
				if s.refreshEntry(e) {
					silent.Store(0)
				} else {
					silent.Add(1)
				}
			}
		})
	}
	answered = true
	for _, e := range due {
		if silent.Load() >= refreshers {
			answered = false
			break
		}
		queue <- e
	}
	close(queue)
	group.Wait()
	return answered
}

// refreshEntry looks at the files of an entry, and reports whether the store
// answered.
func (s *Store) refreshEntry(e *entry) (answered bool) {
	v, file, err := s.stat(s.ctx, e.stem, e.version)
	switch now := time.Now(); {
	case kindOf(err) == unavailable:
		e.later(now.Add(s.opts.Retry))
		return false
	case kindOf(err) == absent:
		return s.refreshGone(e, now)
	case err != nil:
		s.keep(e, failed(version{}, file, err), now)
	case v == e.version:
		s.confirm(e, now)
	case e.err != nil && v == e.failed:
		e.later(now.Add(s.opts.Retry))
	case !e.changed || v != e.seen:
		e.mu.Lock()
		e.changed, e.seen, e.gone, e.due = true, v, false, now.Add(s.opts.Settle)
		e.mu.Unlock()
	default:
		return s.reload(e)
	}
	return true
}

// reload reads the changed files of an entry.
func (s *Store) reload(e *entry) (answered bool) {
	l := s.load(s.ctx, e.stem, nil)
	now := time.Now()
	switch l.kind {
	case found:
		s.replace(e, l, now)
	case broken:
		s.keep(e, l, now)
	case unavailable:
		e.later(now.Add(s.opts.Retry))
		return false
	case absent, unknown:
		e.later(now.Add(s.opts.Settle))
	}
	return true
}

func (e *entry) dueAt() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.due
}

func (e *entry) later(due time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.due = due
}

// confirm takes note that the files are those that serve.
func (s *Store) confirm(e *entry, now time.Time) {
	s.settled(e, e.version, nil, e.loaded, now)
}

// replace puts a new certificate into an entry.
func (s *Store) replace(e *entry, l loaded, now time.Time) {
	s.stats.reloads.Add(1)
	s.settled(e, l.version, l.cert, now, now)
	s.opts.Changed()
}

func (s *Store) settled(e *entry, v version, cert *tls.Certificate, loaded, now time.Time) {
	if cert != nil {
		e.cert.Store(cert)
	}
	e.mu.Lock()
	wasBroken := e.err != nil
	e.version, e.loaded, e.due = v, loaded, now.Add(s.opts.Poll)
	e.changed, e.gone, e.err, e.since = false, false, nil, time.Time{}
	e.mu.Unlock()
	if wasBroken {
		s.opts.Report(Event{Kind: Recovered, File: s.file(e)})
	}
}

// keep takes note that the files do not serve; the last good certificate
// stays.
func (s *Store) keep(e *entry, l loaded, now time.Time) {
	e.mu.Lock()
	known := e.err != nil && e.err.Error() == l.err.Error()
	if e.err == nil {
		e.since = now
	}
	e.failed, e.err, e.due = l.version, l.err, now.Add(s.opts.Retry)
	e.changed, e.gone = false, false
	e.mu.Unlock()
	if !known {
		s.opts.Report(Event{Kind: Kept, File: l.file, Err: l.err})
	}
}

// refreshGone drops an entry whose files stay away, unless it is the whole
// store that is gone, as when a share is not mounted.
func (s *Store) refreshGone(e *entry, now time.Time) (answered bool) {
	if !e.gone {
		e.mu.Lock()
		e.gone, e.changed, e.due = true, false, now.Add(s.opts.Retry)
		e.mu.Unlock()
		return true
	}
	e.later(now.Add(s.opts.Retry))
	if err := s.Ping(s.ctx); err != nil {
		if errors.Is(err, ErrStore) {
			s.lose(err)
		}
		return kindOf(err) != unavailable
	}
	// Again, since the store may have come back in between.
	if _, _, err := s.stat(s.ctx, e.stem, e.version); kindOf(err) != absent {
		return kindOf(err) != unavailable
	}
	s.mu.Lock()
	if s.entries[e.stem] == e {
		delete(s.entries, e.stem)
		s.remember(e.stem, loaded{kind: absent}, now)
	}
	s.mu.Unlock()
	s.opts.Report(Event{Kind: Removed, File: s.file(e)})
	s.opts.Changed()
	return true
}

// file returns the full name of the file that an entry is from.
func (s *Store) file(e *entry) string {
	return s.backend.Locate(e.version.File)
}
