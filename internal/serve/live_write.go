package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/sites"
)

// WriteSites makes a transaction: all of it is judged, kept and served, or nothing. The
// answer is kept with its key. The caller holds the lock of the source, and this
// configuration owns it.
func (a *Instance) WriteSites(source *live.Source, writer sites.Writer, w *live.SiteWrite, answer func(sites.Head, *WritePlan) adminapi.Written) (sites.Head, *WritePlan, error) {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return sites.Head{}, nil, live.RefuseWrite(http.StatusServiceUnavailable, live.CodeUnavailable, nil, "the configuration has ended: ask again")
	}
	defer f.finish(a.policies.Release)
	plan, err := a.planWrite(source, w)
	if err != nil {
		return sites.Head{}, nil, err
	}
	if len(plan.Rows) == 0 || w.DryRun {
		head, _ := source.Follower.Size()
		return head, plan, nil
	}
	before := a.Now()
	if plan.Next.state != before.state {
		if err := fronts.Prepare(f.ctx, plan.Next.state); err != nil {
			a.keep(before)
			return sites.Head{}, nil, live.RefuseWrite(http.StatusServiceUnavailable, live.CodeUnavailable, nil, "%v", err)
		}
	}
	write := source.Follower.Write
	if writer != nil {
		write = writer.Write
	}
	head, err := write(sites.Transaction{
		By: w.By, Changes: plan.Rows, Key: w.Key, Hash: w.Hash,
		Answer: func(head sites.Head) (json.RawMessage, error) {
			plan.WrittenAt(head.Revision)
			return json.Marshal(answer(head, plan))
		},
	})
	if err != nil {
		if plan.Next.state != before.state {
			fronts.Remove(plan.Next.state)
		}
		a.keep(before)
		return sites.Head{}, nil, live.Unavailable(err)
	}
	plan.WrittenAt(head.Revision)
	a.publishWrite(source, plan, before, head)
	return head, plan, nil
}

// publishWrite serves what has been written.
func (a *Instance) publishWrite(source *live.Source, plan *WritePlan, before *Snapshot, head sites.Head) {
	source.Follower.NoteWritten(head, plan.Results)
	for i := range plan.left {
		plan.left[i].hold()
	}
	next := plan.Next
	if next.state != before.state {
		next.countPorts(before)
	}
	if !a.sitesFile.publish(a, before, next) {
		return // the configuration has ended; the one that follows reads what was written
	}
	if !plan.simple {
		before.forgetPortsBut(next)
	}
	for _, id := range plan.removed {
		before.forgetSite(id)
	}
	for _, row := range plan.Rows {
		source.LetGo(row.ID)
	}
	a.keep(next)
	a.retryHeldBack(source, a.passesNow)
	source.Tell()
	if plan.simple {
		a.observer.Changed(next, idsOf(plan.shown), plan.removed)
	} else {
		a.observer.Reloaded()
	}
	a.logger.Info("sites have changed", zap.String("source", source.Name), zap.Uint64("revision", head.Revision), zap.Int("changes", len(plan.Rows)))
}

// WritePlan is what a transaction comes to.
type WritePlan struct {
	live.Plan
	shown   []configured
	removed []uint32  // of those that are shown
	left    []bereft  // that are held back from now on
	before  *Snapshot // that is served
	Next    *Snapshot
	simple  bool
	limit   *ownroutes.Limit
}

// planWrite judges a transaction.
func (a *Instance) planWrite(source *live.Source, w *live.SiteWrite) (*WritePlan, error) {
	plan := &WritePlan{before: a.Now(), Next: a.Now(), simple: true, limit: a.ownLimitOf(source)}
	if err := a.planChanges(source, plan, w.Changes); err != nil {
		a.keep(a.Now())
		return nil, err
	}
	if len(plan.Rows) == 0 {
		return plan, nil
	}
	slices.SortFunc(plan.shown, byID)
	next, simple, left, err := a.deriveWithout(a.Now(), plan.shown, plan.removed)
	if err == nil && !simple {
		err = a.stopsNobody(next, a.Now())
	}
	if err == nil {
		err = next.servesAll(plan.shown)
	}
	if err == nil {
		err = a.besideHeldBack(source, w, plan.shown)
	}
	if err != nil {
		a.keep(a.Now())
		return nil, a.refusal(w, err)
	}
	plan.Next, plan.simple, plan.left = next, simple, left
	if len(left) > 0 {
		plan.Next, plan.simple = a.withHeldBack(next, left...), false
	}
	if w.DryRun {
		a.keep(a.Now())
	}
	return plan, nil
}

// planChanges judges each change by itself. What stays as it is keeps its place among the
// sites with routes of their own, and so does who has one, before others get any.
func (a *Instance) planChanges(source *live.Source, plan *WritePlan, changes []live.SiteChange) error {
	for i := range changes {
		plan.limit.Remove(changes[i].ID)
	}
	documents := make(map[int]json.RawMessage) // of sites that are to be shown, by index
	var order []int
	for i := range changes {
		c := &changes[i]
		err := a.ownedBy(source, c)
		_, has := source.Follower.RevisionOf(c.ID)
		twice := err != nil && has && c.Op == adminapi.OpDelete
		if twice {
			err = nil // what the other one has of that id stays
		}
		var document json.RawMessage
		var same bool
		if err == nil {
			document, same, err = plan.Change(source, c)
		}
		switch {
		case err != nil:
			return atIndex(err, changes, i)
		case same:
			plan.limit.Stays(c.ID)
		case document != nil:
			documents[i], order = document, append(order, i)
		case twice:
			plan.removed = append(plan.removed, a.Now().shownOf(source, []uint32{c.ID})...)
		default:
			if tables := a.Now().Tables; tables.SiteByID(c.ID) != nil || tables.IsHeldBack(c.ID) { // ownedBy knows whose
				plan.removed = append(plan.removed, c.ID)
			}
		}
	}
	if source.Routes != nil {
		slices.SortStableFunc(order, func(x, y int) int { return plan.limit.HadFirst(changes[x].ID, changes[y].ID) })
	}
	for _, i := range order {
		c := &changes[i]
		site, err := readRow(source, c.ID, documents[i])
		if err == nil {
			err = a.passes(source, plan.limit, &site)
		}
		switch {
		case errors.Is(err, ownroutes.ErrNotProvisioned): // they are others than ProvisionAhead has seen
			return live.Unavailable(fmt.Errorf("%w: %s: %w", sites.ErrRepeat, config.SiteLabel(c.ID, nameOf(site.cfg)), err))
		case err != nil:
			err = live.RefuseWrite(http.StatusUnprocessableEntity, live.CodeInvalid, c, "%s: %v", config.SiteLabel(c.ID, nameOf(site.cfg)), err)
			return atIndex(err, changes, i)
		}
		plan.shown = append(plan.shown, site)
	}
	return nil
}

// atIndex names the change of a transaction that an error is about.
func atIndex(err error, changes []live.SiteChange, i int) error {
	if refused, ok := errors.AsType[*live.WriteError](err); ok && len(changes) > 1 {
		refused.Index = &i
	}
	return err
}

func nameOf(cfg *config.Site) string {
	if cfg == nil {
		return ""
	}
	return cfg.Name
}

// ownedBy refuses to change a site that is not the source's, or not its alone.
func (a *Instance) ownedBy(source *live.Source, c *live.SiteChange) error {
	for _, other := range a.Live {
		if _, has := other.Follower.RevisionOf(c.ID); has && other != source {
			return live.RefuseWrite(http.StatusConflict, live.CodeOtherSource, c, "site %d is one of %s, not of %s", c.ID, other.Name, source.Name)
		}
	}
	entry := a.Now().Tables.SiteByID(c.ID)
	if entry == nil {
		return nil
	}
	switch owner := a.Now().Sites.At(entry.Index).Source; owner {
	case source.Name:
		return nil
	case "":
		return live.RefuseWrite(http.StatusConflict, live.CodeConfigured, c, "%s is one of the configuration: change it there", config.SiteLabel(entry.ID, entry.Name))
	default:
		return live.RefuseWrite(http.StatusConflict, live.CodeOtherSource, c, "%s is one of %s, not of %s", config.SiteLabel(entry.ID, entry.Name), owner, source.Name)
	}
}

// servesAll refuses sites that would not be served as they ask for.
func (sn *Snapshot) servesAll(list []configured) error {
	for i := range list {
		if err := lost(sn.Tables.SiteByID(list[i].id)); err != nil {
			return err
		}
	}
	return nil
}

// refusal turns the error of a judgement into what the API tells.
func (a *Instance) refusal(w *live.SiteWrite, err error) *live.WriteError {
	var c *live.SiteChange
	if len(w.Changes) == 1 {
		c = &w.Changes[0]
	}
	conflict, contradicts := errors.AsType[*binding.ConflictError](err)
	if !contradicts {
		status := http.StatusUnprocessableEntity
		if _, taken := errors.AsType[ordinaryHasError](err); taken {
			status = http.StatusConflict
		}
		return live.RefuseWrite(status, map[int]string{http.StatusConflict: live.CodeConflict, http.StatusUnprocessableEntity: live.CodeInvalid}[status], c, "%v", err)
	}
	e := live.RefuseWrite(http.StatusConflict, live.CodeConflict, c, "%v", err)
	if len(conflict.Findings) == 0 {
		return e
	}
	first := conflict.Findings[0]
	e.Binding = first.Binding
	mine := func(id uint32) bool {
		return slices.ContainsFunc(w.Changes, func(c live.SiteChange) bool { return c.ID == id })
	}
	e.ID = first.Site
	other := first.Other
	if !mine(first.Site) && mine(first.Other) {
		e.ID, other = first.Other, first.Site
	}
	if entry := a.Now().Tables.SiteByID(other); entry != nil {
		e.Other = &adminapi.OtherSite{ID: entry.ID, Name: entry.Name, Source: a.Now().Sites.At(entry.Index).Source, Binding: first.Binding}
	} else if held, source := a.Live.HeldRow(other); source != nil {
		e.Other = &adminapi.OtherSite{ID: other, Name: held.Name, Source: source.Name, Binding: first.Binding}
	}
	return e
}
