package front

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	h3qlog "github.com/quic-go/quic-go/http3/qlog"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// udpSocket accepts QUIC connections.
type udpSocket struct {
	m         *Manager
	port      uint16
	conn      *net.UDPConn
	transport *quic.Transport
	listen    *quic.Config
	ln        *quic.EarlyListener // nil until started, and if that failed
	done      chan struct{}       // non-nil once started, closed when the accept loop has ended
	no0RTT    atomic.Bool
	drainFor  time.Duration // guarded by Manager.mu
	left      bool          // another process goes on with it

	mu    sync.Mutex
	conns map[*quic.Conn]struct{}
	fresh map[*Conn]struct{} // connections from their first packet on
}

// QUICKnowsAddress reports whether connections over QUIC to a socket for all addresses
// tell to which one the client came. On Windows they do not.
func QUICKnowsAddress(goos string) bool { return goos != "windows" }

// newUDPSocket makes a QUIC transport for conn. It reads nothing before it is started:
// what clients send waits until a State can answer it.
func newUDPSocket(m *Manager, port uint16, conn *net.UDPConn) *udpSocket {
	// above this rate of handshakes clients have to prove their address first
	limiter := rate.NewLimiter(1000, 1000)
	u := &udpSocket{
		m:     m,
		port:  port,
		conn:  conn,
		conns: make(map[*quic.Conn]struct{}),
		fresh: make(map[*Conn]struct{}),
		transport: &quic.Transport{
			Conn:                conn, // as it is: quic-go finds out the local address of packets itself
			StatelessResetKey:   &m.resetKey,
			VerifySourceAddress: func(net.Addr) bool { return !limiter.Allow() },
		},
	}
	u.transport.ConnContext = u.connContext
	config := quic.Config{
		InitialPacketSize: 1200,
		Allow0RTT:         true,
		Tracer:            h3qlog.DefaultConnectionTracer,
	}
	without0RTT := config
	without0RTT.Allow0RTT = false
	listen := config
	listen.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) {
		if u.no0RTT.Load() {
			return &without0RTT, nil
		}
		return &config, nil
	}
	u.listen = &listen
	return u
}

// connContext is called for every connection when its first packet arrives.
func (u *udpSocket) connContext(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	c := &Conn{QUIC: true, since: time.Now()}
	u.mu.Lock()
	u.fresh[c] = struct{}{}
	u.mu.Unlock()
	context.AfterFunc(ctx, func() {
		u.mu.Lock()
		delete(u.fresh, c)
		u.mu.Unlock()
	})
	return context.WithValue(ctx, connKey{}, c), nil
}

// leave is the first step of an end after which another process goes on with the
// socket: new connections are left to it, and those that have just begun get their
// first request. It reports false if the system cannot do that.
func (u *udpSocket) leave() bool {
	if u.ln == nil || holdBack(u.conn, true) != nil {
		return false
	}
	u.left = true
	time.Sleep(settlingIn) // packets that came before may not have been read yet
	awaitFirst(u.expectsRequests)
	return true
}

// settlingIn is how long packets that have arrived may wait to be read.
const settlingIn = 50 * time.Millisecond

func (u *udpSocket) expectsRequests() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.fresh {
		if c.isNew() {
			return true
		}
	}
	return false
}

func (u *udpSocket) start() {
	ln, err := u.transport.ListenEarly(u.m.quicTLS, u.listen)
	if err != nil { // the socket has been bound; what is set on it now is set for speed
		u.m.logger().Error("HTTP/3 is not served", zap.Uint16("port", u.port), zap.Error(err))
		return
	}
	u.ln = ln
	u.done = make(chan struct{})
	go u.accept()
}

func (u *udpSocket) configure(s *State) {
	u.drainFor = s.drainTimeout()
	no0RTT := false
	for _, e := range s.table {
		if e.http3() && e.addr.Port() == u.port && e.Settings.Disallow0RTT {
			no0RTT = true
		}
	}
	u.no0RTT.Store(no0RTT)
}

// busy puts off closing, which cuts the connections, while there are any.
func (u *udpSocket) busy() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.conns) == 0 {
		return 0
	}
	return u.drainFor
}

func (u *udpSocket) stopAccepting() {
	if u.ln != nil {
		u.ln.Close()
		<-u.done
	}
}

// close ends the connections and closes the socket.
func (u *udpSocket) close() {
	u.stopAccepting()
	u.mu.Lock()
	var wg sync.WaitGroup
	for qc := range u.conns {
		wg.Go(func() { closeQUIC(qc) })
	}
	u.mu.Unlock()
	wg.Wait()
	if u.ln != nil {
		_ = u.transport.Close()
	}
	if u.left {
		_ = holdBack(u.conn, false) // from here on packets wait for the next process
	}
	_ = u.conn.Close()
}

func (u *udpSocket) lend(on bool) { setShared(u.conn, on) }

func (u *udpSocket) syscallConn() syscall.Conn { return u.conn }

func (u *udpSocket) accept() {
	defer close(u.done)
	for {
		qc, err := u.ln.Accept(context.Background())
		if err != nil {
			return
		}
		u.mu.Lock()
		u.conns[qc] = struct{}{}
		u.mu.Unlock()
		go u.serve(qc)
	}
}

// serve gives a connection to the server of the endpoint that covers it.
func (u *udpSocket) serve(qc *quic.Conn) {
	defer func() {
		u.mu.Lock()
		delete(u.conns, qc)
		u.mu.Unlock()
	}()
	local := addrPort(qc.LocalAddr())
	var tried *server
	for {
		e := u.m.endpoint(local)
		if e == nil {
			break
		}
		srv := e.server.Load()
		if srv == nil || srv == tried || srv.http3 == nil {
			break
		}
		if srv.serveQUIC(qc) {
			return
		}
		tried = srv
	}
	closeQUIC(qc)
}

// serveQUIC serves a connection until it ends. It reports false if the server
// takes no more connections.
func (s *server) serveQUIC(qc *quic.Conn) bool {
	s.mu.Lock()
	if s.retired || s.closing3 {
		s.mu.Unlock()
		return false
	}
	s.quic++
	s.starting.Add(1)
	s.mu.Unlock()

	storedConn(qc.Context()).http3 = s
	if err := s.http3.ServeQUICConn(qc); errors.Is(err, http.ErrServerClosed) {
		closeQUIC(qc)
	}
	s.startedHTTP3(qc.Context(), qc) // in case it was not even begun
	s.mu.Lock()
	s.quic--
	s.mu.Unlock()
	s.forgetIfDone()
	return true
}

// startedHTTP3 is called once the HTTP/3 server has counted a connection.
func (s *server) startedHTTP3(ctx context.Context, _ *quic.Conn) context.Context {
	if c := storedConn(ctx); !c.counted.Swap(true) {
		s.starting.Done()
	}
	return ctx
}

// After its last request a client may keep an HTTP/3 connection open for long.
// There is no telling when all of a response has arrived, so a server whose
// requests have ended waits a little and then lets its connections be closed.
const (
	quietPoll  = 50 * time.Millisecond
	quietPolls = 10
)

// shutdownHTTP3 asks the clients to leave and waits until they are gone, or
// until all requests have been answered for a while.
func (s *server) shutdownHTTP3(ctx context.Context) error {
	// Shutdown must not overtake connections that it does not know of yet.
	s.mu.Lock()
	s.closing3 = true
	s.mu.Unlock()
	s.starting.Wait()

	done := make(chan struct{})
	go func() {
		defer close(done)
		// Having waited in vain it waits for the handlers, so it is not for
		// us to wait for it.
		_ = s.http3.Shutdown(ctx)
	}()
	tick := time.NewTicker(quietPoll)
	defer tick.Stop()
	for quiet := 0; quiet < quietPolls; {
		select {
		case <-done:
			return ctx.Err()
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			quiet++
			if s.active3.Load() > 0 {
				quiet = 0
			}
		}
	}
	return nil
}
