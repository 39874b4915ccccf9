package serve

import "sync"

// stage is how far an instance has come. It only ever goes on, from left to right or by
// leaving stages out:
//
//	built -> prepared -> serving -> retired
//	built, prepared -> dropped, if the configuration was refused
type stage int

const (
	built    stage = iota // it may be compiled; it has no socket
	prepared              // its sockets are bound, and others serve at them
	dropped               // it has ended and has never served
	serving               // requests come to it, and changes of its sites and files are followed
	retired               // another one serves in its place, or none; requests in flight finish
)

// life is the life of an instance.
type life struct {
	mu      sync.Mutex
	stage   stage
	decided chan struct{} // closed when it serves, or never will
}

func newLife() *life { return &life{decided: make(chan struct{})} }

// prepare notes that the sockets are bound.
func (l *life) prepare() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage == built {
		l.stage = prepared
	}
}

// serve reports whether the instance begins to serve now: it does once.
func (l *life) serve() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage != prepared {
		return false
	}
	l.stage = serving
	close(l.decided)
	return true
}

// end tells which stage ends, and whether one does: it ends once.
func (l *life) end() (was stage, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was = l.stage
	switch was {
	case serving:
		l.stage = retired
	case built, prepared:
		l.stage = dropped
		close(l.decided)
	default:
		return was, false
	}
	return was, true
}

// served reports whether the instance serves or has served.
func (l *life) served() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stage >= serving
}
