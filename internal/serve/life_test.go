package serve

import "testing"

// TestLife: an instance begins to serve once, and ends once, whatever calls come.
func TestLife(t *testing.T) {
	decided := func(l *life) bool {
		select {
		case <-l.decided:
			return true
		default:
			return false
		}
	}
	refused := newLife()
	if refused.serve() {
		t.Error("serves without sockets")
	}
	if was, first := refused.end(); was != built || !first || !decided(refused) {
		t.Error(was, first)
	}
	refused.prepare()
	if refused.serve() || refused.served() {
		t.Error("serves after its end")
	}
	if _, again := refused.end(); again {
		t.Error("ends twice")
	}

	l := newLife()
	l.prepare()
	if decided(l) || l.served() {
		t.Error("serves with its sockets")
	}
	if !l.serve() || l.serve() || !decided(l) {
		t.Error("does not begin to serve once")
	}
	if was, first := l.end(); was != serving || !first || !l.served() || l.serve() {
		t.Error(was, first)
	}
}
