package files

import (
	"path/filepath"
	"testing"
)

func BenchmarkStat(b *testing.B) {
	r := NewReader(WorkerOptions{})
	path := filepath.Join(b.TempDir(), "none")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Stat(b.Context(), path)
	}
}

func BenchmarkSlotGet(b *testing.B) {
	var s Slot[*int]
	s.Set(new(int))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Get(); !ok {
			b.Fatal("empty")
		}
	}
}
