package certsel

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"sync"
	"sync/atomic"
)

// hostTable holds entries by host. Look-ups neither lock nor allocate: handshakes make
// them.
type hostTable struct {
	seed    maphash.Seed
	buckets []atomic.Pointer[autoEntry] // chains by autoEntry.next
	count   atomic.Int64

	mu   sync.Mutex // of those who write
	hand int        // the bucket at which the next victim is looked for
}

// newHostTable makes a table that is quick with so many entries.
func newHostTable(entries int) *hostTable {
	return &hostTable{
		seed:    maphash.MakeSeed(),
		buckets: make([]atomic.Pointer[autoEntry], 1<<bits.Len(uint(entries))),
	}
}

func (t *hostTable) bucket(host string) *atomic.Pointer[autoEntry] {
	return &t.buckets[maphash.String(t.seed, host)&uint64(len(t.buckets)-1)]
}

// get returns the entry of a host, nil if there is none.
func (t *hostTable) get(host string) *autoEntry {
	for e := t.bucket(host).Load(); e != nil; e = e.next.Load() {
		if e.host == host {
			return e
		}
	}
	return nil
}

// add adds an entry, unless its host has one.
func (t *hostTable) add(e *autoEntry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.get(e.host) != nil {
		return false
	}
	head := t.bucket(e.host)
	e.next.Store(head.Load())
	head.Store(e)
	t.count.Add(1)
	return true
}

// remove removes an entry, and reports whether it was there.
func (t *hostTable) remove(e *autoEntry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for link := t.bucket(e.host); ; {
		switch at := link.Load(); at {
		case nil:
			return false
		case e:
			// Whoever stands on it finds the way on.
			link.Store(e.next.Load())
			t.count.Add(-1)
			return true
		default:
			link = &at.next
		}
	}
}

// all yields the entries.
func (t *hostTable) all() iter.Seq[*autoEntry] {
	return func(yield func(*autoEntry) bool) {
		for i := range t.buckets {
			for e := t.buckets[i].Load(); e != nil; e = e.next.Load() {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// victimsSeen is among how many entries one is chosen to make room.
const victimsSeen = 16

// victim returns the entry that was not used for the longest time among some, other
// ones each time.
func (t *hostTable) victim(spare *autoEntry) (oldest *autoEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for seen, tried := 0, 0; seen < victimsSeen && tried < len(t.buckets); tried++ {
		t.hand = (t.hand + 1) % len(t.buckets)
		for e := t.buckets[t.hand].Load(); e != nil; e = e.next.Load() {
			if e == spare {
				continue
			}
			seen++
			if oldest == nil || e.used.Load() < oldest.used.Load() {
				oldest = e
			}
		}
	}
	return oldest
}
