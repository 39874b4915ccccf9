package files

import (
	"container/heap"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"
)

// Bounds of how long a group waits.
const (
	maxUnsettled = 25              // times Settle, for files that never stand still
	maxRetry     = 5 * time.Minute // between calls of Changed that fail
)

// state is what a check finds in place of a file.
type state struct {
	stamp   Stamp
	problem string
}

// Watch is a group that is watched.
type Watch struct {
	watcher *Watcher
	group   Group
	files   []string // absolute

	// Guarded by watcher.mu.
	due       time.Time
	index     int       // in the queue, -1 if not there
	busy      bool      // being checked or reloaded
	again     bool      // to be checked again soon
	announced bool      // a notification came for the change that is settling
	closed    bool      // no longer watched
	known     []state   // that Changed was called for
	seen      []state   // by the last check, if it differs from known
	seenAt    time.Time // when the files began to look like seen
	movedAt   time.Time // when they began to differ from known
	failures  int       // of Changed, one after the other
	retryAt   time.Time
}

// Check has the files checked at once.
func (h *Watch) Check() {
	h.watcher.mu.Lock()
	defer h.watcher.mu.Unlock()
	h.watcher.hasten(h, time.Now())
}

// Close ends watching. A call of Changed that runs is not waited for.
func (h *Watch) Close() {
	w := h.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	w.groups--
	w.exit(h)
	if h.index >= 0 {
		heap.Remove(&w.queue, h.index)
	}
}

// hasten plans a check soon. The caller holds w.mu.
func (w *Watcher) hasten(h *Watch, due time.Time) {
	switch {
	case h.closed:
	case h.busy:
		h.again = true
	case due.Before(h.due):
		w.schedule(h, due)
	}
}

// observe asks for the state of files in one call: it is the file system that
// may hang, not one file. It returns nothing if there was nobody to ask.
func (w *Watcher) observe(ctx context.Context, names []string) []state {
	if len(names) == 0 {
		return nil
	}
	states, err := Do(ctx, w.reader.workers, Place(names[0]), func() ([]state, error) {
		states := make([]state, len(names))
		for i, name := range names {
			stamp, err := w.reader.stat(name)
			states[i] = state{stamp, problem(err)}
		}
		return states, nil
	})
	if errors.Is(err, errAll) {
		return nil
	}
	if err != nil {
		return slices.Repeat([]state{{problem: problem(err)}}, len(names))
	}
	return states
}

// problem describes an error such that the same problem has the same words.
func problem(err error) string {
	if err == nil {
		return ""
	}
	if errors.Is(err, ErrUnavailable) {
		return ErrUnavailable.Error()
	}
	if named := (*fs.PathError)(nil); errors.As(err, &named) {
		err = named.Err
	}
	return err.Error()
}

// compare decides whether Changed is to be called, and if not, when to check
// again. The caller holds watcher.mu.
func (h *Watch) compare(seen []state, now time.Time) (changed bool, due time.Time) {
	settle := h.watcher.opts.Settle
	if seen == nil {
		return false, h.next(now)
	}
	if h.known == nil {
		h.known = seen
	}
	if slices.Equal(seen, h.known) {
		h.seen = nil
		return h.failures > 0 && !now.Before(h.retryAt), h.next(now)
	}
	if h.seen == nil {
		h.movedAt = now
	}
	if !slices.Equal(seen, h.seen) {
		h.seen, h.seenAt = seen, now
	}
	still := now.Sub(h.seenAt) >= settle
	if !still && now.Sub(h.movedAt) < maxUnsettled*settle {
		return false, h.seenAt.Add(settle)
	}
	if !h.announced {
		h.watcher.renew(h) // the folder that is notified of is not this one any more
	}
	h.known, h.seen, h.announced = seen, nil, false
	return true, now
}

// next is when the files are checked again if nothing happens. The caller holds
// watcher.mu.
func (h *Watch) next(now time.Time) time.Time {
	due := now.Add(h.watcher.interval(h))
	if h.failures > 0 && h.retryAt.Before(due) && h.retryAt.After(now) {
		return h.retryAt
	}
	return due
}

// done takes note of the end of a call of Changed. The caller holds
// watcher.mu.
func (h *Watch) done(err error, now time.Time) {
	if err == nil {
		h.failures = 0
		return
	}
	delay := min(h.group.Interval<<min(h.failures, 10), maxRetry)
	h.failures++
	h.retryAt = now.Add(max(delay, h.group.Interval))
}
