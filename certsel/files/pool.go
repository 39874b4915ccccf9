package files

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pool bounds how many calls run, and knows for how long they do. A nil pool
// has no bound.
type pool struct {
	slots chan struct{}
	users int // guarded by Workers.mu

	mu     sync.Mutex
	starts []time.Time // of the calls that run
}

func newPool(size int) *pool {
	return &pool{slots: make(chan struct{}, size)}
}

// acquire waits for a slot, unless calls hold all of them that have been
// running longer than patience: those will hardly return in time.
func (p *pool) acquire(ctx context.Context, patience time.Duration, stuck error) error {
	if p == nil {
		return ctx.Err()
	}
	if ctx.Err() != nil {
		return ended(ctx, stuck)
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	if p.stuck(patience) {
		return stuck
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ended(ctx, stuck)
	}
}

func (p *pool) stuck(patience time.Duration) bool {
	limit := time.Now().Add(-patience)
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.starts) == cap(p.slots) &&
		!slices.ContainsFunc(p.starts, func(start time.Time) bool { return start.After(limit) })
}

// release gives a slot back in which no call began.
func (p *pool) release() {
	if p != nil {
		<-p.slots
	}
}

func (p *pool) begin(start time.Time) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starts = append(p.starts, start)
}

func (p *pool) end(start time.Time) {
	if p == nil {
		return
	}
	p.mu.Lock()
	if i := slices.Index(p.starts, start); i >= 0 {
		p.starts = slices.Delete(p.starts, i, i+1)
	}
	p.mu.Unlock()
	p.release()
}
