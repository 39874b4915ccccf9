package serve

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/upgrades"
	"github.com/caddy-iis/caddy-iis/sitesource"
)

// apply makes the snapshot that a difference leads to, and serves it.
func (a *Instance) apply(state sitesource.State, diff sitesource.Difference[*config.Site], start time.Time) error {
	f := &a.sitesFile
	before, sites := a.Now(), f.records(diff)
	for i := range sites {
		if old := before.Tables.SiteByID(sites[i].id); old != nil && before.Sites.At(old.Index).Source != adminapi.SourceSitesFile {
			return takenError(&sites[i])
		}
	}
	limit := a.own.Limit(adminapi.SourceSitesFile, f.rules)
	for _, id := range diff.Removed {
		limit.Remove(id)
	}
	for i := range sites {
		limit.Remove(sites[i].id)
	}
	for i := range sites {
		if err := limit.Admit(sites[i].id, sites[i].cfg.OwnRoutes != nil); err != nil {
			return fmt.Errorf("%s: %w", sites[i].label(), err)
		}
	}
	// Settings that only a refused change had, or that nobody has any more.
	defer func() { a.keep(a.Now()) }()
	where := func(id uint32) string {
		if where := state.Where(id); where != "" {
			return f.source.String() + ", " + where
		}
		return ""
	}
	next, simple, err := a.derive(before, sites, diff.Removed, where)
	if err != nil {
		return err
	}
	if !simple || a.leansAnew(before, next, sites, diff.Removed) {
		if err := a.standsAlone(next, where); err != nil {
			return err
		}
	}
	if next.state != before.state {
		if err := fronts.Prepare(f.ctx, next.state); err != nil {
			a.tryAgain()
			return fmt.Errorf("%w (this is tried again)", err)
		}
		next.countPorts(before)
	}
	if !f.publish(a, before, next) {
		return context.Cause(f.ctx)
	}
	if !simple {
		before.forgetPortsBut(next)
	}
	for _, id := range diff.Removed {
		before.forgetSite(id)
	}
	a.retryHeldBack(nil, a.passesNow)
	a.logger.Info("the sites file has changed",
		zap.String("file", f.source.String()),
		zap.Int("changed", len(sites)), zap.Int("removed", len(diff.Removed)),
		zap.Int("sites", next.Tables.SiteCount()), zap.Duration("took", time.Since(start)))
	if simple {
		a.observer.Changed(next, idsOf(sites), diff.Removed)
	} else {
		a.observer.Reloaded()
	}
	return nil
}

// publish has a snapshot take the place of the one before, unless the
// configuration has ended meanwhile.
func (f *sitesFile) publish(a *Instance, before, next *Snapshot) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		if next.state != before.state {
			fronts.Remove(next.state)
		}
		return false
	}
	next.where = nil
	a.snapshot.Store(next)
	for _, source := range a.Live {
		if source.Follower != nil {
			source.Follower.TellNews()
		}
	}
	a.bindingsChanged()
	upgrades.Settle()
	if next.state != before.state {
		fronts.Replace(before.state, next.state)
		f.replaced = slices.DeleteFunc(append(f.replaced, before.state), isDrained)
	}
	return true
}

// keep is the end of a change: what only another snapshot than this one needs is let go.
func (a *Instance) keep(now *Snapshot) {
	a.keepPolicies(now)
	a.settleOwn(now)
}

// derive makes the snapshot in which sites are different from the one before.
// It tells whether that concerned no other sites.
func (a *Instance) derive(before *Snapshot, sites []configured, removed []uint32, where func(id uint32) string) (next *Snapshot, simple bool, err error) {
	inputs, err := a.bindingSites(sites)
	if err != nil {
		return nil, false, err
	}
	return a.deriveFrom(before, inputs, sites, removed, where)
}

// deriveFrom makes a snapshot for inputs of the tables: those of sites, or of sites that
// are held back.
func (a *Instance) deriveFrom(before *Snapshot, inputs []binding.Site, sites []configured, removed []uint32, where func(id uint32) string) (next *Snapshot, simple bool, err error) {
	a.own.Touch(false, removed...)
	tables, simple := before.Tables.Update(inputs, removed)
	if simple {
		next = &Snapshot{fixed: a.fixed, Tables: tables, Findings: before.Findings, where: where}
	} else if next, err = a.compileInputs(merge(append(before.Tables.Inputs(), before.Tables.HeldBack()...), inputs, removed), where); err != nil {
		return nil, false, err
	}
	if simple {
		if err = a.replaceRecords(next, before); err == nil {
			err = a.replaceSites(next, sites, removed, before)
		}
	} else if err = a.makeRecords(next, before); err == nil {
		err = a.addSites(next, sites, before)
	}
	if err != nil {
		return nil, false, err
	}
	if err := next.checkOrdinaryHosts(next.BindingsOf(idsOf(sites))); err != nil {
		return nil, false, ordinaryHasError{err}
	}
	next.state, next.ports = before.state, before.ports
	if simple {
		return next, true, nil
	}
	if err := a.makeState(next); err != nil {
		return nil, false, err
	}
	if err := a.checkOtherPorts(next); err != nil {
		return nil, false, ordinaryHasError{err}
	}
	if next.state.Serves(before.state) {
		next.state = before.state
		return next, false, nil
	}
	return next, false, nil
}

// ordinaryHasError is the error of what an ordinary server has.
type ordinaryHasError struct{ error }

// Unwrap returns what it says.
func (e ordinaryHasError) Unwrap() error { return e.error }

func idsOf(sites []configured) []uint32 {
	ids := make([]uint32, len(sites))
	for i := range sites {
		ids[i] = sites[i].id
	}
	return ids
}

// BindingsOf lists the bindings of some of the sites.
func (sn *Snapshot) BindingsOf(sites []uint32) iter.Seq[*binding.BindingEntry] {
	return func(yield func(*binding.BindingEntry) bool) {
		for _, id := range sites {
			entry := sn.Tables.SiteByID(id)
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
