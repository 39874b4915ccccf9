package binding

import (
	"hash/maphash"
	"slices"
)

// named is what an index finds by its name, of which it has one at least. The zero value
// is nothing.
type named interface {
	comparable
	name() string
}

// index finds bindings or records by their names. They are spread over many small
// tables, so that a copy in which a name differs shares all of them but one. A
// look-up reads as little memory as can be, because among very many names
// nothing of it is in the processor's cache: one slot, and what it is about.
type index[V named] struct {
	seed   maphash.Seed
	shards []shard[V] // their number is a power of two
	size   int
}

// shard is a hash table with linear probing.
type shard[V named] struct {
	slots []slot[V] // their number is a power of two, and a third is empty
	size  int
}

type slot[V named] struct {
	hash  uint64 // 0 if the slot is empty
	value V
}

const (
	shardSize   = 512 // names in a shard, on average and at most
	shardGrowth = 8   // times as many shards when there are more
	firstSlots  = 8
)

// get returns what a name maps to, the zero value if nothing.
func (x *index[V]) get(name string) (v V) {
	if x.size == 0 {
		return v
	}
	h := hashOf(maphash.String(x.seed, name))
	return x.shard(h).get(h, name)
}

// getBytes is get without a string.
func (x *index[V]) getBytes(name []byte) (v V) {
	if x.size == 0 {
		return v
	}
	h := hashOf(maphash.Bytes(x.seed, name))
	s := x.shard(h)
	if len(s.slots) == 0 {
		return v
	}
	for i := s.start(h); ; i++ {
		slot := &s.slots[i&(len(s.slots)-1)]
		if slot.hash == 0 || slot.hash == h && slot.value.name() == string(name) {
			return slot.value
		}
	}
}

// hashOf keeps 0 for empty slots.
func hashOf(h uint64) uint64 { return h | 1<<63 }

// shard returns the shard of a hash, by its low bits.
func (x *index[V]) shard(h uint64) *shard[V] { return &x.shards[h&uint64(len(x.shards)-1)] }

// start returns the first slot to look at, by other bits than those that have
// chosen the shard.
func (s *shard[V]) start(h uint64) int { return int(h>>32) & (len(s.slots) - 1) }

func (s *shard[V]) get(h uint64, name string) (v V) {
	if len(s.slots) == 0 {
		return v
	}
	return s.find(h, name).value
}

// find returns the slot of a name, or the empty one where it would be.
func (s *shard[V]) find(h uint64, name string) *slot[V] {
	for i := s.start(h); ; i++ {
		slot := &s.slots[i&(len(s.slots)-1)]
		if slot.hash == 0 || slot.hash == h && slot.value.name() == name {
			return slot
		}
	}
}

func (s *shard[V]) set(h uint64, v V) (added bool) {
	if 3*s.size >= 2*len(s.slots) {
		s.resize(max(firstSlots, 2*len(s.slots)))
	}
	at := s.find(h, v.name())
	added = at.hash == 0
	*at = slot[V]{h, v}
	if added {
		s.size++
	}
	return added
}

// resize puts all names into a new table.
func (s *shard[V]) resize(slots int) {
	old := s.slots
	s.slots = make([]slot[V], slots)
	for i := range old {
		if old[i].hash != 0 {
			*s.find(old[i].hash, old[i].value.name()) = old[i]
		}
	}
}

// without returns a copy in which a name is missing.
func (s *shard[V]) without(h uint64, name string) shard[V] {
	next := shard[V]{slots: make([]slot[V], len(s.slots))}
	for i := range s.slots {
		if at := &s.slots[i]; at.hash != 0 && (at.hash != h || at.value.name() != name) {
			*next.find(at.hash, at.value.name()) = *at
			next.size++
		}
	}
	return next
}

// set adds a value, or puts it in the place of the one before. It changes the shards, which
// must not be shared.
func (x *index[V]) set(v V) {
	if x.size >= shardSize*len(x.shards) {
		x.grow()
	}
	h := hashOf(maphash.String(x.seed, v.name()))
	if x.shard(h).set(h, v) {
		x.size++
	}
}

// grow spreads the names over more shards.
func (x *index[V]) grow() {
	old := x.shards
	if len(old) == 0 {
		x.seed = maphash.MakeSeed()
	}
	x.shards = make([]shard[V], max(1, shardGrowth*len(old)))
	for i := range old {
		for j := range old[i].slots {
			if at := &old[i].slots[j]; at.hash != 0 {
				x.shard(at.hash).set(at.hash, at.value)
			}
		}
	}
}

// indexEdit changes a copy of an index. Shards are copied when they change for
// the first time.
type indexEdit[V named] struct {
	index *index[V]
	own   map[uint64]bool // shards that are not shared any more
}

// editIndex makes the index at x, which is a copy of another one, ready to be
// changed.
func editIndex[V named](x *index[V]) *indexEdit[V] {
	x.shards = slices.Clone(x.shards)
	return &indexEdit[V]{x, make(map[uint64]bool)}
}

func (e *indexEdit[V]) set(v V) {
	x := e.index
	if x.size >= shardSize*len(x.shards) {
		x.grow()
		for i := range x.shards {
			e.own[uint64(i)] = true
		}
	}
	h := hashOf(maphash.String(x.seed, v.name()))
	if i := h & uint64(len(x.shards)-1); !e.own[i] {
		e.own[i] = true
		x.shards[i].slots = slices.Clone(x.shards[i].slots)
	}
	x.set(v)
}

func (e *indexEdit[V]) remove(name string) {
	x := e.index
	if x.size == 0 {
		return
	}
	h := hashOf(maphash.String(x.seed, name))
	s := x.shard(h)
	if len(s.slots) == 0 || s.find(h, name).hash == 0 {
		return
	}
	*s = s.without(h, name)
	e.own[h&uint64(len(x.shards)-1)] = true
	x.size--
}
