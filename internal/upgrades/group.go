// Package upgrades keeps the connections that handlers of sites have taken over, such as
// WebSockets, and the handlers for as long as those need them.
package upgrades

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// Group is the handlers of some sites, or of what sites share: they are cleaned up
// together. A connection that one of them has taken over keeps the group and nothing
// else of a configuration that was replaced.
type Group struct {
	ctx    caddy.Context
	cancel context.CancelFunc
	guard  *zap.Logger // nil: a panic while modules are cleaned up is not held up

	mu       sync.Mutex
	upgraded int         // connections that were taken over and are open
	retired  bool        // what serves has no use for the handlers any more
	timer    *time.Timer // then ends them
	ended    bool
}

// NewGroup makes a group whose context is derived from another one. With guard, a panic
// of a module that is cleaned up is logged there and stops nobody.
func NewGroup(parent caddy.Context, guard *zap.Logger) *Group {
	g := &Group{guard: guard}
	g.ctx, g.cancel = caddy.NewContext(parent)
	return g
}

// Context is where the handlers of the group are provisioned.
func (g *Group) Context() caddy.Context { return g.ctx }

// Retire has the group's handlers cleaned up: at once, or when the last connection
// that they have taken over has ended, at the latest after some time.
func (g *Group) Retire(keep time.Duration) {
	g.mu.Lock()
	g.retired = true
	waits := g.upgraded > 0 && keep > 0
	if waits {
		g.timer = time.AfterFunc(keep, g.End)
	}
	g.mu.Unlock()
	if !waits {
		g.End()
	}
}

// End cleans the handlers up.
func (g *Group) End() {
	g.mu.Lock()
	again := g.ended
	g.ended = true
	if g.timer != nil {
		g.timer.Stop()
	}
	g.mu.Unlock()
	if again {
		return
	}
	defer func() {
		if g.guard == nil {
			return
		}
		if cause := recover(); cause != nil {
			g.guard.Error("a module panics when routes of a row are cleaned up", zap.Any("cause", cause))
		}
	}()
	g.cancel()
}

// take counts a connection that a handler has taken over. It reports false if the
// handlers have been cleaned up already.
func (g *Group) take() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	g.upgraded++
	return true
}

// letGo is the end of a connection that take has counted.
func (g *Group) letGo() {
	g.mu.Lock()
	g.upgraded--
	last := g.upgraded == 0 && g.retired
	g.mu.Unlock()
	if last {
		g.End()
	}
}
