package front

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// tcpSocket accepts TCP connections.
type tcpSocket struct {
	m    *Manager
	ln   *net.TCPListener
	done chan struct{} // non-nil once started, closed when the accept loop has ended
}

func (t *tcpSocket) start() {
	t.done = make(chan struct{})
	go t.accept()
}

func (t *tcpSocket) configure(*State) {}

// busy is always zero: accepted connections do not depend on the socket.
func (t *tcpSocket) busy() time.Duration { return 0 }

// leave is not needed: who connects to a socket that another process has as well waits
// for it there.
func (t *tcpSocket) leave() bool { return false }

// stopAccepting waits a moment for the connection accepted last to be given
// away. A listener wrapper that is stuck must not stop the shutdown.
func (t *tcpSocket) stopAccepting() {
	t.ln.Close()
	if t.done == nil {
		return
	}
	select {
	case <-t.done:
	case <-time.After(time.Second):
	}
}

func (t *tcpSocket) close() { t.ln.Close() }

func (t *tcpSocket) lend(on bool) { setShared(t.ln, on) }

func (t *tcpSocket) syscallConn() syscall.Conn { return t.ln }

func (t *tcpSocket) accept() {
	defer close(t.done)
	var delay time.Duration
	for {
		c, err := t.ln.AcceptTCP()
		if err == nil {
			delay = 0
			t.dispatch(c)
			continue
		}
		var ne net.Error
		//nolint:staticcheck // Temporary is the only way to tell a lack of descriptors from a closed listener
		if !errors.As(err, &ne) || !ne.Temporary() {
			return
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		t.m.logger().Error("accepting a connection", zap.Error(err), zap.Duration("retry_in", delay))
		time.Sleep(delay)
	}
}

// dispatch gives a connection to the server of the endpoint that covers it. If
// the server is retired meanwhile the endpoint has another one by then, unless
// it is gone.
func (t *tcpSocket) dispatch(c *net.TCPConn) {
	local := addrPort(c.LocalAddr())
	var tried *server
	for {
		e := t.m.endpoint(local)
		if e == nil {
			break
		}
		srv := e.server.Load()
		if srv == nil || srv == tried || srv.ln == nil {
			break
		}
		if tried == nil {
			_ = c.SetKeepAliveConfig(e.Settings.KeepAlive)
		}
		if srv.ln.offer(c) {
			return
		}
		tried = srv
	}
	c.Close()
}

// endpoint returns the endpoint of the current State that covers an address.
func (m *Manager) endpoint(local netip.AddrPort) *endpoint {
	s := m.current.Load()
	if s == nil {
		return nil
	}
	return s.lookup(local)
}
