package live

import (
	"context"
	"encoding/json"
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

// TriedAgain chooses the rows that are tried again after a while: nobody says when what they
// wait for is there.
func TriedAgain(h *HeldBack) bool { return h.Socket || h.NotReady }

// LateDocuments are what rows want whose own routes were not ready in time, be they held
// back or refused for it.
func (s *Source) LateDocuments() []json.RawMessage {
	documents := s.HeldDocuments(func(h *HeldBack) bool { return h.NotReady })
	for _, row := range s.Follower.OpenRows() {
		if s.Follower.reasonOf(row.ID).late {
			documents = append(documents, row.Document)
		}
	}
	return documents
}

// RetryLater calls a function with the lock held while rows are to be tried again and the
// source owns the table: after a second, and then after twice as long each time, up to a
// minute; when another row begins to wait, a second later again. Rows that are refused are
// judged again then. Routes of their own are provisioned before, without the lock. It ends
// with the context, that of the configuration.
func (s *Source) RetryLater(ctx context.Context, try func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retry == nil {
		s.retry = time.AfterFunc(min(firstPause<<min(s.retried, 10), lastPause), func() { s.retryLater(ctx, try) })
		s.retried++
	}
}

// soon has the next attempt come after the first pause: a row begins to wait for it. The
// caller holds s.mu.
func (s *Source) soon() {
	switch {
	case s.retry == nil:
		s.retried = 0
	case s.retried <= 1: // it does
	case s.retry.Stop():
		s.retry.Reset(firstPause)
		s.retried = 1
	default: // one is made now
		s.retried = 0
	}
}

func (s *Source) retryLater(ctx context.Context, try func()) {
	if ctx.Err() != nil {
		return
	}
	if provision := s.Node.Ahead(s, s.LateDocuments()); provision != nil {
		defer provision()()
	}
	f := s.Follower
	f.mu.Lock()
	defer f.mu.Unlock()
	s.mu.Lock()
	s.retry = nil
	s.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	late := f.owner == s && f.late()
	serves := f.owner == s // else the configuration does not serve yet
	if serves {
		try()
		if late {
			f.judgeAgain()
			late = f.late()
		}
		f.published()
	}
	again := late || len(s.HeldIDs(TriedAgain)) > 0
	if !again || !serves {
		s.mu.Lock()
		s.retried = 0
		s.mu.Unlock()
	}
	if again {
		s.RetryLater(ctx, try)
	}
}
