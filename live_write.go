package caddyiis

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/sites"
)

// siteWrite is what the API is asked to write as one transaction.
type siteWrite struct {
	changes   []siteChange
	by        string // who
	key, hash string // of a request that can be repeated
	dryRun    bool
	answer    func(sites.Head, *writePlan) adminapi.Written // that is kept with the key
}

// siteChange is one change of a transaction.
type siteChange struct {
	adminapi.Change
	none bool // only if the site is not there yet (If-None-Match: *)
}

// written is how one change went.
type written struct {
	id       uint32
	created  bool
	deleted  bool
	same     bool // the site was so already
	accepted bool // it is only accepted: its document stays, and the revision of that
	revision uint64
}

// writeError is a refusal in the form in which the API tells it.
type writeError struct {
	status int
	adminapi.WriteError
}

// Error implements error.
func (e *writeError) Error() string { return e.Message }

func refuseWrite(status int, code string, c *siteChange, format string, args ...any) *writeError {
	e := &writeError{status: status, WriteError: adminapi.WriteError{Message: fmt.Sprintf(format, args...), Code: code}}
	if c != nil {
		e.ID = c.ID
	}
	return e
}

// isAt tells where the row is now.
func (e *writeError) isAt(head sites.Head, revision uint64) {
	head.Revision = revision
	e.Revision, e.ETag = revisionOf(head), etagOf(head, revision)
}

// The codes of refusals.
const (
	codeConflict     = "conflict"
	codeConfigured   = "site-of-the-configuration"
	codeOtherSource  = "site-of-another-source"
	codeNotFound     = "not-found"
	codePrecondition = "precondition-failed"
	codeRequired     = "precondition-required"
	codeInvalid      = "invalid"
	codeUnavailable  = "unavailable"
)

// writeSites makes a transaction: all of it is judged, kept and served, or nothing. The
// caller holds the follower's mutex, and this configuration owns it.
func (a *Instance) writeSites(source *liveSource, writer sites.Writer, w *siteWrite) (sites.Head, *writePlan, error) {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return sites.Head{}, nil, refuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "the configuration has ended: ask again")
	}
	defer f.finish(a.policies.release)
	plan, err := a.planWrite(source, w)
	if err != nil {
		return sites.Head{}, nil, err
	}
	follower := source.follower
	if len(plan.rows) == 0 || w.dryRun {
		return follower.head, plan, nil
	}
	before := a.now()
	if plan.next.state != before.state {
		if err := fronts.Prepare(f.ctx, plan.next.state); err != nil {
			a.policies.keep(before.records)
			return sites.Head{}, nil, refuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "%v", err)
		}
	}
	write := follower.Write
	if writer != nil {
		write = writer.Write
	}
	head, err := write(sites.Transaction{
		By: w.by, Changes: plan.rows, Key: w.key, Hash: w.hash,
		Answer: func(head sites.Head) (json.RawMessage, error) {
			plan.writtenAt(head.Revision)
			return json.Marshal(w.answer(head, plan))
		},
	})
	if err != nil {
		if plan.next.state != before.state {
			fronts.Remove(plan.next.state)
		}
		a.policies.keep(before.records)
		return sites.Head{}, nil, unavailable(err)
	}
	plan.writtenAt(head.Revision)
	a.publishWrite(source, plan, before, head)
	return head, plan, nil
}

// writtenAt notes the revision that a transaction has made.
func (p *writePlan) writtenAt(revision uint64) {
	for i := range p.results {
		if r := &p.results[i]; !r.same && !r.accepted {
			r.revision = revision
		}
	}
}

// publishWrite serves what has been written.
func (a *Instance) publishWrite(source *liveSource, plan *writePlan, before *snapshot, head sites.Head) {
	follower := source.follower
	follower.known.Lock()
	follower.head = head
	follower.step++
	for _, r := range plan.results {
		switch {
		case r.same:
		case r.deleted:
			follower.forget(r.id)
		default:
			follower.noteRow(&sites.Row{ID: r.id, Revision: r.revision})
		}
	}
	follower.known.Unlock()
	next := plan.next
	if next.state != before.state {
		next.countPorts(before)
	}
	if !a.sitesFile.publish(a, before, next) {
		return // the configuration has ended; the one that follows reads what was written
	}
	before.forgetPortsBut(next)
	for _, row := range plan.rows {
		if row.Document == nil {
			before.forgetSite(row.ID)
		}
	}
	for _, row := range plan.rows {
		source.letGo(row.ID)
	}
	source.tell()
	a.policies.keep(next.records)
	a.retryHeldBack(source)
	follower.published()
	if plan.simple {
		a.logChanged(next, plan.shown, plan.removed)
	} else {
		a.reloaded()
	}
	a.logger.Info("sites have changed", zap.String("source", source.Name), zap.Uint64("revision", head.Revision), zap.Int("changes", len(plan.rows)))
}

// tell tells readers of events of the newest revision.
func (s *liveSource) tell() {
	s.follower.watching.Lock()
	watched := len(s.follower.watchers) > 0
	s.follower.watching.Unlock()
	if !watched {
		return
	}
	if list, err := s.follower.Log(0, 1); err == nil && len(list) == 1 {
		s.follower.tell(list[0])
	}
}

// writePlan is what a transaction comes to.
type writePlan struct {
	results []written
	rows    []sites.Change
	shown   []configured
	removed []uint32 // of those that are shown
	next    *snapshot
	simple  bool
}

// planWrite judges a transaction.
func (a *Instance) planWrite(source *liveSource, w *siteWrite) (*writePlan, error) {
	plan := &writePlan{next: a.now(), simple: true}
	for i := range w.changes {
		if err := a.planChange(source, plan, &w.changes[i]); err != nil {
			if refused, ok := errors.AsType[*writeError](err); ok && len(w.changes) > 1 {
				refused.Index = &i
			}
			return nil, err
		}
	}
	if len(plan.rows) == 0 {
		return plan, nil
	}
	slices.SortFunc(plan.shown, func(x, y configured) int { return cmp.Compare(x.id, y.id) })
	next, simple, err := a.derive(a.now(), plan.shown, plan.removed, nowhere)
	if err == nil {
		err = next.stopsNobody(a.now())
	}
	if err == nil {
		err = next.servesAll(plan.shown)
	}
	if err == nil {
		err = a.besideHeldBack(source, w, plan.shown)
	}
	if err != nil {
		a.policies.keep(a.now().records)
		return nil, a.refusal(w, err)
	}
	plan.next, plan.simple = next, simple
	if w.dryRun {
		a.policies.keep(a.now().records)
	}
	return plan, nil
}

// planChange judges one change by itself.
func (a *Instance) planChange(source *liveSource, plan *writePlan, c *siteChange) error {
	if slices.ContainsFunc(plan.results, func(r written) bool { return r.id == c.ID }) {
		return refuseWrite(http.StatusUnprocessableEntity, codeInvalid, c, "site %d is there twice in one transaction", c.ID)
	}
	if err := a.ownedBy(source, c); err != nil {
		return err
	}
	row, there, err := source.follower.Row(c.ID)
	if err != nil {
		return refuseWrite(http.StatusServiceUnavailable, codeUnavailable, c, "%v", err)
	}
	document, err := c.wanted(row, there)
	if err != nil {
		return err
	}
	result := written{id: c.ID, created: !there, deleted: document == nil, revision: row.Revision}
	if there && document != nil && !row.Open && bytes.Equal(document, row.Document) {
		result.same = true // a repeated request succeeds, whatever it is conditional on
		plan.results = append(plan.results, result)
		return nil
	}
	if err := c.condition(source, row, there); err != nil {
		return err
	}
	result.accepted = there && document != nil && bytes.Equal(document, row.Document)
	plan.results = append(plan.results, result)
	plan.rows = append(plan.rows, sites.Change{ID: c.ID, Document: document})
	if document == nil {
		if tables := a.now().tables; tables.SiteByID(c.ID) != nil || tables.IsHeldBack(c.ID) { // ownedBy knows whose
			plan.removed = append(plan.removed, c.ID)
		}
		return nil
	}
	site, err := source.read(c.ID, document)
	if err == nil {
		err = a.passes(source, &site)
	}
	if err != nil {
		return refuseWrite(http.StatusUnprocessableEntity, codeInvalid, c, "%s: %v", config.SiteLabel(c.ID, nameOf(site.cfg)), err)
	}
	plan.shown = append(plan.shown, site)
	return nil
}

func nameOf(cfg *config.Site) string {
	if cfg == nil {
		return ""
	}
	return cfg.Name
}

// ownedBy refuses to change a site that is not the source's.
func (a *Instance) ownedBy(source *liveSource, c *siteChange) error {
	for _, other := range a.live {
		if _, has := other.follower.revisionOf(c.ID); has && other != source {
			return refuseWrite(http.StatusConflict, codeOtherSource, c, "site %d is one of %s, not of %s", c.ID, other.Name, source.Name)
		}
	}
	entry := a.now().tables.SiteByID(c.ID)
	if entry == nil {
		return nil
	}
	switch owner := a.now().sites[entry.Index].source; owner {
	case source.Name:
		return nil
	case "":
		return refuseWrite(http.StatusConflict, codeConfigured, c, "%s is one of the configuration: change it there", config.SiteLabel(entry.ID, entry.Name))
	default:
		return refuseWrite(http.StatusConflict, codeOtherSource, c, "%s is one of %s, not of %s", config.SiteLabel(entry.ID, entry.Name), owner, source.Name)
	}
}

// changeOf is a change of a site of which nothing but the id matters.
func changeOf(id uint32) adminapi.Change { return adminapi.Change{Op: adminapi.OpPut, ID: id} }

// wanted returns the document that a change leads to, nil if the site goes.
func (c *siteChange) wanted(row sites.Row, there bool) (json.RawMessage, error) {
	var document json.RawMessage
	switch c.Op {
	case adminapi.OpDelete, adminapi.OpPatch:
		if !there {
			return nil, refuseWrite(http.StatusNotFound, codeNotFound, c, "there is no site %d", c.ID)
		}
		if c.Op == adminapi.OpDelete {
			return nil, nil
		}
		merged, err := jsondoc.Merge(row.Document, c.Site)
		if err != nil {
			return nil, refuseWrite(statusOfDocument(err), codeInvalid, c, "site %d: %v", c.ID, err)
		}
		document = merged
	default:
		document = c.Site
	}
	document, err := jsondoc.Canonical(document)
	if err != nil {
		return nil, refuseWrite(statusOfDocument(err), codeInvalid, c, "site %d: %v", c.ID, err)
	}
	return document, nil
}

// statusOfDocument is the status of the answer to a document that is wrong by itself.
func statusOfDocument(err error) int {
	if _, large := errors.AsType[jsondoc.TooLargeError](err); large {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusUnprocessableEntity
}

// condition checks what a change depends on.
func (c *siteChange) condition(source *liveSource, row sites.Row, there bool) error {
	switch {
	case (c.none || c.If != nil) && !there:
		if c.If == nil || *c.If == 0 {
			return nil
		}
		return refuseWrite(http.StatusPreconditionFailed, codePrecondition, c, "there is no site %d", c.ID)
	case c.none && there, c.If != nil && *c.If != row.Revision:
		e := refuseWrite(http.StatusPreconditionFailed, codePrecondition, c, "site %d is at revision %d: somebody has changed it", c.ID, row.Revision)
		e.isAt(source.follower.head, row.Revision)
		e.Site = row.Document
		return e
	case source.RequireIfMatch && c.If == nil && !c.none:
		return refuseWrite(http.StatusPreconditionRequired, codeRequired, c,
			"changes of %s say which revision of the site they are about: If-Match, or If-None-Match: * for a new one", source.Name)
	}
	return nil
}

// servesAll refuses sites that would not be served as they ask for.
func (sn *snapshot) servesAll(list []configured) error {
	for i := range list {
		if err := lost(sn.tables.SiteByID(list[i].id)); err != nil {
			return err
		}
	}
	return nil
}

// refusal turns the error of a judgement into what the API tells.
func (a *Instance) refusal(w *siteWrite, err error) *writeError {
	var c *siteChange
	if len(w.changes) == 1 {
		c = &w.changes[0]
	}
	conflict, contradicts := errors.AsType[*binding.ConflictError](err)
	if !contradicts {
		status := http.StatusUnprocessableEntity
		if _, taken := errors.AsType[ordinaryHasError](err); taken {
			status = http.StatusConflict
		}
		return refuseWrite(status, map[int]string{http.StatusConflict: codeConflict, http.StatusUnprocessableEntity: codeInvalid}[status], c, "%v", err)
	}
	e := refuseWrite(http.StatusConflict, codeConflict, c, "%v", err)
	if len(conflict.Findings) == 0 {
		return e
	}
	first := conflict.Findings[0]
	e.Binding = first.Binding
	mine := func(id uint32) bool {
		return slices.ContainsFunc(w.changes, func(c siteChange) bool { return c.ID == id })
	}
	e.ID = first.Site
	other := first.Other
	if !mine(first.Site) && mine(first.Other) {
		e.ID, other = first.Other, first.Site
	}
	if entry := a.now().tables.SiteByID(other); entry != nil {
		e.Other = &adminapi.OtherSite{ID: entry.ID, Name: entry.Name, Source: a.now().sites[entry.Index].source, Binding: first.Binding}
	} else if held, source := a.heldRow(other); source != nil {
		e.Other = &adminapi.OtherSite{ID: other, Name: held.name, Source: source.Name, Binding: first.Binding}
	}
	return e
}
