package sitesource

import "context"

// Source yields sites that are kept outside Caddy's configuration. It may be
// used by several goroutines at the same time.
type Source[T any] interface {
	// Read compares the source with an earlier state of it, nil standing for
	// one without sites, and returns the state that it is in now and the
	// differences. The earlier state is not modified: whoever refuses the
	// differences goes on with it. With an error, it is what Read returns.
	Read(ctx context.Context, since State) (State, Difference[T], error)

	// Watch has changed called whenever Read may yield something new, and once
	// soon after Watch, since a change may have come before it. It is called
	// from another goroutine, but never twice at the same time, and should
	// call Read before it returns: where the source could not be read for a
	// reason that may pass, it is called again now and then.
	//
	// Watching ends with stop, which may be called more than once, also from
	// changed. It does not wait for a call of changed that runs.
	Watch(changed func()) (stop func(), err error)

	// String names the source in messages.
	String() string
}

// State is what a source was when it was read. It is immutable, and does not
// hold the sites.
type State interface {
	// Len returns how many sites there were.
	Len() int

	// Where returns where in the source a site was, such as "line 7", or
	// nothing if there was no such site. It is for messages: it searches.
	Where(id uint32) string
}

// Difference is what changed between two states of a source.
type Difference[T any] struct {
	// Changed are the sites that are new or different, in the order of the
	// source.
	Changed []Record[T]

	// Removed are the sites that are gone, in ascending order.
	Removed []uint32
}

// Empty reports whether nothing changed.
func (d Difference[T]) Empty() bool { return len(d.Changed) == 0 && len(d.Removed) == 0 }

// Record is a site in a source.
type Record[T any] struct {
	ID    uint32
	Where string // in the source, such as "line 7"
	Value T
}

// Decode understands one record. It must depend on nothing but raw, since only
// records that differ are decoded again, and must neither modify raw nor hold
// on to any part of it: that would keep the whole source in memory. It is
// called from several goroutines at the same time. Its errors are shown to
// people, and should not quote what may be secret.
type Decode[T any] func(raw []byte) (id uint32, value T, err error)
