package front

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"
)

// serverKey says what a server without listener wrappers is for.
type serverKey struct {
	addr     netip.AddrPort
	secure   bool
	settings Settings
}

// server is a pair of protocol servers for an endpoint. When the settings of
// the endpoint change it is retired: it gets no more connections, but serves
// those it has.
type server struct {
	serverKey
	m        *Manager
	ln       *handoff
	outer    net.Listener // ln with its layers
	http     *http.Server // nil without TCP
	http3    *http3.Server
	drainFor time.Duration
	active3  atomic.Int64 // requests in flight over HTTP/3
	begun    atomic.Int64 // connections that http knows, or has known

	// guarded by Manager.mu
	retiredAt time.Time
	draining  bool

	mu       sync.Mutex
	conns    map[net.Conn]*Conn
	hidden   map[addrPair]*Conn // by address; only with wrappers above TLS
	serving  bool               // the accept loop of http runs
	retired  bool
	quic     int            // connections of http3
	closing3 bool           // http3 is being shut down
	starting sync.WaitGroup // connections that http3 does not know yet
}

// addrPair identifies an open connection to a server.
type addrPair struct{ local, remote netip.AddrPort }

// serverFor returns a server that fits the endpoint, a new one if need be.
func (m *Manager) serverFor(s *State, e *endpoint) *server {
	key := serverKey{e.addr, e.TLS, e.Settings}
	if e.wrapped() {
		if srv := e.server.Load(); srv != nil && srv.retiredAt.IsZero() {
			return srv
		}
	} else if srv, ok := m.shared[key]; ok {
		srv.drainFor = s.drainTimeout()
		return srv
	}
	srv := &server{
		serverKey: key,
		m:         m,
		conns:     make(map[net.Conn]*Conn),
		drainFor:  s.drainTimeout(),
	}
	if e.tcp() {
		srv.serveTCP(e)
	}
	if e.http3() {
		srv.http3 = &http3.Server{
			Handler:        handler{m},
			MaxHeaderBytes: e.Settings.MaxHeaderBytes,
			IdleTimeout:    e.Settings.IdleTimeout,
			ConnContext:    srv.startedHTTP3,
		}
	}
	m.servers[srv] = struct{}{}
	if !e.wrapped() {
		m.shared[key] = srv
	}
	return srv
}

// serveTCP makes and starts the server for HTTP/1 and HTTP/2.
func (s *server) serveTCP(e *endpoint) {
	s.http = &http.Server{
		ReadTimeout:       e.Settings.ReadTimeout,
		ReadHeaderTimeout: e.Settings.ReadHeaderTimeout,
		WriteTimeout:      e.Settings.WriteTimeout,
		IdleTimeout:       e.Settings.IdleTimeout,
		MaxHeaderBytes:    e.Settings.MaxHeaderBytes,
		Handler:           handler{s.m},
		ErrorLog:          s.m.errorLog,
		Protocols:         new(http.Protocols),
		ConnContext:       s.connContext,
		ConnState:         s.connState,
	}
	h2 := e.Settings.H2 && e.TLS
	s.http.Protocols.SetHTTP1(e.Settings.H1)
	s.http.Protocols.SetHTTP2(h2)
	// Wrapped connections are no TLS connections to net/http even if they
	// are: it can serve HTTP/2 on them only if it looks for the preface.
	s.http.Protocols.SetUnencryptedHTTP2(e.Settings.H2C && !e.TLS ||
		e.wrapped() && (e.Settings.H2 || e.Settings.H2C))

	if len(e.AfterTLS) > 0 && e.TLS {
		s.hidden = make(map[addrPair]*Conn)
	}
	s.ln = newHandoff(e.addr)
	s.outer = s.layers(e)
	s.serving = true
	go s.accept()
}

// layers builds the listener of the HTTP server.
func (s *server) layers(e *endpoint) net.Listener {
	wrap := func(ln net.Listener, wrappers []caddy.ListenerWrapper) net.Listener {
		for _, w := range wrappers {
			ln = w.WrapListener(ln)
		}
		return ln
	}
	ln := wrap(s.ln, e.BeforeTLS)
	if e.TLS {
		ln = &tlsListener{Listener: ln, srv: s}
	}
	ln = wrap(ln, e.AfterTLS)
	if e.wrapped() {
		ln = &opaqueListener{Listener: ln}
	}
	return ln
}

func (s *server) accept() {
	err := s.http.Serve(s.outer)
	s.mu.Lock()
	s.serving = false
	unexpected := !s.retired && !errors.Is(err, http.ErrServerClosed)
	s.mu.Unlock()
	if unexpected {
		// only a listener wrapper can cause this
		s.m.logger().Error("accepting connections ended",
			zap.String("address", displayAddr(s.addr)), zap.Error(err))
	}
	s.forgetIfDone()
}

// connContext is called for every connection in the accept loop; it must not wait.
func (s *server) connContext(ctx context.Context, nc net.Conn) context.Context {
	conn := &Conn{nc: nc, srv: s}
	if t, ok := nc.(*tls.Conn); ok {
		conn = t.NetConn().(*carrier).conn
	}
	conn.since = time.Now()
	s.mu.Lock()
	s.conns[nc] = conn
	s.mu.Unlock()
	return context.WithValue(ctx, connKey{}, conn)
}

// connState counts the connections.
func (s *server) connState(nc net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.begun.Add(1)
	}
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	s.mu.Lock()
	conn := s.conns[nc]
	delete(s.conns, nc)
	s.mu.Unlock()
	if state == http.StateHijacked && conn != nil {
		conn.hijacked()
	}
	s.forgetIfDone()
}

// retire takes new connections away from a server; its other connections stay.
func (m *Manager) retire(s *server) {
	if !s.retiredAt.IsZero() {
		return
	}
	s.retiredAt = time.Now()
	if m.shared[s.serverKey] == s {
		delete(m.shared, s.serverKey)
	}
	s.mu.Lock()
	s.retired = true
	done := s.done()
	s.mu.Unlock()
	if s.ln != nil {
		s.ln.Close()
		go s.outer.Close() // a wrapper may take its time
	}
	if done {
		delete(m.servers, s)
	}
}

// done reports whether the server is retired and its last connection has
// ended. s.mu is held.
func (s *server) done() bool {
	return s.retired && !s.serving && len(s.conns) == 0 && s.quic == 0
}

func (s *server) forgetIfDone() {
	s.mu.Lock()
	done := s.done()
	s.mu.Unlock()
	if done {
		s.m.mu.Lock()
		delete(s.m.servers, s)
		s.m.mu.Unlock()
	}
}

// drain ends the idle connections of a server whose port is gone, and asks the
// clients of the others to leave.
func (s *server) drain() {
	s.m.mu.Lock()
	timeout := s.drainFor
	s.m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_ = s.shutdown(ctx)
}

// shutdown waits until all requests in flight have been answered.
func (s *server) shutdown(ctx context.Context) error {
	var wg sync.WaitGroup
	var err, err3 error
	if s.http != nil {
		wg.Go(func() {
			awaitFirst(s.expectsRequests)
			err = s.http.Shutdown(ctx)
		})
	}
	if s.http3 != nil {
		wg.Go(func() { err3 = s.shutdownHTTP3(ctx) })
	}
	wg.Wait()
	return errors.Join(err, err3)
}

// firstRequest is how long a connection has for its first request when the server is
// about to end: net/http answers none any more that it has not read by then.
const firstRequest = time.Second

// awaitFirst waits until the connections that have just begun have had their first
// request. Those that are on their way from a socket to a server are not lost either.
func awaitFirst(expected func() bool) {
	for begin := time.Now(); time.Since(begin) < firstRequest && expected(); {
		time.Sleep(time.Millisecond)
	}
}

func (s *server) expectsRequests() bool {
	if s.begun.Load() < s.ln.given.Load() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if c.isNew() {
			return true
		}
	}
	return false
}

// below returns the Conn of the TLS layer under wrappers that hide it.
func (s *server) below(nc net.Conn) *Conn {
	if s.hidden == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hidden[pairOf(nc)]
}

// hide makes c known to below. The handshake is over before the first request.
func (s *server) hide(c *Conn) {
	if s.hidden == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden[pairOf(c.nc)] = c
}

func (s *server) unhide(c *Conn) {
	pair := pairOf(c.nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hidden[pair] == c {
		delete(s.hidden, pair)
	}
}

func pairOf(nc net.Conn) addrPair {
	return addrPair{addrPort(nc.LocalAddr()), addrPort(nc.RemoteAddr())}
}

// closeQUIC ends a QUIC connection regularly.
func closeQUIC(qc *quic.Conn) {
	_ = qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}
