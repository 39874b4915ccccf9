package serve

import (
	"runtime"
	"testing"

	"github.com/caddy-iis/caddy-iis/sites"
)

// TestTryLaterOnce: however many changes are made while a source is busy, its rows are
// tried once when it is not any more.
func TestTryLaterOnce(t *testing.T) {
	busy := &LiveSource{
		CommonSettings: &sites.CommonSettings{Name: "busy"}, Follower: newFollower(nil),
		held: map[uint32]HeldBack{1: {waits: true}},
	}
	a := &Instance{Live: []*LiveSource{busy}}
	busy.Follower.mu.Lock()
	before := runtime.NumGoroutine()
	for range 100 {
		a.retryHeldBack(nil)
	}
	if more := runtime.NumGoroutine() - before; more != 1 {
		t.Errorf("%d wait", more)
	}
	busy.Follower.mu.Unlock()
	for busy.later.Load() {
		runtime.Gosched()
	}
	busy.Follower.mu.Lock()
	a.retryHeldBack(nil)
	if !busy.later.Load() {
		t.Error("nobody waits after a change that is made later")
	}
	busy.Follower.mu.Unlock()
}
