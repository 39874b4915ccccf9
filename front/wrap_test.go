package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// addressWrapper takes the local address of a connection from a line that
// precedes everything else, as the PROXY protocol does.
type addressWrapper struct {
	net.Listener
	accepted *atomic.Int64
}

func (a addressWrapper) WrapListener(ln net.Listener) net.Listener {
	return &addressWrapper{ln, a.accepted}
}

func (a *addressWrapper) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	a.accepted.Add(1)
	return &addressedConn{Conn: c, r: bufio.NewReader(c)}, nil
}

type addressedConn struct {
	net.Conn
	r     *bufio.Reader
	local *net.TCPAddr
}

func (c *addressedConn) LocalAddr() net.Addr {
	c.read()
	return c.local
}

func (c *addressedConn) read() {
	if c.local == nil {
		line, _ := c.r.ReadString('\n')
		addr, _ := netip.ParseAddrPort(strings.TrimSpace(line))
		c.local = net.TCPAddrFromAddrPort(addr)
	}
}

func (c *addressedConn) Read(p []byte) (int, error) {
	c.read()
	return c.r.Read(p)
}

// addressedClient sends such a line.
func addressedClient(t *testing.T, local string, proto string) *http.Client {
	tr := &http.Transport{TLSClientConfig: clientTLS(proto), Protocols: new(http.Protocols)}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil && local != "" {
			_, err = io.WriteString(c, local+"\n")
		}
		return c, err
	}
	tr.Protocols.SetHTTP1(proto == "http/1.1")
	tr.Protocols.SetHTTP2(proto == "h2")
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 5 * time.Second}
}

// hidingWrapper hides that connections are TLS connections; withState says
// whether they still tell their TLS state.
type hidingWrapper struct {
	net.Listener
	withState bool
}

func (h hidingWrapper) WrapListener(ln net.Listener) net.Listener {
	return &hidingWrapper{ln, h.withState}
}

func (h *hidingWrapper) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if h.withState {
		return statedConn{c, c.(*tls.Conn)}, nil
	}
	// not comparable, as no connection has to be
	return struct {
		net.Conn
		_ []byte
	}{Conn: c}, nil
}

type statedConn struct {
	net.Conn
	tls *tls.Conn
}

func (c statedConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

func wrappedState(name string, e Endpoint) *State {
	s := newState(name, e)
	inner := s.TLS
	s.TLS = func(hello *tls.ClientHelloInfo, c *Conn) (*tls.Config, error) {
		c.Handshake.Store("saw " + c.Local.String())
		return inner(hello, c)
	}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := ConnFrom(r.Context())
		fmt.Fprintf(w, "%s %s %s tls=%v %v", name, r.Proto, c.Local, r.TLS != nil && r.TLS.HandshakeComplete, c.Handshake.Load())
	})
	return s
}

func TestWrappersBeforeTLS(t *testing.T) {
	for _, ip := range []netip.Addr{{}, loopback} {
		m, port := newManager(t), freePort(t)
		var accepted [2]atomic.Int64
		e := secure(ip, port)
		e.BeforeTLS = []caddy.ListenerWrapper{addressWrapper{accepted: &accepted[0]}}
		a := install(t, m, wrappedState("a", e))
		want := func(name, proto string) string {
			return fmt.Sprintf("%s %s 9.9.9.9:%d tls=true saw 9.9.9.9:%[3]d", name, proto, port)
		}
		// a client that says nothing must not hold up the others
		silent, err := net.Dial("tcp", netip.AddrPortFrom(loopback, port).String())
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()

		kept := addressedClient(t, "9.9.9.9:1234", "http/1.1")
		kept2 := addressedClient(t, "9.9.9.9:1234", "h2")
		expect(t, kept, url("https", loopback, port), want("a", "HTTP/1.1"))
		expect(t, kept2, url("https", loopback, port), want("a", "HTTP/2.0"))

		e.BeforeTLS = []caddy.ListenerWrapper{addressWrapper{accepted: &accepted[1]}}
		b := replace(t, m, a, wrappedState("b", e))
		expect(t, kept, url("https", loopback, port), want("b", "HTTP/1.1"))
		expect(t, kept2, url("https", loopback, port), want("b", "HTTP/2.0"))
		expect(t, addressedClient(t, "9.9.9.9:1234", "h2"), url("https", loopback, port), want("b", "HTTP/2.0"))
		if accepted[0].Load() != 3 || accepted[1].Load() != 1 {
			t.Errorf("accepted: %d and %d", accepted[0].Load(), accepted[1].Load())
		}

		// undone: the wrappers of b are no longer used, though it was newer
		m.Remove(install(t, m, wrappedState("c", e)))
		expect(t, addressedClient(t, "9.9.9.9:1234", "h2"), url("https", loopback, port), want("b", "HTTP/2.0"))
		m.Remove(b)
		silent.Close()
		kept.CloseIdleConnections()
		kept2.CloseIdleConnections()
		eventually(t, "servers are forgotten", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return len(m.servers) == 0
		})
	}
}

func TestWrappersAfterTLS(t *testing.T) {
	for _, withState := range []bool{true, false} {
		m, port := newManager(t), freePort(t)
		e := secure(netip.Addr{}, port)
		e.AfterTLS = []caddy.ListenerWrapper{hidingWrapper{withState: withState}}
		a := install(t, m, wrappedState("a", e))
		want := func(name, proto string) string {
			return fmt.Sprintf("%s %s 127.0.0.1:%d tls=true saw 127.0.0.1:%[3]d", name, proto, port)
		}
		kept, kept2 := addressedClient(t, "", "http/1.1"), addressedClient(t, "", "h2")
		expect(t, kept, url("https", loopback, port), want("a", "HTTP/1.1"))
		expect(t, kept2, url("https", loopback, port), want("a", "HTTP/2.0"))
		replace(t, m, a, wrappedState("b", e))
		expect(t, kept, url("https", loopback, port), want("b", "HTTP/1.1"))
		expect(t, kept2, url("https", loopback, port), want("b", "HTTP/2.0"))
		expect(t, addressedClient(t, "", "h2"), url("https", loopback, port), want("b", "HTTP/2.0"))
		kept.CloseIdleConnections()
		kept2.CloseIdleConnections()
		eventually(t, "retired servers are forgotten", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return len(m.servers) == 1
		})
		m.mu.Lock()
		for srv := range m.servers {
			srv.mu.Lock()
			if len(srv.hidden) > 1 {
				t.Errorf("%d hidden connections", len(srv.hidden))
			}
			srv.mu.Unlock()
		}
		m.mu.Unlock()
	}
}

func TestWrappersWithoutTLS(t *testing.T) {
	m, port := newManager(t), freePort(t)
	e := plain(netip.Addr{}, port)
	e.Settings.H2 = true // means nothing here
	e.BeforeTLS = []caddy.ListenerWrapper{addressWrapper{accepted: new(atomic.Int64)}}
	install(t, m, wrappedState("a", e))
	want := fmt.Sprintf("a HTTP/1.1 9.9.9.9:%d tls=false <nil>", port)
	expect(t, addressedClient(t, "9.9.9.9:80", "http/1.1"), url("http", loopback, port), want)

	tr := addressedClient(t, "9.9.9.9:80", "").Transport.(*http.Transport)
	tr.Protocols.SetUnencryptedHTTP2(true)
	_, resp, err := fetch(&http.Client{Transport: tr}, url("http", loopback, port))
	if err == nil && resp.StatusCode != http.StatusHTTPVersionNotSupported {
		t.Errorf("h2c is off: %v %v", resp, err)
	}
}
