package sites

import (
	"cmp"
	"slices"
)

// Refusal says why the document of a row is not accepted.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Other   uint32 `json:"other,omitempty"` // the row that it contradicts, if it is one
	Node    string `json:"node,omitempty"`  // who judged
}

// Open is a row whose document nobody has accepted yet.
type Open struct {
	ID       uint32
	Revision uint64 // that made the document
}

// Court knows what documents say. It is asked about open rows, by their ids.
type Court interface {
	// Alone returns why a document cannot be accepted whatever other rows have, or nil.
	Alone(id uint32) *Refusal

	// Beside compares the documents of candidates with what all others serve: the
	// documents of those that are accepted now, and what rows served before. Taken are
	// the candidates that contradict one of these; among are those that contradict a
	// candidate before them in the list.
	Beside(candidates, accepted []uint32) (taken, among map[uint32]*Refusal)
}

// Judge decides which open rows are accepted. The outcome depends on nothing but the
// rows: what serves keeps, rows of one revision that are possible together are accepted
// together, and between others the older revision decides. The others are refused, each
// with the reason.
func Judge(open []Open, court Court) (accepted []uint32, refused map[uint32]*Refusal) {
	j := &judgement{court: court, done: make(map[uint32]bool), refused: make(map[uint32]*Refusal)}
	open = slices.Clone(open)
	slices.SortFunc(open, func(a, b Open) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.ID, b.ID))
	})
	open = j.keep(open, func(o Open) *Refusal { return court.Alone(o.ID) })
	// What contradicts rows that nobody judges now does so whatever becomes of the rest.
	var among map[uint32]*Refusal
	for len(open) > 0 {
		var taken map[uint32]*Refusal
		taken, among = court.Beside(idsOf(open), nil)
		if len(taken) == 0 {
			break
		}
		open = j.keep(open, func(o Open) *Refusal { return taken[o.ID] })
	}
	if len(among) == 0 {
		return idsOf(open), j.refused
	}
	j.open = open
	for before := -1; before < len(j.accepted) && len(j.open) > 0; {
		before = len(j.accepted)
		for _, group := range groups(j.open) {
			j.try(group)
		}
	}
	return j.accepted, j.refused
}

// judgement is the state of one Judge.
type judgement struct {
	court    Court
	open     []Open
	accepted []uint32
	done     map[uint32]bool // those of accepted
	refused  map[uint32]*Refusal
}

// keep returns the rows for which there is no reason to refuse them.
func (j *judgement) keep(rows []Open, why func(Open) *Refusal) []Open {
	return slices.DeleteFunc(rows, func(o Open) bool {
		reason := why(o)
		if reason != nil {
			j.refused[o.ID] = reason
		}
		return reason != nil
	})
}

// groups lists what is tried together: the rows of each revision, all, and each.
func groups(open []Open) [][]Open {
	var all [][]Open
	for rest := open; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Revision == rest[0].Revision {
			n++
		}
		all = append(all, slices.Clone(rest[:n]))
		rest = rest[n:]
	}
	all = append(all, slices.Clone(open))
	for i := range open {
		all = append(all, []Open{open[i]})
	}
	return all
}

// try accepts of a group what is possible.
func (j *judgement) try(group []Open) {
	group = slices.DeleteFunc(group, func(o Open) bool { return j.done[o.ID] })
	for len(group) > 0 {
		taken, among := j.court.Beside(idsOf(group), j.accepted)
		if len(taken) == 0 {
			taken = among
		}
		if len(taken) == 0 {
			break
		}
		group = j.keep(group, func(o Open) *Refusal { return taken[o.ID] })
	}
	for _, o := range group {
		j.accepted = append(j.accepted, o.ID)
		j.done[o.ID] = true
		delete(j.refused, o.ID)
	}
	if len(group) > 0 {
		j.open = slices.DeleteFunc(j.open, func(o Open) bool { return j.done[o.ID] })
	}
}

func idsOf(open []Open) []uint32 {
	ids := make([]uint32, len(open))
	for i, o := range open {
		ids[i] = o.ID
	}
	return ids
}
