package serve

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
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/sites"
)

// SiteWrite is what the API is asked to write as one transaction.
type SiteWrite struct {
	Changes   []SiteChange
	By        string // who
	Key, Hash string // of a request that can be repeated
	DryRun    bool
	Answer    func(sites.Head, *WritePlan) adminapi.Written // that is kept with the key
}

// SiteChange is one change of a transaction.
type SiteChange struct {
	adminapi.Change
	None bool // only if the site is not there yet (If-None-Match: *)
}

// written is how one change went.
type written struct {
	ID       uint32
	Created  bool
	Deleted  bool
	Same     bool // the site was so already
	accepted bool // it is only accepted: its document stays, and the revision of that
	Revision uint64
}

// WriteError is a refusal in the form in which the API tells it.
type WriteError struct {
	Status int
	adminapi.WriteError
}

// Error implements error.
func (e *WriteError) Error() string { return e.Message }

// RefuseWrite makes a refusal; c is the change that it is about, if it is about one.
func RefuseWrite(status int, code string, c *SiteChange, format string, args ...any) *WriteError {
	e := &WriteError{Status: status, WriteError: adminapi.WriteError{Message: fmt.Sprintf(format, args...), Code: code}}
	if c != nil {
		e.ID = c.ID
	}
	return e
}

// isAt tells where the row is now.
func (e *WriteError) isAt(head sites.Head, revision uint64) {
	head.Revision = revision
	e.Revision, e.ETag = RevisionOf(head), EtagOf(head, revision)
}

// The codes of refusals.
const (
	codeConflict     = "conflict"
	codeConfigured   = "site-of-the-configuration"
	codeOtherSource  = "site-of-another-source"
	CodeNotFound     = "not-found"
	codePrecondition = "precondition-failed"
	codeRequired     = "precondition-required"
	CodeInvalid      = "invalid"
	codeUnavailable  = "unavailable"
)

// WriteSites makes a transaction: all of it is judged, kept and served, or nothing. The
// caller holds the follower's mutex, and this configuration owns it.
func (a *Instance) WriteSites(source *LiveSource, writer sites.Writer, w *SiteWrite) (sites.Head, *WritePlan, error) {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return sites.Head{}, nil, RefuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "the configuration has ended: ask again")
	}
	defer f.finish(a.policies.Release)
	plan, err := a.planWrite(source, w)
	if err != nil {
		return sites.Head{}, nil, err
	}
	follower := source.Follower
	if len(plan.rows) == 0 || w.DryRun {
		return follower.head, plan, nil
	}
	before := a.Now()
	if plan.Next.state != before.state {
		if err := fronts.Prepare(f.ctx, plan.Next.state); err != nil {
			a.keep(before)
			return sites.Head{}, nil, RefuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "%v", err)
		}
	}
	write := follower.Write
	if writer != nil {
		write = writer.Write
	}
	head, err := write(sites.Transaction{
		By: w.By, Changes: plan.rows, Key: w.Key, Hash: w.Hash,
		Answer: func(head sites.Head) (json.RawMessage, error) {
			plan.writtenAt(head.Revision)
			return json.Marshal(w.Answer(head, plan))
		},
	})
	if err != nil {
		if plan.Next.state != before.state {
			fronts.Remove(plan.Next.state)
		}
		a.keep(before)
		return sites.Head{}, nil, Unavailable(err)
	}
	plan.writtenAt(head.Revision)
	a.publishWrite(source, plan, before, head)
	return head, plan, nil
}

// writtenAt notes the revision that a transaction has made.
func (p *WritePlan) writtenAt(revision uint64) {
	for i := range p.Results {
		if r := &p.Results[i]; !r.Same && !r.accepted {
			r.Revision = revision
		}
	}
}

// publishWrite serves what has been written.
func (a *Instance) publishWrite(source *LiveSource, plan *WritePlan, before *Snapshot, head sites.Head) {
	follower := source.Follower
	follower.known.Lock()
	follower.head = head
	follower.step++
	for _, r := range plan.Results {
		switch {
		case r.Same:
		case r.Deleted:
			follower.forget(r.ID)
		default:
			follower.noteRow(&sites.Row{ID: r.ID, Revision: r.Revision})
		}
	}
	follower.known.Unlock()
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
	for _, row := range plan.rows {
		if row.Document == nil {
			before.forgetSite(row.ID)
		}
	}
	for _, row := range plan.rows {
		source.letGo(row.ID)
	}
	source.tell()
	a.keep(next)
	a.retryHeldBack(source)
	follower.published()
	if plan.simple {
		a.observer.Changed(next, idsOf(plan.shown), plan.removed)
	} else {
		a.observer.Reloaded()
	}
	a.logger.Info("sites have changed", zap.String("source", source.Name), zap.Uint64("revision", head.Revision), zap.Int("changes", len(plan.rows)))
}

// WritePlan is what a transaction comes to.
type WritePlan struct {
	Results []written
	rows    []sites.Change
	shown   []configured
	removed []uint32  // of those that are shown
	before  *Snapshot // that is served
	Next    *Snapshot
	simple  bool
	limit   *ownroutes.Limit
}

// planWrite judges a transaction.
func (a *Instance) planWrite(source *LiveSource, w *SiteWrite) (*WritePlan, error) {
	plan := &WritePlan{before: a.Now(), Next: a.Now(), simple: true, limit: a.ownLimitOf(source)}
	for i := range w.Changes {
		plan.limit.Remove(w.Changes[i].ID)
	}
	for i := range w.Changes {
		if err := a.planChange(source, plan, &w.Changes[i]); err != nil {
			a.keep(a.Now())
			if refused, ok := errors.AsType[*WriteError](err); ok && len(w.Changes) > 1 {
				refused.Index = &i
			}
			return nil, err
		}
	}
	if len(plan.rows) == 0 {
		return plan, nil
	}
	slices.SortFunc(plan.shown, func(x, y configured) int { return cmp.Compare(x.id, y.id) })
	next, simple, err := a.derive(a.Now(), plan.shown, plan.removed, nowhere)
	if err == nil {
		err = next.stopsNobody(a.Now())
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
	plan.Next, plan.simple = next, simple
	if w.DryRun {
		a.keep(a.Now())
	}
	return plan, nil
}

// planChange judges one change by itself.
func (a *Instance) planChange(source *LiveSource, plan *WritePlan, c *SiteChange) error {
	if slices.ContainsFunc(plan.Results, func(r written) bool { return r.ID == c.ID }) {
		return RefuseWrite(http.StatusUnprocessableEntity, CodeInvalid, c, "site %d is there twice in one transaction", c.ID)
	}
	if err := a.ownedBy(source, c); err != nil {
		return err
	}
	row, there, err := source.Follower.Row(c.ID)
	if err != nil {
		return RefuseWrite(http.StatusServiceUnavailable, codeUnavailable, c, "%v", err)
	}
	document, err := c.wanted(row, there)
	if err != nil {
		return err
	}
	result := written{ID: c.ID, Created: !there, Deleted: document == nil, Revision: row.Revision}
	if there && document != nil && !row.Open && bytes.Equal(document, row.Document) {
		plan.limit.Stays(c.ID)
		result.Same = true // a repeated request succeeds, whatever it is conditional on
		plan.Results = append(plan.Results, result)
		return nil
	}
	if err := c.condition(source, row, there); err != nil {
		return err
	}
	result.accepted = there && document != nil && bytes.Equal(document, row.Document)
	plan.Results = append(plan.Results, result)
	plan.rows = append(plan.rows, sites.Change{ID: c.ID, Document: document})
	if document == nil {
		if tables := a.Now().Tables; tables.SiteByID(c.ID) != nil || tables.IsHeldBack(c.ID) { // ownedBy knows whose
			plan.removed = append(plan.removed, c.ID)
		}
		return nil
	}
	site, err := source.read(c.ID, document)
	if err == nil {
		err = a.passes(source, plan.limit, &site)
	}
	if err != nil {
		return RefuseWrite(http.StatusUnprocessableEntity, CodeInvalid, c, "%s: %v", config.SiteLabel(c.ID, nameOf(site.cfg)), err)
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
func (a *Instance) ownedBy(source *LiveSource, c *SiteChange) error {
	for _, other := range a.Live {
		if _, has := other.Follower.RevisionOf(c.ID); has && other != source {
			return RefuseWrite(http.StatusConflict, codeOtherSource, c, "site %d is one of %s, not of %s", c.ID, other.Name, source.Name)
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
		return RefuseWrite(http.StatusConflict, codeConfigured, c, "%s is one of the configuration: change it there", config.SiteLabel(entry.ID, entry.Name))
	default:
		return RefuseWrite(http.StatusConflict, codeOtherSource, c, "%s is one of %s, not of %s", config.SiteLabel(entry.ID, entry.Name), owner, source.Name)
	}
}

// changeOf is a change of a site of which nothing but the id matters.
func changeOf(id uint32) adminapi.Change { return adminapi.Change{Op: adminapi.OpPut, ID: id} }

// wanted returns the document that a change leads to, nil if the site goes.
func (c *SiteChange) wanted(row sites.Row, there bool) (json.RawMessage, error) {
	var document json.RawMessage
	switch c.Op {
	case adminapi.OpDelete, adminapi.OpPatch:
		if !there {
			return nil, RefuseWrite(http.StatusNotFound, CodeNotFound, c, "there is no site %d", c.ID)
		}
		if c.Op == adminapi.OpDelete {
			return nil, nil
		}
		merged, err := jsondoc.Merge(row.Document, c.Site)
		if err != nil {
			return nil, RefuseWrite(statusOfDocument(err), CodeInvalid, c, "site %d: %v", c.ID, err)
		}
		document = merged
	default:
		document = c.Site
	}
	document, err := jsondoc.Canonical(document)
	if err != nil {
		return nil, RefuseWrite(statusOfDocument(err), CodeInvalid, c, "site %d: %v", c.ID, err)
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
func (c *SiteChange) condition(source *LiveSource, row sites.Row, there bool) error {
	switch {
	case (c.None || c.If != nil) && !there:
		if c.If == nil || *c.If == 0 {
			return nil
		}
		return RefuseWrite(http.StatusPreconditionFailed, codePrecondition, c, "there is no site %d", c.ID)
	case c.None && there, c.If != nil && *c.If != row.Revision:
		e := RefuseWrite(http.StatusPreconditionFailed, codePrecondition, c, "site %d is at revision %d: somebody has changed it", c.ID, row.Revision)
		e.isAt(source.Follower.head, row.Revision)
		e.Site = row.Document
		return e
	case source.RequireIfMatch && c.If == nil && !c.None:
		return RefuseWrite(http.StatusPreconditionRequired, codeRequired, c,
			"changes of %s say which revision of the site they are about: If-Match, or If-None-Match: * for a new one", source.Name)
	}
	return nil
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
func (a *Instance) refusal(w *SiteWrite, err error) *WriteError {
	var c *SiteChange
	if len(w.Changes) == 1 {
		c = &w.Changes[0]
	}
	conflict, contradicts := errors.AsType[*binding.ConflictError](err)
	if !contradicts {
		status := http.StatusUnprocessableEntity
		if _, taken := errors.AsType[ordinaryHasError](err); taken {
			status = http.StatusConflict
		}
		return RefuseWrite(status, map[int]string{http.StatusConflict: codeConflict, http.StatusUnprocessableEntity: CodeInvalid}[status], c, "%v", err)
	}
	e := RefuseWrite(http.StatusConflict, codeConflict, c, "%v", err)
	if len(conflict.Findings) == 0 {
		return e
	}
	first := conflict.Findings[0]
	e.Binding = first.Binding
	mine := func(id uint32) bool {
		return slices.ContainsFunc(w.Changes, func(c SiteChange) bool { return c.ID == id })
	}
	e.ID = first.Site
	other := first.Other
	if !mine(first.Site) && mine(first.Other) {
		e.ID, other = first.Other, first.Site
	}
	if entry := a.Now().Tables.SiteByID(other); entry != nil {
		e.Other = &adminapi.OtherSite{ID: entry.ID, Name: entry.Name, Source: a.Now().Sites.At(entry.Index).Source, Binding: first.Binding}
	} else if held, source := a.HeldRow(other); source != nil {
		e.Other = &adminapi.OtherSite{ID: other, Name: held.Name, Source: source.Name, Binding: first.Binding}
	}
	return e
}
