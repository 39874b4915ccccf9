package binding

import (
	"hash/maphash"
	"maps"
)

// index maps names to bindings or records. The names are spread over many small
// maps, so that a copy in which a name differs shares all of them but one.
type index[V any] struct {
	shards []map[string]V // their number is a power of two
	seed   maphash.Seed
	size   int
}

const (
	shardSize   = 512 // names in a shard, on average and at most
	shardGrowth = 8   // times as many shards when there are more
)

// get returns what a name maps to, the zero value if nothing.
func (x *index[V]) get(name string) (v V) {
	switch len(x.shards) {
	case 0:
		return v
	case 1:
		return x.shards[0][name]
	}
	return x.shards[x.shard(name)][name]
}

// getBytes is get without a string.
func (x *index[V]) getBytes(name []byte) (v V) {
	switch len(x.shards) {
	case 0:
		return v
	case 1:
		return x.shards[0][string(name)]
	}
	return x.shards[maphash.Bytes(x.seed, name)&uint64(len(x.shards)-1)][string(name)]
}

func (x *index[V]) shard(name string) int {
	return int(maphash.String(x.seed, name) & uint64(len(x.shards)-1))
}

// set adds or changes a name. It changes the shards, which must not be shared.
func (x *index[V]) set(name string, v V) {
	if x.size >= shardSize*len(x.shards) {
		x.grow()
	}
	shard := x.shards[0]
	if len(x.shards) > 1 {
		shard = x.shards[x.shard(name)]
	}
	before := len(shard)
	shard[name] = v
	x.size += len(shard) - before
}

// grow spreads the names over more shards.
func (x *index[V]) grow() {
	old := x.shards
	if len(old) == 1 {
		x.seed = maphash.MakeSeed()
	}
	x.shards = make([]map[string]V, max(1, shardGrowth*len(old)))
	for i := range x.shards {
		x.shards[i] = make(map[string]V)
	}
	for _, shard := range old {
		for name, v := range shard {
			x.shards[x.shard(name)][name] = v
		}
	}
}

// indexEdit changes a copy of an index. Shards are copied when they change for
// the first time.
type indexEdit[V any] struct {
	index *index[V]
	own   map[int]bool // shards that are not shared any more
}

// editIndex makes the index at x, which is a copy of another one, ready to be
// changed.
func editIndex[V any](x *index[V]) *indexEdit[V] {
	shards := make([]map[string]V, len(x.shards))
	copy(shards, x.shards)
	x.shards = shards
	return &indexEdit[V]{x, make(map[int]bool)}
}

func (e *indexEdit[V]) set(name string, v V) {
	x := e.index
	if x.size >= shardSize*len(x.shards) {
		x.grow()
		for i := range x.shards {
			e.own[i] = true
		}
	}
	e.detach(name)
	x.set(name, v)
}

func (e *indexEdit[V]) remove(name string) {
	if len(e.index.shards) == 0 {
		return
	}
	shard := e.detach(name)
	before := len(shard)
	delete(shard, name)
	e.index.size -= before - len(shard)
}

// detach makes the shard of a name the edit's own.
func (e *indexEdit[V]) detach(name string) map[string]V {
	i := 0
	if len(e.index.shards) > 1 {
		i = e.index.shard(name)
	}
	if !e.own[i] {
		e.own[i] = true
		e.index.shards[i] = maps.Clone(e.index.shards[i])
	}
	return e.index.shards[i]
}
