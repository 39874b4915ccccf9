package live

import "context"

// turns is a lock that can be waited for as long as somebody asks for it. Those who write
// wait among themselves first, and only one of them together with all others: however many
// there are, who reads the table or takes it over waits for one of them.
type turns struct {
	held    chan struct{} // full: somebody has the lock
	writers chan struct{} // full: somebody writes, or is the next to write
	writing bool          // the one who has the lock writes
}

func newTurns() turns {
	return turns{held: make(chan struct{}, 1), writers: make(chan struct{}, 1)}
}

// Lock waits for the lock.
func (t *turns) Lock() { t.held <- struct{}{} }

// TryLock takes the lock if nobody has it.
func (t *turns) TryLock() bool {
	select {
	case t.held <- struct{}{}:
		return true
	default:
		return false
	}
}

// LockToWrite waits for the lock until the context ends.
func (t *turns) LockToWrite(ctx context.Context) error {
	select {
	case t.writers <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case t.held <- struct{}{}:
		t.writing = true
		return nil
	case <-ctx.Done():
		<-t.writers
		return ctx.Err()
	}
}

// Unlock gives the lock to who has waited longest for it.
func (t *turns) Unlock() {
	wrote := t.writing
	t.writing = false
	<-t.held
	if wrote {
		<-t.writers
	}
}
