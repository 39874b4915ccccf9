package serve

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
)

// HeldBack is a row that is accepted and not served.
type HeldBack struct {
	Name   string // of the site, if that much is known
	Reason string
	socket bool // it waits for a socket
	waits  bool // for others only: by itself it could be served

	outside bool // of what the source's rows may claim

	// What it asks for, as far as it can be understood.
	input binding.Site
}

// hold notes that a row is not served, since it cannot be by itself. Without a
// configuration the document is read as far as it goes.
func (a *Instance) hold(source *LiveSource, id uint32, cfg *config.Site, document []byte, err error) {
	if cfg == nil {
		cfg = new(config.Site)
		_ = json.Unmarshal(document, cfg) // what cannot be decoded is left out
	}
	held := HeldBack{Reason: err.Error()}
	input := a.heldInput(&configured{id: id, cfg: cfg, source: source.Name})
	held.outside = source.claims.check(cfg, &input) != nil
	source.keepHeld(id, held, input)
}

// holdForSocket notes that a row is not served since a socket cannot be opened.
func (a *Instance) holdForSocket(source *LiveSource, c *configured, err error) {
	source.keepHeld(c.id, HeldBack{Reason: err.Error(), socket: true}, a.heldInput(c))
}

// waits returns what notes that a row is not served for what others have.
func (a *Instance) waits(source *LiveSource) func(*configured, error) {
	return func(c *configured, err error) {
		source.keepHeld(c.id, HeldBack{Reason: err.Error(), waits: true}, a.heldInput(c))
	}
}

// holdShown notes that a row is not served any more.
func (s *LiveSource) holdShown(entry *binding.SiteEntry, err error) {
	s.keepHeld(entry.ID, HeldBack{Reason: err.Error()}, entry.Input())
}

func (s *LiveSource) keepHeld(id uint32, held HeldBack, input binding.Site) {
	held.Name, held.input = input.Name, input
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[id] = held
}

// heldInput is what a row asks for that is held back: the bindings that can be
// understood. The names of certificates stay, whether they are known or not.
func (a *Instance) heldInput(c *configured) binding.Site {
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

// heldBySockets returns the rows that wait for a socket.
func (s *LiveSource) heldBySockets() []uint32 {
	return s.heldIDs(func(h *HeldBack) bool { return h.socket })
}

// heldIDs returns rows that are held back, by id.
func (s *LiveSource) heldIDs(wanted func(*HeldBack) bool) (ids []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range SortedKeys(s.held) {
		if held := s.held[id]; wanted(&held) {
			ids = append(ids, id)
		}
	}
	return ids
}

// heldInputs returns what the rows ask for that are held back.
func (s *LiveSource) heldInputs() []binding.Site {
	s.mu.Lock()
	defer s.mu.Unlock()
	inputs := make([]binding.Site, 0, len(s.held))
	for _, id := range SortedKeys(s.held) {
		inputs = append(inputs, s.held[id].input)
	}
	return inputs
}

// heldRow returns why a row is not served, if it is not.
func (s *LiveSource) heldRow(id uint32) (HeldBack, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, ok := s.held[id]
	return held, ok
}

// HeldRow returns why a row is not served, and its source; nil if there is no such row.
func (a *Instance) HeldRow(id uint32) (HeldBack, *LiveSource) {
	for _, source := range a.Live {
		if held, ok := source.heldRow(id); ok {
			return held, source
		}
	}
	return HeldBack{}, nil
}

// letGo forgets why rows were held back that have been written.
func (s *LiveSource) letGo(ids ...uint32) {
	s.mu.Lock()
	for _, id := range ids {
		delete(s.held, id)
	}
	s.mu.Unlock()
	s.Follower.tellNews() // who waits for them looked too early when they were served
}

// letGoMissing forgets rows that were held back and are gone.
func (s *LiveSource) letGoMissing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.held, func(id uint32, _ HeldBack) bool {
		_, there := s.Follower.RevisionOf(id)
		return !there
	})
}

// besideHeldBack refuses what contradicts rows of the source that are accepted, and not
// served: what is accepted does not depend on what this configuration can show.
func (a *Instance) besideHeldBack(source *LiveSource, w *SiteWrite, rows []configured) error {
	hidden := slices.DeleteFunc(source.heldInputs(), func(site binding.Site) bool {
		return slices.ContainsFunc(w.Changes, func(c SiteChange) bool { return c.ID == site.ID })
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

// waitsForOthers chooses the rows that another row may be in the way of.
func waitsForOthers(h *HeldBack) bool { return h.waits }

// nextHeld returns rows that are held back and whose turn it is to be tried: all in
// turn, some after each change.
func (s *LiveSource) nextHeld(most int, wanted func(*HeldBack) bool) []uint32 {
	ids := s.heldIDs(wanted)
	s.mu.Lock()
	defer s.mu.Unlock()
	first, _ := slices.BinarySearch(ids, s.tried+1)
	ids = slices.Concat(ids[first:], ids[:first])
	ids = ids[:min(len(ids), most)]
	if len(ids) > 0 {
		s.tried = ids[len(ids)-1]
	}
	slices.Sort(ids)
	return ids
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
// changes and the mutex of the changed source's follower.
func (a *Instance) retryHeldBack(changed *LiveSource) {
	for _, source := range a.Live {
		switch {
		case source == changed:
			a.tryHeldBack(source, waitsForOthers)
		case len(source.heldIDs(waitsForOthers)) == 0:
		case source.Follower.mu.TryLock():
			if source.Follower.owner == a {
				a.tryHeldBack(source, waitsForOthers)
			}
			source.Follower.mu.Unlock()
		case source.later.Swap(true): // somebody waits already, and will see this change
		default: // whoever changes it must not be waited for
			go a.tryLater(source)
		}
	}
}

// tryLater tries the rows of a source that another change was made to.
func (a *Instance) tryLater(source *LiveSource) {
	source.Follower.mu.Lock()
	defer source.Follower.mu.Unlock()
	source.later.Store(false)
	if source.Follower.owner == a {
		a.locked(func() { a.tryHeldBack(source, waitsForOthers) })
		source.Follower.published()
	}
}

// tryHeldBack shows rows of a source that were held back, if what was in their way has
// gone, and routes to the others what they ask for. The caller holds the lock of changes
// and the follower's mutex.
func (a *Instance) tryHeldBack(source *LiveSource, wanted func(*HeldBack) bool) {
	a.showHeldBack(source, wanted)
	a.routeHeldBack()
}

func (a *Instance) showHeldBack(source *LiveSource, wanted func(*HeldBack) bool) {
	var rows []configured
	most := maxHeldTries
	if a.Options.FirstWins {
		most = maxHeldHalved
	}
	limit := a.ownLimitOf(source)
	for _, id := range source.nextHeld(most, wanted) {
		row, ok, err := source.Follower.Row(id)
		if err != nil || !ok || row.Served() == nil {
			continue
		}
		c, err := source.read(id, row.Served())
		if err == nil {
			err = a.passes(source, limit, &c)
		}
		if err != nil {
			a.hold(source, id, c.cfg, row.Served(), err)
		} else {
			rows = append(rows, c)
		}
	}
	if len(rows) == 0 {
		return
	}
	still := make(map[uint32]bool)
	wait := a.waits(source)
	before := a.Now()
	next := a.addRows(before, rows, func(c *configured, err error) {
		still[c.id] = true
		wait(c, err) // perhaps for something else than before
	})
	if next == before {
		return
	}
	if err := a.serve(before, next); err != nil {
		a.logger.Warn("sites that were held back are still not served", zap.String("source", source.Name), zap.Error(err))
		return
	}
	for i := range rows {
		if !still[rows[i].id] {
			source.letGo(rows[i].id)
		}
	}
}

// codeHeldBack is the finding about a row that is not served.
const codeHeldBack = "site-held-back"

func (h *HeldBack) finding(s *LiveSource, id uint32) binding.Finding {
	return binding.Finding{
		Severity: binding.Error, Code: codeHeldBack, Site: id,
		Message: fmt.Sprintf("%s of %s is not served: %s", config.SiteLabel(id, h.Name), s.Name, h.Reason),
		Fix:     "change the site, or what it names",
	}
}

// HeldFinding is the finding about a row that is held back, if it is.
func (s *LiveSource) HeldFinding(id uint32) (binding.Finding, bool) {
	held, ok := s.heldRow(id)
	return held.finding(s, id), ok
}

// liveFindings tells of the rows that are not served.
func (a *Instance) liveFindings() []binding.Finding {
	var findings []binding.Finding
	for _, source := range a.Live {
		findings = append(findings, source.sharedFindings()...)
		source.mu.Lock()
		for _, id := range SortedKeys(source.held) {
			held := source.held[id]
			findings = append(findings, held.finding(source, id))
		}
		source.mu.Unlock()
	}
	return append(findings, a.keptFindings()...)
}

func (a *Instance) logHeldBack(source *LiveSource) {
	source.mu.Lock()
	defer source.mu.Unlock()
	const most = 20
	for i, id := range SortedKeys(source.held) {
		if i == most {
			a.logger.Error("more sites are not served", zap.String("source", source.Name), zap.Int("sites", len(source.held)-most))
			return
		}
		a.logger.Error("a site is not served", zap.String("source", source.Name), zap.Uint32("site", id), zap.String("reason", source.held[id].Reason))
	}
}
