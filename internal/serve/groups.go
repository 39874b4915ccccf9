package serve

import "github.com/caddy-iis/caddy-iis/internal/upgrades"

// maxHandlerGroups is about how many groups sites with handlers of their own are
// divided into. More of them would take time and memory at each load, fewer would
// let a connection keep the handlers of more sites.
const maxHandlerGroups = 128

// minGroupSites is how many of such sites are in a group, if there are so many.
const minGroupSites = 32

// newGroup makes a group of handlers.
func (h *httpServers) newGroup() *upgrades.Group {
	g := upgrades.NewGroup(h.parent, nil)
	h.metrics.Add(g.Context())
	h.groups = append(h.groups, g)
	return g
}

// groupFor returns the group for what sites share, which gets one of its own, or for
// the handlers of a site.
func (h *httpServers) groupFor(shared bool) *upgrades.Group {
	if shared {
		return h.newGroup()
	}
	if h.own == nil || h.ownSites >= h.groupSites {
		h.own, h.ownSites = h.newGroup(), 0
	}
	h.ownSites++
	return h.own
}
