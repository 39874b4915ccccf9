package centralstore

import (
	"context"
	"crypto/tls"
	"strings"
	"time"
)

// Get returns the certificate for a server name. It is for handshakes: what
// is cached is returned at once, without allocating; for the rest it waits
// until the time-out at most. It returns false for names that have no
// certificate in the store, that are no host names, and that could not be
// looked for in time.
func (s *Store) Get(name string, now time.Time) (*tls.Certificate, bool) {
	return s.GetContext(context.Background(), name, now)
}

// GetContext is Get that also ends with a context, that of the handshake.
// What was begun goes on, for whoever asks next.
func (s *Store) GetContext(ctx context.Context, name string, now time.Time) (*tls.Certificate, bool) {
	var h host
	if !h.parse(name) {
		s.stats.refused.Add(1)
		return nil, false
	}
	cert, next := s.cached(&h, now)
	switch next {
	case ask:
		cert = s.resolve(ctx, strings.ToLower(name), h.device, now)
	case renew:
		// The wildcard serves; should the host have got a file of its own,
		// that is for the next handshake.
		s.begin(strings.ToLower(name), now, &pass{store: s, ctx: ctx})
	case serve:
	}
	if cert == nil {
		s.stats.misses.Add(1)
		return nil, false
	}
	s.stats.hits.Add(1)
	return cert, true
}

// step is what follows from what is cached for a name.
type step uint8

const (
	serve step = iota // what is cached, or nothing
	renew             // serve, and look again behind its back
	ask               // wait for the store
)

// cached looks a name up in memory.
func (s *Store) cached(h *host, now time.Time) (*tls.Certificate, step) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	exact, fresh := absent, true
	if stem := h.exact(); stem != nil {
		if e := s.entries[string(stem)]; e != nil {
			return e.use(now), serve
		}
		exact, fresh = s.misses[string(stem)].state(now)
	}
	if exact == unknown {
		return nil, ask
	}
	if exact == broken {
		return nil, choose(fresh, serve, ask)
	}
	stem := h.wildcard()
	if stem == nil {
		return nil, choose(fresh, serve, ask)
	}
	if e := s.entries[string(stem)]; e != nil {
		return e.use(now), choose(fresh, serve, renew)
	}
	wild, wildFresh := s.misses[string(stem)].state(now)
	return nil, choose(fresh && wildFresh && wild != unknown, serve, ask)
}

func choose(condition bool, yes, no step) step {
	if condition {
		return yes
	}
	return no
}

// use notes when an entry was used, not more often than eviction needs.
func (e *entry) use(now time.Time) *tls.Certificate {
	if seconds := now.Unix(); e.used.Load() != seconds {
		e.used.Store(seconds)
	}
	return e.cert.Load()
}

// state returns what is remembered of a stem, and whether it is recent.
func (m *miss) state(now time.Time) (kind, bool) {
	if m == nil {
		return unknown, false
	}
	return m.kind, now.Before(m.until)
}

// resolve looks for a name in the store, within the time-out.
func (s *Store) resolve(ctx context.Context, name string, device bool, now time.Time) *tls.Certificate {
	p := pass{store: s, ctx: ctx}
	defer p.end()
	if !device {
		switch a := s.obtain(&p, name, now); a.kind {
		case found:
			return a.cert
		case broken:
			return nil
		case absent, unavailable, unknown:
			// A wildcard that is in memory serves even if the store did not
			// say whether the host has a file of its own.
		}
	}
	if _, rest, ok := strings.Cut(name, "."); ok {
		return s.obtain(&p, "_."+rest, now).cert
	}
	return nil
}

// answer is what became of a stem that was looked for.
type answer struct {
	kind kind
	cert *tls.Certificate
}

// obtain returns the answer for a stem, and waits for it if need be.
func (s *Store) obtain(p *pass, stem string, now time.Time) answer {
	a, f := s.begin(stem, now, p)
	if f == nil {
		return a
	}
	if p.wait(f) {
		return f.answer
	}
	s.stats.timeouts.Add(1)
	return answer{kind: unavailable}
}
