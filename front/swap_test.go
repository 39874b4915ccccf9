package front

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// load sends requests until it is stopped, and counts the failed ones.
type load struct {
	wg            sync.WaitGroup
	stopped       atomic.Bool
	total, failed atomic.Int64
	slowest       atomic.Int64 // in nanoseconds
	firstErr      sync.Once
	t             testing.TB
}

func (l *load) client(c *http.Client, url string, fresh bool) {
	l.wg.Go(func() {
		for !l.stopped.Load() {
			start := time.Now()
			_, resp, err := fetch(c, url)
			l.total.Add(1)
			if d := int64(time.Since(start)); d > l.slowest.Load() {
				l.slowest.Store(d)
			}
			if err != nil || resp.StatusCode != 200 {
				l.failed.Add(1)
				l.firstErr.Do(func() { l.t.Errorf("%s (fresh: %v): %v %v", url, fresh, resp, err) })
			}
			if !fresh {
				continue
			}
			if tr, ok := c.Transport.(*http3.Transport); ok {
				tr.Close()
				c = client3NoCleanup()
			} else {
				c.CloseIdleConnections()
			}
		}
		c.CloseIdleConnections()
		if tr, ok := c.Transport.(*http3.Transport); ok {
			tr.Close()
		}
	})
}

func client3NoCleanup() *http.Client {
	return &http.Client{Transport: &http3.Transport{TLSClientConfig: clientTLS()}, Timeout: 10 * time.Second}
}

func (l *load) stop() {
	l.stopped.Store(true)
	l.wg.Wait()
	l.t.Logf("%d requests, %d failed, slowest %s", l.total.Load(), l.failed.Load(), time.Duration(l.slowest.Load()))
}

func TestCommitUnderLoad(t *testing.T) {
	m, port, port2 := newManager(t), freePort(t), freePort(t)
	ends := func() []Endpoint { return []Endpoint{secure(netip.Addr{}, port), plain(loopback, port2)} }
	cur := install(t, m, newState("0", ends()...))
	l := &load{t: t}
	for _, fresh := range []bool{false, true} {
		l.client(client1(t), url("http", loopback, port2), fresh)
		l.client(client1(t), url("https", loopback, port), fresh)
		l.client(client2(t), url("https", loopback6, port), fresh)
		l.client(client3NoCleanup(), url("https", loopback, port), fresh)
	}
	kept := []*http.Client{client1(t), client2(t), client3(t)}
	for i := 1; i <= 50; i++ {
		name := fmt.Sprint(i)
		cur = replace(t, m, cur, newState(name, ends()...))
		for _, c := range kept {
			expect(t, c, url("https", loopback, port), name)
		}
		if i%10 == 0 {
			expect(t, client3(t), url("https", loopback, port), name)
		}
	}
	l.stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.servers) != 2 || len(m.shared) != 2 || len(m.sockets) != 3 || len(m.states) != 1 {
		t.Errorf("left: %d servers, %d sockets, %d states", len(m.servers), len(m.sockets), len(m.states))
	}
}

func TestSettingsChange(t *testing.T) {
	m, port := newManager(t), freePort(t)
	e := secure(loopback, port)
	cur := install(t, m, newState("0", e))
	kept := []*http.Client{client1(t), client2(t), client3(t)}
	for _, c := range kept {
		expect(t, c, url("https", loopback, port), "0")
	}
	l := &load{t: t}
	for _, fresh := range []bool{false, true} {
		l.client(client1(t), url("https", loopback, port), fresh)
		l.client(client2(t), url("https", loopback, port), fresh)
		l.client(client3NoCleanup(), url("https", loopback, port), fresh)
	}
	conns := func() (n int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for srv := range m.servers {
			srv.mu.Lock()
			n += len(srv.conns) + srv.quic
			srv.mu.Unlock()
		}
		return n
	}
	for i := 1; i <= 30; i++ {
		e.Settings.IdleTimeout += time.Second
		cur = replace(t, m, cur, newState(fmt.Sprint(i), e))
		for _, c := range kept {
			expect(t, c, url("https", loopback, port), fmt.Sprint(i))
		}
	}
	l.stop()
	// the first server has the connections of kept and the load
	if n := conns(); n < 3 {
		t.Errorf("%d connections", n)
	}
	for _, c := range kept {
		c.CloseIdleConnections()
		if tr, ok := c.Transport.(*http3.Transport); ok {
			tr.Close()
		}
	}
	eventually(t, "retired servers are forgotten", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.servers) == 1
	})
}

func TestRemoveBringsBack(t *testing.T) {
	m, port, port2 := newManager(t), freePort(t), freePort(t)
	c := client1(t)
	a := install(t, m, newState("a", plain(loopback, port)))

	// never committed
	b := newState("b", plain(loopback, port), plain(loopback, port2))
	if err := m.Prepare(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	expect(t, c, url("http", loopback, port), "a")
	if got := m.Listening(); len(got) != 2 || got[0].Status == got[1].Status {
		t.Errorf("listening: %+v", got)
	}
	m.Remove(b)
	m.Remove(b)
	if !isDrained(b) {
		t.Error("b not drained")
	}
	m.Commit(b)
	expect(t, c, url("http", loopback, port), "a")
	if got := m.Listening(); len(got) != 1 {
		t.Errorf("listening: %+v", got)
	}

	// committed, with other settings, then refused
	e := plain(loopback, port)
	e.Settings.IdleTimeout = time.Hour
	b = install(t, m, newState("b", e))
	expect(t, c, url("http", loopback, port), "b")
	m.Remove(b)
	expect(t, c, url("http", loopback, port), "a")
	expect(t, client1(t), url("http", loopback, port), "a")

	// an uncommitted state is not what one goes back to
	unfinished := newState("c", plain(loopback, port))
	if err := m.Prepare(context.Background(), unfinished); err != nil {
		t.Fatal(err)
	}
	b = install(t, m, newState("b", e))
	m.Remove(b)
	expect(t, c, url("http", loopback, port), "a")
	m.Remove(unfinished)

	// nothing left
	m.Remove(a)
	if _, resp, err := fetch(c, url("http", loopback, port)); err != nil || resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("%v %v", resp, err)
	}
	eventually(t, "all closed", func() bool { return len(m.Listening()) == 0 })
	if err := m.Prepare(context.Background(), a); err == nil {
		t.Error("a state can be prepared twice")
	}
}

func TestRefusedPrepareLeavesNothing(t *testing.T) {
	m, port := newManager(t), freePort(t)
	taken := mustListen(t, "tcp", "127.0.0.1:0", false)
	install(t, m, newState("a", secure(loopback, port)))
	expect(t, client2(t), url("https", loopback, port), "a")
	c := client3(t)
	expect(t, c, url("https", loopback, port), "a")
	sockets := needs.Sockets(t)
	goroutines := runtime.NumGoroutine()
	for range 50 {
		s := newState("b", secure(loopback, port), secure(loopback, freePort(t)), secure(netip.Addr{}, freePort(t)),
			plain(loopback, portOf(taken)))
		if err := m.Prepare(context.Background(), s); err == nil {
			t.Fatal("port is taken, and nobody noticed")
		}
	}
	eventually(t, "sockets and goroutines as before", func() bool {
		return needs.Sockets(t) <= sockets && runtime.NumGoroutine() <= goroutines
	})
	expect(t, c, url("https", loopback, port), "a")

	// the same for loads that are refused after the commit
	for range 50 {
		m.Remove(install(t, m, newState("b", secure(loopback, port), secure(loopback, freePort(t)))))
	}
	eventually(t, "sockets and goroutines as before", func() bool {
		return needs.Sockets(t) <= sockets && runtime.NumGoroutine() <= goroutines
	})
	expect(t, c, url("https", loopback, port), "a")
}

func TestTicketsOutliveCommit(t *testing.T) {
	m, port := newManager(t), freePort(t)
	e := secure(loopback, port)
	a := install(t, m, newState("a", e))
	config := clientTLS("http/1.1")
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	config3 := clientTLS()
	config3.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	resumed := func(quic bool) bool {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		if quic {
			tr := &http3.Transport{TLSClientConfig: config3}
			defer tr.Close()
			c.Transport = tr
		}
		_, resp, err := fetch(c, url("https", loopback, port))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // for the ticket to arrive
		return resp.TLS.DidResume
	}
	if resumed(false) || resumed(true) {
		t.Error("resumed what?")
	}
	e.Settings.IdleTimeout++
	replace(t, m, a, newState("b", e))
	if !resumed(false) || !resumed(true) {
		t.Error("not resumed")
	}
}

// ticketCache tells when a ticket has come.
type ticketCache struct {
	tls.ClientSessionCache
	put chan struct{}
}

func (c *ticketCache) Put(key string, state *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, state)
	if state != nil {
		c.put <- struct{}{}
	}
}

func TestEarlyData(t *testing.T) {
	m, port := newManager(t), freePort(t)
	e := secure(loopback, port)
	cur := install(t, m, newState("a", e))
	config := clientTLS(http3.NextProtoH3)
	tickets := &ticketCache{ClientSessionCache: tls.NewLRUClientSessionCache(4), put: make(chan struct{}, 16)}
	config.ClientSessionCache = tickets
	// Without a stream: quic-go's client may open one while it reads the server's
	// parameters, which the race detector minds.
	early := func() bool {
		conn, err := quic.DialAddrEarly(t.Context(), netip.AddrPortFrom(loopback, port).String(), config, &quic.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseWithError(0, "")
		select {
		case <-conn.HandshakeComplete():
		case <-time.After(10 * time.Second):
			t.Fatal("no handshake")
		}
		select {
		case <-tickets.put:
		case <-time.After(10 * time.Second):
			t.Fatal("no ticket")
		}
		return conn.ConnectionState().Used0RTT
	}
	if early() {
		t.Error("early data without a ticket")
	}
	if !early() {
		t.Error("no early data")
	}
	e.Settings.Disallow0RTT = true
	replace(t, m, cur, newState("b", e))
	if early() {
		t.Error("early data is disallowed")
	}
}

// Idle connections to a port that is gone are closed after a while.
func TestIdleConnectionsOfGonePort(t *testing.T) {
	m, port, other := newManager(t), freePort(t), freePort(t)
	a := install(t, m, newState("a", secure(loopback, port)))
	for _, c := range []*http.Client{client1(t), client2(t), client3(t)} {
		expect(t, c, url("https", loopback, port), "a")
	}
	replace(t, m, a, newState("b", secure(loopback, other)))
	eventually(t, "the server is gone", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.servers) == 1 && len(m.sockets) == 2
	})
}

// Loads may overlap in any way.
func TestConcurrentLoads(t *testing.T) {
	m, port := newManager(t), freePort(t)
	m.Linger = time.Millisecond
	first := install(t, m, newState("first", secure(netip.Addr{}, port)))
	l := &load{t: t}
	l.client(client1(t), url("https", loopback, port), true)
	l.client(client2(t), url("https", loopback, port), false)
	l.client(client3NoCleanup(), url("https", loopback, port), true)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 20 {
				e := secure(netip.Addr{}, port)
				e.Settings.IdleTimeout = time.Minute + time.Duration((g+i)%3)*time.Second
				s := newState("x", e)
				if err := m.Prepare(context.Background(), s); err != nil {
					t.Error(err)
					return
				}
				if i%3 != 0 {
					m.Commit(s)
				}
				m.Listening()
				time.Sleep(10 * time.Millisecond)
				m.Remove(s)
			}
		})
	}
	wg.Wait()
	l.stop()
	expect(t, client1(t), url("https", loopback, port), "first")
	m.Remove(first)
	eventually(t, "first drained", func() bool { return isDrained(first) })
	eventually(t, "nothing left", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.servers) == 0 && len(m.sockets) == 0 && len(m.states) == 0
	})
}
