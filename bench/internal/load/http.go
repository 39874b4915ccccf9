package load

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// WrongError tells of an answer that came, but is not the right one.
type WrongError struct{ reason string }

func (e *WrongError) Error() string { return "wrong answer: " + e.reason }

// errClosing tells of a server that ends a connection that is to be kept.
var errClosing = errors.New("the server closes a kept connection")

// dial makes a full handshake of TLS 1.3. The server's certificate must be the
// one with the fingerprint.
func dial(addr, serverName string, leaf sites.Fingerprint) (*tls.Conn, error) {
	raw, err := net.DialTimeout("tcp", addr, opTimeout)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, clientConfig(serverName, leaf, "http/1.1"))
	err = raw.SetDeadline(time.Now().Add(opTimeout))
	if err == nil {
		err = conn.Handshake()
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

func clientConfig(serverName string, leaf sites.Fingerprint, protocol string) *tls.Config {
	return &tls.Config{
		ServerName:             serverName,
		MinVersion:             tls.VersionTLS13,
		CurvePreferences:       []tls.CurveID{tls.X25519}, // all servers have it
		NextProtos:             []string{protocol},
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, //nolint:gosec // the certificate is compared
		VerifyConnection: func(state tls.ConnectionState) error {
			if got := sites.FingerprintOf(state.PeerCertificates[0]); got != leaf {
				return &WrongError{fmt.Sprintf("certificate of %q", state.PeerCertificates[0].Subject.CommonName)}
			}
			return nil
		},
	}
}

// request is the text of a request.
func request(host string, last bool) string {
	if last {
		return "GET / HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: bench\r\nConnection: close\r\n\r\n"
	}
	return "GET / HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: bench\r\n\r\n"
}

// maxBody is the longest body that is read.
const maxBody = 1 << 20

// response reads an answer of HTTP/1.1 that tells its length, with little work:
// what the client needs, the server does not get.
func (w *worker) response() (status int, closing bool, err error) {
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return 0, true, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, true, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, true, err
	}
	length, closing, err := w.header()
	if err != nil {
		return status, true, err
	}
	if length < 0 || length > maxBody {
		return status, true, fmt.Errorf("an answer with status %d without usable Content-Length", status)
	}
	if cap(w.body) < length {
		w.body = make([]byte, length)
	}
	w.body = w.body[:length]
	_, err = io.ReadFull(w.reader, w.body)
	return status, closing, err
}

// header reads the header and returns what it says of the body and the
// connection.
func (w *worker) header() (length int, closing bool, err error) {
	length = -1
	for {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return length, true, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, closing, nil
		}
		key, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(key, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return length, true, err
			}
		case bytes.EqualFold(key, []byte("Connection")):
			closing = bytes.EqualFold(value, []byte("close"))
		}
	}
}
