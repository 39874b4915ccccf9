package front

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"
)

// defaultLinger is how long a socket that nobody wants any more still accepts.
// A connection that is being established when its socket is closed is lost.
const defaultLinger = 2 * time.Second

// Manager owns the sockets and protocol servers of a process. All its methods
// can be called concurrently. There should be one Manager per process: two of
// them compete for ports like two processes.
type Manager struct {
	// Linger is how long a socket that is not wanted any more goes on to
	// accept. It must not be changed after the first call of Prepare.
	Linger time.Duration

	// One pointer for all sockets: a State becomes visible on all addresses
	// at one instant, and a connection is looked up by its local address, so
	// it does not matter which socket has accepted it.
	current atomic.Pointer[State]

	tls      *tls.Config // of all connections over TCP
	quicTLS  *tls.Config // of all connections over QUIC
	resetKey quic.StatelessResetKey
	errorLog *log.Logger

	mu      sync.Mutex
	closed  bool
	states  []*State // installed, oldest first
	sockets map[socketKey]*pooled
	servers map[*server]struct{}  // serving, or with connections
	shared  map[serverKey]*server // those serving that outlive a State
	timer   *time.Timer           // of the next sweep
	loans   map[*loan]struct{}    // ports that others may have as well

	inherited *inherited // sockets that the process was started with
	begun     bool       // a State has been committed, or there will be none
}

// NewManager returns a Manager without sockets.
func NewManager() *Manager {
	m := &Manager{
		Linger:  defaultLinger,
		sockets: make(map[socketKey]*pooled),
		servers: make(map[*server]struct{}),
		shared:  make(map[serverKey]*server),
		loans:   make(map[*loan]struct{}),

		inherited: inherit(),
	}
	// The key is common to all UDP sockets, so that clients whose packets
	// arrive at another socket than before notice at once.
	_, _ = rand.Read(m.resetKey[:])

	// crypto/tls takes the session ticket keys of this configuration as long
	// as the one that a State returns has none of its own, so tickets outlive
	// States because these two are made only once.
	m.tls = &tls.Config{
		GetConfigForClient:          m.configForClient,
		GetEncryptedClientHelloKeys: m.encryptedClientHelloKeys,
	}
	m.quicTLS = http3.ConfigureTLSConfig(m.tls)
	m.errorLog = log.New(logRouter{m}, "", 0)
	m.adopt()
	return m
}

// Prepare binds the sockets that s needs and that are not there yet. It serves
// nothing. If it returns an error it leaves no trace; otherwise s has to be
// given to Remove eventually.
func (m *Manager) Prepare(ctx context.Context, s *State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return errors.New("listeners have been shut down")
	case s.prepared:
		return errors.New("the state has been prepared before")
	}
	if err := s.build(); err != nil {
		return err
	}
	bound, err := m.bindMissing(ctx, s)
	if err != nil {
		return err
	}
	s.prepared = true
	s.drained = make(chan struct{})
	s.refs.Store(1)
	m.states = append(m.states, s)

	// A new socket for an address under a wildcard takes over the new
	// connections to it at once. They are not to wait for the Commit.
	if cur := m.current.Load(); cur != nil {
		for _, p := range bound {
			if p.key.addr.Addr().IsValid() && cur.lookup(stripZone(p.key.addr)) != nil {
				p.start()
			}
		}
	}
	return nil
}

// bindMissing opens the sockets of s that are not in the pool, all or none.
func (m *Manager) bindMissing(ctx context.Context, s *State) ([]*pooled, error) {
	var bound []*pooled
	for _, key := range slices.SortedFunc(maps.Keys(s.sockets), socketKey.compare) {
		if _, ok := m.sockets[key]; ok {
			continue
		}
		owner := s.sockets[key].Owner
		sock, lent, err := m.open(ctx, key, owner)
		if err != nil {
			for _, p := range bound {
				p.close()
				delete(m.sockets, p.key)
			}
			return nil, err
		}
		p := &pooled{socket: sock, key: key, owner: owner, lent: lent}
		m.sockets[key] = p
		bound = append(bound, p)
	}
	m.settleLoans()
	return bound, nil
}

// Commit makes s the State that answers, on all addresses at once, for new and
// for existing connections. It cannot fail. It does nothing if s has not been
// prepared or has been removed.
func (m *Manager) Commit(s *State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || !slices.Contains(m.states, s) {
		return
	}
	s.committed = true
	m.activate(s)
	if !m.begun {
		m.begun = true
		m.answerWaiting(s)
		m.sweep()
	}
}

// NotUsed says that the configuration that is being loaded has nothing for the Manager.
// Sockets that a process before this one has stored are given up if no State has them:
// others may want their ports.
func (m *Manager) NotUsed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed && !m.begun {
		m.begun = true
		m.sweep()
	}
}

// activate exchanges the current State; s may be nil.
func (m *Manager) activate(s *State) {
	used := make(map[*server]bool)
	if s != nil {
		for _, e := range s.table {
			srv := m.serverFor(s, e)
			e.server.Store(srv)
			used[srv] = true
		}
	}

	m.current.Store(s)

	// Only now, when everybody who finds a server closed gets the new one by
	// looking again.
	for srv := range m.servers {
		if !used[srv] {
			m.retire(srv)
		}
	}
	if s == nil {
		return
	}
	for key, e := range s.sockets {
		p := m.sockets[key]
		p.owner = e.Owner
		p.configure(s)
		p.start()
		if err := m.inherited.serves(key, p.socket); err != nil {
			m.logger().Warn("a socket is not kept for the next process: a restart refuses connections to it",
				zap.String("address", displayAddr(key.addr)), zap.Error(err))
		}
	}
	m.tellUnused()
}

// tellUnused warns of sockets of socket units that nobody has asked for.
func (m *Manager) tellUnused() {
	if m.current.Load() == nil {
		return
	}
	if unused := m.inherited.unused(); len(unused) > 0 {
		m.logger().Warn("sockets that were handed over to this process are for no binding: unless another server of Caddy takes them by number, clients who connect there are never answered",
			zap.Strings("sockets", unused))
	}
}

// Remove gives s up. If it is the State that answers, the newest remaining one
// that has been committed answers again, so it undoes the Commit of a
// configuration that is refused late. Sockets that nobody needs are closed a
// little later. Remove never waits, and calling it again does nothing.
func (m *Manager) Remove(s *State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.Index(m.states, s)
	if i < 0 {
		return
	}
	m.states = slices.Delete(m.states, i, i+1)
	if !m.closed {
		if m.current.Load() == s {
			m.activate(m.newestCommitted())
		}
		m.sweep()
	}
	s.release()
}

// Replace puts next, which has been prepared, in the place of s and gives s up.
// If s answers, next does from now on; if s has to wait for its Commit, or a
// later State answers, next does in its stead. It cannot fail, and does nothing
// if s has been removed.
func (m *Manager) Replace(s, next *State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.Index(m.states, s)
	j := slices.Index(m.states, next)
	if i < 0 || j < 0 || m.closed {
		return
	}
	m.states[i] = next
	m.states = slices.Delete(m.states, j, j+1)
	next.committed = s.committed
	if m.current.Load() == s {
		m.activate(next)
	}
	m.sweep()
	s.release()
}

func (m *Manager) newestCommitted() *State {
	for _, s := range slices.Backward(m.states) {
		if s.committed {
			return s
		}
	}
	return nil
}

// Handler returns what answers requests now; nil if nothing does.
func (m *Manager) Handler() http.Handler {
	if s := m.current.Load(); s != nil {
		return s.Handler
	}
	return nil
}

// acquire returns the current State, or nil if there is none, and counts the
// caller as a user of it. The second look makes sure that nobody enters a State
// that has been drained already.
func (m *Manager) acquire() *State {
	for {
		s := m.current.Load()
		if s == nil {
			return nil
		}
		s.refs.Add(1)
		if m.current.Load() == s {
			return s
		}
		s.release()
	}
}

// Shutdown ends the Manager when the process is about to exit: it closes all
// sockets and waits for the requests in flight, on servers of earlier States
// as well, until ctx is done.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	if m.timer != nil {
		m.timer.Stop()
	}
	var servers []*server
	for srv := range m.servers {
		servers = append(servers, srv)
	}
	sockets := m.sockets
	m.sockets = make(map[socketKey]*pooled)
	m.mu.Unlock()

	var stopping sync.WaitGroup
	for key, p := range sockets {
		stopping.Go(func() {
			if !m.inherited.has(key) || !p.leave() {
				p.stopAccepting()
			}
		})
	}
	stopping.Wait()
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, srv := range servers {
		wg.Go(func() { errs[i] = srv.shutdown(ctx) })
	}
	wg.Wait()
	for _, p := range sockets {
		p.close()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("shutting down listeners: %w", err)
	}
	return nil
}

// logger returns the logger of the current State.
func (m *Manager) logger() *zap.Logger {
	if s := m.current.Load(); s != nil && s.Logger != nil {
		return s.Logger
	}
	return zap.NewNop()
}
