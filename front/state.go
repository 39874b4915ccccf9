// Package front holds listening sockets and the HTTP servers behind them
// beyond the life of a single configuration. Loading a configuration only
// exchanges what stands behind the sockets, so no connection is refused, reset
// or closed because of it.
//
// A [State] is what one configuration serves. A [Manager] owns the sockets of
// the process; it binds what a State needs ([Manager.Prepare]), makes the State
// the one that answers ([Manager.Commit]), and gives it up again
// ([Manager.Remove]).
package front

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// Settings are the listener-level settings of an endpoint. They are comparable:
// an endpoint whose settings differ from those it had before gets new protocol
// servers on the same socket, while the connections of the old ones go on.
type Settings struct {
	// Timeouts and limits of the protocol servers, as in [http.Server].
	// HTTP/3 knows only IdleTimeout and MaxHeaderBytes.
	ReadTimeout       time.Duration
	ReadHeaderTimeout time.Duration
	WriteTimeout      time.Duration
	IdleTimeout       time.Duration
	MaxHeaderBytes    int

	// The protocols to serve. H2 and H3 need TLS, H2C needs an endpoint
	// without it. What is negotiated over TCP is up to the NextProtos of the
	// configuration that State.TLS returns.
	H1, H2, H2C, H3 bool

	// KeepAlive configures the probes of accepted TCP connections. There are
	// none unless Enable is set.
	KeepAlive net.KeepAliveConfig

	// Disallow0RTT turns early data of HTTP/3 off. The address a QUIC client
	// means is not known when this is decided, so one endpoint that disallows
	// it does so for all endpoints that share a UDP socket with it.
	Disallow0RTT bool
}

// Endpoint is one address that a State serves.
type Endpoint struct {
	// Addr is the local address. An unspecified or missing IP stands for all
	// addresses, IPv4 and IPv6. An endpoint with an IP takes precedence over
	// one for all addresses of the same port.
	Addr netip.AddrPort

	// TLS says whether connections are encrypted.
	TLS bool

	// Settings are those of the protocol servers.
	Settings Settings

	// BeforeTLS and AfterTLS wrap the listener below and above the TLS layer.
	// Wrappers belong to the configuration that made the State, so an endpoint
	// with any gets new protocol servers with every State. They see TCP only.
	BeforeTLS, AfterTLS []caddy.ListenerWrapper

	// Owner says who wants the endpoint. It appears in errors.
	Owner string
}

// State is what one configuration serves. It must not be modified once it has
// been given to [Manager.Prepare], and can be prepared successfully only once.
type State struct {
	// Endpoints are the addresses to serve.
	Endpoints []Endpoint

	// TLS returns the configuration for a handshake on an endpoint with TLS.
	// It can leave what it decided in the connection's Handshake field.
	TLS func(*tls.ClientHelloInfo, *Conn) (*tls.Config, error)

	// EncryptedClientHelloKeys optionally returns the keys for Encrypted
	// Client Hello. The configurations that TLS returns must have the same
	// keys, since clients with outdated ones learn the new ones from there.
	EncryptedClientHelloKeys func(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error)

	// Handler answers the requests on all endpoints. See [ConnFrom].
	Handler http.Handler

	// Logger gets the messages of the protocol servers while this State is
	// the one that answers. May be nil.
	Logger *zap.Logger

	// DrainTimeout bounds how long a socket for HTTP/3 that nobody wants any
	// more waits for its connections to end: closing it cuts them. Defaults
	// to 10 seconds.
	DrainTimeout time.Duration

	table   map[netip.AddrPort]*endpoint // by unmapped address without zone
	sockets map[socketKey]*endpoint      // wanted sockets, and who is named in errors
	refs    atomic.Int64                 // requests in flight, and one while installed
	drained chan struct{}
	once    sync.Once // closes drained

	// guarded by Manager.mu
	prepared, committed bool
}

// endpoint is an Endpoint in the table of a State.
type endpoint struct {
	*Endpoint
	addr   netip.AddrPort // normalized
	altSvc string         // empty without HTTP/3
	server atomic.Pointer[server]
}

const defaultDrainTimeout = 10 * time.Second

// Drained returns a channel that is closed when the State has been removed and
// the last request it was answering has ended. A connection taken over by its
// handler (an upgrade over HTTP/1.1, or what [TakenOver] was told of) counts as
// ended. The channel of a State that is not prepared is closed.
func (s *State) Drained() <-chan struct{} {
	if s.drained == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	return s.drained
}

// Serves reports whether s would serve just what another State does, so that it
// need not take its place.
func (s *State) Serves(other *State) bool {
	return slices.EqualFunc(s.Endpoints, other.Endpoints, func(x, y Endpoint) bool {
		return x.Addr == y.Addr && x.TLS == y.TLS && x.Settings == y.Settings &&
			len(x.BeforeTLS) == len(y.BeforeTLS) && len(x.AfterTLS) == len(y.AfterTLS)
	})
}

// build fills the unexported fields.
func (s *State) build() error {
	if s.Handler == nil {
		return errors.New("no handler")
	}
	s.table = make(map[netip.AddrPort]*endpoint, len(s.Endpoints))
	for i := range s.Endpoints {
		e := &endpoint{Endpoint: &s.Endpoints[i], addr: normalize(s.Endpoints[i].Addr)}
		if err := e.validate(s); err != nil {
			return err
		}
		if e.http3() {
			e.altSvc = `h3=":` + strconv.Itoa(int(e.addr.Port())) + `"; ma=2592000`
		}
		key := stripZone(e.addr)
		if other, ok := s.table[key]; ok && !other.same(e) {
			return fmt.Errorf("%s and %s want different settings for %s",
				other.Owner, e.Owner, displayAddr(e.addr))
		}
		s.table[key] = e
	}
	s.chooseSockets()
	return nil
}

func (e *endpoint) validate(s *State) error {
	switch {
	case e.TLS && s.TLS == nil:
		return fmt.Errorf("%s: no TLS configurations for %s", e.Owner, displayAddr(e.addr))
	case e.addr.Port() == 0:
		return fmt.Errorf("%s: an endpoint needs a port", e.Owner)
	case !e.tcp() && !e.http3():
		return fmt.Errorf("%s: no protocol is left to serve on %s", e.Owner, displayAddr(e.addr))
	}
	return nil
}

// tcp reports whether the endpoint needs a TCP socket.
func (e *endpoint) tcp() bool {
	return e.Settings.H1 || e.Settings.H2 && e.TLS || e.Settings.H2C && !e.TLS
}

// http3 reports whether the endpoint needs a UDP socket.
func (e *endpoint) http3() bool { return e.Settings.H3 && e.TLS }

// wrapped reports whether listener wrappers tie the servers to the State.
func (e *endpoint) wrapped() bool { return len(e.BeforeTLS)+len(e.AfterTLS) > 0 }

// same reports whether two endpoints can be served as one. Wrappers are not
// necessarily comparable, so endpoints that have any are always different.
func (e *endpoint) same(o *endpoint) bool {
	return e.TLS == o.TLS && e.Settings == o.Settings && !e.wrapped() && !o.wrapped()
}

// chooseSockets decides what has to be bound. A socket for all addresses of a
// port serves the specific addresses on it as well.
func (s *State) chooseSockets() {
	s.sockets = make(map[socketKey]*endpoint)
	for _, network := range []string{"tcp", "udp"} {
		wants := (*endpoint).tcp
		if network == "udp" {
			wants = (*endpoint).http3
		}
		for _, e := range s.table {
			if wants(e) && !e.addr.Addr().IsValid() {
				s.sockets[socketKey{network, e.addr}] = e
			}
		}
		for _, e := range s.table {
			if _, ok := s.sockets[socketKey{network, wildcard(e.addr)}]; wants(e) && !ok {
				s.sockets[socketKey{network, e.addr}] = e
			}
		}
	}
}

// lookup returns the endpoint that covers a local address, or nil.
func (s *State) lookup(local netip.AddrPort) *endpoint {
	if e, ok := s.table[local]; ok {
		return e
	}
	return s.table[wildcard(local)]
}

// release gives back one reference.
func (s *State) release() {
	if s.refs.Add(-1) == 0 {
		s.once.Do(func() { close(s.drained) })
	}
}

func (s *State) drainTimeout() time.Duration {
	if s.DrainTimeout > 0 {
		return s.DrainTimeout
	}
	return defaultDrainTimeout
}

// normalize unmaps IPv4 addresses and turns unspecified ones into the zero Addr.
func normalize(a netip.AddrPort) netip.AddrPort {
	ip := a.Addr().Unmap()
	if ip.IsUnspecified() {
		ip = netip.Addr{}
	}
	return netip.AddrPortFrom(ip, a.Port())
}

func stripZone(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}

func wildcard(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.Addr{}, a.Port())
}

// displayAddr formats a normalized address the way it is written in a
// configuration.
func displayAddr(a netip.AddrPort) string {
	if !a.Addr().IsValid() {
		return ":" + strconv.Itoa(int(a.Port()))
	}
	return a.String()
}
