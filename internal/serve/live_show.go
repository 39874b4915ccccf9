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
)

// Show implements live.Node.
func (a *Instance) Show(source *live.Source, changed, gone []uint32) int {
	before := a.Now()
	rows, removed := a.readRows(source, changed, gone...)
	a.showWhatCanBe(source, rows, append(removed, a.Now().shownOf(source, gone)...))
	if a.Now() != before {
		a.locked(func() { a.retryHeldBack(source) })
	}
	return len(rows)
}

// readRows reads rows that are to be shown. Those of which nothing is accepted, and that
// were shown before, are removed; those that cannot be shown are held back. Others are
// gone at the same time.
func (a *Instance) readRows(source *live.Source, ids []uint32, gone ...uint32) (rows []configured, removed []uint32) {
	limit := a.ownLimitOf(source)
	for _, id := range slices.Concat(ids, gone) {
		limit.Remove(id)
	}
	for _, id := range ids {
		row, ok, err := source.Follower.Row(id)
		if err != nil {
			a.hold(source, id, nil, nil, err)
			continue
		}
		source.LetGo(id)
		document := row.Served()
		if !ok || document == nil {
			removed = append(removed, a.Now().shownOf(source, []uint32{id})...)
			continue
		}
		c, err := readRow(source, id, document)
		if err == nil {
			err = a.passes(source, limit, &c)
		}
		if err != nil {
			a.hold(source, id, c.cfg, document, err)
			continue
		}
		rows = append(rows, c)
	}
	slices.Sort(removed)
	return rows, removed
}

// showWhatCanBe shows rows in place of those before, as many as can be. Bindings that wait
// for a socket are no reason not to show the others.
func (a *Instance) showWhatCanBe(source *live.Source, rows []configured, removed []uint32) {
	err := a.show(rows, removed, source)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
	case len(rows) == 0:
		a.logger.Error("sites that are gone are still served", zap.String("source", source.Name), zap.Error(err))
	case len(rows) == 1 && len(removed) == 0:
		a.holdForSocket(source, &rows[0], err)
		a.locked(a.routeHeldBack)
	default:
		half := len(rows) / 2
		a.showWhatCanBe(source, nil, removed)
		a.showWhatCanBe(source, rows[:half], nil)
		a.showWhatCanBe(source, rows[half:], nil)
	}
}

// show serves rows in place of those before, and others no longer; as many as can be
// shown.
func (a *Instance) show(rows []configured, removed []uint32, source *live.Source) error {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return context.Canceled
	}
	defer f.finish(a.policies.Release)
	before := a.Now()
	next := before
	if len(removed) > 0 {
		var err error
		if next, _, err = a.derive(before, nil, removed, nowhere); err != nil {
			return err
		}
	}
	next = a.withHeldBack(a.addRows(next, rows, a.waits(source)))
	if err := a.serve(before, next); err != nil {
		return err
	}
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

// Settle implements live.Node.
func (a *Instance) Settle() {
	if !a.own.Settled() {
		a.locked(func() { a.settleOwn(a.Now()) })
	}
}
