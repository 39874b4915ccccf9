package files

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrUnavailable is in the error of a call that a file system did not answer
// in time, or that was not made because earlier ones still wait there.
var ErrUnavailable = errors.New("the file system does not answer")

var (
	errPlace = fmt.Errorf("%w: earlier calls still wait for the same folder", ErrUnavailable)
	errAll   = fmt.Errorf("%w: all workers still wait for earlier calls", ErrUnavailable)
)

// Defaults of WorkerOptions.
const (
	DefaultWorkers = 8
	DefaultTimeout = 10 * time.Second
	DefaultStuck   = 2 * time.Second
)

// WorkerOptions bounds calls. Zero values mean the defaults.
type WorkerOptions struct {
	// Workers is how many calls run at the same time. Half of them may be in
	// the same place, so that one dead folder leaves workers for others.
	Workers int

	// Timeout bounds calls whose context has no deadline.
	Timeout time.Duration

	// Stuck is how long a call runs before it counts as stuck: calls that
	// would only wait for stuck ones fail at once.
	Stuck time.Duration
}

// Workers runs calls that may never return. Abandoned calls keep their worker.
type Workers struct {
	timeout  time.Duration
	patience time.Duration
	perPlace int
	free     *pool

	mu     sync.Mutex
	places map[string]*pool
}

// NewWorkers returns workers. They need no closing: a worker exists only
// while it runs a call.
func NewWorkers(o WorkerOptions) *Workers {
	workers := or(o.Workers, DefaultWorkers)
	return &Workers{
		timeout:  or(o.Timeout, DefaultTimeout),
		patience: or(o.Stuck, DefaultStuck),
		perPlace: (workers + 1) / 2,
		free:     newPool(workers),
		places:   make(map[string]*pool),
	}
}

// Do runs a call on a worker and returns its result, or an error when the
// context ends first. The call goes on then: it must not touch what belongs
// to the caller. Calls of the same place, such as a folder, take half of the
// workers at most; the empty place has no such bound.
func Do[T any](ctx context.Context, w *Workers, place string, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var zero T
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	release, err := w.acquire(ctx, place)
	if err != nil {
		return zero, err
	}
	results := make(chan result, 1)
	go func() {
		value, err := call()
		release()
		results <- result{value, err}
	}()
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
		return zero, ended(ctx, ErrUnavailable)
	}
}

// ended returns the error of a call whose context has ended: a caller that
// went away is no fault of the file system.
func ended(ctx context.Context, late error) error {
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return late
}

func (w *Workers) acquire(ctx context.Context, place string) (release func(), err error) {
	local := w.enter(place)
	if err := local.acquire(ctx, w.patience, errPlace); err != nil {
		w.leave(place, local)
		return nil, err
	}
	if err := w.free.acquire(ctx, w.patience, errAll); err != nil {
		local.release()
		w.leave(place, local)
		return nil, err
	}
	start := time.Now()
	local.begin(start)
	w.free.begin(start)
	return func() {
		w.free.end(start)
		local.end(start)
		w.leave(place, local)
	}, nil
}

// enter returns the pool of a place, and counts its user.
func (w *Workers) enter(place string) *pool {
	if place == "" {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.places[place]
	if p == nil {
		p = newPool(w.perPlace)
		w.places[place] = p
	}
	p.users++
	return p
}

// leave forgets the pool of a place that nobody uses any more.
func (w *Workers) leave(place string, p *pool) {
	if p == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(w.places, place)
	}
}

// Running returns how many workers are occupied, abandoned calls included.
func (w *Workers) Running() int { return len(w.free.slots) }

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
