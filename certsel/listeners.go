package certsel

import "sync"

// listeners are told when something changes that several configurations share: each
// through its own part, of type K.
type listeners[K comparable] struct {
	mu sync.Mutex
	of map[K]func()
}

// listen has a function called after each change; nil ends it.
func (l *listeners[K]) listen(part K, listener func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if listener == nil {
		delete(l.of, part)
		return
	}
	if l.of == nil {
		l.of = make(map[K]func())
	}
	l.of[part] = listener
}

// notify tells all of them. They may listen, and end it, meanwhile.
func (l *listeners[K]) notify() {
	l.mu.Lock()
	told := make([]func(), 0, len(l.of))
	for _, listener := range l.of {
		told = append(told, listener)
	}
	l.mu.Unlock()
	for _, listener := range told {
		listener()
	}
}
