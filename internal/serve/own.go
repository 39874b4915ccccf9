package serve

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/internal/upgrades"
)

// serveOwn has routes of a row answer a request. They see the request, its site, the time
// and the error that they are asked about, and nothing else that Caddy's placeholders
// tell, by whatever way a placeholder comes into their texts: what a client sends may be
// one. What Caddy itself keeps for the request, such as the names of loggers, is not
// theirs to change.
func (sr *siteRequest) serveOwn(routes caddyhttp.Handler, w http.ResponseWriter, r *http.Request) error {
	repl := caddy.NewEmptyReplacer()
	repl.Map(func(key string) (any, bool) {
		if strings.HasPrefix(key, "http.request.body") {
			return "", true // it would be read as a whole, however large
		}
		return nil, false
	})
	if outer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(func(key string) (any, bool) {
			if !slices.ContainsFunc(ownPlaceholders, func(p string) bool { return strings.HasPrefix(key, p) }) {
				return nil, false
			}
			return outer.Get(key)
		})
	}
	inner := caddyhttp.PrepareRequest(r, repl, w, sr.site.Content.server)
	err := routes.ServeHTTP(w, inner)
	if unhandled, _ := caddyhttp.GetVar(inner.Context(), varUnhandled).(bool); unhandled {
		caddyhttp.SetVar(r.Context(), varUnhandled, true) // the access log says so
	}
	return err
}

// ownPlaceholders begin those that are the same as outside.
var ownPlaceholders = []string{"iis.", "time.", "http.error."}

// ownHandlers are what routes of rows become: without and with access log.
type ownHandlers [2]*content

// ownContent are the routes of some rows.
type ownContent = ownroutes.Content[ownHandlers]

// makeOwn returns what makes handlers out of routes of rows. Tests have it take its time.
var makeOwn = func(a *Instance) ownProvisioner { return a.provisionOwn }

type ownProvisioner = func(routes json.RawMessage, group *upgrades.Group, own *ownContent) (ownHandlers, error)

// provisionOwn makes handlers out of routes of a row.
func (a *Instance) provisionOwn(routes json.RawMessage, group *upgrades.Group, own *ownContent) (made ownHandlers, err error) {
	cfg := new(config.Site)
	if err := json.Unmarshal(routes, &cfg.Content); err != nil {
		return made, err
	}
	first := &content{http: a.http, group: group, own: own, May: deedsOf(&cfg.Content)}
	first.server = a.http.app.Servers[a.classOf(cfg, &cfg.Content).String()]
	if err := a.http.compile(first, &cfg.Content); err != nil {
		return made, err
	}
	logged := *first
	logged.server = a.http.app.Servers[a.classOf(&config.Site{AccessLog: true}, &cfg.Content).String()]
	return ownHandlers{first, &logged}, nil
}

// newOwnGroup makes a group for routes of rows. What its modules count is not shown: its
// labels would be what rows say.
func (h *httpServers) newOwnGroup() *upgrades.Group {
	g := upgrades.NewGroup(h.parent, h.logger)
	h.metrics.Leave(g.Context())
	return g
}

// of returns what serves a site.
func (h ownHandlers) of(cfg *config.Site) *content {
	if cfg.AccessLog {
		return h[1]
	}
	return h[0]
}

// settleOwn is the end of a change: routes of rows end that no site has now.
func (a *Instance) settleOwn(now *Snapshot) {
	a.own.Settle(func(id uint32) (*ownContent, string) {
		entry := now.Tables.SiteByID(id)
		if entry == nil {
			return nil, ""
		}
		site := now.Sites.At(entry.Index)
		return site.Content.own, site.Source
	})
}

// ownLimitOf begins to count the sites of a source that have routes of their own.
func (a *Instance) ownLimitOf(source *live.Source) *ownroutes.Limit {
	return a.own.Limit(source.Name, source.Routes)
}

// CountOwnRoutes counts the routes of rows that are provisioned, and the sites that are
// served with them.
func (a *Instance) CountOwnRoutes() (contents, sites int) { return a.own.Count() }

// TryOwnRoutes tells whether routes can be provisioned as those of a row are, whatever
// modules they have. Nothing of them stays.
func (a *Instance) TryOwnRoutes(routes json.RawMessage) error { return a.own.Try(routes) }

// ProvisionAhead provisions routes that sites of a change bring with them before anybody
// has to wait for it, and keeps them until it is called that the change is over. Whether they
// can be provisioned is told when the change is judged.
func (a *Instance) ProvisionAhead(source *live.Source, changes []live.SiteChange) (over func()) {
	if source.Routes == nil || source.Reachable() != nil {
		return func() {}
	}
	limit := a.ownLimitOf(source)
	var documents []json.RawMessage
	for _, c := range slices.SortedStableFunc(slices.Values(changes), func(x, y live.SiteChange) int { return limit.HadFirst(x.ID, y.ID) }) {
		row, there, err := source.Follower.Row(c.ID)
		if err != nil {
			continue
		}
		if document, err := c.Wanted(row, there); err == nil && document != nil {
			documents = append(documents, document)
		}
	}
	return a.pinOwn(source, ownRoutesOf(source, documents))
}

// Ahead implements live.Node. Rows that others are in the way of are looked at as well when
// something changes.
func (a *Instance) Ahead(source *live.Source, documents []json.RawMessage) (provision func() (over func())) {
	if source.Routes == nil {
		return nil
	}
	routes := ownRoutesOf(source, slices.Concat(documents, source.HeldDocuments(a.waitsForOthers(source))))
	if !slices.ContainsFunc(routes, a.own.Lacks) {
		return nil
	}
	return func() (over func()) { return a.pinOwn(source, routes) }
}

// pinOwn provisions routes of rows, and keeps them until it is called that it is over.
func (a *Instance) pinOwn(source *live.Source, routes []json.RawMessage) (over func()) {
	var pinned []*ownContent
	for _, r := range routes {
		if len(pinned) >= source.Routes.MaxSites {
			break // more will not be admitted
		}
		if own, err := a.own.Pin(r); err == nil {
			pinned = append(pinned, own)
		}
	}
	return func() { a.own.Unpin(pinned...) }
}

// ownRoutesOf returns the routes that documents of rows have.
func ownRoutesOf(source *live.Source, documents []json.RawMessage) (routes []json.RawMessage) {
	reader := source.Documents()
	for _, document := range documents {
		if site, err := reader.Read(document); err == nil && site.OwnRoutes != nil {
			routes = append(routes, site.OwnRoutes)
		}
	}
	return routes
}
