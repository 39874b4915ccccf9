package testserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// patience bounds everything that a client waits for.
const patience = 30 * time.Second

// Request is one request of a client.
type Request struct {
	Addr   string // IP:port to connect to
	Plain  bool   // http, not https
	SNI    string // the server name to send; empty: none
	Host   string // the Host header; empty: SNI, or else the address
	Path   string // default: /
	Proto  string // h1 (default), h2 or h3
	Header http.Header
	Prefix string // sent before all else on a TCP connection
	TLS    *tls.Config

	// Patient tells that a handshake of QUIC may be as long without an answer as everything else,
	// in place of 5 s: a socket may have nobody who reads it while a process restarts.
	Patient bool
}

// Answer is what a client got.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Proto  string
	Leaf   *x509.Certificate // the server's certificate, nil on http
	State  *tls.ConnectionState
}

// Subject is the first name of the server's certificate.
func (a *Answer) Subject() string {
	if a == nil {
		return ""
	}
	return Subject(a.Leaf)
}

// Subject is the first name of a certificate.
func Subject(leaf *x509.Certificate) string {
	switch {
	case leaf == nil:
		return ""
	case len(leaf.DNSNames) > 0:
		return leaf.DNSNames[0]
	}
	return leaf.Subject.CommonName
}

// String is for messages of tests.
func (a *Answer) String() string {
	if a == nil {
		return "no answer"
	}
	if a.Leaf == nil {
		return fmt.Sprintf("%s %d %q", a.Proto, a.Status, a.Body)
	}
	return fmt.Sprintf("%s %d %q with certificate %s", a.Proto, a.Status, a.Body, a.Subject())
}

// Do makes a request on a new connection.
func Do(r Request) (*Answer, error) {
	client := NewClient(r)
	defer client.Close()
	return client.Do(r)
}

// Client keeps its connection for further requests.
type Client struct {
	http  http.Client
	close func()
	dials *atomic.Int64
	cuts  *atomic.Int64
}

// NewClient returns a client whose connections go to r.Addr with the server
// name, the protocol and the TLS settings of r.
func NewClient(r Request) *Client {
	c := &Client{dials: new(atomic.Int64), cuts: new(atomic.Int64)}
	c.http = http.Client{Timeout: patience, CheckRedirect: noRedirect}
	if r.Proto == "h3" {
		transport := c.quicTransport(r)
		c.http.Transport, c.close = transport, func() { _ = transport.Close() }
		return c
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		c.dials.Add(1)
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", r.Addr)
		if err != nil {
			return nil, err
		}
		_, err = io.WriteString(conn, r.Prefix)
		return &watchedConn{Conn: conn, cuts: c.cuts}, err
	}
	transport := &http.Transport{
		ForceAttemptHTTP2: r.Proto == "h2",
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		// net/http would send the host of the URL as server name.
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			tlsConn := tls.Client(conn, tcpConfig(r))
			if err := tlsConn.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, err
			}
			return tlsConn, nil
		},
	}
	c.http.Transport, c.close = transport, transport.CloseIdleConnections
	return c
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// tcpConfig is the client's TLS configuration over TCP.
func tcpConfig(r Request) *tls.Config {
	cfg := &tls.Config{InsecureSkipVerify: true}
	if r.TLS != nil {
		cfg = r.TLS.Clone()
	}
	cfg.ServerName = r.SNI
	if cfg.NextProtos == nil {
		cfg.NextProtos = []string{"http/1.1"}
		if r.Proto == "h2" {
			cfg.NextProtos = []string{"h2"}
		}
	}
	return cfg
}

// quicConfig is the client's TLS configuration over QUIC.
func quicConfig(r Request) *tls.Config {
	cfg := tcpConfig(r)
	cfg.NextProtos = []string{"h3"}
	if cfg.ServerName == "" {
		// quic-go would fill in the host of the address as well, and an IP
		// address is never sent as server name (RFC 6066 section 3).
		cfg.ServerName, _, _ = net.SplitHostPort(r.Addr)
	}
	return cfg
}

func (c *Client) quicTransport(r Request) *http3.Transport {
	return &http3.Transport{
		TLSClientConfig: quicConfig(r),
		Dial: func(ctx context.Context, _ string, cfg *tls.Config, quicCfg *quic.Config) (*quic.Conn, error) {
			c.dials.Add(1)
			cfg = cfg.Clone()
			cfg.ServerName = quicConfig(r).ServerName
			if r.Patient {
				quicCfg = quicCfg.Clone()
				quicCfg.HandshakeIdleTimeout = patience
			}
			conn, err := quic.DialAddrEarly(ctx, r.Addr, cfg, quicCfg)
			if err == nil {
				context.AfterFunc(conn.Context(), func() { c.quicEnded(context.Cause(conn.Context())) })
			}
			return conn, err
		},
	}
}

// quicEnded counts a connection that the client has not ended itself.
func (c *Client) quicEnded(cause error) {
	own, ok := errors.AsType[*quic.ApplicationError](cause)
	if !ok || own.Remote {
		c.cuts.Add(1)
	}
}

// watchedConn tells when the server ends it.
type watchedConn struct {
	net.Conn
	cuts *atomic.Int64
	once sync.Once
}

// Read implements net.Conn.
func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		c.once.Do(func() { c.cuts.Add(1) })
	}
	return n, err
}

// Close ends the client's connection.
func (c *Client) Close() { c.close() }

// Dials counts the connections that the client has opened.
func (c *Client) Dials() int { return int(c.dials.Load()) }

// Cuts counts the connections that the server has ended or has said that it ends, or
// that have failed. Over HTTP/1.1 there may be more Dials on a slow machine: net/http
// keeps no connection if it was not told in 50 ms that the request is written.
func (c *Client) Cuts() int { return int(c.cuts.Load()) }

// Do makes a request, on the client's connection if it still stands.
func (c *Client) Do(r Request) (*Answer, error) {
	req, err := r.http()
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.Close {
		c.cuts.Add(1)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a := &Answer{Status: resp.StatusCode, Header: resp.Header, Body: strings.TrimSpace(string(body)), Proto: resp.Proto, State: resp.TLS}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		a.Leaf = resp.TLS.PeerCertificates[0]
	}
	return a, nil
}

// http makes the request for net/http.
func (r Request) http() (*http.Request, error) {
	scheme := "https"
	if r.Plain {
		scheme = "http"
	}
	path := r.Path
	if path == "" {
		path = "/"
	}
	// The URL names the address for all hosts, so that they share a connection.
	req, err := http.NewRequest(http.MethodGet, scheme+"://"+r.Addr+path, nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, r.Header)
	switch {
	case r.Host != "":
		req.Host = r.Host
	case r.SNI != "":
		req.Host = r.SNI
	}
	return req, nil
}

// Handshake connects to an address by TLS over TCP and returns the server's
// certificate. An empty server name is not sent.
func Handshake(addr, serverName string) (*x509.Certificate, error) {
	state, err := Connect(Request{Addr: addr, SNI: serverName})
	if err != nil {
		return nil, err
	}
	return state.PeerCertificates[0], nil
}

// Connect makes the TLS handshake of a request, without the request.
func Connect(r Request) (*tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if r.Proto == "h3" {
		conn, err := quic.DialAddr(ctx, r.Addr, quicConfig(r), nil)
		if err != nil {
			return nil, err
		}
		defer func() { _ = conn.CloseWithError(0, "") }()
		state := conn.ConnectionState().TLS
		return &state, nil
	}
	conn, err := DialTLS(r)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	state := conn.ConnectionState()
	return &state, nil
}

// DialTLS opens a TLS connection over TCP as for a request. It fails whatever
// is done on it after a while.
func DialTLS(r Request) (*tls.Conn, error) {
	conn, err := Dial(r.Addr)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, r.Prefix); err != nil {
		conn.Close()
		return nil, err
	}
	tlsConn := tls.Client(conn, tcpConfig(r))
	if err := tlsConn.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return tlsConn, nil
}

// Dial opens a TCP connection. It fails whatever is done on it after a while.
func Dial(addr string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}

// IsRefusedQUIC tells whether the server refused a handshake over QUIC: by the alert
// unrecognized_name or, where there is no HTTP/3 only, no_application_protocol (RFC
// 9001 section 4.8, RFC 6066 section 3, RFC 7301 section 3.2).
func IsRefusedQUIC(err error) bool {
	var refused *quic.TransportError
	return errors.As(err, &refused) && refused.Remote && (refused.ErrorCode == 0x100+112 || refused.ErrorCode == 0x100+120)
}

// Raw sends bytes over TCP and returns all that comes back until the server
// closes the connection.
func Raw(addr, data string) (string, error) {
	conn, err := Dial(addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return exchange(conn, data)
}

// RawTLS sends bytes over TLS and returns all that comes back until the server
// closes the connection.
func RawTLS(r Request, data string) (string, error) {
	conn, err := DialTLS(r)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return exchange(conn, data)
}

func exchange(conn net.Conn, data string) (string, error) {
	if _, err := io.WriteString(conn, data); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}
