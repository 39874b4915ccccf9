package centralstore

import (
	"cmp"
	"crypto/tls"
	"slices"
	"sync/atomic"
	"time"
)

type counters struct {
	hits, misses, refused, limited, timeouts atomic.Uint64
	accesses, decodes, reloads, evicted      atomic.Uint64
}

// Stats is what a store did and holds.
type Stats struct {
	Hits     uint64 // requests with a certificate
	Misses   uint64 // requests without
	Refused  uint64 // requests for what is no host name
	Limited  uint64 // requests for new names above the rate
	Timeouts uint64 // requests that did not wait any longer
	Accesses uint64 // to the folder or storage
	Decodes  uint64 // of files
	Reloads  uint64 // of files that changed
	Evicted  uint64 // certificates that made room for others

	Entries int // certificates that are cached
	Absent  int // names that are known to have none
	Loading int // names that are being looked for

	// Unreachable is since when the store does not answer, zero if it does,
	// and LastError why.
	Unreachable time.Time
	LastError   error
}

// Stats returns what the store did and holds.
func (s *Store) Stats() Stats {
	c := &s.stats
	out := Stats{
		Hits:     c.hits.Load(),
		Misses:   c.misses.Load(),
		Refused:  c.refused.Load(),
		Limited:  c.limited.Load(),
		Timeouts: c.timeouts.Load(),
		Accesses: c.accesses.Load(),
		Decodes:  c.decodes.Load(),
		Reloads:  c.reloads.Load(),
		Evicted:  c.evicted.Load(),
	}
	s.mu.RLock()
	out.Entries, out.Absent, out.Loading = len(s.entries), len(s.misses), len(s.flights)
	s.mu.RUnlock()
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	if s.health.silent >= silence {
		out.Unreachable, out.LastError = s.health.since, s.health.err
	}
	return out
}

// File returns the name in the store of the file whose certificate serves a server
// name from memory, empty if there is none there.
func (s *Store) File(name string) string {
	var h host
	if !h.parse(name) {
		return ""
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, stem := range [][]byte{h.exact(), h.wildcard()} {
		if e := s.entries[string(stem)]; e != nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.version.File
		}
		if m := s.misses[string(stem)]; m != nil && m.kind == broken {
			return "" // it hides the wildcard's
		}
	}
	return ""
}

// Entry is a certificate that is cached.
type Entry struct {
	File        string // in full
	Name        string // in the store
	Certificate *tls.Certificate
	Loaded      time.Time // when it was read
	Err         error     // why the file as it is now is not what serves
	Since       time.Time // when that began
}

// Entries lists the certificates that are cached, by file.
func (s *Store) Entries() []Entry {
	s.mu.RLock()
	entries := make([]*entry, 0, len(s.entries))
	for _, e := range s.entries {
		entries = append(entries, e)
	}
	s.mu.RUnlock()
	list := make([]Entry, 0, len(entries))
	for _, e := range entries {
		e.mu.Lock()
		list = append(list, Entry{
			File:        s.file(e),
			Name:        e.version.File,
			Certificate: e.cert.Load(),
			Loaded:      e.loaded,
			Err:         e.err,
			Since:       e.since,
		})
		e.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.File, b.File) })
	return list
}
