package serve

import (
	"cmp"
	"slices"

	"github.com/caddy-iis/caddy-iis/binding"
)

// withoutCulprits leaves out the rows that contradict a snapshot or rows before them. It
// looks at all at once: to halve a list until each of many culprits stands alone takes
// minutes where there are 100,000 rows.
func (a *Instance) withoutCulprits(base *Snapshot, rows []configured, hold func(*configured, error)) []configured {
	if a.Options.FirstWins {
		return rows // there, sites of the configuration that are stopped are in nobody's way
	}
	for range maxCulpritRounds {
		inputs, err := a.bindingSites(rows)
		if err != nil {
			return rows
		}
		culprits := a.contradicting(base, inputs)
		if len(culprits) == 0 {
			return rows
		}
		rows = slices.DeleteFunc(rows, func(c configured) bool {
			found, is := culprits[c.id]
			if is {
				hold(&c, &binding.ConflictError{Findings: []binding.Finding{found}})
			}
			return is
		})
	}
	return rows
}

// maxCulpritRounds bounds how often all rows are looked at. A row may be in nobody's way
// any more when another one is left out.
const maxCulpritRounds = 10

// contradicting returns the rows of a list that contradict what is there, or a row before
// them that does not do so itself.
func (a *Instance) contradicting(base *Snapshot, list []binding.Site) map[uint32]binding.Finding {
	changed := make(map[uint32]bool, len(list))
	for i := range list {
		changed[list[i].ID] = true
	}
	first := slices.DeleteFunc(base.Tables.Inputs(), func(s binding.Site) bool { return changed[s.ID] })
	slices.SortStableFunc(list, func(x, y binding.Site) int { return cmp.Compare(x.ID, y.ID) })
	found := binding.Contradictions(first, a.BoundEndpoints, list, a.bindingOptions())
	slices.SortStableFunc(found, func(x, y binding.Finding) int { return cmp.Compare(x.Site, y.Site) })
	culprits := make(map[uint32]binding.Finding)
	for _, f := range found {
		_, known := culprits[f.Site]
		_, otherGoes := culprits[f.Other]
		if !known && (!changed[f.Other] || f.Other == f.Site || !otherGoes) {
			culprits[f.Site] = f
		}
	}
	return culprits
}
