//go:build !race

// The race detector allocates as well.

package w3clog_test

import "testing"

// TestW3CLogAllocations: a request with a W3C log allocates one object more.
func TestW3CLogAllocations(t *testing.T) {
	visit, flush := w3cVisit(t)
	for range 3 { // until the queues have their size
		for range 2000 {
			visit()
		}
		flush()
	}
	if n := testing.AllocsPerRun(1000, visit); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
