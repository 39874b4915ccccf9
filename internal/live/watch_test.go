package live

import (
	"context"
	"testing"

	"github.com/caddy-iis/caddy-iis/sites"
)

// TestWaitFor: who waits for a revision goes on when it is served, or when it is over; a table of
// another identity does not serve it.
func TestWaitFor(t *testing.T) {
	m := newMemory()
	list, s := openSource(t, &given{table: m}, newNode(t))
	if !list.WaitFor(t.Context(), "one", 1) {
		t.Error("what is served is waited for")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if list.WaitFor(ended, "one", 2) || list.WaitFor(ended, "two", 1) {
		t.Error("what is not served is said to be")
	}
	served := make(chan bool, 1)
	go func() { served <- list.WaitFor(t.Context(), "one", 2) }()
	head := sites.Head{Source: "one", Revision: 2}
	s.Lock()
	s.Follower.NoteWritten(head, nil)
	s.Unlock()
	select {
	case <-served:
		t.Fatal("it is known, and not served yet")
	default:
	}
	s.Tell()
	if !<-served || s.Follower.Served() != head {
		t.Error("it is served")
	}
	if m.woken == 0 {
		t.Error("the table is not asked to look at once")
	}
}
