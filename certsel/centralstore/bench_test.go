package centralstore

import (
	"testing"
	"time"
)

var cases = map[string]string{"exact": "www.example.com", "upper": "WWW.Example.COM", "wildcard": "other.example.com"}

func cachedStore(tb testing.TB) *Store {
	m := new(memory)
	m.put("www.example.com.pfx", "ok www")
	m.put("_.example.com.pfx", "ok wildcard")
	s := open(tb, m, Options{})
	for _, name := range cases {
		get(s, name)
	}
	get(s, "missing.example.org")
	return s
}

func TestCachedDoesNotAllocate(t *testing.T) {
	s := cachedStore(t)
	now := time.Now()
	for _, name := range []string{"www.example.com", "WWW.Example.COM", "other.example.com", "missing.example.org", "../x"} {
		if n := testing.AllocsPerRun(100, func() { s.Get(name, now) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkHit(b *testing.B) {
	s := cachedStore(b)
	now := time.Now()
	for kind, name := range cases {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := s.Get(name, now); !ok {
					b.Fatal("miss")
				}
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s.Get("www.example.com", now)
			}
		})
	})
}

func BenchmarkMissCached(b *testing.B) {
	s := cachedStore(b)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := s.Get("missing.example.org", now); ok {
			b.Fatal("hit")
		}
	}
}

// BenchmarkMissLimited is a name that was never seen, above the rate.
func BenchmarkMissLimited(b *testing.B) {
	m := new(memory)
	s := open(b, m, Options{Rate: 1, Burst: 1})
	now := time.Now()
	get(s, "first")
	b.ReportAllocs()
	for b.Loop() {
		s.Get("never.seen.example.org", now)
	}
}
