package cli

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // Windows names certificates by it
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-iis/caddy-iis/certsel/health"
)

// Answer is what came of a connection and a request.
type Answer struct {
	// Unreachable tells that there was no connection.
	Unreachable bool `json:"unreachable,omitempty"`

	// Refused tells that the handshake failed.
	Refused bool `json:"refused,omitempty"`

	// NotTried tells that no connection was made, since those before it to the
	// same address have all failed as Error says, or nothing listens.
	NotTried bool `json:"not_tried,omitempty"`

	// Error says why.
	Error string `json:"error,omitempty"`

	SHA1     string   `json:"sha1,omitempty"`
	SHA256   string   `json:"sha256,omitempty"`
	Subjects []string `json:"subjects,omitempty"`

	// Chain are the SHA-1 thumbprints of all certificates that were sent.
	Chain []string `json:"chain,omitempty"`

	Status   int    `json:"status,omitempty"`
	Location string `json:"location,omitempty"`

	// InvalidHost tells that the answer is the one for unknown hosts.
	InvalidHost bool `json:"invalid_host,omitempty"`

	// BodySHA256 is of the first bytes of the body, 1 MiB at most, and Title is what an
	// HTML page there is called.
	BodySHA256 string `json:"body_sha256,omitempty"`
	Title      string `json:"title,omitempty"`

	silent  bool // the time was over before anything came
	endless bool // the time was over before the body had ended
	cookie  bool // it sets a cookie, with which the next answer may be another
	alert   bool // the server has ended it by a TLS alert
	chain   []*x509.Certificate
}

// headingInvalidHost is how the page for unknown hosts is headed.
const headingInvalidHost = "Bad Request - Invalid Hostname"

// certificate names the certificate for people.
func (a Answer) certificate() string {
	switch {
	case a.SHA1 == "":
		return ""
	case len(a.Subjects) == 0:
		return a.SHA1
	}
	return a.SHA1 + " (" + strings.Join(a.Subjects, ", ") + ")"
}

// fail keeps an error without what differs from connection to connection.
func (a *Answer) fail(v Verification, err error) {
	a.Error, a.silent = failure(v, err)
	var alert tls.AlertError // of QUIC
	var op *net.OpError      // of TLS over TCP
	a.alert = errors.As(err, &alert) || errors.As(err, &op) && op.Op == "remote error"
}

func failure(v Verification, err error) (text string, silent bool) {
	var timeout net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Sprintf("nothing came within %v", v.Timeout), true
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection was closed", false
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err.Error(), false
}

// dial looks whether an address takes connections.
func (v Verification) dial(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, v.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// probe connects to an address and makes the comparison's request.
func (v Verification) probe(parent context.Context, c *Comparison, address, protocol string) Answer {
	ctx, cancel := context.WithTimeout(parent, v.Timeout)
	defer cancel()
	var a Answer
	if protocol == protocolH3 {
		v.probeQUIC(ctx, &a, c, address)
		return a
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		a.Unreachable = true
		a.fail(v, err)
		return a
	}
	defer conn.Close()
	// A connection that waits is not told when somebody presses Ctrl-C.
	defer context.AfterFunc(parent, func() { conn.Close() })()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if c.Scheme == "https" {
		secure := tls.Client(conn, v.clientConfig(c.SNI, protocol))
		err := secure.HandshakeContext(ctx)
		if err == nil && protocol == protocolH2 && secure.ConnectionState().NegotiatedProtocol != protocolH2 {
			err = errors.New("the server does not offer h2") // one without ALPN, which says nothing
		}
		if err != nil {
			a.Refused = true
			a.fail(v, err)
			return a
		}
		a.describe(secure.ConnectionState().PeerCertificates)
		conn = secure
	}
	request := a.request
	if protocol == protocolH2 {
		request = a.requestH2
	}
	if err := request(ctx, conn, c); err != nil {
		a.fail(v, err)
	}
	return a
}

// clientConfig accepts all certificates and whatever an old server speaks: it
// is to be seen what comes.
func (v Verification) clientConfig(serverName, protocol string) *tls.Config {
	var suites []uint16
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		suites = append(suites, suite.ID)
	}
	config := &tls.Config{
		ServerName:         serverName,
		InsecureSkipVerify: true, //nolint:gosec // the certificate is compared, and judged afterwards
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       suites,
		NextProtos:         []string{map[string]string{protocolH1: "http/1.1", protocolH2: "h2", protocolH3: http3.NextProtoH3}[protocol]},
	}
	if v.client != nil {
		// Whatever authorities the server names: it is to be seen what it says.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return v.client, nil }
	}
	return config
}

func (a *Answer) describe(chain []*x509.Certificate) {
	for _, cert := range chain {
		sum := sha1.Sum(cert.Raw) //nolint:gosec // see above
		a.Chain = append(a.Chain, strings.ToUpper(hex.EncodeToString(sum[:])))
	}
	a.chain = chain
	leaf := chain[0]
	sum := sha256.Sum256(leaf.Raw)
	a.SHA1, a.SHA256 = a.Chain[0], hex.EncodeToString(sum[:])
	a.Subjects = health.Subjects(leaf)
}

// get is the request that a comparison makes.
func (c *Comparison) get(ctx context.Context) (*http.Request, error) {
	target, err := url.ParseRequestURI(c.Path)
	if err != nil {
		return nil, err
	}
	target.Scheme, target.Host = c.Scheme, c.Host
	req := &http.Request{
		Method: http.MethodGet, URL: target, Host: c.Host,
		Header: http.Header{"User-Agent": {"caddy-iis-verify"}},
		Close:  true,
	}
	return req.WithContext(ctx), nil
}

// maxBody is how much of a body is looked at.
const maxBody = 1 << 20

// pageTitle finds what a page of HTML is called.
var pageTitle = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// read takes from a response what is compared.
func (a *Answer) read(resp *http.Response) {
	defer resp.Body.Close()
	a.Status, a.Location, a.cookie = resp.StatusCode, resp.Header.Get("Location"), resp.Header["Set-Cookie"] != nil
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil && !endsWithConnection(resp, err) {
		var timeout net.Error
		a.endless = errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
		a.Error = fmt.Sprintf("the body ends after %d bytes", len(body))
		if resp.ContentLength > 0 {
			a.Error += fmt.Sprintf(" of %d", resp.ContentLength)
		}
	}
	if len(body) > 0 {
		sum := sha256.Sum256(body)
		a.BodySHA256 = hex.EncodeToString(sum[:])
	}
	if title := pageTitle.FindSubmatch(body); title != nil {
		a.Title = strings.Join(strings.Fields(string(title[1])), " ")
	}
	a.InvalidHost = resp.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "<h1>"+headingInvalidHost+"</h1>")
}

// endsWithConnection tells whether a body of HTTP/1 without a length has ended as it
// does: not all servers say by TLS that they close the connection.
func endsWithConnection(resp *http.Response, err error) bool {
	return resp.ProtoMajor == 1 && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && errors.Is(err, io.ErrUnexpectedEOF)
}

// request makes a GET request on the connection.
func (a *Answer) request(ctx context.Context, conn net.Conn, c *Comparison) error {
	req, err := c.get(ctx)
	if err != nil {
		return err
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return err
	}
	a.read(resp)
	return nil
}

// requestH2 makes it by HTTP/2.
func (a *Answer) requestH2(ctx context.Context, conn net.Conn, c *Comparison) error {
	transport := &http.Transport{
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
		DialTLSContext:     func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	defer transport.CloseIdleConnections()
	return a.roundTrip(ctx, transport, c)
}

func (a *Answer) roundTrip(ctx context.Context, transport http.RoundTripper, c *Comparison) error {
	req, err := c.get(ctx)
	if err != nil {
		return err
	}
	req.Close = false
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	a.read(resp)
	return nil
}

// probeQUIC connects by QUIC, and makes the request by HTTP/3.
func (v Verification) probeQUIC(ctx context.Context, a *Answer, c *Comparison, address string) {
	conn, err := quic.DialAddr(ctx, address, v.clientConfig(c.SNI, protocolH3), &quic.Config{HandshakeIdleTimeout: v.Timeout})
	if err != nil {
		var refused *quic.TransportError
		a.Refused = errors.As(err, &refused) && refused.Remote
		a.Unreachable = !a.Refused
		a.fail(v, err)
		return
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	a.describe(conn.ConnectionState().TLS.PeerCertificates)
	transport := &http3.Transport{DisableCompression: true}
	defer transport.Close()
	if err := a.roundTrip(ctx, transport.NewClientConn(conn), c); err != nil {
		a.fail(v, err)
	}
}
