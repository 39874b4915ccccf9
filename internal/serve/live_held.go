package serve

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
)

// heldRow is a row that is not served, since it cannot be by itself. Without a
// configuration the document is read as far as it goes; without a document, the table has
// not given it, and is asked again.
func (a *Instance) heldRow(source *live.Source, c *configured, document []byte, err error) heldRow {
	if c.cfg == nil {
		c.cfg = leniently(document)
	}
	input := a.heldInput(c)
	held := live.HeldBack{
		Reason: err.Error(), Outside: source.Permits(c.cfg, &input) != nil,
		NotReady: document == nil || errors.Is(err, ownroutes.ErrNotReady), Full: errors.Is(err, ownroutes.ErrTooMany),
	}
	if held.NotReady {
		a.retryLater(source)
	}
	return heldRow{held, input}
}

// leniently reads a document as far as it goes: what cannot be decoded is left out.
func leniently(document []byte) *config.Site {
	cfg := new(config.Site)
	_ = json.Unmarshal(document, cfg)
	return cfg
}

// Wanted is what a document of a row asks for, as far as it can be understood, whether it
// can be served or not.
func (a *Instance) Wanted(source *live.Source, id uint32, document []byte) binding.Site {
	return a.heldInput(&configured{id: id, cfg: leniently(document), source: source.Name})
}

// WantedTemplate is the template that the document of a row names, as far as it can be
// understood.
func WantedTemplate(document []byte) string { return leniently(document).Template }

// hold notes that a row is not served, since it cannot be by itself.
func (a *Instance) hold(source *live.Source, c *configured, document []byte, err error) {
	held := a.heldRow(source, c, document, err)
	source.Hold(c.id, held.HeldBack, held.input)
}

// holdForSocket notes that a row is not served since a socket cannot be opened.
func (a *Instance) holdForSocket(source *live.Source, c *configured, err error) {
	source.Hold(c.id, live.HeldBack{Reason: err.Error(), Socket: true}, a.heldInput(c))
	a.retryLater(source)
}

// waits returns what notes that a row is not served for what others have.
func (a *Instance) waits(source *live.Source) func(*configured, error) {
	return func(c *configured, err error) {
		source.Hold(c.id, live.HeldBack{Reason: err.Error(), Waits: true}, a.heldInput(c))
	}
}

// heldInput is what a row asks for that is held back: the bindings that can be
// understood. The names of certificates stay, whether they are known or not.
func (a *Instance) heldInput(c *configured) binding.Site {
	if c.input != nil { // all of them can
		site := *c.input
		site.Partly = false
		return site
	}
	site := binding.Site{ID: c.id, Name: c.cfg.Name, Stopped: !c.cfg.Started()}
	for _, b := range listBindings(c.cfg) {
		parsed, err := binding.Parse(b.Protocol, b.Binding)
		if err != nil {
			continue
		}
		sb, err := a.siteBinding(c, b)
		if err != nil {
			sb = binding.SiteBinding{Binding: parsed}
			if parsed.Protocol == binding.HTTPS && !b.Reject && binding.Flags(b.Flags).Validate() == nil {
				sb.Flags = binding.Flags(b.Flags)
				if sb.Flags&binding.FlagCentralStore == 0 {
					sb.Certificate = cmp.Or(b.Certificate, b.Store, c.cfg.Certificate, c.cfg.Store)
				}
			}
		}
		site.Bindings = append(site.Bindings, sb)
	}
	return site
}

// listBindings lists the bindings of a site, in whichever form it has them.
func listBindings(cfg *config.Site) []*config.SiteBinding {
	var list []*config.SiteBinding
	for _, info := range cfg.ServerBindings {
		list = append(list, &config.SiteBinding{Protocol: "http", Binding: info})
	}
	for _, info := range cfg.SecureBindings {
		list = append(list, &config.SiteBinding{Protocol: "https", Binding: info})
	}
	return append(list, slices.DeleteFunc(slices.Clone(cfg.Bindings), func(b *config.SiteBinding) bool { return b == nil })...)
}

// besideHeldBack refuses what contradicts rows of the source that are accepted, and not
// served: what is accepted does not depend on what this configuration can show.
func (a *Instance) besideHeldBack(source *live.Source, w *live.SiteWrite, rows []configured) error {
	hidden := slices.DeleteFunc(source.HeldInputs(), func(site binding.Site) bool {
		return slices.ContainsFunc(w.Changes, func(c live.SiteChange) bool { return c.ID == site.ID })
	})
	if len(hidden) == 0 || len(rows) == 0 {
		return nil
	}
	inputs, err := a.bindingSites(rows)
	if err != nil {
		return err
	}
	found := binding.Contradictions(hidden, nil, inputs, a.bindingOptions())
	if len(found) == 0 {
		return nil
	}
	for i := range found {
		found[i].Message += fmt.Sprintf("; site %d is held back, and has it", found[i].Other)
	}
	return &binding.ConflictError{Findings: found[:1], More: len(found) - 1}
}

// maxHeldTries bounds how many rows that are held back are tried after a change: what is
// in their way is found for all at once. maxHeldHalved is the bound where it is not.
const (
	maxHeldTries  = 1000
	maxHeldHalved = 100
)

// waitsForOthers returns what chooses the rows that another row may be in the way of, or
// have been: if there is room again, those that were too many are among them.
func (a *Instance) waitsForOthers(source *live.Source) func(*live.HeldBack) bool {
	full := a.ownLimitOf(source).Full()
	return func(h *live.HeldBack) bool { return h.Waits || h.Full && !full }
}

// locked makes a change of what is served under the lock of changes, unless the
// configuration has ended.
func (a *Instance) locked(change func()) {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if f.begin() {
		defer f.finish(a.policies.Release)
		change()
	}
}

// retryHeldBack shows rows that were held back, of all sources, if a change of one of
// them, or of the sites file, has freed what they want. The caller holds the lock of
// changes and the lock of the changed source.
func (a *Instance) retryHeldBack(changed *live.Source, passes passing) {
	for _, source := range a.Live {
		switch {
		case source == changed:
			a.tryHeldBack(source, a.waitsForOthers(source), passes)
		case len(source.HeldIDs(a.waitsForOthers(source))) > 0:
			try := func() { a.tryHeldBack(source, a.waitsForOthers(source), passes) }
			source.WhenFree(try, func() { a.locked(try) })
		}
	}
}

// passing is passes, or passesNow.
type passing = func(*live.Source, *ownroutes.Limit, *configured) error

// tryHeldBack shows rows of a source that were held back, if what was in their way has
// gone, and routes to the others what they ask for. The caller holds the lock of changes
// and that of the source.
func (a *Instance) tryHeldBack(source *live.Source, wanted func(*live.HeldBack) bool, passes passing) {
	a.showHeldBack(source, wanted, passes)
	a.routeHeldBack()
}

func (a *Instance) showHeldBack(source *live.Source, wanted func(*live.HeldBack) bool, passes passing) {
	limit := a.ownLimitOf(source)
	rows := a.passHeld(source, limit, wanted, passes)
	if len(rows) == 0 {
		return
	}
	until := source.Holds()
	before := a.Now()
	next, more := a.addAdmitted(before, rows, source, limit, passes) // perhaps for something else than before
	if next == before {
		return
	}
	if err := a.serve(before, next); err != nil {
		a.logger.Warn("sites that were held back are still not served", zap.String("source", source.Name), zap.Error(err))
		return
	}
	source.LetGoUntil(until, append(idsOf(rows), more...))
}

// passHeld reads rows that are held back and whose turn it is. Those that cannot be by
// themselves stay held back, perhaps for something else than before.
func (a *Instance) passHeld(source *live.Source, limit *ownroutes.Limit, wanted func(*live.HeldBack) bool, passes passing) (rows []configured) {
	most := maxHeldTries
	if a.Options.FirstWins {
		most = maxHeldHalved
	}
	for _, id := range source.NextHeld(most, wanted) {
		row, ok, err := source.Follower.Row(id)
		if err != nil || !ok || row.Served() == nil {
			continue
		}
		c, err := readRow(source, id, row.Served())
		if err == nil {
			err = passes(source, limit, &c)
		}
		if err != nil {
			a.hold(source, &c, row.Served(), err)
		} else {
			rows = append(rows, c)
		}
	}
	return rows
}

// addAdmitted adds rows that have passed, as many as can be added. A place among the sites
// with routes of their own is of who is served: what cannot be added leaves it to rows that
// were one too many, which come back as more.
func (a *Instance) addAdmitted(base *Snapshot, rows []configured, source *live.Source, limit *ownroutes.Limit, passes passing) (next *Snapshot, more []uint32) {
	next = base
	tried := make(map[uint32]bool)
	for {
		own := ownOf(rows) // before some of them are left out
		next = a.addRows(next, rows, a.waits(source))
		for _, id := range own {
			limit.Serves(id, next.hasOwn(id, source))
		}
		if source.Routes == nil || limit.Full() {
			return next, more
		}
		rows = a.passHeld(source, limit, func(h *live.HeldBack) bool { return h.Full && !tried[h.Input.ID] }, passes)
		if len(rows) == 0 {
			return next, more
		}
		for i := range rows {
			tried[rows[i].id] = true
			more = append(more, rows[i].id)
		}
	}
}

// ownOf lists the rows that have routes of their own.
func ownOf(rows []configured) (ids []uint32) {
	for i := range rows {
		if rows[i].cfg.OwnRoutes != nil {
			ids = append(ids, rows[i].id)
		}
	}
	return ids
}

// hasOwn reports whether a row is served with routes of its own.
func (sn *Snapshot) hasOwn(id uint32, source *live.Source) bool {
	entry := sn.Tables.SiteByID(id)
	if entry == nil {
		return false
	}
	site := sn.Sites.At(entry.Index)
	return site.Source == source.Name && site.Content.own != nil
}

// liveFindings tells of the rows that are not served.
func (a *Instance) liveFindings() []binding.Finding {
	var findings []binding.Finding
	for _, source := range a.Live {
		findings = append(findings, source.Findings()...)
	}
	return append(findings, a.keptFindings()...)
}
