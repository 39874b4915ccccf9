package serve

import (
	"context"
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
)

// Show implements live.Node.
func (a *Instance) Show(source *live.Source, changed, gone []uint32) int {
	before := a.Now()
	d := a.decide(source, changed, gone)
	a.showWhatCanBe(source, d)
	if a.Now() != before {
		a.locked(func() { a.retryHeldBack(source, a.passes) })
	}
	return len(d.rows)
}

// decision is what comes of rows that have changed. It is made before anything of it is
// seen, since that may take its time: until then all stays as it is, what is served and
// what is held back.
type decision struct {
	rows  []configured // that can be served by themselves
	held  []heldRow    // that cannot
	gone  []uint32     // of which nothing is accepted
	limit *ownroutes.Limit
}

// heldRow is a row that is held back.
type heldRow struct {
	live.HeldBack
	input binding.Site
}

// decide reads rows that have changed, or that are gone.
func (a *Instance) decide(source *live.Source, ids, gone []uint32) *decision {
	limit := a.ownLimitOf(source)
	d := &decision{gone: slices.Clone(gone), limit: limit}
	for _, id := range slices.Concat(ids, gone) {
		limit.Remove(id)
	}
	if source.Routes != nil {
		ids = slices.Clone(ids)
		slices.SortStableFunc(ids, limit.HadFirst)
	}
	for _, id := range ids {
		row, ok, err := source.Follower.Row(id)
		if err != nil {
			limit.Stays(id)
			d.held = append(d.held, a.heldRow(source, &configured{id: id, source: source.Name}, nil, err))
			continue
		}
		document := row.Served()
		if !ok || document == nil {
			d.gone = append(d.gone, id)
			continue
		}
		c, err := readRow(source, id, document)
		if err == nil {
			err = a.passes(source, limit, &c)
		}
		if err != nil {
			limit.Stays(id) // what serves, serves on
			d.held = append(d.held, a.heldRow(source, &c, document, err))
			continue
		}
		d.rows = append(d.rows, c)
	}
	slices.SortFunc(d.rows, byID)
	return d
}

// showWhatCanBe shows rows in place of those before, as many as can be. Bindings that wait
// for a socket are no reason not to show the others.
func (a *Instance) showWhatCanBe(source *live.Source, d *decision) {
	err := a.show(d, source)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
	case len(d.rows) == 0:
		a.logger.Error("sites that are gone are still served", zap.String("source", source.Name), zap.Error(err))
	case len(d.rows) == 1 && len(d.gone) == 0:
		a.holdForSocket(source, &d.rows[0], err)
		a.locked(a.routeHeldBack)
	default:
		for i := range d.rows { // until it is their turn, nobody else gets what they want
			source.Hold(d.rows[i].id, live.HeldBack{Reason: err.Error(), Socket: true}, a.heldInput(&d.rows[i]))
		}
		half := len(d.rows) / 2
		a.showWhatCanBe(source, &decision{gone: d.gone, limit: d.limit})
		a.showWhatCanBe(source, &decision{rows: d.rows[:half], limit: d.limit})
		a.showWhatCanBe(source, &decision{rows: d.rows[half:], limit: d.limit})
	}
}

// show serves rows in place of those before, and others no longer; as many as can be
// shown. All of it is seen at once.
func (a *Instance) show(d *decision, source *live.Source) error {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return context.Canceled
	}
	defer f.finish(a.policies.Release)
	for i := range d.held {
		source.Hold(d.held[i].input.ID, d.held[i].HeldBack, d.held[i].input)
	}
	before := a.Now()
	next := before
	removed := before.shownOf(source, d.gone)
	if len(removed) > 0 {
		var left []bereft
		var err error
		if next, _, left, err = a.deriveWithout(before, nil, removed); err != nil {
			a.keep(before)
			return err
		}
		for i := range left {
			left[i].hold()
		}
	}
	source.LetGo(d.gone...)
	until := source.Holds()
	next, more := a.addAdmitted(next, d.rows, source, d.limit, a.passes)
	next = a.withHeldBack(next)
	if next == before {
		a.keep(before)
		return nil
	}
	if err := a.serve(before, next); err != nil {
		return err
	}
	source.LetGoUntil(until, append(idsOf(d.rows), more...))
	for _, id := range removed {
		if a.Now().Tables.SiteByID(id) == nil {
			before.forgetSite(id)
		}
	}
	return nil
}

// serve opens the sockets of a snapshot and serves it, without the bindings of rows that
// wait for one. The caller holds the lock of changes.
func (a *Instance) serve(before, next *Snapshot) error {
	defer func() { a.keep(a.Now()) }()
	f := &a.sitesFile
	next, err := a.prepare(f.ctx, before, next)
	if err != nil {
		return err
	}
	if next.state != before.state {
		next.countPorts(before)
	}
	if !f.publish(a, before, next) {
		return context.Canceled
	}
	before.forgetPortsBut(next)
	return nil
}

// shownOf returns which of some ids are shown, and the source's.
func (sn *Snapshot) shownOf(s *live.Source, ids []uint32) (shown []uint32) {
	for _, id := range ids {
		if entry := sn.Tables.SiteByID(id); entry != nil && sn.Sites.At(entry.Index).Source == s.Name {
			shown = append(shown, id)
		}
	}
	return shown
}

// Bench implements live.Node.
func (a *Instance) Bench(source *live.Source) live.Bench {
	limit := a.ownLimitOf(source)
	return live.Bench{
		Tables: func() *binding.Tables { return a.Now().Tables }, Endpoints: a.BoundEndpoints, Options: a.bindingOptions(), Limit: limit,
		Passes: func(id uint32, cfg *config.Site) (binding.Site, error) {
			row := configured{id: id, cfg: cfg, source: source.Name}
			err := a.passes(source, limit, &row)
			if err == nil {
				err = a.ownedBy(source, &live.SiteChange{Change: adminapi.Change{ID: id}})
			}
			if err != nil {
				return binding.Site{}, err
			}
			return *row.input, nil
		},
	}
}

// Again implements live.Node.
func (a *Instance) Again(source *live.Source) { a.retryLater(source) }

// Settle implements live.Node.
func (a *Instance) Settle() {
	if !a.own.Settled() {
		a.locked(func() { a.settleOwn(a.Now()) })
	}
}
