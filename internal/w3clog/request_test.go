package w3clog_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestW3CLogLateCopies: a proxy may still copy bodies when it has returned. The
// race detector looks at this.
func TestW3CLogLateCopies(t *testing.T) {
	w, r, end := handled(t, t.TempDir(), nowhere{make(http.Header)}, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body")))
	w.WriteHeader(http.StatusOK)
	var copies sync.WaitGroup
	copies.Go(func() { _, _ = io.Copy(io.Discard, r.Body) })
	copies.Go(func() { _, _ = w.Write([]byte("body")) })
	end(false)
	copies.Wait()
}

// TestW3CLogClientGone: a client that goes is not taken for the server ending the
// connection, though proxies panic then as well.
func TestW3CLogClientGone(t *testing.T) {
	for _, c := range []struct {
		gone, panicked bool
		want           string
	}{{false, false, "200 0"}, {true, false, "200 64"}, {true, true, "200 64"}, {false, true, "200 1236"}} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
		w, _, end := handled(t, dir, nowhere{make(http.Header)}, r)
		w.WriteHeader(http.StatusOK)
		if c.gone {
			cancel()
		}
		end(c.panicked)
		cancel()
		if got := ts.W3CLines(dir, 1); len(got) != 1 || !strings.HasPrefix(got[0], c.want+" ") {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// TestW3CLogVersion: over HTTP/3, clients say what they want to speak within a
// stream, and net/http has that as the protocol. It is none of HTTP.
func TestW3CLogVersion(t *testing.T) {
	for proto, want := range map[string]string{"HTTP/3.0": "HTTP/3.0", "websocket": "HTTP/3.0", "HTTP/1.1": "HTTP/3.0"} {
		dir := t.TempDir()
		r := httptest.NewRequest(http.MethodConnect, "/", nil)
		r.Proto, r.ProtoMajor, r.ProtoMinor = proto, 3, 0
		_, _, end := handled(t, dir, nowhere{make(http.Header)}, r)
		end(false)
		if got := ts.W3CLines(dir, 1); len(got) != 1 || !strings.HasPrefix(got[0], "200 0 "+want+" ") {
			t.Errorf("%s: got %q", proto, got)
		}
	}
}
