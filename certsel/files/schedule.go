package files

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"time"
)

// grain is how exact checks are timed. Groups are taken together that are due
// within it.
const grain = 5 * time.Millisecond

// How many groups are checked in a second at most, because they are due. A check
// takes the time of two calls of the operating system. With notifications, it is
// there for changes that they miss, such as those that other machines make.
const (
	pollRate     = 1000
	notifiedRate = 200
)

// queue is a heap of watches by when they are due.
type queue []*Watch

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	h := x.(*Watch)
	h.index = len(*q)
	*q = append(*q, h)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	h := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	h.index = -1
	return h
}

// spread returns a random part of an interval, so that groups that were added
// together are not checked together.
func spread(interval time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(interval) + 1)) //nolint:gosec // no secret
}

// interval is how long after a check of a group the next one is. The caller
// holds w.mu.
func (w *Watcher) interval(h *Watch) time.Duration {
	rate := pollRate
	if w.notified(h) {
		rate = notifiedRate
	}
	return max(h.group.Interval, time.Duration(w.groups)*time.Second/time.Duration(rate))
}

// schedule plans the next check. The caller holds w.mu.
func (w *Watcher) schedule(h *Watch, due time.Time) {
	h.due = due
	if h.index < 0 {
		heap.Push(&w.queue, h)
	} else {
		heap.Fix(&w.queue, h.index)
	}
	if h.index == 0 {
		w.wakeUp()
	}
}

func (w *Watcher) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Watcher) run() {
	defer close(w.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-timer.C:
		case <-w.wake:
		}
		timer.Reset(w.dispatch(time.Now()))
	}
}

// dispatch starts the checks that are due and the calls of Changed that wait,
// and returns when to come back.
func (w *Watcher) dispatch(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.reloads) > 0 && w.reloading < w.opts.Reloads {
		h := w.reloads[0]
		w.reloads = w.reloads[1:]
		w.reloading++
		go w.reload(h)
	}
	for len(w.queue) > 0 && !w.queue[0].due.After(now) {
		if w.checking == w.opts.Checks {
			return time.Hour // the end of a check wakes us up
		}
		h := heap.Pop(&w.queue).(*Watch)
		h.busy = true
		w.checking++
		go w.check(h)
	}
	if len(w.queue) == 0 {
		return time.Hour
	}
	return max(w.queue[0].due.Sub(now), grain)
}

// check looks at the files of a group, and decides what follows.
func (w *Watcher) check(h *Watch) {
	ctx, cancel := context.WithTimeout(w.ctx, w.opts.StatTimeout)
	defer cancel()
	seen := w.observe(ctx, h.files)

	w.mu.Lock()
	defer w.mu.Unlock()
	w.checks++
	w.checking--
	h.busy = false
	if h.closed || w.ctx.Err() != nil {
		w.wakeUp()
		return
	}
	w.subscribe(h, seen)
	now := time.Now()
	changed, due := h.compare(seen, now)
	switch {
	case changed:
		h.busy = true
		w.reloads = append(w.reloads, h)
	case h.again && due.After(now.Add(w.opts.Settle)):
		w.schedule(h, now.Add(w.opts.Settle/4))
	default:
		w.schedule(h, due)
	}
	h.again = false
	w.wakeUp()
}

// reload calls Changed, and again later if that fails.
func (w *Watcher) reload(h *Watch) {
	ctx, cancel := context.WithTimeout(w.ctx, w.opts.ReloadTimeout)
	defer cancel()
	w.mu.Lock()
	skip := h.closed || w.ctx.Err() != nil
	if !skip {
		w.changes++
	}
	w.mu.Unlock()
	var err error
	if !skip {
		err = h.group.Changed(ctx)
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	w.reloading--
	h.busy = false
	now := time.Now()
	h.done(err, now)
	if !h.closed {
		due := h.next(now)
		if h.again {
			due = now.Add(w.opts.Settle / 4)
		}
		w.schedule(h, due)
	}
	h.again = false
	w.wakeUp()
}
