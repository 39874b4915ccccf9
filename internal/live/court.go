package live

import (
	"cmp"
	"errors"
	"slices"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/sites"
)

// Bench is beside what rows are judged.
type Bench struct {
	// Tables returns what is served now: while rows are read, which may take its time where
	// they have routes of their own, other sources go on.
	Tables    func() *binding.Tables
	Endpoints []binding.Endpoint
	Options   binding.Options
	Limit     *ownroutes.Limit // of rows with routes of their own

	// Passes returns what a row asks for, or why it cannot be by itself. It counts in Limit.
	Passes func(id uint32, cfg *config.Site) (binding.Site, error)
}

// judgeOpen judges the open rows of a table, and remembers what is in the way of those
// that are refused. It writes nothing.
func (s *Source) judgeOpen() (accepted []uint32, refused map[uint32]*sites.Refusal) {
	f := s.Follower
	rows := f.OpenRows()
	slices.SortStableFunc(rows, func(a, b sites.Row) int { return cmp.Compare(a.Revision, b.Revision) })
	keep := make(map[uint32]bool)
	c := s.newCourt(rows, keep)
	for accepted, refused = c.judge(s); c.keepPlaces(refused); accepted, refused = c.judge(s) {
		c = s.newCourt(rows, keep)
	}
	begins := false
	f.known.Lock()
	for id, reason := range refused {
		begins = begins || c.late[id] && (!f.rivals[id].late || f.rivals[id].owner != s)
		f.rivals[id] = rival{id: reason.Other, step: f.moved[reason.Other], owner: s, full: c.full[id], late: c.late[id]}
	}
	f.known.Unlock()
	if begins {
		s.mu.Lock()
		s.soon()
		s.mu.Unlock()
	}
	if len(c.late) > 0 {
		s.Node.Again(s)
	}
	return accepted, refused
}

// court implements sites.Court: what is in the way of a row is told by the tables of
// this server.
type court struct {
	Bench
	rows   []sites.Row             // in the order in which they are heard
	inputs map[uint32]binding.Site // what open rows want
	alone  map[uint32]*sites.Refusal
	full   map[uint32]bool // those of alone that are so since there are too many with routes of their own
	late   map[uint32]bool // those of alone that are so since their routes were not ready in time
	leave  map[uint32]bool // those that want routes of their own no longer
	keep   map[uint32]bool // those of leave whose places are theirs until that is accepted
	hidden []binding.Site  // what is accepted and not shown here
}

// newCourt hears rows, the older ones first. A place that a row leaves is offered first to
// those that are written together with it.
func (s *Source) newCourt(rows []sites.Row, keep map[uint32]bool) *court {
	c := &court{
		Bench: s.Node.Bench(s), keep: keep, inputs: make(map[uint32]binding.Site), alone: make(map[uint32]*sites.Refusal),
		full: make(map[uint32]bool), late: make(map[uint32]bool), leave: make(map[uint32]bool),
	}
	left := make(map[uint64]bool) // whether a row of the revision leaves its place
	for i := range rows {
		if row := &rows[i]; c.Limit.Had(row.ID) {
			c.hear(s, row)
			left[row.Revision] = left[row.Revision] || c.leave[row.ID] && !keep[row.ID]
		}
	}
	first := func(row sites.Row) int {
		if left[row.Revision] {
			return 0
		}
		return 1
	}
	c.rows = slices.Clone(rows)
	slices.SortStableFunc(c.rows, func(a, b sites.Row) int { return cmp.Compare(first(a), first(b)) })
	for i := range c.rows {
		if row := &c.rows[i]; !c.Limit.Had(row.ID) {
			c.hear(s, row)
		}
	}
	c.hidden = s.HeldInputs()
	return c
}

// hear reads what an open row wants, as strictly as the API does.
func (c *court) hear(s *Source, row *sites.Row) {
	delete(c.alone, row.ID)
	delete(c.full, row.ID)
	_, err := jsondoc.Canonical(row.Document)
	var cfg *config.Site
	if err == nil {
		cfg, err = s.Read(row.Document)
	}
	var input binding.Site
	if err == nil {
		input, err = c.Passes(row.ID, cfg)
	}
	if err != nil {
		c.Limit.Stays(row.ID)
		if errors.Is(err, ownroutes.ErrTooMany) {
			c.full[row.ID] = true
		}
		if errors.Is(err, ownroutes.ErrNotReady) {
			c.late[row.ID] = true
		}
		c.alone[row.ID] = &sites.Refusal{Code: CodeInvalid, Message: err.Error()}
		return
	}
	c.inputs[row.ID] = input
	c.leave[row.ID] = cfg.OwnRoutes == nil && c.Limit.Had(row.ID)
	if c.keep[row.ID] {
		c.Limit.Stays(row.ID)
	}
}

// judge judges the rows that were heard.
func (c *court) judge(s *Source) (accepted []uint32, refused map[uint32]*sites.Refusal) {
	open := make([]sites.Open, len(c.rows))
	for i, row := range c.rows {
		open[i] = sites.Open{ID: row.ID, Revision: row.Revision}
	}
	for accepted, refused = sites.Judge(open, c); c.leavePlaces(s, refused); accepted, refused = sites.Judge(open, c) {
	}
	return accepted, refused
}

// leavePlaces gives the places that rows have which are refused beside others to rows that
// were one too many with routes of their own, and reports whether there are such.
func (c *court) leavePlaces(s *Source, refused map[uint32]*sites.Refusal) (again bool) {
	for id, reason := range refused {
		if c.alone[id] == nil {
			c.Limit.Stays(id)
			c.alone[id] = reason // a place that it has left it does not get back now
		}
	}
	for i := range c.rows {
		if c.Limit.Full() {
			break
		}
		if row := &c.rows[i]; c.full[row.ID] {
			c.hear(s, row)
			again = again || c.alone[row.ID] == nil
		}
	}
	return again
}

// keepPlaces reports whether there are too many with routes of their own now, since rows were
// to leave their places and are refused. They keep them when all is judged again.
func (c *court) keepPlaces(refused map[uint32]*sites.Refusal) (again bool) {
	if !c.Limit.Over() {
		return false
	}
	for id := range refused {
		if c.leave[id] && !c.keep[id] {
			c.keep[id], again = true, true
		}
	}
	return again
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
	tables := c.Tables()
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
		note(binding.Contradictions(hidden, nil, list, c.Options))
	}
	if !simple {
		first := append(slices.DeleteFunc(tables.Inputs(), other), settled...)
		note(binding.Contradictions(first, c.Endpoints, list, c.Options))
	}
	return taken, among
}
