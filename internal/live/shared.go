package live

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/sites"
)

// follow has what others write to a shared table served, until the table is closed.
func (f *Follower) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Shared.Follow(ctx, f.receive)
	}()
	f.stop = func() {
		cancel()
		<-ended
	}
}

// receive takes what was read, and judges what is open.
func (f *Follower) receive(d *sites.Difference) {
	f.mu.Lock()
	provision := f.ahead(d, f.willJudge(d))
	f.mu.Unlock()
	if provision != nil {
		defer provision()()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.take(d, false) {
		return
	}
	f.judge()
	if f.owner != nil {
		f.owner.Node.Settle()
	}
}

// ahead returns what provisions the routes of their own that rows have of a difference, and
// those that are to be judged; nil if there is nothing to do. The caller holds f.mu.
func (f *Follower) ahead(d *sites.Difference, judging bool) (provision func() (over func())) {
	if f.owner == nil || f.owner.Routes == nil {
		return nil
	}
	rows := d.Rows
	if judging {
		rows = slices.Concat(rows, f.OpenRows())
	}
	var documents []json.RawMessage
	for i := range rows {
		if served := rows[i].Served(); served != nil {
			documents = append(documents, served)
		}
		if judging && rows[i].Open {
			documents = append(documents, rows[i].Document)
		}
	}
	return f.owner.Node.Ahead(f.owner, documents)
}

// begin locks a shared table, and takes what was written before. What that needs of routes,
// or judging it, is provisioned while others may write; it is kept until the writer has
// ended, which is nil if something stands in the way of taking it. The caller holds f.mu.
func (f *Follower) begin(ctx context.Context, by string, judging bool) (sites.Writer, error) {
	w := new(provided)
	const tries = 3
	for try := 1; ; try++ {
		writer, d, err := f.Shared.Begin(ctx, by)
		if err != nil {
			w.let()
			return nil, err
		}
		w.Writer = writer
		if provision := f.ahead(d, judging); provision != nil && try < tries {
			writer.End()
			w.overs = append(w.overs, provision())
			continue
		}
		if !f.take(d, false) {
			w.End()
			return nil, nil
		}
		return w, nil
	}
}

// provided is a writer for which routes are kept.
type provided struct {
	sites.Writer
	overs []func()
}

// End implements sites.Writer.
func (w *provided) End() {
	w.Writer.End()
	w.let()
}

func (w *provided) let() {
	for _, over := range w.overs {
		over()
	}
	w.overs = nil
}

// take makes a difference what this server knows and serves. It reports false if it
// does not. The caller holds f.mu.
func (f *Follower) take(d *sites.Difference, whatever bool) bool {
	if d.Empty() {
		return true
	}
	if lost := f.losses(d); lost > 0 && !whatever {
		f.known.Lock()
		f.strange, f.pending = lost, d
		f.known.Unlock()
		return false
	}
	if !f.Shared.Adopt(d) {
		f.Shared.Wake() // a write of this server was faster
		return false
	}
	f.known.Lock()
	f.strange, f.pending = 0, nil
	f.step++
	f.head = d.To
	if d.Moved {
		f.pasts++
	}
	for i := range d.Rows {
		f.noteRow(&d.Rows[i])
	}
	for _, id := range d.Removed {
		f.forget(id)
	}
	f.known.Unlock()
	if f.owner != nil {
		f.owner.takeRows(d)
	}
	f.published()
	return true
}

// takeRows serves what others have written.
func (s *Source) takeRows(d *sites.Difference) {
	ids := make([]uint32, len(d.Rows))
	for i := range d.Rows {
		ids[i] = d.Rows[i].ID
	}
	changed := s.Node.Show(s, ids, d.Removed)
	s.logger.Info("sites have changed", zap.String("source", s.Name), zap.Uint64("revision", d.To.Revision),
		zap.Int("changed", changed), zap.Int("removed", len(d.Removed)))
}

// losses tells how many sites would go, if that is to be asked about: the database is
// another one than before, or has lost what it had, and many sites with it.
func (f *Follower) losses(d *sites.Difference) int {
	const few = 10
	lost := len(d.Removed)
	if !d.Moved || lost <= few || lost*10 <= len(f.revision) {
		return 0
	}
	return lost
}

// acceptPending takes what was kept back since it would have taken many sites away.
// The caller holds f.mu.
func (f *Follower) acceptPending() {
	if f.pending != nil {
		if provision := f.ahead(f.pending, false); provision != nil {
			defer provision()()
		}
		f.take(f.pending, true)
	}
}

// Accept takes the table as it is, whatever that takes away, and returns how many sites
// are gone with it.
func (f *Follower) Accept() (removed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending == nil {
		return 0
	}
	removed = f.strange
	f.acceptPending()
	return removed
}

// Begin locks a shared table for a change, and serves what was written before it. The
// caller holds the lock.
func (s *Source) Begin(ctx context.Context, w *SiteWrite) (sites.Writer, error) {
	f := s.Follower
	const tries = 3
	for try := 1; ; try++ {
		writer, err := f.begin(ctx, w.By, false)
		if err != nil {
			return nil, Unavailable(err)
		}
		if writer == nil {
			return nil, f.refusesWrites()
		}
		if w.DryRun || try == tries || !f.unjudged() {
			return writer, nil
		}
		// What others have written before comes before this change.
		writer.End()
		f.judgeNow()
	}
}

func (f *Follower) refusesWrites() error {
	if f.strange > 0 {
		return RefuseWrite(http.StatusServiceUnavailable, CodeUnavailable, nil, "%s", strangeText(f.strange))
	}
	return RefuseWrite(http.StatusServiceUnavailable, CodeUnavailable, nil, "the table has moved: ask again")
}

func strangeText(lost int) string {
	return fmt.Sprintf("the database is another one than before, or has lost what it had: %d sites would go, and are served as they were; nothing is written", lost)
}

// OpenIDs returns the ids of the rows that are not accepted, in order.
func (f *Follower) OpenIDs() []uint32 {
	f.known.Lock()
	defer f.known.Unlock()
	return slices.Sorted(maps.Keys(f.open))
}

// OpenRow returns a row that is not accepted, if it is one.
func (f *Follower) OpenRow(id uint32) (row sites.Row, open bool) {
	f.known.Lock()
	open = f.open[id]
	f.known.Unlock()
	if open { // else nobody need ask the table
		row, _, _ = f.Row(id)
	}
	return row, row.Open
}

// OpenRows returns the rows that are not accepted, by id.
func (f *Follower) OpenRows() []sites.Row {
	ids := f.OpenIDs()
	rows := make([]sites.Row, 0, len(ids))
	for _, id := range ids {
		if row, open := f.OpenRow(id); open {
			rows = append(rows, row)
		}
	}
	return rows
}

// CountOpen counts the rows that wait for a verdict, and those that are refused.
func (f *Follower) CountOpen() (waiting, refused int) {
	for _, row := range f.OpenRows() {
		if row.Refusal == nil {
			waiting++
		} else {
			refused++
		}
	}
	return waiting, refused
}

// CountAccepted counts the rows of which something is accepted.
func (f *Follower) CountAccepted() int {
	_, rows := f.Size()
	for _, row := range f.OpenRows() {
		if row.Served() == nil {
			rows--
		}
	}
	return rows
}

// LastContact is when the engine of a shared table has answered, or when this server began
// to ask it.
func (f *Follower) LastContact(status *sites.Status) time.Time {
	if status.Contact.IsZero() {
		return f.began
	}
	return status.Contact
}
