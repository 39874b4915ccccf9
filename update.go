package caddyiis

import (
	"iter"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/sitesource"
)

// apply makes the snapshot that a difference leads to, and serves it.
func (a *App) apply(diff sitesource.Difference[*Site], start time.Time) error {
	before, sites := a.now(), a.sitesFile.records(diff)
	for i := range sites {
		if old := before.tables.SiteByID(sites[i].id); old != nil && !before.sites[old.Index].outside {
			return takenError(&sites[i])
		}
	}
	next, simple, err := a.derive(before, sites, diff.Removed)
	if err == nil && next.state != before.state {
		err = fronts.Prepare(a.ctx, next.state)
	}
	if err != nil {
		return err
	}
	a.snapshot.Store(next)
	if next.state != before.state {
		fronts.Replace(before.state, next.state)
		f := &a.sitesFile
		f.replaced = slices.DeleteFunc(append(f.replaced, before.state), isDrained)
	}
	before.forgetPortsBut(next)
	for _, id := range diff.Removed {
		forgetSite(id)
	}
	a.logger.Info("the sites file has changed",
		zap.String("file", a.sitesFile.source.String()),
		zap.Int("changed", len(sites)), zap.Int("removed", len(diff.Removed)),
		zap.Int("sites", len(next.tables.Sites())), zap.Duration("took", time.Since(start)))
	if simple {
		a.logCoverage(next, sites)
	} else {
		a.reloaded()
	}
	return nil
}

// derive makes the snapshot in which sites are different from the one before.
// It tells whether that concerned no other sites.
func (a *App) derive(before *snapshot, sites []configured, removed []uint32) (next *snapshot, simple bool, err error) {
	inputs, err := a.bindingSites(sites)
	if err != nil {
		return nil, false, err
	}
	tables, simple := before.tables.Update(inputs, removed)
	if simple {
		next = &snapshot{app: a, tables: tables, findings: before.findings}
	} else if next, err = a.compileInputs(merge(before.tables.Inputs(), inputs, removed), a.whereNow(before, sites)); err != nil {
		return nil, false, err
	}
	if err := next.makeRecords(before); err != nil {
		return nil, false, err
	}
	if err := next.addSites(sites, before); err != nil {
		return nil, false, err
	}
	if err := a.refuseHooks(); err != nil {
		return nil, false, err
	}
	if err := next.checkOrdinaryHosts(next.bindingsOf(sites)); err != nil {
		return nil, false, err
	}
	next.state, next.ports = before.state, before.ports
	if simple {
		return next, true, nil
	}
	if err := next.makeState(); err != nil {
		return nil, false, err
	}
	if next.state.Serves(before.state) {
		next.state = before.state
		return next, false, nil
	}
	if err := next.checkOtherPorts(); err != nil {
		return nil, false, err
	}
	next.countPorts(before)
	return next, false, nil
}

// bindingsOf lists the bindings of some of the sites.
func (sn *snapshot) bindingsOf(sites []configured) iter.Seq[*binding.BindingEntry] {
	return func(yield func(*binding.BindingEntry) bool) {
		for i := range sites {
			entry := sn.tables.SiteByID(sites[i].id)
			for j := range entry.Bindings {
				if !yield(&entry.Bindings[j]) {
					return
				}
			}
		}
	}
}

// merge returns sites in which some are replaced or added, and others removed.
func merge(sites, changed []binding.Site, removed []uint32) []binding.Site {
	gone := make(map[uint32]bool, len(changed)+len(removed))
	for i := range changed {
		gone[changed[i].ID] = true
	}
	for _, id := range removed {
		gone[id] = true
	}
	sites = slices.DeleteFunc(sites, func(s binding.Site) bool { return gone[s.ID] })
	return append(sites, changed...)
}

// whereNow tells where sites are in the file as it is now, for messages. A site
// that has not changed may be on another line than when it was read.
func (a *App) whereNow(before *snapshot, sites []configured) func(id uint32) string {
	return func(id uint32) string {
		for i := range sites {
			if sites[i].id == id {
				return sites[i].where
			}
		}
		if old := before.tables.SiteByID(id); old != nil && before.sites[old.Index].outside {
			return a.sitesFile.source.String()
		}
		return ""
	}
}
