package caddyiis_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// at is the address of a port.
func at(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

// certificates are options of iis: a certificate from files for each name. The
// name is the subject as well.
func certificates(t *testing.T, names ...string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range names {
		certFile, keyFile := ts.PEM(t, name)
		fmt.Fprintf(&b, "certificate %s %q %q\n", name, certFile, keyFile)
	}
	return b.String()
}

// startIIS runs Caddy with an iis option, and others beside it.
func startIIS(t *testing.T, iis string, options ...string) *ts.Server {
	t.Helper()
	return ts.Start(t, iisConfig(iis, options...))
}

func iisConfig(iis string, options ...string) string {
	return "{\n" + strings.Join(options, "\n") + "\niis {\n" + iis + "\n}\n}\n"
}

// exchange is a request, and what must come of it.
type exchange struct {
	name    string
	request ts.Request
	status  int    // 0: 200
	cert    string // the certificate's subject; empty on http
	body    string // all of it, or for other statuses than 200 a part
}

func (e exchange) String() string {
	proto := e.request.Proto
	if proto == "" {
		proto = "h1"
	}
	if e.request.Plain {
		return fmt.Sprintf("%s: http %s, Host %q", e.name, e.request.Addr, e.request.Host)
	}
	return fmt.Sprintf("%s: %s %s, SNI %q, Host %q", e.name, proto, e.request.Addr, e.request.SNI, e.request.Host)
}

// check makes the request on a new connection.
func (e exchange) check(t testing.TB) {
	t.Helper()
	answer, err := ts.Do(e.request)
	e.compare(t, answer, err)
}

// checkAll makes the request over each protocol.
func (e exchange) checkAll(t testing.TB) {
	t.Helper()
	for _, e.request.Proto = range protocols {
		e.check(t)
	}
}

var protocols = []string{"h1", "h2", "h3"}

// onKept makes the request on a client's connection.
func (e exchange) onKept(t testing.TB, client *ts.Client) {
	t.Helper()
	answer, err := client.Do(e.request)
	e.compare(t, answer, err)
}

func (e exchange) compare(t testing.TB, answer *ts.Answer, err error) {
	t.Helper()
	if problem := e.problem(answer, err); problem != "" {
		t.Errorf("%v: %s", e, problem)
	}
}

func (e exchange) problem(answer *ts.Answer, err error) string {
	if err != nil {
		return err.Error()
	}
	status := e.status
	if status == 0 {
		status = 200
	}
	bodyOK := answer.Body == e.body
	if status != 200 {
		bodyOK = strings.Contains(answer.Body, e.body)
	}
	if answer.Status != status || answer.Subject() != e.cert || !bodyOK {
		return fmt.Sprintf("got %v, want %d %q with certificate %q", answer, status, e.body, e.cert)
	}
	if want := map[string]string{"": "HTTP/1.1", "h1": "HTTP/1.1", "h2": "HTTP/2.0", "h3": "HTTP/3.0"}[e.request.Proto]; answer.Proto != want {
		return fmt.Sprintf("got %v, want %s", answer, want)
	}
	return ""
}

// refused is a handshake that must fail without any answer: over TCP by a
// reset, over QUIC by a refusal.
func refused(t testing.TB, name string, r ts.Request) {
	t.Helper()
	state, err := ts.Connect(r)
	switch {
	case err == nil:
		t.Errorf("%s: %s %s, SNI %q: got certificate %s, want none", name, r.Proto, r.Addr, r.SNI, ts.Subject(state.PeerCertificates[0]))
	case r.Proto == "h3" && !ts.IsRefusedQUIC(err), r.Proto != "h3" && !ts.IsReset(err):
		t.Errorf("%s: %s %s, SNI %q: got %T %v, want a refused handshake or, over TCP, a reset", name, r.Proto, r.Addr, r.SNI, err, err)
	}
}

// refusedLoad is a configuration that must be refused for a reason.
func refusedLoad(t testing.TB, s *ts.Server, name, config string, reasons ...string) {
	t.Helper()
	err := s.Load(config)
	if err == nil {
		t.Errorf("%s: the configuration is accepted", name)
		return
	}
	for _, reason := range reasons {
		if !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: the error does not mention %q: %v", name, reason, err)
		}
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, within time.Duration, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in %s", what, within)
		}
	}
}
