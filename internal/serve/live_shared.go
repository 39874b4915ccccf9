package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/sites"
)

// follow has what others write to a shared table served, until the table is closed.
func (f *follower) follow() {
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
func (f *follower) receive(d *sites.Difference) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.Empty() {
		f.retrySockets()
	} else if !f.take(d, false) {
		return
	}
	f.judge()
	if a := f.owner; a != nil && !a.own.Settled() {
		a.locked(func() { a.settleOwn(a.Now()) }) // what was looked at and not accepted
	}
}

// take makes a difference what this server knows and serves. It reports false if it
// does not. The caller holds f.mu.
func (f *follower) take(d *sites.Difference, whatever bool) bool {
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
	for i := range d.Rows {
		f.noteRow(&d.Rows[i])
	}
	for _, id := range d.Removed {
		f.forget(id)
	}
	f.known.Unlock()
	if f.owner != nil {
		f.owner.takeRows(f, d)
	}
	f.published()
	return true
}

// noteRow takes note of a row of a shared table.
func (f *follower) noteRow(row *sites.Row) {
	f.note(row.ID, row.Revision)
	if row.Open {
		f.open[row.ID] = true
	} else {
		delete(f.open, row.ID)
		delete(f.rivals, row.ID)
	}
}

// forget takes note of a row that is gone.
func (f *follower) forget(id uint32) {
	delete(f.revision, id)
	delete(f.open, id)
	delete(f.rivals, id)
	f.moved[id] = f.step // others may have waited for that
}

// losses tells how many sites would go, if that is to be asked about: the database is
// another one than before, or has lost what it had, and many sites with it.
func (f *follower) losses(d *sites.Difference) int {
	const few = 10
	lost := len(d.Removed)
	if !d.Moved || lost <= few || lost*10 <= len(f.revision) {
		return 0
	}
	return lost
}

// acceptPending takes what was kept back since it would have taken many sites away.
// The caller holds f.mu.
func (f *follower) acceptPending() {
	if f.pending != nil {
		f.take(f.pending, true)
	}
}

// published tells those who wait for a revision that it is served.
func (f *follower) published() {
	f.known.Lock()
	defer f.known.Unlock()
	f.served = f.head
	close(f.news)
	f.news = make(chan struct{})
}

// tellNews has those look again who wait for something of the source to be served.
func (f *follower) tellNews() {
	f.known.Lock()
	defer f.known.Unlock()
	close(f.news)
	f.news = make(chan struct{})
}

// whatIsNew returns a channel that is closed when something else is served than now.
func (f *follower) whatIsNew() <-chan struct{} {
	f.known.Lock()
	defer f.known.Unlock()
	return f.news
}

// Served is the newest revision that is served.
func (f *follower) Served() sites.Head {
	f.known.Lock()
	defer f.known.Unlock()
	return f.served
}

// sourceOf returns what the configuration has of a table.
func (a *Instance) sourceOf(f *follower) *LiveSource {
	i := slices.IndexFunc(a.Live, func(s *LiveSource) bool { return s.Follower == f })
	return a.Live[i]
}

// takeRows serves what others have written.
func (a *Instance) takeRows(f *follower, d *sites.Difference) {
	source := a.sourceOf(f)
	source.letGoMissing()
	ids := make([]uint32, len(d.Rows))
	for i := range d.Rows {
		ids[i] = d.Rows[i].ID
	}
	rows, removed := a.readRows(source, ids, d.Removed...)
	a.showWhatCanBe(source, rows, append(removed, source.shown(a.Now(), d.Removed)...))
	if len(d.Removed) > 0 || len(rows) > 0 {
		a.locked(func() { a.retryHeldBack(source) })
	}
	source.tell()
	a.logger.Info("sites have changed", zap.String("source", source.Name), zap.Uint64("revision", d.To.Revision),
		zap.Int("changed", len(rows)), zap.Int("removed", len(d.Removed)))
}

// shown returns which of some ids are shown, and the source's.
func (s *LiveSource) shown(sn *Snapshot, ids []uint32) (shown []uint32) {
	for _, id := range ids {
		if entry := sn.Tables.SiteByID(id); entry != nil && sn.Sites.At(entry.Index).Source == s.Name {
			shown = append(shown, id)
		}
	}
	return shown
}

// readRows reads rows that are to be shown. Those of which nothing is accepted, and that
// were shown before, are removed; those that cannot be shown are held back. Others are
// gone at the same time.
func (a *Instance) readRows(source *LiveSource, ids []uint32, gone ...uint32) (rows []configured, removed []uint32) {
	limit := a.ownLimitOf(source)
	for _, id := range slices.Concat(ids, gone) {
		limit.Remove(id)
	}
	for _, id := range ids {
		row, ok, err := source.Follower.Row(id)
		if err != nil {
			a.hold(source, id, nil, nil, err)
			continue
		}
		source.letGo(id)
		document := row.Served()
		if !ok || document == nil {
			removed = append(removed, source.shown(a.Now(), []uint32{id})...)
			continue
		}
		c, err := source.read(id, document)
		if err == nil {
			err = a.passes(source, limit, &c)
		}
		if err != nil {
			a.hold(source, id, c.cfg, document, err)
			continue
		}
		rows = append(rows, c)
	}
	slices.Sort(removed)
	return rows, removed
}

// showWhatCanBe shows rows in place of those before. A socket that cannot be opened
// holds back those that need it, and no others.
func (a *Instance) showWhatCanBe(source *LiveSource, rows []configured, removed []uint32) {
	err := a.show(rows, removed, source)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
	case len(rows) == 0:
		a.logger.Error("sites that are gone are still served", zap.String("source", source.Name), zap.Error(err))
	case len(rows) == 1 && len(removed) == 0:
		a.holdForSocket(source, &rows[0], err)
		a.locked(a.routeHeldBack)
	default:
		half := len(rows) / 2
		a.showWhatCanBe(source, nil, removed)
		a.showWhatCanBe(source, rows[:half], nil)
		a.showWhatCanBe(source, rows[half:], nil)
	}
}

// retrySockets shows the rows whose sockets could not be opened, if they can now. The
// caller holds f.mu.
func (f *follower) retrySockets() {
	if f.owner == nil {
		return
	}
	source := f.owner.sourceOf(f)
	if ids := source.heldBySockets(); len(ids) > 0 {
		rows, removed := f.owner.readRows(source, ids)
		f.owner.showWhatCanBe(source, rows, removed)
	}
}

// Begin locks a shared table for a change, and serves what was written before it. The
// caller holds f.mu.
func (a *Instance) Begin(ctx context.Context, source *LiveSource, w *SiteWrite) (sites.Writer, error) {
	f := source.Follower
	const tries = 3
	for try := 1; ; try++ {
		writer, d, err := f.Shared.Begin(ctx, w.By)
		if err != nil {
			return nil, Unavailable(err)
		}
		if !f.take(d, false) {
			writer.End()
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

func (f *follower) refusesWrites() error {
	if f.strange > 0 {
		return RefuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "%s", strangeText(f.strange))
	}
	return RefuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "the table has moved: ask again")
}

func strangeText(lost int) string {
	return fmt.Sprintf("the database is another one than before, or has lost what it had: %d sites would go, and are served as they were; nothing is written", lost)
}

// codeUnknown is the code of a change of which nobody knows whether it is made.
const codeUnknown = "unknown"

// Unavailable turns the error of a table into what the API tells.
func Unavailable(err error) error {
	switch {
	case errors.Is(err, sites.ErrRepeat):
		return fmt.Errorf("%w (%w)", RefuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "the change cannot be kept: %v", err), sites.ErrRepeat)
	case errors.Is(err, sites.ErrUnknown):
		return RefuseWrite(http.StatusGatewayTimeout, codeUnknown, nil, "%v: make the request again", err)
	case errors.Is(err, sites.ErrReadOnly):
		return RefuseWrite(http.StatusMethodNotAllowed, codeConfigured, nil, "%v", err)
	case errors.Is(err, sites.ErrRejected):
		return RefuseWrite(http.StatusUnprocessableEntity, CodeInvalid, nil, "%v", err)
	}
	return RefuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "the change cannot be kept: %v", err)
}

// waitFor waits until a revision is served.
func (f *follower) waitFor(ctx context.Context, id string, revision uint64) bool {
	if f.Shared != nil {
		f.Shared.Wake() // once: what comes later is noticed as always
	}
	for {
		f.known.Lock()
		served, news := f.served, f.news
		f.known.Unlock()
		if served.Source == id && served.Revision >= revision {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}

// The codes of findings about shared tables.
const (
	codeSnapshot      = "sites-snapshot"
	codeSourceAway    = "sites-source-away"
	codeSourceChanged = "sites-source-changed"
	codeRowRefused    = "site-refused"
)

// awayAfter is how long a table may be away before that is a finding.
const awayAfter = 10 * time.Second

// sharedFindings tells of a table that is not as it should be, and of its rows that are
// refused.
func (s *LiveSource) sharedFindings() (findings []binding.Finding) {
	f := s.Follower
	if f == nil || f.Shared == nil {
		return nil
	}
	status := f.Shared.Status()
	since := status.Contact
	if since.IsZero() {
		since = f.began
	}
	if !status.Up && time.Since(since) > awayAfter {
		findings = append(findings, binding.Finding{
			Severity: binding.Error, Code: codeSourceAway,
			Message: fmt.Sprintf("%s is away since %s, and its sites are served as they were: %s", s.Name, since.UTC().Format(time.RFC3339), status.Error),
			Fix:     "it is tried again by itself; changes are refused meanwhile",
		})
	}
	if status.SnapshotError != "" {
		findings = append(findings, binding.Finding{
			Severity: binding.Warning, Code: codeSnapshot,
			Message: fmt.Sprintf("%s: %s", s.Name, status.SnapshotError),
			Fix:     "make room for it and see who may write there: it is what this server starts from while the database is away; it is written anew after the next change",
		})
	}
	f.known.Lock()
	lost := f.strange
	f.known.Unlock()
	if lost > 0 {
		findings = append(findings, binding.Finding{
			Severity: binding.Error, Code: codeSourceChanged, Message: s.Name + ": " + strangeText(lost),
			Fix: "caddy iis sites accept takes the database as it is",
		})
	}
	for _, row := range f.OpenRows() {
		if row.Refusal == nil {
			continue
		}
		finding := binding.Finding{
			Severity: binding.Warning, Code: codeRowRefused, Site: row.ID,
			Message: fmt.Sprintf("site %d of %s is refused as it was written, and served as it was before: %s", row.ID, s.Name, row.Refusal.Message),
			Fix:     "change it, or what it contradicts",
		}
		if row.Good == nil {
			finding.Severity = binding.Error
			finding.Message = fmt.Sprintf("site %d of %s is refused, and not served: %s", row.ID, s.Name, row.Refusal.Message)
		}
		if findings = append(findings, finding); len(findings) == MaxErrors {
			break
		}
	}
	return findings
}

// OpenRows returns the rows that are not accepted, by id.
func (f *follower) OpenRows() []sites.Row {
	f.known.Lock()
	ids := SortedKeys(f.open)
	f.known.Unlock()
	rows := make([]sites.Row, 0, len(ids))
	for _, id := range ids {
		if row, ok, err := f.Row(id); ok && err == nil && row.Open {
			rows = append(rows, row)
		}
	}
	return rows
}

// addShared adds to a source what a shared table has to say.
func (f *follower) addShared(shown *adminapi.Source) {
	if f.Shared == nil {
		return
	}
	status := f.Shared.Status()
	shown.Writable = !status.ReadOnly
	shown.From, shown.Up, shown.Error = "engine", new(status.Up), status.Error
	if status.Snapshot {
		shown.From = "snapshot"
	}
	if !status.Loaded {
		shown.From = ""
	}
	shown.Seen = status.Seen
	if !status.Contact.IsZero() {
		shown.ContactAge = new(time.Since(status.Contact).Seconds())
	}
	if !status.SavedAt.IsZero() {
		shown.SnapshotRevision = status.SavedRevision
		shown.SnapshotAge = new(max(0, time.Since(status.SavedAt).Seconds()))
	}
	for _, row := range f.OpenRows() {
		if row.Refusal == nil {
			shown.Open++
		} else {
			shown.Refused++
		}
	}
}

// Accept takes the table as it is, whatever that takes away, and returns how many sites
// are gone with it.
func (f *follower) Accept() (removed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending == nil {
		return 0
	}
	removed = f.strange
	f.acceptPending()
	return removed
}
