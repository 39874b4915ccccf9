package w3clog

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/iishttp"
	"github.com/caddy-iis/caddy-iis/iislog"
)

// Request is a request of a site with a W3C log, and the writer of its
// response. It has what the client sent: handlers may change the request.
type Request struct {
	caddyhttp.ResponseWriterWrapper
	log     *Log
	request *http.Request // as it came
	site    uint32
	inside  Inside

	began       time.Time
	local       netip.AddrPort
	path, query string
	size        int64 // of the request without its body
	headers     []string
	few         [3]string // what headers are in, mostly

	status   int
	sent     atomic.Int64 // of the body: proxies may still copy when they have returned
	received countedBody
	returned bool // the handlers have not panicked
}

// Inside tells what became of a request inside of Caddy's server.
type Inside interface {
	// Handled is the context of the request there; nil before it is there.
	Handled() context.Context
}

// Begin takes down what a client sent to a site at an address.
func (s *Log) Begin(w http.ResponseWriter, r *http.Request, local netip.AddrPort, site uint32) *Request {
	l := &Request{log: s, request: r, site: site, began: time.Now(), local: local, path: r.URL.Path, query: r.URL.RawQuery}
	l.ResponseWriter = w
	l.headers = l.few[:0]
	for _, name := range s.layout.Format.RequestHeaders() {
		if name == "Host" {
			l.headers = append(l.headers, r.Host) // net/http takes it out
			continue
		}
		l.headers = append(l.headers, headerValue(r.Header, name))
	}
	if s.layout.Format.CountsReceived() {
		l.size = int64(len(r.Method)+len(r.RequestURI)+len(r.Proto)+len(r.Host)+len(" ")*2+len("Host: ")+2*len("\r\n")) + headerSize(r.Header)
	}
	return l
}

// Enter returns the request that handlers get: its body counts what they read, if a field
// tells.
func (l *Request) Enter(r *http.Request, inside Inside) *http.Request {
	l.inside = inside
	if r.Body != nil && r.Body != http.NoBody && l.log.layout.Format.CountsReceived() {
		l.received.ReadCloser = r.Body
		r.Body = &l.received
	}
	return r
}

// countedBody counts what is read. Whoever sends it on may still do so when the
// handler has returned.
type countedBody struct {
	io.ReadCloser
	n atomic.Int64
}

// Read implements io.Reader.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// headerValue returns the values of a header as one.
func headerValue(h http.Header, name string) string {
	switch values := h[name]; len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	default:
		return strings.Join(values, ", ")
	}
}

// headerSize is how many bytes headers take in HTTP/1.1, with the line that
// ends them.
func headerSize(h http.Header) int64 {
	n := len("\r\n")
	for name, values := range h {
		for _, value := range values {
			n += len(name) + len(": ") + len(value) + len("\r\n")
		}
	}
	return int64(n)
}

// WriteHeader implements http.ResponseWriter.
func (l *Request) WriteHeader(status int) {
	l.final(status)
	l.ResponseWriter.WriteHeader(status)
}

// final notes the final status; informational ones precede it.
func (l *Request) final(status int) {
	if l.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		l.status = status
	}
}

// Write implements http.ResponseWriter.
func (l *Request) Write(p []byte) (int, error) {
	l.final(http.StatusOK)
	n, err := l.ResponseWriter.Write(p)
	l.sent.Add(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom: the system may send files by itself.
func (l *Request) ReadFrom(r io.Reader) (int64, error) {
	l.final(http.StatusOK)
	n, err := l.ResponseWriterWrapper.ReadFrom(r)
	l.sent.Add(n)
	return n, err
}

// Hijack implements http.Hijacker.
func (l *Request) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(l.ResponseWriter).Hijack()
	if err == nil {
		l.final(http.StatusSwitchingProtocols)
	}
	return conn, buffered, err
}

// Returned notes that the handlers have not panicked.
func (l *Request) Returned() { l.returned = true }

// End writes the line, when handlers have returned or panicked.
func (l *Request) End() {
	var rec iislog.Record
	if !l.handled(&rec) {
		return
	}
	now, r := time.Now(), l.request
	rec.Time, rec.Taken = now, now.Sub(l.began)
	rec.Site, rec.Computer, rec.Server = l.site, l.log.computer, l.local
	rec.Method, rec.Stem, rec.Query, rec.Version, rec.Host = r.Method, l.path, l.query, version(r), r.Host
	rec.Request = l.headers
	rec.Status = l.status
	switch {
	case r.Context().Err() != nil: // handlers that notice may panic
		rec.Win32 = iislog.Win32NameDeleted
	case !l.returned:
		rec.Win32 = iislog.Win32Aborted
	}
	if rec.Status == 0 && l.returned {
		rec.Status = http.StatusOK // a handler that writes nothing answers with it
	}
	format := l.log.layout.Format
	for _, name := range format.ResponseHeaders() {
		rec.Response = append(rec.Response, headerValue(l.Header(), name))
	}
	if r.Method != http.MethodHead {
		rec.Sent = l.sent.Load()
	}
	if format.CountsSent() && rec.Status != 0 {
		rec.Sent += headerSize(l.Header()) + int64(len("HTTP/1.1 200 \r\n")+len(http.StatusText(rec.Status)))
	}
	rec.Received = l.size + l.received.n.Load()
	l.log.folder.Add(l.log.layout, &rec)
}

// version returns the protocol of a request. Over HTTP/3, Proto may be what a
// client wants to speak within the stream (RFC 9220).
func version(r *http.Request) string {
	if r.ProtoMajor == 3 {
		return "HTTP/3.0"
	}
	return r.Proto
}

// handled takes over what Caddy's server and handlers found out, and reports
// whether there is to be a line at all.
func (l *Request) handled(rec *iislog.Record) bool {
	if client, _, err := net.SplitHostPort(l.request.RemoteAddr); err == nil {
		rec.Client = client
	}
	ctx := l.inside.Handled()
	if ctx == nil {
		return true
	}
	if skip, _ := caddyhttp.GetVar(ctx, caddyhttp.LogSkipVar).(bool); skip {
		return false
	}
	if client, _ := caddyhttp.GetVar(ctx, caddyhttp.ClientIPVarKey).(string); client != "" {
		rec.Client = client
	}
	if code, _ := caddyhttp.GetVar(ctx, iishttp.SubStatusVar).(string); code != "" {
		rec.SubStatus = iishttp.SubStatus(code, l.status)
	}
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		rec.User, _ = repl.GetString("http.auth.user.id")
	}
	return true
}

// Interface guards
var (
	_ http.ResponseWriter = (*Request)(nil)
	_ http.Hijacker       = (*Request)(nil)
	_ io.ReaderFrom       = (*Request)(nil)
)
