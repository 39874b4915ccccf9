package certsel

import "testing"

// TestListeners: each part is told until it ends that, also by itself while it is told.
func TestListeners(t *testing.T) {
	var l listeners[int]
	told := make(map[int]int)
	l.notify()
	for part := range 3 {
		l.listen(part, func() {
			told[part]++
			if part == 2 {
				l.listen(part, nil)
			}
		})
	}
	l.notify()
	l.listen(1, nil)
	l.listen(7, nil)
	l.notify()
	if told[0] != 2 || told[1] != 1 || told[2] != 1 {
		t.Errorf("told %v", told)
	}
}
