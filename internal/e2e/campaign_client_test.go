package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// campaignPatience bounds what a client of a campaign waits for.
const campaignPatience = 30 * time.Second

// endpointKey is what a session must not leave: where it began, under which settings,
// with which certificate and for which name.
type endpointKey struct {
	ip   netip.Addr
	port uint16
	set  settings
	cert string
	name string
}

// ticket is a session that a client may offer anywhere.
type ticket struct {
	state  *tls.ClientSessionState
	from   *offer // of the connection that it came by
	key    endpointKey
	tls13  bool
	client string // who it authenticates
}

// jar is one cache of sessions for all names, addresses, ports and protocols.
type jar struct {
	mu      sync.Mutex
	tickets []*ticket
}

const jarSize = 512

func (j *jar) add(rng *rand.Rand, t *ticket) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.tickets) < jarSize {
		j.tickets = append(j.tickets, t)
		return
	}
	j.tickets[rng.IntN(jarSize)] = t
}

// any returns any session, nil if there is none.
func (j *jar) any(rng *rand.Rand) *ticket {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.tickets) == 0 {
		return nil
	}
	return pick(rng, j.tickets)
}

// take returns a session of a version: one in two times one that was issued for the
// port and name. It may be nil.
func (j *jar) take(rng *rand.Rand, o *offer) *ticket {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.tickets) == 0 {
		return nil
	}
	near := chance(rng, 2)
	start := rng.IntN(len(j.tickets))
	for i := range j.tickets {
		t := j.tickets[(start+i)%len(j.tickets)]
		if t.tls13 == o.tls13 && (!near || t.key.port == o.local.Port() && t.key.name == lower(o.name)) {
			return t
		}
	}
	return nil
}

// session is the cache of one connection: it offers one session, whatever it is
// asked for, and keeps those that come.
type session struct {
	mu      sync.Mutex
	offered *ticket
	came    []*tls.ClientSessionState
}

// Get implements tls.ClientSessionCache.
func (s *session) Get(string) (*tls.ClientSessionState, bool) {
	if s.offered == nil {
		return nil, false
	}
	return s.offered.state, true
}

// Put implements tls.ClientSessionCache.
func (s *session) Put(_ string, state *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != nil {
		s.came = append(s.came, state)
	}
}

func (s *session) takeAll() []*tls.ClientSessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	came := s.came
	s.came = nil
	return came
}

// offer is what a client offers.
type offer struct {
	hello
	wire     string // what stands in the place of the name on the wire, empty: the name
	http     int
	fallback bool // HTTP/1.1 beside HTTP/2
	tls13    bool
	client   string // whose client certificate it would show, empty: none
	ticket   *ticket
}

func (o *offer) String() string {
	version := "TLS 1.2"
	if o.tls13 {
		version = "TLS 1.3"
	}
	text := fmt.Sprintf("%s, name %q, %s, HTTP/%d", o.local, o.name, version, o.http)
	if o.fallback {
		text += " or 1.1"
	}
	if o.client != "" {
		text += ", client of " + o.client
	}
	if o.ticket != nil {
		text += fmt.Sprintf(", ticket of %+v for client %q", o.ticket.key, o.ticket.client)
	}
	return text
}

// connected is a connection of a client.
type connected struct {
	*offer
	session  *session
	cert     string // common name of the server's certificate
	resumed  bool
	protocol int // 1, 2 or 3
	send     func(ctx context.Context, host string) (status int, body string, closed bool, err error)
	close    func()
}

// people are the client certificates.
type people map[string]tls.Certificate

func (p people) config(o *offer, s *session) *tls.Config {
	version := uint16(tls.VersionTLS12)
	if o.tls13 {
		version = tls.VersionTLS13
	}
	config := &tls.Config{
		InsecureSkipVerify: true, ServerName: o.name, MinVersion: version, MaxVersion: version, ClientSessionCache: s,
		// Shown even if the server's authorities are others.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			own := p[o.client]
			return &own, nil
		},
	}
	switch {
	case o.http == 3:
		config.NextProtos = []string{"h3"}
		if o.name == "" { // quic-go would fill in the address; an address is never sent
			config.ServerName = o.local.Addr().String()
		}
	case o.http == 2 && o.fallback:
		config.NextProtos = []string{"h2", "http/1.1"}
	case o.http == 2:
		config.NextProtos = []string{"h2"}
	default:
		config.NextProtos = []string{"http/1.1"}
	}
	return config
}

// connect makes a handshake.
func (p people) connect(o *offer) (*connected, error) {
	ctx, cancel := context.WithTimeout(context.Background(), campaignPatience)
	defer cancel()
	c := &connected{offer: o, session: &session{offered: o.ticket}, protocol: o.http}
	config := p.config(o, c.session)
	if o.http == 3 {
		return c, c.overQUIC(ctx, config)
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", o.local.String())
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	_ = raw.SetDeadline(time.Now().Add(2 * campaignPatience))
	if o.wire != "" {
		defer raw.Close()
		return c, c.onTheWire(ctx, raw, config)
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return c, err
	}
	state := conn.ConnectionState()
	c.cert, c.resumed, c.close = state.PeerCertificates[0].Subject.CommonName, state.DidResume, func() { conn.Close() }
	if state.NegotiatedProtocol == "h2" {
		transport := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
		c.close = func() { transport.CloseIdleConnections(); conn.Close() }
		c.send = func(ctx context.Context, host string) (int, string, bool, error) {
			return roundTrip(ctx, transport, o.local, host)
		}
		return c, nil
	}
	c.protocol = 1
	reader := bufio.NewReader(conn)
	c.send = func(_ context.Context, host string) (int, string, bool, error) {
		return exchangeHTTP1(conn, reader, host)
	}
	return c, nil
}

func exchangeHTTP1(conn net.Conn, reader *bufio.Reader, host string) (status int, body string, closed bool, err error) {
	if _, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
		return 0, "", true, err
	}
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		return 0, "", true, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(content), resp.Close, err
}

func roundTrip(ctx context.Context, over http.RoundTripper, local netip.AddrPort, host string) (int, string, bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+local.String()+"/", nil)
	if err != nil {
		return 0, "", false, err
	}
	req.Host = host
	resp, err := over.RoundTrip(req)
	if err != nil {
		return 0, "", true, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(content), false, err
}

func (c *connected) overQUIC(ctx context.Context, config *tls.Config) error {
	conn, err := quic.DialAddr(ctx, c.local.String(), config, &quic.Config{HandshakeIdleTimeout: campaignPatience, MaxIdleTimeout: 2 * campaignPatience})
	if err != nil {
		return err
	}
	state := conn.ConnectionState().TLS
	transport := new(http3.Transport)
	client := transport.NewClientConn(conn)
	c.cert, c.resumed = state.PeerCertificates[0].Subject.CommonName, state.DidResume
	c.send = func(ctx context.Context, host string) (int, string, bool, error) {
		return roundTrip(ctx, client, c.local, host)
	}
	c.close = func() { _ = conn.CloseWithError(0, "") }
	return nil
}

// errSeen ends a handshake whose name was changed on the wire, when the certificate
// has come: it cannot be completed.
var errSeen = errors.New("the certificate was seen")

// onTheWire makes a handshake of TLS 1.2 with a name that crypto/tls never sends, as
// far as the certificate.
func (c *connected) onTheWire(ctx context.Context, raw net.Conn, config *tls.Config) error {
	config.ServerName = strings.Repeat("q", len(c.wire))
	config.VerifyPeerCertificate = func(certs [][]byte, _ [][]*x509.Certificate) error {
		leaf, err := x509.ParseCertificate(certs[0])
		if err != nil {
			return err
		}
		c.cert = leaf.Subject.CommonName
		return errSeen
	}
	err := tls.Client(&renaming{Conn: raw, from: []byte(config.ServerName), to: []byte(c.wire)}, config).HandshakeContext(ctx)
	if errors.Is(err, errSeen) {
		return nil
	}
	return err
}

// renaming writes another name of the same length in the first bytes that it is given.
type renaming struct {
	net.Conn
	from, to []byte
}

func (r *renaming) Write(b []byte) (int, error) {
	b = bytes.Replace(b, r.from, r.to, 1)
	return r.Conn.Write(b)
}

// The alerts that refuse a handshake over QUIC (RFC 6066 section 3, RFC 7301 section 3.2).
const (
	unrecognizedName      = 112
	noApplicationProtocol = 120
)

// quicAlert is the alert by which the server ended a QUIC connection.
func quicAlert(err error) (alert int, ok bool) {
	var ended *quic.TransportError
	if errors.As(err, &ended) && ended.Remote && ended.ErrorCode.IsCryptoError() {
		return int(ended.ErrorCode) - 0x100, true
	}
	return 0, false
}

// refusedHandshake reports whether a handshake ended as one that is refused: by a
// reset, over QUIC by unrecognized_name.
func refusedHandshake(o *offer, err error) bool {
	if o.http == 3 {
		alert, ok := quicAlert(err)
		return ok && alert == unrecognizedName
	}
	return ts.IsReset(err) || errors.Is(err, syscall.EPIPE)
}

// alerted reports whether the server ended a connection by an alert of TLS.
func alerted(err error) bool {
	if alert, ok := quicAlert(err); ok {
		return alert != unrecognizedName
	}
	return strings.Contains(err.Error(), "remote error: tls: ")
}
