package front

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is what is known of a connection. There is one per connection, made when
// it is accepted; it is found in the contexts of its handshake and its requests,
// and lives through configuration changes.
type Conn struct {
	// Local is the local address, with IPv4 addresses unmapped and without
	// zone. If a listener wrapper replaces the local address, as that for the
	// PROXY protocol does, Local has the IP that the wrapper reports, but
	// always the port of the socket. It has no IP where that is not known: see
	// [QUICKnowsAddress].
	Local netip.AddrPort

	// QUIC says that the connection is one over QUIC.
	QUIC bool

	// Handshake is for the application: here it can keep what it decided
	// in the TLS handshake. It must always store values of one type.
	Handshake atomic.Value

	// Verified is for the application as well: here it can keep what it
	// found out about the connection later. As with Handshake, it must always
	// store values of one type.
	Verified atomic.Value

	once  sync.Once
	nc    net.Conn              // as seen below TLS, or by the HTTP server; nil for QUIC
	srv   *server               // nil for QUIC
	tls   *tls.Conn             // the layer above nc, if any
	inner *Conn                 // the Conn below wrappers that hide it
	lease atomic.Pointer[State] // held by the HTTP/1 request in flight

	since time.Time   // when it began
	asked atomic.Bool // it has had a request

	stateOnce sync.Once
	state     *tls.ConnectionState // see connectionState

	// of a connection over QUIC
	http3   *server
	counted atomic.Bool // http3 knows of it
}

type connKey struct{}

// ConnFrom returns the connection that the context of a handshake or a request
// belongs to, or nil if it belongs to none of a [Manager].
func ConnFrom(ctx context.Context) *Conn {
	c := storedConn(ctx)
	if c == nil {
		return nil
	}
	return c.settle()
}

// storedConn returns what the context holds, which need not be settled.
func storedConn(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

// settle finds out the local address when it is asked for first, and not when
// the connection is accepted: a wrapper may have to read from the connection in
// order to know it, and that must not hold up the accept loop.
func (c *Conn) settle() *Conn {
	c.once.Do(func() {
		if c.nc == nil {
			return
		}
		if c.inner = c.srv.below(c.nc); c.inner == nil {
			c.Local = netip.AddrPortFrom(addrPort(c.nc.LocalAddr()).Addr(), c.srv.addr.Port())
		}
	})
	if c.inner != nil {
		return c.inner
	}
	return c
}

// covered is the address that decides which endpoint the connection belongs to.
// It differs from Local only if a wrapper replaced the address of a connection
// to an endpoint with an IP.
func (c *Conn) covered() netip.AddrPort {
	if c.srv != nil && c.srv.addr.Addr().IsValid() {
		return stripZone(c.srv.addr)
	}
	return c.Local
}

// secure reports whether the endpoint had TLS when the connection was accepted.
func (c *Conn) secure() bool { return c.srv == nil || c.srv.secure }

// connectionState returns the TLS state of a connection that net/http does not
// recognize as one with TLS because it is wrapped; nil if there is none.
func (c *Conn) connectionState() *tls.ConnectionState {
	c.stateOnce.Do(func() {
		if c.tls != nil {
			state := c.tls.ConnectionState()
			c.state = &state
			return
		}
		if o, ok := c.nc.(*opaqueConn); ok {
			if cs, ok := o.Conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
				state := cs.ConnectionState()
				c.state = &state
			}
		}
	})
	return c.state
}

// isNew reports whether the first request is still to be expected.
func (c *Conn) isNew() bool { return !c.asked.Load() && time.Since(c.since) < firstRequest }

// finish ends the request that holds the lease, unless the connection was
// hijacked meanwhile.
func (c *Conn) finish(s *State) {
	if c.lease.CompareAndSwap(s, nil) {
		s.release()
	}
}

// hijacked gives the lease back early: what takes over a connection may keep it
// for days and must not keep a configuration from being drained.
func (c *Conn) hijacked() {
	if s := c.lease.Swap(nil); s != nil {
		s.release()
	}
}

// carrier sits right below the TLS layer, so that the TLS callback finds the
// Conn even if the handshake is not started by the HTTP server.
type carrier struct {
	net.Conn
	conn   *Conn
	closed func()
}

// Close implements [net.Conn].
func (c *carrier) Close() error {
	if c.closed != nil {
		c.closed()
	}
	return c.Conn.Close()
}

// addrPort returns the unmapped address without zone; the zero AddrPort if it
// is none with IP and port.
func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return stripZone(normalize(a.AddrPort()))
	}
	if a == nil {
		return netip.AddrPort{}
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return stripZone(normalize(ap))
}
