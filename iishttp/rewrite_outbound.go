package iishttp

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/front"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
)

// outboundWriter runs outbound rules once, when the headers of a response are complete.
// Informational responses pass, and those after which the connection, or stream, speaks
// another protocol. Of a response for which a rule has no answer nothing is sent.
type outboundWriter struct {
	caddyhttp.ResponseWriterWrapper
	handler *Rewrite
	request *rewrite.Request
	result  *rewrite.Result
	before  http.Header // what the response had already

	done   bool  // the rules have run, or there is nothing left for them
	failed error // 500.52 is the answer
	sent   bool  // and it has been sent
}

func newOutboundWriter(w http.ResponseWriter, m *Rewrite, r *rewrite.Request, result *rewrite.Result) *outboundWriter {
	return &outboundWriter{
		ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		handler:               m, request: r, result: result, before: w.Header().Clone(),
	}
}

// finish runs the rules, and tells whether the response may be sent.
func (w *outboundWriter) finish(status int) bool {
	if w.done {
		return w.failed == nil
	}
	w.done = true
	rule, err := w.handler.set.Outbound(w.request, w.result, status, w.Header())
	if err != nil {
		w.failed = err
		w.handler.logger.Warn("outbound rule without an answer", zap.String("rule", rule), zap.Error(err))
	}
	return err == nil
}

// end is what becomes of a request when its handlers have returned with err. Error pages
// come behind outbound rules, which see the status of the error.
func (w *outboundWriter) end(err error) error {
	status := http.StatusOK // a handler that writes nothing answers with it
	var e caddyhttp.HandlerError
	if errors.As(err, &e) && e.StatusCode > 0 {
		status = e.StatusCode
	} else if err != nil {
		status = http.StatusInternalServerError
	}
	if w.finish(status) {
		return err
	}
	w.discard()
	if w.sent {
		return nil
	}
	return refuse(w.request.Request, http.StatusInternalServerError, 52, w.failed.Error())
}

// discard takes back what the response would have had, also trailers.
func (w *outboundWriter) discard() {
	header := w.Header()
	clear(header)
	maps.Copy(header, w.before)
}

// WriteHeader implements http.ResponseWriter.
func (w *outboundWriter) WriteHeader(status int) {
	switch {
	case status == http.StatusSwitchingProtocols, status >= 200 && status < 300 && front.ExtendedConnect(w.request.Request):
		w.done = true
	case status >= 200 && !w.finish(status):
		return
	}
	if w.failed == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (w *outboundWriter) Write(p []byte) (int, error) {
	if !w.finish(http.StatusOK) {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom: the system may send files by itself.
func (w *outboundWriter) ReadFrom(r io.Reader) (int64, error) {
	if !w.finish(http.StatusOK) {
		return io.Copy(io.Discard, r)
	}
	return w.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError sends what there is, headers first. A handler that flushes may go on for as
// long as it likes: the client of one whose response is discarded learns it at once.
func (w *outboundWriter) FlushError() error {
	if !w.finish(http.StatusOK) && !w.sent {
		w.sent = true
		w.discard()
		SetSubStatus(w.request.Request, http.StatusInternalServerError, 52)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.ResponseWriter.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w.ResponseWriter, http.StatusText(http.StatusInternalServerError))
	}
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
