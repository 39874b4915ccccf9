package serve

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

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/front"
)

// upgradedConns are the connections of the process that handlers of sites have
// taken over, such as WebSockets. They outlive loads of the configuration, and end
// when what serves has no place for them any more.
var upgradedConns = upgradedSet{open: make(map[*upgraded]struct{})}

type upgradedSet struct {
	mu       sync.Mutex
	open     map[*upgraded]struct{}
	settling bool
	again    bool // something has changed meanwhile
}

// list returns the connections that are open.
func (s *upgradedSet) list() []*upgraded {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*upgraded, 0, len(s.open))
	for u := range s.open {
		list = append(list, u)
	}
	return list
}

// settle has the connections ended whose site has gone, or now demands what they do not
// have. It is called after each change of what serves, and waits for nothing: many
// changes in a row are looked at together, since each look is at all connections.
func (s *upgradedSet) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again = true
	if !s.settling {
		s.settling = true
		go s.settleNow()
	}
}

func (s *upgradedSet) settleNow() {
	for s.changed() {
		for _, u := range s.list() {
			if !u.admitted() {
				u.end()
			}
		}
	}
}

// changed reports whether there is anything to look at again.
func (s *upgradedSet) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settling, s.again = s.again, false
	return s.settling
}

// endAll ends all connections and returns when clients have been told, since the
// process exits.
func (s *upgradedSet) endAll() {
	var all sync.WaitGroup
	for _, u := range s.list() {
		all.Go(u.close)
	}
	all.Wait()
}

// upgraded is a request whose connection a handler may take over, and the connection if
// one has.
type upgraded struct {
	site      uint32
	group     *handlerGroup
	exit      func() // the request is none of its routes any more, but the group's; may be nil
	host      string // as the request named it
	protocol  binding.Protocol
	forwarded bool // a proxy that is trusted says that the client came to it by https
	made      Connection
	webSocket bool

	cancel context.CancelFunc // of the request's context, which ends what is behind the handler

	once     sync.Once // of close
	mu       sync.Mutex
	conn     net.Conn // over HTTP/1.1
	taken    bool
	finished bool
}

// mayBeTakenOver reports whether a handler may take the connection of a request over:
// one that is known does if the request asks for another protocol.
func (sr *siteRequest) mayBeTakenOver(r *http.Request) bool {
	switch {
	case sr.admitted:
		return false
	case r.ProtoMajor == 1:
		return len(r.Header["Upgrade"]) > 0 || sr.site.Content.May.requests || sr.site.Content.own != nil
	}
	return front.ExtendedConnect(r)
}

func newUpgraded(sr *siteRequest, r *http.Request) *upgraded {
	u := &upgraded{
		site: sr.site.id, group: sr.site.Content.group, exit: sr.exit, host: r.Host, protocol: binding.HTTP,
		made:      *liveConnection(r, front.ConnFrom(r.Context())),
		webSocket: r.ProtoMajor == 1 && httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "websocket"),
	}
	if r.TLS != nil {
		u.protocol = binding.HTTPS
	} else {
		u.forwarded = forwardedHTTPS(r)
	}
	return u
}

// wrap makes the writer and the request by which it is seen that a handler takes the
// connection over.
func (u *upgraded) wrap(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	u.cancel = cancel
	r = r.WithContext(ctx)
	return &upgradeWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, u: u, r: r}, r
}

// upgradeWriter is the writer of a request that may be taken over.
type upgradeWriter struct {
	*caddyhttp.ResponseWriterWrapper
	u *upgraded
	r *http.Request
}

// Hijack implements http.Hijacker.
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.u.begin(conn)
	return &upgradedConn{Conn: conn, u: w.u}, buffered, nil
}

// WriteHeader implements http.ResponseWriter. Over HTTP/2 and HTTP/3 success is
// the beginning (RFC 8441, section 5).
func (w *upgradeWriter) WriteHeader(status int) {
	w.ResponseWriterWrapper.WriteHeader(status)
	if w.r.ProtoMajor > 1 && status >= 200 && status < 300 {
		w.u.begin(nil)
		front.TakenOver(w.r)
	}
}

// begin notes that a handler has taken the connection over. If its site has gone
// meanwhile, or its handlers are cleaned up, it ends at once.
func (u *upgraded) begin(conn net.Conn) {
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
	upgradedConns.mu.Lock()
	upgradedConns.open[u] = struct{}{}
	upgradedConns.mu.Unlock()
	if !u.admitted() {
		u.end()
	}
}

// returned is called when the routes have returned. A handler may return and keep
// what it has hijacked; streams end with it.
func (u *upgraded) returned() {
	u.mu.Lock()
	lives := u.conn != nil && !u.finished
	u.mu.Unlock()
	if !lives {
		u.cancel()
		u.over()
	}
}

// over forgets a connection that has ended.
func (u *upgraded) over() {
	u.mu.Lock()
	again := u.finished || !u.taken
	u.finished = true
	u.mu.Unlock()
	if again || u.group == nil {
		return
	}
	upgradedConns.mu.Lock()
	delete(upgradedConns.open, u)
	upgradedConns.mu.Unlock()
	u.group.letGo()
}

// goingAway is a WebSocket's frame that closes it with the code 1001: this endpoint
// is going away (RFC 6455, section 7.4.1).
var goingAway = []byte{0x88, 2, 1001 >> 8, 1001 & 0xff}

// maxGoodbye bounds how long a client is told that its connection ends.
const maxGoodbye = time.Second

// end ends the connection and what the handler has behind it. It does not wait for
// the client.
func (u *upgraded) end() { go u.close() }

// close does so once, whoever finds that it must end, and returns when that is done.
func (u *upgraded) close() { u.once.Do(u.closeNow) }

func (u *upgraded) closeNow() {
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

// upgradedConn is a connection that was taken over, and tells when it is closed.
type upgradedConn struct {
	net.Conn
	u *upgraded
}

// Close implements net.Conn.
func (c *upgradedConn) Close() error {
	err := c.Conn.Close()
	c.u.cancel()
	c.u.over()
	return err
}

// CloseWrite closes one direction, if the connection can do that.
func (c *upgradedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}

// admitted reports whether what serves now would give the connection to its site,
// and the site would let it in.
func (u *upgraded) admitted() bool {
	if caddy.Exiting() {
		return false // whoever comes now goes to the process after this one
	}
	app, ok := fronts.Handler().(*Instance)
	if !ok {
		return false
	}
	sn := app.Serving()
	match, ordinary, valid := sn.RequestOwner(u.made.local, u.protocol, u.host)
	if ordinary != nil || !valid || match.Site == nil || match.Site.HeldBack || match.Site.ID != u.site {
		return false
	}
	site := sn.Sites.At(match.Site.Index)
	demanded := sn.Demand(&u.made, u.host, site, match)
	if u.forwarded {
		demanded = site.forwarded(demanded, false)
	}
	return demanded.Status == 0
}

// Interface guards
var (
	_ http.Hijacker       = (*upgradeWriter)(nil)
	_ http.ResponseWriter = (*upgradeWriter)(nil)
	_ net.Conn            = (*upgradedConn)(nil)
)
