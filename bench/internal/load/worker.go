package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// worker makes one operation after the other and counts for itself.
type worker struct {
	target Target
	mode   Mode
	wait   time.Duration
	random *rand.Rand
	reader *bufio.Reader
	body   []byte
	kept   *tls.Conn
	round  *session // over HTTP/2 or HTTP/3
	dialed int64

	latencies []time.Duration
	tally
}

func newWorker(target Target, o Options, source rand.Source) *worker {
	return &worker{
		target: target, mode: o.Mode, wait: o.Pause,
		random: rand.New(source), //nolint:gosec // a load that can be repeated
		reader: bufio.NewReaderSize(nil, 4096),
		tally:  tally{Problems: make(map[string]int64)},
	}
}

// forget drops what was counted, but for problems.
func (w *worker) forget() {
	w.latencies, w.dialed = w.latencies[:0], 0
	w.Count, w.OK = 0, 0
}

func (w *worker) drop() {
	if w.kept != nil {
		_ = w.kept.NetConn().Close()
		w.kept = nil
	}
	if w.round != nil {
		w.round.close()
		w.round = nil
	}
}

func (w *worker) pause(ctx context.Context) {
	if w.wait > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(w.wait):
		}
	}
}

func (w *worker) operate() {
	start := time.Now()
	err := w.operation()
	w.latencies = append(w.latencies, time.Since(start))
	w.add(err)
}

func (w *worker) operation() error {
	site := w.target.Sites[w.random.IntN(len(w.target.Sites))]
	switch w.mode {
	case KeepAlive:
		return w.request(site)
	case NoSNI:
		return w.visit("", w.target.Default.Cert.Leaf, site.Host, expectation{200, site.Body(), true})
	case Unknown:
		return w.visitUnknown(fmt.Sprintf("nobody-%d.unknown.test", w.random.IntN(1<<30)))
	case HTTP2, HTTP3:
		return w.roundTrip(site)
	default:
		return w.visit(site.Host, site.Cert.Leaf, site.Host, expectation{200, site.Body(), true})
	}
}

// expectation is what the answer to a request must be.
type expectation struct {
	status int
	body   string
	whole  bool // all of the body, not a part of it
}

func (e expectation) check(status int, body []byte) error {
	same := string(body) == e.body
	if !e.whole {
		same = strings.Contains(string(body), e.body)
	}
	if status != e.status || !same {
		return &WrongError{fmt.Sprintf("status %d with body %.60q, not %d with %q", status, body, e.status, e.body)}
	}
	return nil
}

// visit makes a connection, one request, and closes the connection.
func (w *worker) visit(serverName string, leaf sites.Fingerprint, host string, want expectation) error {
	conn, err := dial(w.target.Addr, serverName, leaf)
	if err != nil {
		return err
	}
	defer conn.NetConn().Close()
	w.reader.Reset(conn)
	return w.exchange(conn, host, true, want)
}

func (w *worker) exchange(conn *tls.Conn, host string, last bool, want expectation) error {
	if _, err := io.WriteString(conn, request(host, last)); err != nil {
		return err
	}
	status, closing, err := w.response()
	if err != nil {
		return err
	}
	if err := want.check(status, w.body); err != nil {
		return err
	}
	if closing && !last {
		return errClosing
	}
	return nil
}

func (w *worker) visitUnknown(name string) error {
	answer := w.target.Unknown
	err := w.visit(name, w.target.Default.Cert.Leaf, name, expectation{answer.Status, answer.Body, false})
	if !answer.Refused {
		return err
	}
	if err == nil {
		return &WrongError{"a handshake that should have been refused"}
	}
	if refused(err) {
		return nil
	}
	return err
}

// refused reports whether a server has ended a handshake: with an alert of TLS,
// a reset, or the end of the connection.
func refused(err error) bool {
	if alert := new(net.OpError); errors.As(err, &alert) && alert.Op == "remote error" {
		return true
	}
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)
}

// request makes a request on the kept connection, which it opens if need be.
func (w *worker) request(site sites.Site) error {
	if w.kept == nil {
		conn, err := dial(w.target.Addr, site.Host, site.Cert.Leaf)
		if err != nil {
			return err
		}
		w.kept = conn
		w.dialed++
		w.reader.Reset(conn)
	}
	if err := w.kept.SetDeadline(time.Now().Add(opTimeout)); err != nil {
		return err
	}
	err := w.exchange(w.kept, site.Host, false, expectation{200, site.Body(), true})
	if err != nil {
		w.drop()
	}
	return err
}
