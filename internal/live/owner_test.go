package live

import (
	"runtime"
	"testing"

	"github.com/caddy-iis/caddy-iis/sites"
)

// TestWhenFree: however many changes are made elsewhere while a source is busy, its rows are
// tried once when it is not any more; and only by the configuration that owns the table.
func TestWhenFree(t *testing.T) {
	busy := &Source{CommonSettings: &sites.CommonSettings{Name: "busy"}, Follower: newFollower(nil)}
	busy.TakeOver()
	now, later := 0, 0
	ask := func() { busy.WhenFree(func() { now++ }, func() { later++ }) }
	before := runtime.NumGoroutine()
	for range 100 {
		ask()
	}
	if more := runtime.NumGoroutine() - before; more != 1 {
		t.Errorf("%d wait", more)
	}
	busy.Unlock()
	for busy.later.Load() {
		runtime.Gosched()
	}
	busy.Lock()
	if now != 0 || later != 1 {
		t.Errorf("tried %d times while it was busy, and %d times after", now, later)
	}
	ask()
	if !busy.later.Load() {
		t.Error("nobody waits after a change that is made later")
	}
	busy.Unlock()
	for busy.later.Load() {
		runtime.Gosched()
	}
	busy.Lock()
	busy.Follower.owner = new(Source)
	busy.Unlock()
	if ask(); now != 0 || later != 2 {
		t.Error("tried for another configuration")
	}
	busy.Lock()
	busy.Follower.owner = busy
	busy.Unlock()
	if ask(); now != 1 {
		t.Error("not tried at once while nobody is busy")
	}
}
