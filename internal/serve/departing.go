package serve

import (
	"errors"
	"slices"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/live"
)

// unmetErrors are sites that have not changed, and whose demands nothing meets after a
// change of others.
type unmetErrors []unmetDemand

type unmetDemand struct {
	site uint32
	err  error
}

func (u unmetErrors) Error() string { return u[0].err.Error() }

func (u unmetErrors) Unwrap() error { return u[0].err }

// bereft is a row whose demands nothing meets after a deletion of another one, as after a
// start without that one: it is held back.
type bereft struct {
	source *live.Source
	input  binding.Site
	err    error
}

func (b *bereft) hold() {
	b.source.Hold(b.input.ID, live.HeldBack{Reason: b.err.Error(), Waits: true}, b.input)
}

// deriveWithout is derive, where a deletion is refused for no other row: rows whose demands
// nothing meets any more are left out, and returned.
func (a *Instance) deriveWithout(before *Snapshot, rows []configured, removed []uint32) (next *Snapshot, simple bool, left []bereft, err error) {
	next, simple, err = a.derive(before, rows, removed, nowhere)
	if _, is := errors.AsType[unmetErrors](err); !is || len(removed) == 0 {
		return next, simple, nil, err
	}
	gone := slices.Clone(removed)
	for {
		_, _, cause := a.derive(before, nil, gone, nowhere)
		unmet, is := errors.AsType[unmetErrors](cause)
		if !is {
			break
		}
		for _, u := range unmet {
			entry := before.Tables.SiteByID(u.site)
			source := a.liveSource(before.Sites.At(entry.Index).Source)
			if source == nil || slices.ContainsFunc(rows, func(c configured) bool { return c.id == u.site }) {
				return nil, false, nil, err
			}
			left = append(left, bereft{source, entry.Input(), u.err})
			gone = append(gone, u.site)
		}
	}
	next, simple, err = a.derive(before, rows, gone, nowhere)
	return next, simple, left, err
}
