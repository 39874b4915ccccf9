package centralstore

import (
	"hash/maphash"
	"time"
)

const (
	// unavailableTTL is for how long a name is not looked for again after the
	// store did not answer.
	unavailableTTL = 5 * time.Second

	// recent is the age of a file up to which it may not be complete yet, and
	// recentTTL for how long such a one that does not serve is not read again.
	recent    = 5 * time.Second
	recentTTL = time.Second

	// samples is how many stems are looked at to find one to forget.
	samples = 16

	// knownFactor is how many times as many stems are known to have served as
	// are kept.
	knownFactor = 16
)

// remember takes over what came of a stem. The caller holds s.mu.
func (s *Store) remember(stem string, l loaded, now time.Time) {
	if l.kind == found {
		delete(s.misses, stem)
		s.evictEntries()
		e := &entry{stem: stem, refresh: refresh{due: now.Add(s.opts.Poll), version: l.version, loaded: now}}
		e.cert.Store(l.cert)
		e.used.Store(now.Unix())
		s.entries[stem] = e
		s.know(stem)
		return
	}
	s.evictMisses()
	s.misses[stem] = &miss{
		kind:    l.kind,
		until:   now.Add(s.ttl(l, now)),
		version: l.version,
		err:     l.err,
	}
}

func (s *Store) ttl(l loaded, now time.Time) time.Duration {
	switch {
	case l.kind == unavailable:
		return min(unavailableTTL, s.opts.MissTTL)
	case l.kind == broken && now.Sub(l.version.modified()).Abs() < recent:
		return min(recentTTL, s.opts.MissTTL)
	default:
		return s.opts.MissTTL
	}
}

// evictEntries makes room for an entry: of some, the one that was not used
// for the longest time goes.
func (s *Store) evictEntries() {
	for len(s.entries) >= s.opts.Entries {
		var oldest *entry
		n := 0
		for _, e := range s.entries { // begins anywhere
			if oldest == nil || e.used.Load() < oldest.used.Load() {
				oldest = e
			}
			if n++; n == samples {
				break
			}
		}
		delete(s.entries, oldest.stem)
		s.stats.evicted.Add(1)
	}
}

// evictMisses makes room for a miss: of some, the one that expires first
// goes, and rather one without file than one that was read in vain.
func (s *Store) evictMisses() {
	for len(s.misses) >= s.opts.Misses {
		var (
			oldest string
			first  *miss
			n      int
		)
		for stem, m := range s.misses { // begins anywhere
			if first == nil || m.before(first) {
				oldest, first = stem, m
			}
			if n++; n == samples {
				break
			}
		}
		delete(s.misses, oldest)
	}
}

func (m *miss) before(other *miss) bool {
	if a, b := m.kind == broken, other.kind == broken; a != b {
		return b
	}
	return m.until.Before(other.until)
}

// know remembers that a stem has served: it is looked for again without
// regard to how many names are.
func (s *Store) know(stem string) {
	for len(s.known) >= knownFactor*s.opts.Entries {
		for hash := range s.known {
			delete(s.known, hash)
			break
		}
	}
	s.known[maphash.String(s.seed, stem)] = struct{}{}
}
