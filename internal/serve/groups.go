package serve

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// handlerGroup is the handlers of some sites, or of what sites share: they are
// cleaned up together. A connection that one of them has taken over keeps the
// group and nothing else of a configuration that was replaced.
type handlerGroup struct {
	ctx    caddy.Context
	cancel context.CancelFunc
	sites  int         // that have handlers of their own in it
	guard  *zap.Logger // not nil: its modules are what rows say, and a panic of one stops nobody

	mu       sync.Mutex
	upgraded int         // connections that were taken over and are open
	retired  bool        // what serves has no use for the handlers any more
	timer    *time.Timer // then ends them
	ended    bool
}

// maxHandlerGroups is about how many groups sites with handlers of their own are
// divided into. More of them would take time and memory at each load, fewer would
// let a connection keep the handlers of more sites.
const maxHandlerGroups = 128

// minGroupSites is how many of such sites are in a group, if there are so many.
const minGroupSites = 32

// newGroup makes a group of handlers.
func (h *httpServers) newGroup() *handlerGroup {
	g := new(handlerGroup)
	g.ctx, g.cancel = caddy.NewContext(h.parent)
	h.metrics.Add(g.ctx)
	h.groups = append(h.groups, g)
	return g
}

// groupFor returns the group for what sites share, which gets one of its own, or for
// the handlers of a site.
func (h *httpServers) groupFor(shared bool) *handlerGroup {
	if shared {
		return h.newGroup()
	}
	if h.own == nil || h.own.sites >= h.groupSites {
		h.own = h.newGroup()
	}
	h.own.sites++
	return h.own
}

// retire has the group's handlers cleaned up: at once, or when the last connection
// that they have taken over has ended, at the latest after some time.
func (g *handlerGroup) retire(keep time.Duration) {
	g.mu.Lock()
	g.retired = true
	waits := g.upgraded > 0 && keep > 0
	if waits {
		g.timer = time.AfterFunc(keep, g.end)
	}
	g.mu.Unlock()
	if !waits {
		g.end()
	}
}

// end cleans the handlers up.
func (g *handlerGroup) end() {
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
func (g *handlerGroup) take() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	g.upgraded++
	return true
}

// letGo is the end of a connection that take has counted.
func (g *handlerGroup) letGo() {
	g.mu.Lock()
	g.upgraded--
	last := g.upgraded == 0 && g.retired
	g.mu.Unlock()
	if last {
		g.end()
	}
}
