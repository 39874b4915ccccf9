package sites

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Shared is a table that others write as well: several nodes, and programs that know
// nothing of them. It keeps a state in memory, which Head, Row and Rows tell, and which
// only Adopt and Writer.Write move.
//
// Whatever moves the state is the matter of one goroutine at a time: Adopt, and from
// Begin to the end of its Writer.
type Shared interface {
	Table

	// Follow reads what is new, whenever there is something, and calls a function with
	// it, until the context ends. It connects, and connects again.
	Follow(ctx context.Context, on func(*Difference))

	// Wake has Follow read at once.
	Wake()

	// Adopt makes a difference the state. It reports false, and does nothing, if the
	// state is another one than that from which the difference was read.
	Adopt(*Difference) bool

	// Begin locks the table for all writers and reads to its head. The difference is to
	// be adopted before anything is written.
	Begin(ctx context.Context, by string) (Writer, *Difference, error)

	// Status tells how the table is reached.
	Status() Status
}

// Writer writes one transaction.
type Writer interface {
	// Write writes and commits. The state is then that of the revision, or of the head
	// if nothing was different, which is durable as well: without a change, that is what
	// it finds out.
	Write(Transaction) (Head, error)

	// End lets go of the table, unless Write has done so.
	End()
}

// Difference is what leads from a state to another one.
type Difference struct {
	From, To Head
	Moved    bool // To is of another table, or of another line of this one
	Rows     []Row
	Removed  []uint32
}

// Empty reports whether the difference is none.
func (d *Difference) Empty() bool { return d.From == d.To && len(d.Rows)+len(d.Removed) == 0 }

// Status is how a shared table is reached.
type Status struct {
	Loaded   bool // there is a state
	Snapshot bool // which is from a file, not from the engine itself
	// SavedAt is when the local copy was written; zero: there is none. SnapshotError is
	// why there is none, or why it was not used.
	SavedAt       time.Time
	SavedRevision uint64
	SnapshotError string

	Up       bool      // the engine is reached at this moment
	ReadOnly bool      // the role may not write
	Error    string    // of the last attempt
	Contact  time.Time // of the last answer; zero: there was none yet
	Seen     uint64    // newest revision that was seen
	SeenAt   time.Time // when it was first seen
	// Preferred says that this node judges what others write; else it does when they
	// have not done so for a while.
	Preferred bool
}

// Verdict is a decision about the document of a row: without a refusal it is accepted.
type Verdict struct {
	ID      uint32
	Refusal *Refusal
}

// Served returns what is accepted of a row, nil if nothing is.
func (r *Row) Served() json.RawMessage {
	if r.Open {
		return r.Good
	}
	return r.Document
}

// Same reports whether two rows are the same in all.
func (r *Row) Same(o *Row) bool {
	return r.ID == o.ID && r.Revision == o.Revision && r.Open == o.Open && (r.Refusal == nil) == (o.Refusal == nil) &&
		(r.Refusal == nil || *r.Refusal == *o.Refusal) &&
		bytes.Equal(r.Document, o.Document) && bytes.Equal(r.Good, o.Good)
}

var (
	// ErrUnavailable is in the error of what is certainly not done.
	ErrUnavailable = errors.New("it is not done")

	// ErrUnknown is in the error of a transaction of which nobody knows whether it is
	// done.
	ErrUnknown = errors.New("whether it is done is not known")

	// ErrRepeat is in the error of a transaction that others stood in the way of. It is
	// not done, and may be made again.
	ErrRepeat = errors.New("others were in its way")

	// ErrRejected is in the error of what the engine does not take.
	ErrRejected = errors.New("the engine refuses it")

	// ErrReadOnly is in the error of who may not write.
	ErrReadOnly = errors.New("it can be read only")

	// ErrSchema is in the error of a database without the schema.
	ErrSchema = errors.New("it has no schema for sites")
)
