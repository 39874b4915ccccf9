package serve

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/front"
)

// TestServingAfterForgetting: whoever still has the app of a configuration that was
// replaced and forgotten learns what serves now, and the app of one that nothing has
// replaced forgets nothing.
func TestServingAfterForgetting(t *testing.T) {
	newApp := func() *Instance {
		tables, _, err := binding.Compile(nil, nil, binding.Options{})
		if err != nil {
			t.Fatal(err)
		}
		a := New(new(config.App), nil)
		a.snapshot.Store(&Snapshot{fixed: a.fixed, Tables: tables})
		return a
	}
	serving := func(a *Instance) *Snapshot {
		of, now := a.Serving()
		if of.Now() != now {
			t.Error("what is served is not what its app serves")
		}
		return now
	}
	first, second, third := newApp(), newApp(), newApp()
	first.forget()
	if first.Now().forgotten {
		t.Error("an app is forgotten in whose place nothing serves")
	}
	state := &front.State{Handler: second}
	if err := fronts.Prepare(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	defer fronts.Remove(state)
	fronts.Commit(state)
	first.forget()
	if !first.Now().forgotten || serving(first) != second.Now() {
		t.Error("an app that is forgotten does not know what serves in its place")
	}
	last := &front.State{Handler: http.Handler(third)}
	if err := fronts.Prepare(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	defer fronts.Remove(last)
	fronts.Commit(last)
	if serving(second) != second.Now() {
		t.Error("an app that is not forgotten serves for itself")
	}
	second.forget()
	if serving(first) != third.Now() {
		t.Error("one app after another is forgotten, and the first does not find the last")
	}
}

// TestRetiringWaitsForNoChange: a change of sites that is being made, however long it
// takes, holds up no load.
func TestRetiringWaitsForNoChange(t *testing.T) {
	var change sync.Mutex
	change.Lock()
	nothing := make(chan struct{})
	close(nothing)
	forgotten, retired := make(chan struct{}), make(chan struct{})
	h := &httpServers{background: func() {}, cancel: func() {}}
	go func() {
		defer close(retired)
		h.retire(nothing, time.Minute, 0, func() {
			change.Lock()
			defer change.Unlock()
			close(forgotten)
		})
	}()
	select {
	case <-retired:
	case <-time.After(10 * time.Second):
		t.Fatal("retiring waits for a change")
	}
	change.Unlock()
	<-forgotten
}
