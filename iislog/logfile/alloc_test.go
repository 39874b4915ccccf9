//go:build !race

// The race detector allocates as well.

package logfile_test

import "testing"

// TestAddAllocatesNothing holds that bar, once queues have their size.
func TestAddAllocatesNothing(t *testing.T) {
	f, _ := still(t)
	l, r := visit(t)
	add := func() {
		for range 100 {
			f.Add(l, r)
		}
		f.Write(noon)
	}
	add()
	add()
	if n := testing.AllocsPerRun(20, add); n > 5 { // of a write to the disk
		t.Errorf("%v allocations for 100 lines", n)
	}
}
