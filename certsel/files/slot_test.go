package files

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestSlotKeepsTheLastGood(t *testing.T) {
	var (
		value, recovered int
		fail             error
		reported         []string
	)
	s := &Slot[int]{
		Load:      func(context.Context) (int, error) { return value, fail },
		OnError:   func(err error) { reported = append(reported, err.Error()) },
		OnRecover: func() { recovered++ },
	}
	if _, ok := s.Get(); ok {
		t.Error("a new slot has a value")
	}
	step := func(v int, err error) { value, fail = v, err; _ = s.Reload(t.Context()) }
	step(1, nil)
	loaded := s.Status().LastReload
	broken, gone := errors.New("broken"), errors.New("gone")
	for _, err := range []error{broken, broken, gone, broken, gone, context.Canceled} {
		step(2, err)
	}
	if v, ok := s.Get(); v != 1 || !ok {
		t.Errorf("got %v, %v", v, ok)
	}
	if fmt.Sprint(reported) != "[broken gone]" {
		t.Errorf("reported %q", reported)
	}
	if st := s.Status(); st.LastError != gone || st.Since.IsZero() || st.LastReload != loaded || st.LastAttempt.Before(loaded) {
		t.Errorf("status %+v", st)
	}
	step(3, nil)
	step(3, nil)
	if v, _ := s.Get(); v != 3 || recovered != 1 {
		t.Errorf("got %v, recovered %d times", v, recovered)
	}
	if st := s.Status(); st.LastError != nil || !st.Since.IsZero() {
		t.Errorf("status %+v", st)
	}
	step(4, broken)
	if len(reported) != 3 {
		t.Errorf("a new failure was not reported: %q", reported)
	}
	if n := testing.AllocsPerRun(100, func() { s.Get() }); n != 0 {
		t.Errorf("Get allocates %v times", n)
	}
}

func TestSlotReportsOneHangOnce(t *testing.T) {
	errs := []error{errAll, errPlace, fmt.Errorf("read x: %w", ErrUnavailable)}
	var reports int
	s := &Slot[int]{
		Load: func(context.Context) (int, error) {
			err := errs[0]
			errs = errs[1:]
			return 0, err
		},
		OnError: func(error) { reports++ },
	}
	for len(errs) > 0 {
		_ = s.Reload(t.Context())
	}
	if reports != 1 {
		t.Errorf("%d reports", reports)
	}
}
