package live

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/sites"
)

// fill has a table many rows that are served.
func fill(m *memory, s *Source, count uint32) {
	rows := make(map[uint32]string)
	for id := range count {
		rows[id+10] = `{}`
	}
	m.write(rows)
	receive(s, m)
}

// TestLosses: a database that is another one than before and has lost many sites takes none
// away until somebody says so, or loads a configuration; nothing is written meanwhile.
func TestLosses(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	fill(m, s, 40)
	before := len(n.shown)
	lose := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.theirs, m.moved = make(map[uint32]sites.Row), true
		m.next = sites.Head{Source: "other", Revision: 1}
	}
	lose()
	receive(s, m)
	if len(n.shown) != before {
		t.Fatal("what is gone is not served any more, and nobody was asked")
	}
	if findings := s.Findings(); len(findings) != 1 || findings[0].Code != codeSourceChanged || !strings.Contains(findings[0].Message, "40 sites") {
		t.Errorf("findings: %+v", findings)
	}
	s.Lock()
	_, err := s.Begin(t.Context(), &SiteWrite{})
	s.Unlock()
	if refused, ok := errors.AsType[*WriteError](err); !ok || refused.Status != http.StatusServiceUnavailable || !strings.Contains(err.Error(), "40 sites") {
		t.Errorf("a change meanwhile: %v", err)
	}
	if removed := s.Follower.Accept(); removed != 40 || len(n.gone[len(n.gone)-1]) != 40 {
		t.Errorf("accepted: %d", removed)
	}
	if s.Follower.Accept() != 0 || len(s.Findings()) != 0 {
		t.Error("it is accepted and still told")
	}

	fill(m, s, 40)
	lose()
	receive(s, m)
	_, next := openSource(t, &given{table: m}, n)
	if serve(next); len(n.gone[len(n.gone)-1]) != 40 {
		t.Error("a load of the configuration does not take the database as it is")
	}

	// Neither a few sites nor a small part of very many are asked about.
	for _, c := range []struct{ of, lost uint32 }{{19, 10}, {200, 20}} {
		fill(m, next, c.of)
		m.mu.Lock()
		for id := range c.lost {
			delete(m.theirs, id+10)
		}
		m.moved = true
		m.next.Revision++
		m.mu.Unlock()
		if receive(next, m); len(n.gone[len(n.gone)-1]) != int(c.lost) {
			t.Errorf("%d of %d sites that are gone are asked about", c.lost, c.of)
		}
	}
}

// TestTake: what others have written is shown, what is gone stays held back until the node
// decides about all of it, and a difference that another write was faster than is read again.
func TestTake(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	m.write(map[uint32]string{2: host("two.test"), 3: host("three.test")})
	receive(s, m)
	s.Hold(3, HeldBack{Reason: "why"}, inputOf(t, 3))
	m.write(map[uint32]string{3: ""})
	stale := m.difference()
	receive(s, m)
	if _, held := s.HeldRow(3); !held || !slices.Equal(n.gone[len(n.gone)-1], []uint32{3}) {
		t.Errorf("row 3 is held back: %v, gone %v", held, n.gone)
	}
	if _, there := s.Follower.RevisionOf(3); there {
		t.Error("row 3 is gone and known")
	}
	shown, woken := len(n.shown), m.woken
	s.Follower.receive(stale)
	if len(n.shown) != shown || m.woken == woken {
		t.Error("a difference is shown that is not from what is there")
	}
}

// TestRetryLater: rows that wait for a socket are tried again until none waits, with the
// lock held, and by the configuration that serves alone.
func TestRetryLater(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	s.Hold(5, HeldBack{Socket: true}, inputOf(t, 5))
	s.Hold(6, HeldBack{Waits: true}, inputOf(t, 6))
	tried := make(chan bool, 10)
	var serves atomic.Bool
	try := func() {
		if s.Follower.mu.TryLock() || !serves.Load() {
			t.Error("tried without the lock, or by who does not serve")
		}
		tried <- true
		if len(tried) == 2 {
			s.LetGo(5)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.RetryLater(ctx, try)
	s.RetryLater(ctx, try) // once is enough
	time.Sleep(3 * firstPause / 2)
	serves.Store(true)
	serve(s)
	pending := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.retry != nil || s.retried != 0
	}
	for deadline := time.Now().Add(20 * time.Second); pending() || len(tried) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not end")
		}
	}
	if len(tried) != 2 {
		t.Errorf("tried %d times", len(tried))
	}
	s.Hold(5, HeldBack{Socket: true}, inputOf(t, 5))
	cancel()
	s.retryLater(ctx, func() { t.Error("the configuration has ended") })
}

// TestRetrySoon: a row that begins to wait is tried again after the first pause, however long
// others wait already, and so is one that was written again; who only waits on makes no pause
// shorter, and many who begin to wait delay nobody.
func TestRetrySoon(t *testing.T) { synctest.Test(t, testRetrySoon) }

func testRetrySoon(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wait := func(pause time.Duration) {
		time.Sleep(pause)
		synctest.Wait()
	}
	var tries atomic.Int32
	var tried atomic.Pointer[time.Time]
	last := func() time.Time { return *tried.Load() }
	var waits []uint32
	hold := func(id uint32) { s.Hold(id, HeldBack{Socket: true}, inputOf(t, id)) }
	try := func() {
		tried.Store(new(time.Now()))
		tries.Add(1)
		for _, id := range waits {
			hold(id) // still
		}
	}
	begin := func(id uint32) {
		waits = append(waits, id)
		hold(id)
		s.RetryLater(ctx, try)
	}
	begin(5)
	wait(10 * time.Minute)
	if pause := time.Until(last().Add(lastPause)); tries.Load() > 17 || pause < 0 {
		t.Fatalf("tried %d times, the last one %s ago", tries.Load(), time.Since(last()))
	}
	soon := func(what string) {
		t.Helper()
		since := time.Now()
		wait(firstPause + time.Millisecond)
		if !last().After(since) {
			t.Error(what, "is not tried after the first pause")
		}
	}
	begin(6)
	soon("a second row")
	wait(10 * time.Minute)
	m.write(map[uint32]string{5: host("five.test")})
	receive(s, m)
	begin(5)
	soon("a row that was written again")
	wait(10 * time.Minute)
	m.write(map[uint32]string{7: `{}`})
	n.bench.Passes = func(id uint32, _ *config.Site) (binding.Site, error) {
		return inputOf(t, id), ownroutes.ErrNotReady
	}
	receive(s, m)
	soon("a row that is refused for its routes")
	wait(10 * time.Minute)
	since := time.Now()
	for id := range uint32(20) {
		begin(10 + id)
		wait(firstPause / 4)
	}
	if !last().After(since.Add(2 * firstPause)) {
		t.Errorf("last tried %s after the first of many began to wait", last().Sub(since))
	}
}

// TestProvisionedAhead: routes that rows bring with them are provisioned while neither the
// table is locked for all who write it nor, where what others write arrives, this server's
// lock is held; they are kept until the rows are shown and judged. What does not become
// ready is not waited for again and again.
func TestProvisionedAhead(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	s.Routes = new(config.RouteRules)
	serve(s)
	f := s.Follower
	const never = `{"name":"never"}`
	ready, kept, provisioned, free := make(map[string]bool), 0, 0, true
	n.ahead = func(documents []json.RawMessage) (provision func() (over func())) {
		if !slices.ContainsFunc(documents, func(d json.RawMessage) bool { return !ready[string(d)] }) {
			return nil
		}
		return func() (over func()) {
			provisioned++
			if m.locked {
				t.Error("provisioned while the table is locked")
			}
			if f.mu.TryLock() {
				f.mu.Unlock()
			} else if free {
				t.Error("provisioned under the lock of this server")
			}
			for _, d := range documents {
				ready[string(d)] = string(d) != never
			}
			kept++
			return func() { kept-- }
		}
	}
	passes := n.bench.Passes
	n.bench.Passes = func(id uint32, cfg *config.Site) (binding.Site, error) {
		if kept == 0 {
			t.Error("judged with routes that are not kept")
		}
		return passes(id, cfg)
	}
	check := func(what string, want int) {
		t.Helper()
		if kept != 0 || m.locked || provisioned != want {
			t.Errorf("%s: provisioned %d times, %d kept, locked: %v", what, provisioned, kept, m.locked)
		}
		provisioned = 0
	}

	m.write(map[uint32]string{2: host("two.test"), 3: host("two.test")})
	receive(s, m)
	check("rows arrive", 1)
	if refusal(t, m, 2) != "" || refusal(t, m, 3) == "" {
		t.Error("they are not judged")
	}
	clear(ready) // nobody has the routes of a row that is refused
	m.write(map[uint32]string{2: ""})
	f.reconsidered = time.Now()
	receive(s, m)
	check("a row has gone", 0)
	f.reconsidered = time.Time{}
	receive(s, m)
	check("the other one is judged again", 1)
	if refusal(t, m, 3) != "" {
		t.Error("it is still refused")
	}

	free = false
	m.write(map[uint32]string{4: host("four.test")})
	s.Lock()
	f.judgeNow()
	check("judged before it has arrived", 1)
	m.write(map[uint32]string{5: host("five.test")})
	m.theirs[5] = sites.Row{ID: 5, Revision: m.next.Revision, Document: json.RawMessage(host("five.test"))}
	m.write(map[uint32]string{6: host("six.test")})
	writer, err := s.Begin(t.Context(), &SiteWrite{})
	if err != nil || !m.locked || refusal(t, m, 4) != "" || refusal(t, m, 6) != "" || n.sites[5].ID == 0 {
		t.Errorf("begun: %v, shown %v", err, n.shown)
	}
	writer.End()
	check("a change begins", 2)
	m.theirs[7] = sites.Row{ID: 7, Revision: 1, Document: json.RawMessage(never)}
	m.write(nil)
	if writer, err = s.Begin(t.Context(), &SiteWrite{}); err != nil {
		t.Fatal(err)
	}
	if kept == 0 {
		t.Error("routes are let go while the writer needs them")
	}
	writer.End()
	s.Unlock()
	check("what is never ready", 2)
}

// TestBeginJudges: what others have written before a change is judged before it.
func TestBeginJudges(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	m.write(map[uint32]string{2: host("two.test")})
	s.Lock()
	defer s.Unlock()
	writer, err := s.Begin(t.Context(), &SiteWrite{})
	if err != nil || writer == nil {
		t.Fatal(err)
	}
	if len(m.log) != 1 || refusal(t, m, 2) != "" {
		t.Errorf("not judged: %+v", m.log)
	}
	m.refuse = sites.ErrUnavailable
	if _, err := s.Begin(t.Context(), &SiteWrite{}); err == nil {
		t.Error("begun without the engine")
	}
}

// TestSharedFindings: what is not as it should be with a table is told: that it is away for
// long, that its copy is not written, and rows that are refused.
func TestSharedFindings(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	m.write(map[uint32]string{2: host("two.test"), 3: host("three.test")})
	receive(s, m)
	m.write(map[uint32]string{2: host("one.test"), 4: host("one.test")})
	receive(s, m)
	m.status.Up, m.status.Contact = false, time.Now().Add(-awayAfter/2)
	if codes := codesOf(s); !slices.Equal(codes, []string{codeRowRefused, codeRowRefused}) {
		t.Errorf("away for a moment: %v", codes)
	}
	m.status.Contact = time.Now().Add(-2 * awayAfter)
	m.status.SnapshotError = "the disk is full"
	s.Hold(3, HeldBack{Reason: "why", Name: "three"}, inputOf(t, 3))
	if codes := codesOf(s); !slices.Equal(codes, []string{codeSourceAway, codeSnapshot, codeRowRefused, codeRowRefused, codeHeldBack}) {
		t.Errorf("findings: %v", codes)
	}
	for _, f := range s.Findings() {
		switch {
		case f.Site == 2 && !strings.Contains(f.Message, "served as it was before"):
			t.Error(f.Message)
		case f.Site == 4 && !strings.Contains(f.Message, "not served"):
			t.Error(f.Message)
		}
	}
	shown := s.Describe()
	if shown.Refused != 2 || shown.Open != 0 || *shown.Up || shown.From != "engine" || !shown.Writable || shown.Sites != 3 || shown.Kind != "given" {
		t.Errorf("described as %+v", shown)
	}
}

func codesOf(s *Source) (codes []string) {
	for _, f := range s.Findings() {
		codes = append(codes, f.Code)
	}
	return codes
}

// TestMovedIsBounded: rows that come and go leave nothing behind, but what a row that is
// refused waits for.
func TestMovedIsBounded(t *testing.T) {
	_, s := openSource(t, &given{table: newMemory()}, newNode(t))
	f := s.Follower
	f.rivals[1<<20] = rival{id: 5}
	for id := uint32(1); id < 10*movedAtLeast; id++ {
		f.NoteWritten(sites.Head{Revision: uint64(2*id - 1)}, []Result{{ID: id, Revision: uint64(2*id - 1)}})
		f.NoteWritten(sites.Head{Revision: uint64(2 * id)}, []Result{{ID: id, Deleted: true}})
	}
	if len(f.moved) > movedAtLeast+2 || f.moved[5] == 0 {
		t.Errorf("%d rows are known that have moved, row 5 at %d", len(f.moved), f.moved[5])
	}
}
