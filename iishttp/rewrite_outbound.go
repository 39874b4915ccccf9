package iishttp

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
)

// outboundWriter runs outbound rules once, when the headers of a response are complete.
// Informational responses pass, and connections that are taken over.
type outboundWriter struct {
	caddyhttp.ResponseWriterWrapper
	handler   *Rewrite
	request   *rewrite.Request
	variables map[string]string

	done   bool // the rules have run, or there is nothing left for them
	failed bool // 500.52 was answered instead
}

// finish runs the rules.
func (w *outboundWriter) finish(status int) {
	if w.done {
		return
	}
	w.done = true
	header := w.Header()
	rule, err := w.handler.set.Outbound(w.request, w.variables, status, header)
	if err == nil {
		return
	}
	w.failed = true
	w.handler.logger.Warn("outbound rule without an answer", zap.String("rule", rule), zap.Error(err))
	clear(header)
	SetSubStatus(w.request.Request, http.StatusInternalServerError, 52)
	w.ResponseWriter.WriteHeader(http.StatusInternalServerError)
}

// WriteHeader implements http.ResponseWriter.
func (w *outboundWriter) WriteHeader(status int) {
	switch {
	case status == http.StatusSwitchingProtocols:
		w.done = true
	case status >= 200:
		w.finish(status)
	}
	if !w.failed {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (w *outboundWriter) Write(p []byte) (int, error) {
	if w.finish(http.StatusOK); w.failed {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom: the system may send files by itself.
func (w *outboundWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.finish(http.StatusOK); w.failed {
		return io.Copy(io.Discard, r)
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError sends what there is, headers first.
func (w *outboundWriter) FlushError() error {
	w.finish(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *outboundWriter) Flush() { _ = w.FlushError() }

// Hijack implements http.Hijacker.
func (w *outboundWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.done = w.done || err == nil
	return conn, buffered, err
}

// Interface guards
var (
	_ http.ResponseWriter = (*outboundWriter)(nil)
	_ io.ReaderFrom       = (*outboundWriter)(nil)
	_ http.Flusher        = (*outboundWriter)(nil)
	_ http.Hijacker       = (*outboundWriter)(nil)
)
