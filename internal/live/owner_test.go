package live

import (
	"testing"
	"testing/synctest"

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
