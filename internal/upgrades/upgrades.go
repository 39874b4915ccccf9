package upgrades

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-iis/caddy-iis/front"
)

// conns are the connections of the process that handlers have taken over. They outlive
// loads of the configuration, and end when what serves has no place for them any more.
var conns = set{open: make(map[*Request]struct{})}

type set struct {
	mu       sync.Mutex
	open     map[*Request]struct{}
	settling bool
	again    bool // something has changed meanwhile
}

// list returns the connections that are open.
func (s *set) list() []*Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Request, 0, len(s.open))
	for u := range s.open {
		list = append(list, u)
	}
	return list
}

// Settle has the connections ended whose site has gone, or now demands what they do not
// have. It is called after each change of what serves, and waits for nothing: many
// changes in a row are looked at together, since each look is at all connections.
func Settle() { conns.settle() }

// EndAll ends all connections and returns when clients have been told, since the
// process exits.
func EndAll() { conns.endAll() }

func (s *set) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again = true
	if !s.settling {
		s.settling = true
		go s.settleNow()
	}
}

func (s *set) settleNow() {
	for s.changed() {
		for _, u := range s.list() {
			if !u.admitted() {
				u.end()
			}
		}
	}
}

// changed reports whether there is anything to look at again.
func (s *set) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settling, s.again = s.again, false
	return s.settling
}

func (s *set) endAll() {
	var all sync.WaitGroup
	for _, u := range s.list() {
		all.Go(u.close)
	}
	all.Wait()
}

// Place is what a connection has been given, as its request asked for it.
type Place interface {
	// Admitted reports whether what serves now would give the connection to the same
	// site, and the site would let it in.
	Admitted() bool
}

// Request is a request whose connection a handler may take over, and the connection if
// one has.
type Request struct {
	place     Place
	group     *Group
	exit      func() // the request is none of its routes any more, but the group's; may be nil
	webSocket bool

	cancel context.CancelFunc // of the request's context, which ends what is behind the handler

	once     sync.Once // of close
	mu       sync.Mutex
	conn     net.Conn // over HTTP/1.1
	taken    bool
	finished bool
}

// New returns what becomes of a request that handlers of a group may take over. If one
// does, exit is called, which may be nil.
func New(r *http.Request, group *Group, place Place, exit func()) *Request {
	return &Request{
		place: place, group: group, exit: exit,
		webSocket: r.ProtoMajor == 1 && httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "websocket"),
	}
}

// Wrap makes the writer and the request by which it is seen that a handler takes the
// connection over.
func (u *Request) Wrap(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	u.cancel = cancel
	r = r.WithContext(ctx)
	return &writer{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, u: u, r: r}, r
}

// writer is the writer of a request that may be taken over.
type writer struct {
	*caddyhttp.ResponseWriterWrapper
	u *Request
	r *http.Request
}

// Hijack implements http.Hijacker.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.u.begin(conn)
	return &takenConn{Conn: conn, u: w.u}, buffered, nil
}

// WriteHeader implements http.ResponseWriter. Over HTTP/2 and HTTP/3 success is
// the beginning (RFC 8441, section 5).
func (w *writer) WriteHeader(status int) {
	w.ResponseWriterWrapper.WriteHeader(status)
	if w.r.ProtoMajor > 1 && status >= 200 && status < 300 {
		w.u.begin(nil)
		front.TakenOver(w.r)
	}
}

// begin notes that a handler has taken the connection over. If its site has gone
// meanwhile, or its handlers are cleaned up, it ends at once.
func (u *Request) begin(conn net.Conn) {
	u.mu.Lock()
	if u.taken || u.finished {
		u.mu.Unlock()
		return
	}
	u.conn, u.taken = conn, true
	u.mu.Unlock()
	if !u.group.take() {
		u.group = nil
		u.end()
		return
	}
	if u.exit != nil {
		u.exit()
	}
	conns.mu.Lock()
	conns.open[u] = struct{}{}
	conns.mu.Unlock()
	if !u.admitted() {
		u.end()
	}
}

// Returned is called when the routes have returned. A handler may return and keep
// what it has hijacked; streams end with it.
func (u *Request) Returned() {
	u.mu.Lock()
	lives := u.conn != nil && !u.finished
	u.mu.Unlock()
	if !lives {
		u.cancel()
		u.over()
	}
}

// over forgets a connection that has ended.
func (u *Request) over() {
	u.mu.Lock()
	again := u.finished || !u.taken
	u.finished = true
	u.mu.Unlock()
	if again || u.group == nil {
		return
	}
	conns.mu.Lock()
	delete(conns.open, u)
	conns.mu.Unlock()
	u.group.letGo()
}

// goingAway is a WebSocket's frame that closes it with the code 1001: this endpoint
// is going away (RFC 6455, section 7.4.1).
var goingAway = []byte{0x88, 2, 1001 >> 8, 1001 & 0xff}

// maxGoodbye bounds how long a client is told that its connection ends.
const maxGoodbye = time.Second

// admitted reports whether the connection has its place still. Whoever comes while the
// process exits goes to the one after it.
func (u *Request) admitted() bool { return !caddy.Exiting() && u.place.Admitted() }

// end ends the connection and what the handler has behind it. It does not wait for
// the client.
func (u *Request) end() { go u.close() }

// close does so once, whoever finds that it must end, and returns when that is done.
func (u *Request) close() { u.once.Do(u.closeNow) }

func (u *Request) closeNow() {
	u.mu.Lock()
	conn, again := u.conn, u.finished
	u.mu.Unlock()
	switch {
	case again:
		return
	case conn == nil:
		u.cancel() // the handler returns
		return
	case u.webSocket:
		_ = conn.SetWriteDeadline(time.Now().Add(maxGoodbye))
		_, _ = conn.Write(goingAway)
	}
	conn.Close()
	u.cancel()
	u.over()
}

// takenConn is a connection that was taken over, and tells when it is closed.
type takenConn struct {
	net.Conn
	u *Request
}

// Close implements net.Conn.
func (c *takenConn) Close() error {
	err := c.Conn.Close()
	c.u.cancel()
	c.u.over()
	return err
}

// CloseWrite closes one direction, if the connection can do that.
func (c *takenConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}

// Interface guards
var (
	_ http.Hijacker       = (*writer)(nil)
	_ http.ResponseWriter = (*writer)(nil)
	_ net.Conn            = (*takenConn)(nil)
)
