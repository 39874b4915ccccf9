package live

import (
	"context"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
)

// The pauses before sockets are tried again that could not be opened.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// WaitsForSocket chooses the rows of which bindings wait for a socket.
func WaitsForSocket(h *HeldBack) bool { return h.Socket }

// Takes reports whether what is held back is part of what a configuration serves.
func (h *HeldBack) Takes(served []binding.BindingEntry) bool {
	if !h.Partly {
		return true
	}
	waits := make(map[binding.Binding]bool)
	for _, b := range h.Input.Bindings {
		waits[b.Binding] = true
	}
	for i := range served {
		if waits[served[i].Binding] {
			return true
		}
	}
	return false
}

// RetrySockets calls a function with the lock held while rows wait for a socket and the
// source owns the table: after a second, and then after twice as long each time, up to a
// minute. It ends with the context, that of the configuration.
func (s *Source) RetrySockets(ctx context.Context, try func()) {
	if !s.retries.Swap(true) {
		time.AfterFunc(min(firstPause<<min(s.retried.Add(1)-1, 10), lastPause), func() { s.retrySockets(ctx, try) })
	}
}

func (s *Source) retrySockets(ctx context.Context, try func()) {
	f := s.Follower
	f.mu.Lock()
	defer f.mu.Unlock()
	s.retries.Store(false)
	if ctx.Err() != nil {
		return
	}
	if f.owner == s {
		try()
		f.published()
	} else { // the configuration does not serve yet
		s.retried.Store(0)
	}
	if len(s.HeldIDs(WaitsForSocket)) > 0 {
		s.RetrySockets(ctx, try)
	} else {
		s.retried.Store(0)
	}
}
