package live

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/sites"
)

// TestJudge: of rows that others have written those are accepted and shown that pass and
// contradict nobody, and the others are refused with what is in their way.
func TestJudge(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	m.write(map[uint32]string{
		2: host("two.test"),
		3: host("one.test"), // site 1 has it
		4: host("two.test"), // and row 2 this one
		5: `{"name":"wrong"}`,
		6: `{"nonsense":true}`,
	})
	receive(s, m)
	for id, part := range map[uint32]string{2: "", 3: "site 1", 4: "site 2", 5: "it is wrong", 6: "nonsense"} {
		if why := refusal(t, m, id); !strings.Contains(why, part) || (part == "") != (why == "") {
			t.Errorf("row %d: %q, want %q", id, why, part)
		}
	}
	if last := n.shown[len(n.shown)-1]; !slices.Equal(last, []uint32{2}) {
		t.Errorf("shown after the verdicts: %v", last)
	}
	if len(m.log) != 1 || m.log[0].By != byJudge || len(m.log[0].Verdicts) != 5 {
		t.Errorf("written: %+v", m.log)
	}
	if waiting, refused := s.Follower.CountOpen(); waiting != 0 || refused != 4 {
		t.Errorf("%d wait and %d are refused", waiting, refused)
	}
	if served := s.Follower.Served(); served != m.head {
		t.Errorf("served is %v of %v", served, m.head)
	}
	if n.settled == 0 {
		t.Error("what was only looked at is kept")
	}
}

// TestJudgeHidden: a row contradicts what is accepted also where this server cannot show it,
// and what is accepted of itself is not in its way.
func TestJudgeHidden(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	m.write(map[uint32]string{7: host("seven.test")})
	receive(s, m)
	if why := refusal(t, m, 7); why != "" {
		t.Fatalf("row 7 is refused: %s", why)
	}
	delete(n.sites, 7)
	n.compile()
	s.Hold(7, HeldBack{Reason: "no socket"}, inputOf(t, 7, "*:80:seven.test"))
	m.write(map[uint32]string{8: host("seven.test"), 9: host("nine.test")})
	receive(s, m)
	if why := refusal(t, m, 8); !strings.Contains(why, "site 7") {
		t.Errorf("what is held back is not in the way of row 8: %q", why)
	}
	if why := refusal(t, m, 9); why != "" {
		t.Errorf("row 9 is refused: %s", why)
	}
	m.write(map[uint32]string{7: `{"name":"again","server_bindings":["*:80:seven.test"]}`})
	receive(s, m)
	if why := refusal(t, m, 7); why != "" {
		t.Errorf("row 7 is in its own way: %s", why)
	}
}

// TestJudgeMeanwhile: what another source publishes while rows are read is in their way.
func TestJudgeMeanwhile(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	passes := n.bench.Passes
	n.bench.Passes = func(id uint32, cfg *config.Site) (binding.Site, error) {
		n.sites[90] = inputOf(t, 90, "*:80:two.test")
		n.compile()
		return passes(id, cfg)
	}
	m.write(map[uint32]string{2: host("two.test")})
	receive(s, m)
	if why := refusal(t, m, 2); !strings.Contains(why, "site 90") {
		t.Errorf("row 2: %q", why)
	}
}

// TestJudgeLimit: a row that is refused takes no place of those with routes of their own; one for
// which there was none is judged again when there is.
func TestJudgeLimit(t *testing.T) {
	m, n := newMemory(), newNode(t)
	limit := func() *ownroutes.Limit {
		return (*ownroutes.Pool[int])(nil).Limit("given", &config.RouteRules{MaxSites: 1})
	}
	n.bench.Limit = limit()
	n.bench.Passes = func(id uint32, cfg *config.Site) (binding.Site, error) {
		err := n.bench.Limit.Admit(id, true)
		if err == nil && cfg.Name == "wrong" {
			err = errors.New("it is wrong")
		}
		return inputOf(t, id), err
	}
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	m.write(map[uint32]string{2: `{"name":"wrong"}`, 3: `{"name":"right"}`, 4: `{"name":"late"}`})
	receive(s, m)
	if why := refusal(t, m, 3); why != "" {
		t.Errorf("after one that is refused: %q", why)
	}
	if why := refusal(t, m, 4); !strings.Contains(why, ownroutes.ErrTooMany.Error()) {
		t.Errorf("one too many: %q", why)
	}
	f := s.Follower
	f.rivals[2] = f.rivals[4]
	if f.waiting() {
		t.Error("it is looked at again while there are too many")
	}
	if n.bench.Limit = limit(); !f.waiting() {
		t.Error("it is not looked at again when there are fewer")
	}
}

// TestJudgeLate: a row that is refused since its routes were not ready in time is judged
// again after a while, with nothing else changed, and only then; its finding says so.
func TestJudgeLate(t *testing.T) {
	m, n := newMemory(), newNode(t)
	late := ownroutes.ErrNotReady
	n.bench.Passes = func(id uint32, _ *config.Site) (binding.Site, error) { return inputOf(t, id), late }
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	m.write(map[uint32]string{2: `{}`})
	receive(s, m)
	if refusal(t, m, 2) == "" || n.again != 1 || s.Follower.waiting() || len(s.LateDocuments()) != 1 {
		t.Fatalf("tried again %d times, documents %q", n.again, s.LateDocuments())
	}
	if f := s.Findings(); len(f) != 1 || !strings.Contains(f[0].Fix, "by itself") {
		t.Errorf("findings: %+v", f)
	}
	ahead := 0
	n.ahead = func(documents []json.RawMessage) func() (over func()) {
		if len(documents) != 1 {
			t.Errorf("provisioned ahead: %q", documents)
		}
		return func() (over func()) { ahead++; return func() { ahead++ } }
	}
	again := func() {
		s.retryLater(t.Context(), func() {})
	}
	again()
	if refusal(t, m, 2) == "" || s.retry == nil {
		t.Error("a row that is still not ready is accepted, or not tried again")
	}
	s.retry.Stop()
	late = nil
	again()
	if refusal(t, m, 2) != "" || s.retried != 0 || ahead != 4 {
		t.Errorf("a row that is ready is still refused, or is tried again %d times (%d)", s.retried, ahead)
	}
}

// TestJudgeTurn: a server that may not write, or does not reach the engine, judges nothing; one
// that others are preferred to waits for them, and judges if they do not.
func TestJudgeTurn(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	m.write(map[uint32]string{2: host("two.test")})
	receive(s, m)
	if len(m.log) != 0 {
		t.Error("judged without a configuration that serves")
	}
	serve(s)
	for name, status := range map[string]sites.Status{
		"read only":          {Loaded: true, Up: true, ReadOnly: true, Preferred: true},
		"away":               {Loaded: true, Preferred: true},
		"others come before": {Loaded: true, Up: true},
	} {
		m.status = status
		s.Follower.openSince = time.Time{}
		receive(s, m)
		if len(m.log) != 0 {
			t.Fatalf("%s: judged", name)
		}
	}
	m.status = sites.Status{Loaded: true, Up: true}
	s.Follower.openSince = time.Now().Add(-2 * judgeLater)
	receive(s, m)
	if len(m.log) != 1 {
		t.Error("others do not judge, and this server does not either")
	}
}

// TestJudgeAgain: a row that was refused is judged again when what was in its way is not as
// it was, and not before: else each look at the table would judge all of them.
func TestJudgeAgain(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	m.write(map[uint32]string{2: host("two.test")})
	receive(s, m)
	m.write(map[uint32]string{3: host("two.test")})
	receive(s, m)
	if refusal(t, m, 3) == "" {
		t.Fatal("row 3 is accepted beside row 2")
	}
	f := s.Follower
	if f.waiting() {
		t.Error("row 3 is looked at though nothing has changed")
	}
	f.reconsidered = time.Now()
	m.write(map[uint32]string{2: ""})
	receive(s, m)
	if !f.waiting() || refusal(t, m, 3) == "" {
		t.Error("it is judged again without a pause, or not looked at")
	}
	f.reconsidered = time.Now().Add(-2 * judgeAgain)
	receive(s, m)
	if refusal(t, m, 3) != "" {
		t.Error("row 3 is still refused")
	}

	other := newNode(t)
	_, next := openSource(t, &given{table: m}, other)
	m.write(map[uint32]string{4: host("two.test")})
	receive(s, m)
	if f.waiting() {
		t.Error("row 4 is looked at though nothing has changed")
	}
	serve(next)
	if !f.waiting() {
		t.Error("another configuration does not look at what the one before has refused")
	}
}

// TestJudgeFails: a verdict that cannot be written leaves the row open.
func TestJudgeFails(t *testing.T) {
	m, n := newMemory(), newNode(t)
	_, s := openSource(t, &given{table: m}, n)
	serve(s)
	m.refuse = errors.New("away")
	m.write(map[uint32]string{2: host("two.test")})
	receive(s, m)
	if waiting, _ := s.Follower.CountOpen(); waiting != 1 || len(m.log) != 0 {
		t.Errorf("%d wait, written %v", waiting, m.log)
	}
}
