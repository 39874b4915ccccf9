package serve

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/sites"
)

// byJudge is who writes verdicts, in the log.
const byJudge = "judge"

const (
	judgeLater = time.Second // how long others leave an open row to the node that judges
	judgeAgain = time.Second // the pause between looks at rows that were refused
)

// unjudged reports whether a row waits for its first verdict.
func (f *follower) unjudged() bool {
	return slices.ContainsFunc(f.OpenRows(), func(row sites.Row) bool { return row.Refusal == nil })
}

// judge judges open rows, if it is this server's turn. The caller holds f.mu.
func (f *follower) judge() {
	if f.owner == nil || len(f.open) == 0 {
		f.openSince = time.Time{}
		return
	}
	status := f.Shared.Status()
	if status.ReadOnly || !status.Up {
		return
	}
	if !f.unjudged() {
		f.openSince = time.Time{}
		f.reconsider()
		return
	}
	if f.openSince.IsZero() {
		f.openSince = time.Now()
	}
	if wait := f.patience() - time.Since(f.openSince); !status.Preferred && wait > 0 {
		time.AfterFunc(wait, f.Shared.Wake)
		return
	}
	f.judgeNow()
}

// patience is judgeLater, more or less, so that not all come at once.
func (f *follower) patience() time.Duration {
	return judgeLater/2 + rand.N(judgeLater) //nolint:gosec // nobody is to guess it, or to mind
}

// reconsider looks at rows that were refused, if something in their way has changed.
func (f *follower) reconsider() {
	if time.Since(f.reconsidered) < judgeAgain {
		if f.waiting() {
			time.AfterFunc(judgeAgain, f.Shared.Wake)
		}
		return
	}
	if !f.waiting() {
		return
	}
	f.reconsidered = time.Now()
	if accepted, _ := f.owner.judgeOpen(f); len(accepted) > 0 {
		f.judgeNow()
	}
}

// waiting reports whether a refused row may be accepted now: the rival that it had is
// not as it was when this was found out, or it had none.
func (f *follower) waiting() bool {
	full := f.owner.ownLimitOf(f.owner.sourceOf(f)).Full()
	for _, row := range f.OpenRows() {
		rival, known := f.rivals[row.ID]
		if !known || rival.owner != f.owner || rival.id != 0 && f.moved[rival.id] != rival.step || rival.full && !full {
			return true
		}
	}
	return false
}

// rival is why an open row was refused when this server looked at it.
type rival struct {
	id    uint32    // the row that is in its way; 0: something else
	step  uint64    // at which that was written
	full  bool      // too many rows had routes of their own
	owner *Instance // the configuration that found it
}

// judgeNow writes the verdicts about the open rows, as a revision.
func (f *follower) judgeNow() {
	err := f.tryJudge()
	if err != nil && f.owner != nil {
		f.owner.logger.Warn("sites that others have written are not judged yet", zap.String("source", f.owner.sourceOf(f).Name), zap.Error(err))
	}
}

func (f *follower) tryJudge() error {
	if f.owner == nil {
		return nil
	}
	writer, d, err := f.Shared.Begin(context.Background(), byJudge)
	if err != nil {
		return err
	}
	defer writer.End()
	if !f.take(d, false) {
		return nil
	}
	accepted, refused := f.owner.judgeOpen(f)
	var verdicts []sites.Verdict
	for _, id := range accepted {
		verdicts = append(verdicts, sites.Verdict{ID: id})
	}
	for _, row := range f.OpenRows() {
		if reason := refused[row.ID]; reason != nil && row.Refusal == nil {
			verdicts = append(verdicts, sites.Verdict{ID: row.ID, Refusal: reason})
		}
	}
	if len(verdicts) == 0 {
		return nil
	}
	head, err := writer.Write(sites.Transaction{By: byJudge, Verdicts: verdicts})
	if err != nil {
		return err
	}
	f.openSince = time.Time{}
	f.takeVerdicts(head, verdicts, accepted)
	return nil
}

// takeVerdicts serves what has been accepted.
func (f *follower) takeVerdicts(head sites.Head, verdicts []sites.Verdict, accepted []uint32) {
	f.known.Lock()
	f.step++
	f.head = head
	for _, v := range verdicts {
		if row, ok, err := f.Row(v.ID); ok && err == nil {
			f.noteRow(&row)
		}
	}
	f.known.Unlock()
	a := f.owner
	source := a.sourceOf(f)
	slices.Sort(accepted)
	rows, removed := a.readRows(source, accepted)
	a.showWhatCanBe(source, rows, removed)
	a.locked(func() { a.retryHeldBack(source) })
	source.tell()
	f.published()
	a.logger.Info("sites that others have written are judged", zap.String("source", source.Name), zap.Uint64("revision", head.Revision),
		zap.Int("accepted", len(accepted)), zap.Int("refused", len(verdicts)-len(accepted)))
}

// judgeOpen judges the open rows of a table, and remembers what is in the way of those
// that are refused. It writes nothing.
func (a *Instance) judgeOpen(f *follower) (accepted []uint32, refused map[uint32]*sites.Refusal) {
	c := &court{app: a, source: a.sourceOf(f), limit: a.ownLimitOf(a.sourceOf(f)), inputs: make(map[uint32]binding.Site), alone: make(map[uint32]*sites.Refusal), full: make(map[uint32]bool)}
	var open []sites.Open
	for _, row := range f.OpenRows() {
		open = append(open, sites.Open{ID: row.ID, Revision: row.Revision})
		c.hear(&row)
	}
	c.hidden = c.source.heldInputs()
	accepted, refused = sites.Judge(open, c)
	f.known.Lock()
	defer f.known.Unlock()
	for id, reason := range refused {
		f.rivals[id] = rival{id: reason.Other, step: f.moved[reason.Other], owner: a, full: c.full[id]}
	}
	return accepted, refused
}

// court implements sites.Court: what is in the way of a row is told by the tables of
// this server.
type court struct {
	app    *Instance
	source *LiveSource
	limit  *ownroutes.Limit
	inputs map[uint32]binding.Site // what open rows want
	alone  map[uint32]*sites.Refusal
	full   map[uint32]bool // those of alone that are so since there are too many with routes of their own
	hidden []binding.Site  // what is accepted and not shown here
}

// hear reads what an open row wants, as strictly as the API does.
func (c *court) hear(row *sites.Row) {
	_, err := jsondoc.Canonical(row.Document)
	var site configured
	if err == nil {
		site, err = c.source.read(row.ID, row.Document)
	}
	if err == nil {
		err = c.app.passes(c.source, c.limit, &site)
	}
	if err == nil {
		err = c.app.ownedBy(c.source, &SiteChange{Change: changeOf(row.ID)})
	}
	if err != nil {
		c.limit.Stays(row.ID)
		c.full[row.ID] = errors.Is(err, ownroutes.ErrTooMany)
		c.alone[row.ID] = &sites.Refusal{Code: CodeInvalid, Message: err.Error()}
		return
	}
	var errs errorList // there are none: it has passed
	c.inputs[row.ID] = c.app.bindingSite(&site, &errs)
}

// Alone implements sites.Court.
func (c *court) Alone(id uint32) *sites.Refusal { return c.alone[id] }

// Beside implements sites.Court.
func (c *court) Beside(candidates, accepted []uint32) (taken, among map[uint32]*sites.Refusal) {
	wanted := make(map[uint32]bool, len(candidates))
	list := make([]binding.Site, len(candidates))
	for i, id := range candidates {
		wanted[id], list[i] = true, c.inputs[id]
	}
	replaced := make(map[uint32]bool, len(accepted))
	settled := make([]binding.Site, len(accepted))
	for i, id := range accepted {
		replaced[id], settled[i] = true, c.inputs[id]
	}
	other := func(site binding.Site) bool { return wanted[site.ID] || replaced[site.ID] }
	hidden := slices.DeleteFunc(slices.Clone(c.hidden), other)
	tables := c.app.Now().Tables
	_, simple := tables.Update(slices.Concat(settled, list), nil)
	taken, among = make(map[uint32]*sites.Refusal), make(map[uint32]*sites.Refusal)
	note := func(found []binding.Finding) {
		for _, f := range found {
			into := taken
			if wanted[f.Other] && f.Other != f.Site {
				into = among
			}
			if into[f.Site] == nil {
				into[f.Site] = &sites.Refusal{Code: f.Code, Message: f.Message, Other: f.Other}
			}
		}
	}
	if len(hidden) > 0 {
		note(binding.Contradictions(hidden, nil, list, c.app.bindingOptions()))
	}
	if !simple {
		first := append(slices.DeleteFunc(tables.Inputs(), other), settled...)
		note(binding.Contradictions(first, c.app.BoundEndpoints, list, c.app.bindingOptions()))
	}
	return taken, among
}
