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
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Answer is what came of a connection and a request.
type Answer struct {
	// Unreachable tells that there was no connection.
	Unreachable bool `json:"unreachable,omitempty"`

	// Refused tells that the handshake failed.
	Refused bool `json:"refused,omitempty"`

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

// probe connects to an address and makes the comparison's request.
func (v Verification) probe(ctx context.Context, c *Comparison, address string) Answer {
	ctx, cancel := context.WithTimeout(ctx, v.Timeout)
	defer cancel()
	var a Answer
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		a.Unreachable, a.Error = true, err.Error()
		return a
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if c.Scheme == "https" {
		secure := tls.Client(conn, clientConfig(c.SNI))
		if err := secure.HandshakeContext(ctx); err != nil {
			a.Refused, a.Error = true, err.Error()
			return a
		}
		a.describe(secure.ConnectionState().PeerCertificates)
		conn = secure
	}
	if err := a.request(conn, c, v.Path); err != nil {
		a.Error = err.Error()
	}
	return a
}

// clientConfig accepts all certificates and whatever an old server speaks: it
// is to be seen what comes.
func clientConfig(serverName string) *tls.Config {
	var suites []uint16
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		suites = append(suites, suite.ID)
	}
	return &tls.Config{
		ServerName:         serverName,
		InsecureSkipVerify: true, //nolint:gosec // the certificate is compared
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       suites,
		NextProtos:         []string{"http/1.1"},
	}
}

func (a *Answer) describe(chain []*x509.Certificate) {
	for _, cert := range chain {
		sum := sha1.Sum(cert.Raw) //nolint:gosec // see above
		a.Chain = append(a.Chain, strings.ToUpper(hex.EncodeToString(sum[:])))
	}
	leaf := chain[0]
	sum := sha256.Sum256(leaf.Raw)
	a.SHA1, a.SHA256 = a.Chain[0], hex.EncodeToString(sum[:])
	a.Subjects = leaf.DNSNames
	if len(a.Subjects) == 0 && leaf.Subject.CommonName != "" {
		a.Subjects = []string{leaf.Subject.CommonName}
	}
}

// request makes a GET request on the connection.
func (a *Answer) request(conn net.Conn, c *Comparison, path string) error {
	target, err := url.ParseRequestURI(path)
	if err != nil {
		return err
	}
	req := &http.Request{
		Method: http.MethodGet, URL: target, Host: c.Host,
		Header: http.Header{"User-Agent": {"caddy-iis-verify"}},
		Close:  true,
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection was closed")
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	a.Status, a.Location = resp.StatusCode, resp.Header.Get("Location")
	if resp.StatusCode == http.StatusBadRequest {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		a.InvalidHost = strings.Contains(string(body), "<h1>"+headingInvalidHost+"</h1>")
	}
	return nil
}
