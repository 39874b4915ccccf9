package ownroutes_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/ownroutes"
	"github.com/caddy-iis/caddy-iis/internal/upgrades"
)

// routes of a test: what is provisioned is their text.
type content = ownroutes.Content[string]

// newPool returns a pool, and how often it has provisioned.
func newPool(t *testing.T) (p *ownroutes.Pool[string], provisioned map[string]int) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	provisioned = make(map[string]int)
	provision := func(routes json.RawMessage, _ *upgrades.Group, _ *content) (string, error) {
		provisioned[string(routes)]++
		switch {
		case string(routes) == "panics":
			panic("what a module says")
		case strings.HasPrefix(string(routes), "wrong"):
			return "", errors.New(string(routes))
		}
		return string(routes), nil
	}
	p = ownroutes.NewPool(provision, func() *upgrades.Group { return upgrades.NewGroup(ctx, zap.NewNop()) }, time.Second, zap.NewNop())
	return p, provisioned
}

// TestPoolShares: equal routes are provisioned once, and end with their last site.
func TestPoolShares(t *testing.T) {
	p, provisioned := newPool(t)
	serving := make(map[uint32]*content)
	settle := func() {
		p.Settle(func(id uint32) (*content, string) { return serving[id], "bolt" })
	}
	for id := range uint32(3) {
		c, err := p.Ask(json.RawMessage("a"))
		if err != nil || c.Handlers() != "a" {
			t.Fatal(c, err)
		}
		serving[id] = c
		p.Touch(true, id)
	}
	settle()
	if contents, sites := p.Count(); contents != 1 || sites != 3 || provisioned["a"] != 1 {
		t.Fatalf("%d contents, %d sites, provisioned %v", contents, sites, provisioned)
	}
	last := serving[2]
	if !last.Enter() {
		t.Fatal("routes of a site take no request")
	}
	clear(serving)
	p.Touch(false, 0, 1, 2)
	settle()
	if contents, sites := p.Count(); contents != 0 || sites != 0 || !p.Settled() {
		t.Errorf("%d contents, %d sites after the last site has gone", contents, sites)
	}
	if last.Enter() {
		t.Error("routes that no site has take a request")
	}
	last.Exit()
}

// TestPoolForgetsWhatWasAsked: what a change asked for and did not get ends with it.
func TestPoolForgetsWhatWasAsked(t *testing.T) {
	p, _ := newPool(t)
	if _, err := p.Ask(json.RawMessage("a")); err != nil {
		t.Fatal(err)
	}
	if p.Settled() {
		t.Error("something is asked for, and the pool says that it is settled")
	}
	p.Settle(func(uint32) (*content, string) { return nil, "" })
	if contents, _ := p.Count(); contents != 0 {
		t.Errorf("%d contents", contents)
	}
	if err := p.Try(json.RawMessage("b")); err != nil {
		t.Error(err)
	}
	if contents, _ := p.Count(); contents != 0 {
		t.Errorf("%d contents after a try", contents)
	}
}

// TestPoolRefuses: what cannot be provisioned is not tried again, its reason is bounded, and
// a module that panics harms nobody.
func TestPoolRefuses(t *testing.T) {
	p, provisioned := newPool(t)
	long := json.RawMessage("wrong" + strings.Repeat("é", 1000))
	for range 2 {
		if _, err := p.Pin(long); err == nil || len(err.Error()) > 600 {
			t.Error(err)
		}
	}
	if provisioned[string(long)] != 1 {
		t.Errorf("tried %d times", provisioned[string(long)])
	}
	if _, err := p.Pin(json.RawMessage("panics")); err == nil || strings.Contains(err.Error(), "what a module says") {
		t.Error(err)
	}
	if contents, _ := p.Count(); contents != 0 {
		t.Errorf("%d contents", contents)
	}
	p.End(0)
	if _, err := p.Pin(json.RawMessage("a")); err == nil {
		t.Error("a pool that has ended provisions")
	}
}

// TestPoolLate: routes that are not ready in time are not waited for again while the same
// attempt goes on, and are provisioned anew when it has come to its end.
func TestPoolLate(t *testing.T) { synctest.Test(t, testPoolLate) }

func testPoolLate(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	var attempts atomic.Int32
	gate := make(chan struct{})
	p := ownroutes.NewPool(func(json.RawMessage, *upgrades.Group, *content) (string, error) {
		attempts.Add(1)
		<-gate
		return "", nil
	}, func() *upgrades.Group { return upgrades.NewGroup(ctx, zap.NewNop()) }, time.Second, zap.NewNop())
	start := time.Now()
	for range 3 {
		if _, err := p.Pin(json.RawMessage("a")); !errors.Is(err, ownroutes.ErrNotReady) {
			t.Error(err)
		}
	}
	if _, err := p.AskReady(json.RawMessage("a")); !errors.Is(err, ownroutes.ErrNotReady) || errors.Is(err, ownroutes.ErrNotProvisioned) || p.Lacks(json.RawMessage("a")) {
		t.Error("routes that are late would be provisioned, or waited for, once more:", err)
	}
	if took := time.Since(start); took != 5*time.Second || attempts.Load() != 1 {
		t.Errorf("%d attempts took %s", attempts.Load(), took)
	}
	close(gate)
	synctest.Wait()
	if _, err := p.Pin(json.RawMessage("a")); err != nil || attempts.Load() != 2 {
		t.Errorf("%v after %d attempts", err, attempts.Load())
	}
}

// TestPoolReady: who must not wait is given what is provisioned, and has nothing provisioned.
func TestPoolReady(t *testing.T) {
	p, provisioned := newPool(t)
	a := json.RawMessage("a")
	if _, err := p.AskReady(a); !errors.Is(err, ownroutes.ErrNotProvisioned) || !errors.Is(err, ownroutes.ErrNotReady) || !p.Lacks(a) {
		t.Error(err)
	}
	c, err := p.Pin(a)
	if err != nil || p.Lacks(a) {
		t.Fatal(err)
	}
	if again, err := p.AskReady(a); again != c || err != nil || p.Settled() {
		t.Error(again, err)
	}
	p.Unpin(c)
	if contents, _ := p.Count(); contents != 1 || provisioned["a"] != 1 {
		t.Errorf("%d contents, provisioned %v", contents, provisioned)
	}
	p.Settle(func(uint32) (*content, string) { return nil, "" })
	if contents, _ := p.Count(); contents != 0 {
		t.Errorf("%d contents after the change", contents)
	}
	wrong := json.RawMessage("wrong")
	_, known := p.Pin(wrong)
	if _, err := p.AskReady(wrong); err == nil || err.Error() != known.Error() || p.Lacks(wrong) {
		t.Errorf("%v, and before it was %v", err, known)
	}
}

// TestLimit: sites of a change are counted as they would be after it.
func TestLimit(t *testing.T) {
	p, _ := newPool(t)
	c, err := p.Ask(json.RawMessage("a"))
	if err != nil {
		t.Fatal(err)
	}
	p.Touch(true, 1)
	p.Settle(func(uint32) (*content, string) { return c, "bolt" })

	rules := &config.RouteRules{MaxSites: 2}
	l := p.Limit("bolt", rules)
	if err := errors.Join(l.Admit(1, true), l.Admit(2, true), l.Admit(3, false)); err != nil {
		t.Error(err)
	}
	if err := l.Admit(4, true); !errors.Is(err, ownroutes.ErrTooMany) || !l.Full() {
		t.Error(err)
	}
	l.Remove(1)
	if err := l.Admit(4, true); err != nil {
		t.Error(err)
	}
	l.Stays(4)
	l.Stays(1)
	if !l.Full() {
		t.Error("a site that stays as it was is not counted")
	}
	if other := p.Limit("postgres", rules); other.Full() || other.Admit(1, true) != nil || other.Admit(5, true) != nil || other.Admit(6, true) == nil {
		t.Error("sources are counted together")
	}
	var none *ownroutes.Pool[string]
	if l := none.Limit("file", &config.RouteRules{MaxSites: 1}); l.Admit(1, true) != nil || l.Admit(2, true) == nil {
		t.Error("without a pool there is no limit")
	}
}
