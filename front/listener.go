package front

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// handoff is the listener at the bottom of a server. What it accepts has been
// accepted from a socket before; a connection is given away only when somebody
// takes it, so none is lost when the server is retired.
type handoff struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  *net.TCPAddr
	given atomic.Int64 // connections that were taken
}

func newHandoff(addr netip.AddrPort) *handoff {
	return &handoff{
		conns: make(chan net.Conn),
		done:  make(chan struct{}),
		addr:  &net.TCPAddr{IP: addr.Addr().AsSlice(), Port: int(addr.Port()), Zone: addr.Addr().Zone()},
	}
}

// offer reports whether the server has taken c.
func (h *handoff) offer(c net.Conn) bool {
	select {
	case h.conns <- c:
		h.given.Add(1)
		return true
	case <-h.done:
		return false
	}
}

// Accept implements [net.Listener].
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: h.addr, Err: net.ErrClosed}
	}
}

// Close implements [net.Listener].
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements [net.Listener].
func (h *handoff) Addr() net.Addr { return h.addr }

// tlsListener puts the TLS layer on connections, and a Conn right below it.
type tlsListener struct {
	net.Listener
	srv *server
}

// Accept implements [net.Listener].
func (l *tlsListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := &Conn{nc: nc, srv: l.srv}
	c := &carrier{Conn: nc, conn: conn}
	if l.srv.hidden != nil {
		c.closed = func() { l.srv.unhide(conn) }
	}
	conn.tls = tls.Server(c, l.srv.m.tls)
	return conn.tls, nil
}

// opaqueListener is on top of listener wrappers.
type opaqueListener struct {
	net.Listener
	once sync.Once
}

// Close implements [net.Listener]. It is called by the HTTP server and when
// the server is retired; wrappers need not be able to take it twice.
func (l *opaqueListener) Close() (err error) {
	l.once.Do(func() { err = l.Listener.Close() })
	return err
}

// Accept implements [net.Listener].
func (l *opaqueListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if t, ok := nc.(*tls.Conn); ok {
		if _, ok := t.NetConn().(*carrier); ok {
			return t, nil
		}
	}
	return &opaqueConn{nc}, nil
}

// opaqueConn hides the methods of a connection made by a wrapper. Above all
// net/http must not see ConnectionState, which would keep it from serving
// HTTP/2; and a pointer can always be the key of a map.
type opaqueConn struct {
	net.Conn
}

// CloseWrite lets net/http end a response that the client can still read.
func (c *opaqueConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}
