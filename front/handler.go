package front

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
)

// handler answers all requests with the current State.
type handler struct {
	m *Manager
}

// ServeHTTP implements [http.Handler].
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := storedConn(r.Context())
	s := h.m.acquire()
	if s == nil || c == nil {
		reject(w, r, http.StatusMisdirectedRequest)
		return
	}
	if !c.asked.Load() {
		c.asked.Store(true)
	}
	switch r.ProtoMajor {
	case 1:
		// one request at a time, which may take over the connection
		c.lease.Store(s)
		defer c.finish(s)
	default:
		release := s.release
		if ExtendedConnect(r) {
			release = sync.OnceFunc(release)
			r = r.WithContext(context.WithValue(r.Context(), releaseKey{}, release))
		}
		defer release()
	}
	if r.ProtoMajor == 3 {
		h.serveHTTP3(w, r, s, c)
		return
	}
	h.serve(w, r, s, c)
}

// ExtendedConnect reports whether a request over HTTP/2 or HTTP/3 is to become a
// connection for another protocol (RFC 8441, RFC 9220).
func ExtendedConnect(r *http.Request) bool {
	return r.Method == http.MethodConnect && (r.ProtoMajor == 2 && r.Header.Get(":protocol") != "" ||
		r.ProtoMajor == 3 && !strings.HasPrefix(r.Proto, "HTTP/"))
}

// releaseKey is under what the context of an extended CONNECT has the function that
// gives its State back.
type releaseKey struct{}

// TakenOver says that a handler has taken over what an extended CONNECT is made on, as
// by Hijack over HTTP/1.1: the request counts as ended (see [State.Drained]).
func TakenOver(r *http.Request) {
	if release, ok := r.Context().Value(releaseKey{}).(func()); ok {
		release()
	}
}

// serve answers a request if the State covers its connection.
func (h handler) serve(w http.ResponseWriter, r *http.Request, s *State, c *Conn) {
	conn := c.settle()
	if r.TLS == nil && conn.srv != nil {
		r.TLS = conn.connectionState()
	}
	e := s.lookup(conn.covered())
	if e == nil || e.TLS != conn.secure() {
		// The endpoint has gone, or has changed between http and https.
		reject(w, r, http.StatusMisdirectedRequest)
		return
	}
	if r.Method == "PRI" || r.ProtoMajor == 2 && r.TLS == nil && !e.Settings.H2C {
		// The preface of HTTP/2 reaches the handler if the server does not
		// know the protocol.
		reject(w, r, http.StatusHTTPVersionNotSupported)
		return
	}
	if e.altSvc != "" && r.ProtoMajor < 3 {
		// a slice of its own, since handlers may modify header values in place
		w.Header()["Alt-Svc"] = []string{e.altSvc}
	}
	s.Handler.ServeHTTP(w, r)
}

// serveHTTP3 does for HTTP/3 what net/http does for its requests: it logs
// panics to where the other messages go.
func (h handler) serveHTTP3(w http.ResponseWriter, r *http.Request, s *State, c *Conn) {
	c.http3.active3.Add(1)
	defer c.http3.active3.Add(-1)
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v != http.ErrAbortHandler { //nolint:errorlint // compared as net/http does
			stack := make([]byte, 64<<10)
			stack = stack[:runtime.Stack(stack, false)]
			if s.Logger != nil {
				s.Logger.Error(fmt.Sprintf("http3: panic serving %s: %v\n%s", r.RemoteAddr, v, stack))
			}
		}
		panic(http.ErrAbortHandler)
	}()
	h.serve(w, r, s, c)
}

// reject answers without a handler and ends the connection. HTTP/3 has no way
// to do so with a response.
func reject(w http.ResponseWriter, r *http.Request, status int) {
	if r.ProtoMajor < 3 {
		w.Header().Set("Connection", "close")
	}
	http.Error(w, http.StatusText(status), status)
}

// logRouter gives the messages of net/http to the logger of the current State.
type logRouter struct {
	m *Manager
}

// Write implements [io.Writer].
func (l logRouter) Write(p []byte) (int, error) {
	logger, msg := l.m.logger(), strings.TrimSuffix(string(p), "\n")
	// the two begin messages about panics in handlers
	if strings.HasPrefix(msg, "http: panic serving") || strings.HasPrefix(msg, "http2: panic serving") {
		logger.Error(msg)
	} else {
		logger.Debug(msg)
	}
	return len(p), nil
}
