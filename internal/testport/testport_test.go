package testport

import "testing"

// TestFree: no port twice, also when the ports of a first range are used up.
func TestFree(t *testing.T) {
	given := make(map[int]bool)
	for range rangeSize + 10 {
		port := Free(t)
		if given[port] {
			t.Fatalf("%d a second time", port)
		}
		given[port] = true
	}
	if len(own.held) < 2 {
		t.Errorf("%d ranges are held", len(own.held))
	}
}
