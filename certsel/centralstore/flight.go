package centralstore

import (
	"context"
	"hash/maphash"
	"time"
)

// flight is a look into the store for one stem. All that ask for the stem
// meanwhile wait for the same one; it does not end when they give up.
type flight struct {
	done   chan struct{}
	answer answer // once done
}

// pass is what one request may do: look for names at the cost of one token
// for all, and wait until the time-out for all.
type pass struct {
	store   *Store
	ctx     context.Context // of the request
	timer   *time.Timer
	asked   bool
	granted bool
}

// token reports whether the rate allows for another name. The caller holds
// store.mu.
func (p *pass) token(now time.Time) bool {
	if !p.asked {
		p.asked, p.granted = true, p.store.bucket.take(now)
		if !p.granted {
			p.store.stats.limited.Add(1)
		}
	}
	return p.granted
}

// wait waits for a flight, and reports whether it has ended.
func (p *pass) wait(f *flight) bool {
	if p.timer == nil {
		p.timer = time.NewTimer(p.store.opts.Timeout)
	}
	select {
	case <-f.done:
		return true
	case <-p.timer.C:
		p.timer.Reset(0) // for the next one
		return false
	case <-p.ctx.Done():
		return false
	}
}

func (p *pass) end() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// bucket holds tokens, of which there are rate more every second, but never
// more than its size.
type bucket struct {
	rate, size, tokens float64
	last               time.Time
}

// take takes a token. Requests come in the order of their locks, not of their
// times: time that was paid for is not paid for again.
func (b *bucket) take(now time.Time) bool {
	if elapsed := now.Sub(b.last); elapsed > 0 {
		b.tokens = min(b.size, b.tokens+elapsed.Seconds()*b.rate)
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
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
	s.reportLoad(l, old)
	close(f.done)
}
