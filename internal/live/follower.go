package live

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/sites"
)

// Follower is an open table and what the process knows of it. It outlives
// configurations.
type Follower struct {
	sites.Table

	Shared sites.Shared // the same, if others write it as well; else nil
	stop   func()       // ends following it
	began  time.Time

	mu    turns   // held by who writes, takes what others wrote, or takes the table over
	owner *Source // by which the rows are served

	openSince    time.Time // since when rows wait for their first verdict
	reconsidered time.Time // when rows that were refused were looked at

	// What is known of the table. It is changed by who holds mu as well, and read by
	// who holds either. Held for moments only: nobody may wait for another source.
	known        sync.Mutex
	revision     map[uint32]uint64
	certificates map[string]*keptCertificate
	head         sites.Head
	highest      atomic.Uint32     // id that there was since the table is open; the last one, while it is there
	step         uint64            // counts what was written since then
	moved        map[uint32]uint64 // the step in which a row was last different
	movedCerts   uint64            // the step in which a certificate was last different
	served       sites.Head        // the newest revision that is served
	pasts        uint64            // counts how often the table had another past
	servedPast   uint64            // the one of which served is
	news         chan struct{}     // closed when that is another one, or a row is let go

	// Of shared tables.
	open    map[uint32]bool  // rows that are not accepted
	rivals  map[uint32]rival // what was in the way of those that are refused
	strange int              // sites that would go if pending was taken
	pending *sites.Difference
}

func newFollower(table sites.Table) *Follower {
	f := &Follower{
		Table: table, mu: newTurns(), revision: make(map[uint32]uint64), moved: make(map[uint32]uint64), news: make(chan struct{}),
		certificates: make(map[string]*keptCertificate),
		open:         make(map[uint32]bool), rivals: make(map[uint32]rival), began: time.Now(),
	}
	f.Shared, _ = table.(sites.Shared)
	return f
}

// openFollower opens a table, or takes one that is open already.
func openFollower(ctx context.Context, module sites.Source, onlyOpen bool) (*Follower, error) {
	val, _, err := followers.LoadOrNew(module.Address(), func() (caddy.Destructor, error) {
		if onlyOpen {
			return nil, ErrNotOpen
		}
		table, err := module.Open(ctx)
		if err != nil {
			return nil, err
		}
		f := newFollower(table)
		if f.head, err = table.Head(); err == nil {
			f.served = f.head
			err = table.Rows(func(row sites.Row) error { f.noteRow(&row); return nil })
		} else if f.Shared != nil {
			err = nil // it follows when it can
		}
		if err != nil {
			_ = table.Close()
			return nil, err
		}
		if f.Shared != nil {
			f.follow()
		}
		return f, nil
	})
	if err != nil {
		return nil, err
	}
	return val.(*Follower), nil
}

// ErrNotOpen is the error of a table that is to be open already and is not.
var ErrNotOpen = errors.New("it is not open in this process")

// followers are those of the process, by address.
var followers = caddy.NewUsagePool()

// noteRow takes note of a row. The caller holds both locks, or has the follower alone.
func (f *Follower) noteRow(row *sites.Row) {
	f.revision[row.ID] = row.Revision
	if f.step > 0 { // that is what is not there
		f.moved[row.ID] = f.step
	}
	f.highest.Store(max(f.highest.Load(), row.ID))
	if row.Open {
		f.open[row.ID] = true
	} else {
		delete(f.open, row.ID)
		delete(f.rivals, row.ID)
	}
}

// forget takes note of a row that is gone.
func (f *Follower) forget(id uint32) {
	delete(f.revision, id)
	delete(f.open, id)
	delete(f.rivals, id)
	if id == math.MaxUint32 { // none comes after it, as long as it is there
		f.highest.Store(slices.Max(slices.AppendSeq([]uint32{0}, maps.Keys(f.revision))))
	}
	f.moved[id] = f.step // others may have waited for that
	if len(f.moved) > 2*len(f.revision)+movedAtLeast {
		f.letGoOfMoved()
	}
}

// movedAtLeast is of how many rows it is known when they moved, however few there are.
const movedAtLeast = 1000

// letGoOfMoved forgets when rows that are gone have moved, where no other row waited for
// them: there may be ever more of them.
func (f *Follower) letGoOfMoved() {
	waitedFor := make(map[uint32]bool)
	for _, r := range f.rivals {
		waitedFor[r.id] = true
	}
	maps.DeleteFunc(f.moved, func(id uint32, _ uint64) bool {
		_, there := f.revision[id]
		return !there && !waitedFor[id]
	})
}

// NoteWritten takes note of what a change of this server has written. The caller holds the
// lock.
func (f *Follower) NoteWritten(head sites.Head, results []Result) {
	f.known.Lock()
	defer f.known.Unlock()
	f.head = head
	f.step++
	for _, r := range results {
		switch {
		case r.Same:
		case r.Deleted:
			f.forget(r.ID)
		default:
			f.noteRow(&sites.Row{ID: r.ID, Revision: r.Revision})
		}
	}
}

// RevisionOf returns the revision of a row, if there is one.
func (f *Follower) RevisionOf(id uint32) (revision uint64, ok bool) {
	f.known.Lock()
	defer f.known.Unlock()
	revision, ok = f.revision[id]
	return revision, ok
}

// Size returns the newest revision, and how many rows there are.
func (f *Follower) Size() (head sites.Head, rows int) {
	f.known.Lock()
	defer f.known.Unlock()
	return f.head, len(f.revision)
}

// Served is the newest revision that is served.
func (f *Follower) Served() sites.Head {
	f.known.Lock()
	defer f.known.Unlock()
	return f.served
}

// ServedIn is Served, and says in which of the pasts that the table has had that is: what is
// served of one does not lead to what is served of another, whatever the numbers are.
func (f *Follower) ServedIn() (head sites.Head, past uint64) {
	f.known.Lock()
	defer f.known.Unlock()
	return f.served, f.servedPast
}

// Destruct implements caddy.Destructor.
func (f *Follower) Destruct() error {
	if f.stop != nil {
		f.stop()
	}
	for _, name := range f.CertificateNames() {
		f.dropCertificate(name)
	}
	return f.Close()
}
