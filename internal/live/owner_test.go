package live

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-iis/caddy-iis/sites"
)

// TestWhenFree: however many changes are made elsewhere while a source is busy, its rows are
// tried once when it is not any more; and only by the configuration that owns the table.
func TestWhenFree(t *testing.T) { synctest.Test(t, testWhenFree) }

func testWhenFree(t *testing.T) {
	busy := &Source{CommonSettings: &sites.CommonSettings{Name: "busy"}, Follower: newFollower(nil)}
	busy.TakeOver()
	now, later := 0, 0
	ask := func() { busy.WhenFree(func() { now++ }, func() { later++ }) }
	free := func() {
		t.Helper()
		busy.Unlock()
		synctest.Wait() // until nobody is left who waits for the lock
	}
	for range 100 {
		ask()
	}
	free()
	if now != 0 || later != 1 {
		t.Errorf("tried %d times while it was busy, and %d times after", now, later)
	}
	busy.Lock()
	ask()
	free()
	if now != 0 || later != 2 {
		t.Errorf("after a change that is made later tried %d times, and %d times after", now, later)
	}
	busy.Follower.owner = new(Source)
	if ask(); now != 0 || later != 2 {
		t.Error("tried for another configuration")
	}
	busy.Follower.owner = busy
	if ask(); now != 1 {
		t.Error("not tried at once while nobody is busy")
	}
}

// isUnavailable reports whether an error tells a client to ask again later.
func isUnavailable(err error) bool {
	refused, ok := errors.AsType[*WriteError](err)
	return ok && refused.Status == http.StatusServiceUnavailable && refused.Code == CodeUnavailable
}

// TestClaimWaits: a change waits for its turn as long as its client does. However many wait,
// who takes the table over waits for one of them.
func TestClaimWaits(t *testing.T) { synctest.Test(t, testClaimWaits) }

func testClaimWaits(t *testing.T) {
	s := &Source{CommonSettings: &sites.CommonSettings{Name: "busy"}, Follower: newFollower(nil)}
	serve(s)
	var writing, given atomic.Int32
	const writers, each = 50, 5 * time.Second
	for range writers {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
			defer cancel()
			owner, err := s.Claim(ctx)
			if isUnavailable(err) {
				given.Add(1)
				return
			}
			if err != nil || owner != s {
				t.Error(owner, err)
				return
			}
			if writing.Add(1) != 1 {
				t.Error("two write at a time")
			}
			time.Sleep(each)
			writing.Add(-1)
			s.Unlock()
		}()
	}
	synctest.Wait()
	start := time.Now()
	s.TakeOver()
	if waited := time.Since(start); waited > each || writing.Load() != 0 {
		t.Errorf("a load waits %s, while %d write", waited, writing.Load())
	}
	s.Unlock()
	time.Sleep(time.Minute)
	if got := given.Load(); got != writers-3 {
		t.Errorf("%d of %d were told to ask again", got, writers)
	}
	if owner, err := s.Claim(t.Context()); err != nil || owner != s {
		t.Error("those who gave up do not leave it free:", err)
	}
	s.Unlock()
}

// TestClaimAway: while the engine is away nobody waits, and it is looked for.
func TestClaimAway(t *testing.T) {
	m := newMemory()
	_, s := openSource(t, &given{table: m}, newNode(t))
	serve(s)
	s.Lock()
	m.status.Up, m.status.Error = false, "no route"
	if _, err := s.Claim(t.Context()); !isUnavailable(err) || m.woken != 1 {
		t.Errorf("%v, woken %d times", err, m.woken)
	}
	m.status.Up = true
	claimed := make(chan error, 1)
	go func() {
		_, err := s.Claim(t.Context())
		claimed <- err
	}()
	for len(s.Follower.mu.writers) == 0 {
		time.Sleep(time.Millisecond)
	}
	m.mu.Lock()
	m.status.Up = false
	m.mu.Unlock()
	s.Unlock()
	if err := <-claimed; !isUnavailable(err) {
		t.Error("it went away while a change waited:", err)
	}
	if !s.Follower.mu.TryLock() {
		t.Error("the table stays locked")
	} else {
		s.Unlock()
	}
}
