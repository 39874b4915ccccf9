package sitesource

import (
	"hash/maphash"
	"slices"
	"strconv"
)

// line is all that is kept of a line that is not blank.
type line struct {
	hash   uint64
	id     uint32
	number uint32
}

// fileState is what a file was. Its hashes are of its own seed, which all
// states share that were compared with each other.
type fileState struct {
	seed  maphash.Seed
	size  int
	sum   uint64 // of all bytes
	lines []line // in order; no two have the same id
}

// newFileState returns the state of a file without sites. Its sum is not that
// of an empty file, so that such a file is looked at, too.
func newFileState() *fileState { return &fileState{seed: maphash.MakeSeed(), size: -1} }

// next returns a state with other content, whose lines are not known yet.
func (s *fileState) next(data []byte) *fileState {
	return &fileState{seed: s.seed, size: len(data), sum: maphash.Bytes(s.seed, data)}
}

// same reports whether the content is the same, byte by byte.
func (s *fileState) same(old *fileState) bool { return s.size == old.size && s.sum == old.sum }

// Len implements State.
func (s *fileState) Len() int { return len(s.lines) }

// Where implements State.
func (s *fileState) Where(id uint32) string {
	i := slices.IndexFunc(s.lines, func(l line) bool { return l.id == id })
	if i < 0 {
		return ""
	}
	return s.lines[i].where()
}

func (l line) where() string { return "line " + strconv.FormatUint(uint64(l.number), 10) }
