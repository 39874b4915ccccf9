package centralstore

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// flood asks for 100,000 random names and returns how long it took.
func flood(s *Store, domain string, each func(i int)) time.Duration {
	start := time.Now()
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := worker; i < 100_000; i += 8 {
				s.Get(fmt.Sprintf("r%d%s", i, fmt.Sprintf(domain, i)), time.Now())
				if each != nil {
					each(i)
				}
			}
		})
	}
	group.Wait()
	return time.Since(start)
}

func TestFlood(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "www.example.com.pfx", "ok www")
	s := open(t, Folder(dir), Options{Timeout: 10 * time.Second})
	expect(t, s, "www.example.com", "ok www")
	before, accesses := heap(), s.Stats().Accesses
	took := flood(s, ".d%d.test", func(i int) {
		if i%1000 == 0 {
			expect(t, s, "www.example.com", "ok www")
		}
	})
	st := s.Stats()
	// Each name has eight files: four of its own and four of its wildcard.
	if most := uint64(8 * (DefaultBurst + DefaultRate*(took.Seconds()+1))); st.Accesses-accesses > most {
		t.Errorf("%d accesses in %s, want at most %d", st.Accesses-accesses, took, most)
	}
	if st.Absent > DefaultMisses || st.Limited == 0 || st.Entries != 1 {
		t.Errorf("%+v", st)
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("the heap grew by %d kB", (after-before)>>10)
	}
	t.Logf("100,000 names in %s: %d accesses, %d names remembered", took, st.Accesses-accesses, st.Absent)
}

func TestFloodBelowAWildcard(t *testing.T) {
	m := new(memory)
	m.put("_.example.com.pfx", "ok wildcard")
	s := open(t, m, Options{Misses: 1000, Timeout: 10 * time.Second})
	expect(t, s, "www.example.com", "ok wildcard")
	flood(s, ".example.com", nil)
	st := s.Stats()
	if st.Misses != 0 || m.count("_.example.com.pfx") != 1 || st.Absent > 1000 || st.Entries != 1 {
		t.Errorf("%+v", st)
	}
	expect(t, s, "www.example.com", "ok wildcard")
	expect(t, s, "never-seen.example.com", "ok wildcard")
}

func TestFloodOnAHangingStore(t *testing.T) {
	m := new(memory)
	free := m.hang()
	defer free()
	s := open(t, m, Options{Timeout: 30 * time.Millisecond, Rate: 1_000_000, Burst: 1_000_000, Loads: 50})
	before := runtime.NumGoroutine()
	took := flood(s, ".test", func(i int) {
		if n := runtime.NumGoroutine() - before; i%1000 == 0 && n > 8+50+8+8 {
			t.Errorf("%d goroutines more", n)
		}
	})
	if n := s.Stats().Accesses; n > 8 {
		t.Errorf("%d accesses", n)
	}
	t.Logf("took %s", took)
}
