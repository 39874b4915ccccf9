package serve

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/live"
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

// addRows adds rows to a snapshot, as many as can be added: of two that contradict
// each other the one with the lower id.
func (a *Instance) addRows(base *Snapshot, rows []configured, hold func(*configured, error)) *Snapshot {
	others := func(c configured) bool {
		entry := base.Tables.SiteByID(c.id)
		return entry != nil && base.Sites.At(entry.Index).Source != c.source
	}
	if slices.ContainsFunc(rows, others) {
		rows = slices.DeleteFunc(slices.Clone(rows), func(c configured) bool {
			if !others(c) {
				return false
			}
			owner := base.Sites.At(base.Tables.SiteByID(c.id).Index).Source
			hold(&c, fmt.Errorf("%s has a site %d as well: give one of them another id, or remove it", cmp.Or(owner, "the configuration"), c.id))
			return true
		})
	}
	if len(rows) == 0 {
		return base
	}
	next, err := a.deriveRows(base, rows)
	if err == nil {
		return next
	}
	return a.addHalves(base, a.withoutCulprits(base, rows, hold), hold)
}

func (a *Instance) deriveRows(base *Snapshot, rows []configured) (*Snapshot, error) {
	next, simple, err := a.derive(base, rows, nil, nowhere)
	if err != nil || simple {
		return next, err
	}
	return next, a.stopsNobody(next, base)
}

// addHalves adds rows, and halves their list until those that cannot be added stand alone.
func (a *Instance) addHalves(base *Snapshot, rows []configured, hold func(*configured, error)) *Snapshot {
	if len(rows) == 0 {
		return base
	}
	next, err := a.deriveRows(base, rows)
	switch {
	case err == nil:
		return next
	case len(rows) == 1:
		hold(&rows[0], err)
		return base
	}
	half := len(rows) / 2
	return a.addHalves(a.addHalves(base, rows[:half], hold), rows[half:], hold)
}

// stopsNobody refuses rows that would stop another site, or themselves, by a binding
// that both have: first_wins is for the sites of the configuration among themselves.
func (a *Instance) stopsNobody(sn, before *Snapshot) error {
	if !a.Options.FirstWins {
		return nil // it would be a conflict
	}
	for _, entry := range sn.Tables.Sites() {
		if entry.State.Code == 0 {
			continue
		}
		if old := before.Tables.SiteByID(entry.ID); old == nil || old.State.Code == 0 {
			return stoppedError(entry)
		}
	}
	return nil
}

func stoppedError(entry *binding.SiteEntry) error {
	return &binding.ConflictError{Findings: []binding.Finding{{
		Severity: binding.Error, Code: live.CodeConflict, Site: entry.ID,
		Message: config.SiteLabel(entry.ID, entry.Name) + " would be stopped: " + entry.State.Reason,
	}}}
}

func nowhere(uint32) string { return "" }
