package centralstore

import (
	"hash/maphash"
	"time"
)

// flight is a look into the store for one stem. All that ask for the stem
// meanwhile wait for the same one; it does not end when they give up.
type flight struct {
	done   chan struct{}
	answer answer // once done
}

// pass lets one request look for names, at the cost of one token for all.
type pass struct {
	store   *Store
	asked   bool
	granted bool
}

func (p *pass) token(now time.Time) bool {
	if !p.asked {
		p.asked, p.granted = true, p.store.limiter.AllowN(now, 1)
		if !p.granted {
			p.store.stats.limited.Add(1)
		}
	}
	return p.granted
}

// begin returns what is known of a stem, or the flight that will tell. There
// is neither when names are looked for faster than the bounds allow.
func (s *Store) begin(stem string, now time.Time, p *pass) (answer, *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[stem]; e != nil {
		return answer{found, e.use(now)}, nil
	}
	old := s.misses[stem]
	state, fresh := old.state(now)
	if fresh && state != unknown {
		return answer{kind: state}, nil
	}
	if f := s.flights[stem]; f != nil {
		return answer{}, f
	}
	if !s.admit(stem, now, p) {
		return answer{kind: state}, nil
	}
	f := &flight{done: make(chan struct{})}
	s.flights[stem] = f
	go s.fly(stem, f, old)
	return answer{}, f
}

// admit decides whether a stem may be looked for now. The caller holds s.mu.
func (s *Store) admit(stem string, now time.Time, p *pass) bool {
	if s.ctx.Err() != nil {
		return false
	}
	if len(s.flights) >= s.opts.Loads {
		s.stats.limited.Add(1)
		return false
	}
	if _, ok := s.known[maphash.String(s.seed, stem)]; ok {
		return true
	}
	return p.token(now)
}

// fly looks for a stem and remembers what comes of it.
func (s *Store) fly(stem string, f *flight, old *miss) {
	l := s.load(s.ctx, stem, old)
	now := time.Now()
	s.mu.Lock()
	f.answer = answer{kind: l.kind, cert: l.cert}
	s.remember(stem, l, now)
	delete(s.flights, stem)
	s.mu.Unlock()
	close(f.done)
	s.reportLoad(l, old)
}
