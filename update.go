package caddyiis

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
	"github.com/caddy-iis/caddy-iis/sitesource"
)

// apply makes the snapshot that a difference leads to, and serves it.
func (a *Instance) apply(state sitesource.State, diff sitesource.Difference[*config.Site], start time.Time) error {
	f := &a.sitesFile
	before, sites := a.now(), f.records(diff)
	for i := range sites {
		if old := before.tables.SiteByID(sites[i].id); old != nil && before.sites[old.Index].source != adminapi.SourceSitesFile {
			return takenError(&sites[i])
		}
	}
	// Settings that only a refused change had, or that nobody has any more.
	defer func() { a.policies.keep(a.now().records) }()
	next, simple, err := a.derive(before, sites, diff.Removed, func(id uint32) string {
		if where := state.Where(id); where != "" {
			return f.source.String() + ", " + where
		}
		return ""
	})
	if err != nil {
		return err
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
	before.forgetPortsBut(next)
	for _, id := range diff.Removed {
		before.forgetSite(id)
	}
	a.retryHeldBack(nil)
	a.logger.Info("the sites file has changed",
		zap.String("file", f.source.String()),
		zap.Int("changed", len(sites)), zap.Int("removed", len(diff.Removed)),
		zap.Int("sites", len(next.tables.Sites())), zap.Duration("took", time.Since(start)))
	if simple {
		a.logChanged(next, sites, diff.Removed)
	} else {
		a.reloaded()
	}
	return nil
}

// publish has a snapshot take the place of the one before, unless the
// configuration has ended meanwhile.
func (f *sitesFile) publish(a *Instance, before, next *snapshot) bool {
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
	a.bindingsChanged()
	upgradedConns.settle()
	if next.state != before.state {
		fronts.Replace(before.state, next.state)
		f.replaced = slices.DeleteFunc(append(f.replaced, before.state), isDrained)
	}
	return true
}

// derive makes the snapshot in which sites are different from the one before.
// It tells whether that concerned no other sites.
func (a *Instance) derive(before *snapshot, sites []configured, removed []uint32, where func(id uint32) string) (next *snapshot, simple bool, err error) {
	inputs, err := a.bindingSites(sites)
	if err != nil {
		return nil, false, err
	}
	return a.deriveFrom(before, inputs, sites, removed, where)
}

// deriveFrom makes a snapshot for inputs of the tables: those of sites, or of sites that
// are held back.
func (a *Instance) deriveFrom(before *snapshot, inputs []binding.Site, sites []configured, removed []uint32, where func(id uint32) string) (next *snapshot, simple bool, err error) {
	tables, simple := before.tables.Update(inputs, removed)
	if simple {
		next = &snapshot{app: a, tables: tables, findings: before.findings, where: where}
	} else if next, err = a.compileInputs(merge(append(before.tables.Inputs(), before.tables.HeldBack()...), inputs, removed), where); err != nil {
		return nil, false, err
	}
	if err := next.makeRecords(before); err != nil {
		return nil, false, err
	}
	if simple {
		err = next.replaceSites(sites, removed, before)
	} else {
		err = next.addSites(sites, before)
	}
	if err != nil {
		return nil, false, err
	}
	if err := next.checkOrdinaryHosts(next.bindingsOf(sites)); err != nil {
		return nil, false, ordinaryHasError{err}
	}
	next.state, next.ports = before.state, before.ports
	if simple {
		return next, true, nil
	}
	if err := next.makeState(); err != nil {
		return nil, false, err
	}
	if err := next.checkOtherPorts(); err != nil {
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
