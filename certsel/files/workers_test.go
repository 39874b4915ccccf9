package files

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func hang(t *testing.T, w *Workers, place string, calls int) (free func()) {
	t.Helper()
	gate := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	errs := make(chan error)
	for range calls {
		go func() {
			_, err := Do(ctx, w, place, func() (int, error) { <-gate; return 0, nil })
			errs <- err
		}()
	}
	for range calls {
		if err := <-errs; !errors.Is(err, ErrUnavailable) {
			t.Errorf("hanging call: got %v", err)
		}
	}
	return func() { close(gate) }
}

func TestWorkersReturnAtTheDeadline(t *testing.T) {
	w := NewWorkers(WorkerOptions{Workers: 4, Stuck: time.Millisecond})
	start := time.Now()
	free := hang(t, w, "", 4)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	if n := w.Running(); n != 4 {
		t.Errorf("%d workers are occupied, want 4", n)
	}
	start = time.Now()
	_, err := Do(t.Context(), w, "", func() (int, error) { return 1, nil })
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "all workers") {
		t.Errorf("all stuck: got %v", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("failing at once took %s", took)
	}
	free()
	eventually(t, "the workers come back", func() bool { return w.Running() == 0 })
	if v, err := Do(t.Context(), w, "x", func() (int, error) { return 1, nil }); v != 1 || err != nil {
		t.Errorf("after that: %v, %v", v, err)
	}
	if len(w.places) != 0 {
		t.Errorf("places are kept: %v", w.places)
	}
}

func TestWorkersLeaveSomeToOtherPlaces(t *testing.T) {
	w := NewWorkers(WorkerOptions{Workers: 4, Stuck: time.Millisecond})
	free := hang(t, w, "dead", 4)
	defer free()
	if n := w.Running(); n != 2 {
		t.Errorf("one place occupies %d workers, want 2", n)
	}
	if _, err := Do(t.Context(), w, "dead", func() (int, error) { return 1, nil }); !errors.Is(err, ErrUnavailable) {
		t.Errorf("dead place: got %v", err)
	}
	if v, err := Do(t.Context(), w, "alive", func() (int, error) { return 1, nil }); v != 1 || err != nil {
		t.Errorf("other place: %v, %v", v, err)
	}
}

func TestWorkersWaitForBusyOnes(t *testing.T) {
	w := NewWorkers(WorkerOptions{Workers: 1})
	begun, gate := make(chan struct{}), make(chan struct{})
	go Do(t.Context(), w, "", func() (int, error) { close(begun); <-gate; return 0, nil })
	<-begun
	time.AfterFunc(20*time.Millisecond, func() { close(gate) })
	if v, err := Do(t.Context(), w, "", func() (int, error) { return 1, nil }); v != 1 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

func TestWorkersTellTheCallersEnd(t *testing.T) {
	w := NewWorkers(WorkerOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	gate := make(chan struct{})
	defer close(gate)
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := Do(ctx, w, "", func() (int, error) { <-gate; return 0, nil }); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := Do(ctx, w, "", func() (int, error) { t.Error("called"); return 0, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(3 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("in vain: %s", what)
}
