package iishttp

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// clientTable counts requests by client. Clients without a request in flight are
// forgotten when their interval is over and room is needed, or when there are too many.
type clientTable struct {
	concurrent, requests int
	interval             time.Duration
	seed                 maphash.Seed
	shards               [clientShards]clientShard
}

const (
	clientShards = 64
	// mostIdle bounds the clients of a shard that have no request in flight. The others
	// are bounded by connections, and are never forgotten.
	mostIdle = 1024
)

type clientShard struct {
	mu    sync.Mutex
	known map[netip.Addr]clientCount
	idle  int // of known
	swept time.Time
}

type clientCount struct {
	inFlight, requests int
	since              time.Time // of requests
}

func newClientTable(concurrent, requests int, interval time.Duration) *clientTable {
	t := &clientTable{concurrent: concurrent, requests: requests, interval: interval, seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].known = make(map[netip.Addr]clientCount)
	}
	return t
}

func (t *clientTable) shard(client netip.Addr) *clientShard {
	return &t.shards[maphash.Comparable(t.seed, client)%clientShards]
}

// enter counts a request that begins, and returns the sub-status of the limit that it is
// above, 0 if none.
func (t *clientTable) enter(client netip.Addr, now time.Time) int {
	s := t.shard(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known := s.known[client]
	if known && c.inFlight == 0 {
		s.idle--
	}
	if c.inFlight++; t.requests > 0 {
		if now.Sub(c.since) >= t.interval {
			c.since, c.requests = now, 0
		}
		c.requests++
	}
	s.known[client] = c
	switch {
	case t.concurrent > 0 && c.inFlight > t.concurrent:
		return tooManyAtATime
	case t.requests > 0 && c.requests > t.requests:
		return tooOften
	}
	return 0
}

// leave counts a request that ends.
func (t *clientTable) leave(client netip.Addr, now time.Time) {
	s := t.shard(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.known[client]
	if c.inFlight--; c.inFlight > 0 {
		s.known[client] = c
		return
	}
	if t.requests == 0 || now.Sub(c.since) >= t.interval {
		delete(s.known, client)
		return
	}
	if s.idle >= mostIdle {
		t.makeRoom(s, now)
	}
	s.known[client] = c
	s.idle++
}

// makeRoom forgets idle clients whose interval is over. If that was just done, one is
// forgotten that is found soon, so that no client waits long.
func (t *clientTable) makeRoom(s *clientShard, now time.Time) {
	if now.Sub(s.swept) >= t.interval {
		s.swept = now
		for client, c := range s.known {
			if c.inFlight == 0 && now.Sub(c.since) >= t.interval {
				delete(s.known, client)
				s.idle--
			}
		}
	}
	for client, c := range s.known {
		if s.idle < mostIdle {
			return
		}
		if c.inFlight == 0 {
			delete(s.known, client)
			s.idle--
		}
	}
}
