package live

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/sites"
)

// byJudge is who writes verdicts, in the log.
const byJudge = "judge"

const (
	judgeLater = time.Second // how long others leave an open row to the node that judges
	judgeAgain = time.Second // the pause between looks at rows that were refused
)

// unjudged reports whether a row waits for its first verdict.
func (f *Follower) unjudged() bool { return slices.ContainsFunc(f.OpenRows(), unjudged) }

func unjudged(row sites.Row) bool { return row.Open && row.Refusal == nil }

// willJudge reports whether this server judges open rows when it has taken a difference. The
// caller holds f.mu.
func (f *Follower) willJudge(d *sites.Difference) bool {
	status := f.Shared.Status()
	if f.owner == nil || status.ReadOnly || !status.Up {
		return false
	}
	if f.unjudged() || slices.ContainsFunc(d.Rows, unjudged) {
		return status.Preferred || !f.openSince.IsZero() && time.Since(f.openSince) >= judgeLater/2
	}
	return len(f.open) > 0 && time.Since(f.reconsidered) >= judgeAgain && f.waiting()
}

// judge judges open rows, if it is this server's turn. The caller holds f.mu.
func (f *Follower) judge() {
	if f.owner == nil || len(f.open) == 0 {
		f.openSince = time.Time{}
		return
	}
	status := f.Shared.Status()
	if status.ReadOnly || !status.Up {
		return
	}
	if !f.unjudged() {
		f.openSince = time.Time{}
		f.reconsider()
		return
	}
	if f.openSince.IsZero() {
		f.openSince = time.Now()
	}
	if wait := f.patience() - time.Since(f.openSince); !status.Preferred && wait > 0 {
		time.AfterFunc(wait, f.Shared.Wake)
		return
	}
	f.judgeNow()
}

// patience is judgeLater, more or less, so that not all come at once.
func (f *Follower) patience() time.Duration {
	return judgeLater/2 + rand.N(judgeLater) //nolint:gosec // nobody is to guess it, or to mind
}

// reconsider looks at rows that were refused, if something in their way has changed.
func (f *Follower) reconsider() {
	if time.Since(f.reconsidered) < judgeAgain {
		if f.waiting() {
			time.AfterFunc(judgeAgain, f.Shared.Wake)
		}
		return
	}
	if !f.waiting() {
		return
	}
	f.reconsidered = time.Now()
	f.judgeAgain()
}

// judgeAgain writes verdicts if one of the rows that were refused can be accepted now.
func (f *Follower) judgeAgain() {
	status := f.Shared.Status()
	if status.ReadOnly || !status.Up {
		return
	}
	if provision := f.ahead(new(sites.Difference), true); provision != nil {
		defer provision()()
	}
	if accepted, _ := f.owner.judgeOpen(); len(accepted) > 0 {
		f.judgeNow()
	}
	f.owner.Node.Settle()
}

// late reports whether a row is refused since its own routes were not ready in time.
func (f *Follower) late() bool {
	f.known.Lock()
	defer f.known.Unlock()
	for _, r := range f.rivals {
		if r.late && r.owner == f.owner {
			return true
		}
	}
	return false
}

// reasonOf returns why an open row was refused when this server looked at it.
func (f *Follower) reasonOf(id uint32) rival {
	f.known.Lock()
	defer f.known.Unlock()
	return f.rivals[id]
}

// waiting reports whether a refused row may be accepted now: the rival that it had is
// not as it was when this was found out, or it had none.
func (f *Follower) waiting() bool {
	full := f.owner.Node.Bench(f.owner).Limit.Full()
	for _, row := range f.OpenRows() {
		rival, known := f.rivals[row.ID]
		if !known || rival.owner != f.owner || rival.id != 0 && f.moved[rival.id] != rival.step || rival.full && !full {
			return true
		}
	}
	return false
}

// rival is why an open row was refused when this server looked at it.
type rival struct {
	id    uint32  // the row that is in its way; 0: something else
	step  uint64  // at which that was written
	full  bool    // too many rows had routes of their own
	late  bool    // its own routes were not ready in time
	owner *Source // of the configuration that found it
}

// judgeNow writes the verdicts about the open rows, as a revision.
func (f *Follower) judgeNow() {
	err := f.tryJudge()
	if err != nil && f.owner != nil {
		f.owner.logger.Warn("sites that others have written are not judged yet", zap.String("source", f.owner.Name), zap.Error(err))
	}
}

func (f *Follower) tryJudge() error {
	if f.owner == nil {
		return nil
	}
	writer, err := f.begin(context.Background(), byJudge, true)
	if err != nil || writer == nil {
		return err
	}
	defer writer.End()
	accepted, refused := f.owner.judgeOpen()
	var verdicts []sites.Verdict
	for _, id := range accepted {
		verdicts = append(verdicts, sites.Verdict{ID: id})
	}
	for _, row := range f.OpenRows() {
		if reason := refused[row.ID]; reason != nil && row.Refusal == nil {
			verdicts = append(verdicts, sites.Verdict{ID: row.ID, Refusal: reason})
		}
	}
	if len(verdicts) == 0 {
		return nil
	}
	head, err := writer.Write(sites.Transaction{By: byJudge, Verdicts: verdicts})
	if err != nil {
		return err
	}
	f.openSince = time.Time{}
	f.takeVerdicts(head, verdicts, accepted)
	return nil
}

// takeVerdicts serves what has been accepted.
func (f *Follower) takeVerdicts(head sites.Head, verdicts []sites.Verdict, accepted []uint32) {
	f.known.Lock()
	f.step++
	f.head = head
	for _, v := range verdicts {
		if row, ok, err := f.Row(v.ID); ok && err == nil {
			f.noteRow(&row)
		}
	}
	f.known.Unlock()
	s := f.owner
	slices.Sort(accepted)
	s.Node.Show(s, accepted, nil)
	s.Tell()
	s.logger.Info("sites that others have written are judged", zap.String("source", s.Name), zap.Uint64("revision", head.Revision),
		zap.Int("accepted", len(accepted)), zap.Int("refused", len(verdicts)-len(accepted)))
}
