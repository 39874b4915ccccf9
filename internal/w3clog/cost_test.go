package w3clog_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// nowhere is a response that nobody reads.
type nowhere struct{ header http.Header }

func (w nowhere) Header() http.Header         { return w.header }
func (w nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w nowhere) WriteHeader(int)             {}

// w3cVisit is a request as browsers make it, and what a W3C log does with it.
func w3cVisit(tb testing.TB) (visit, flush func()) {
	tb.Helper()
	log, logs := logIn(tb, tb.TempDir())
	ctx := context.WithValue(context.Background(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.ClientIPVarKey: "192.0.2.7"})
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
	inside := &within{ctx}
	r := httptest.NewRequest(http.MethodGet, "/index.html?id=1", nil)
	r.Header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36")
	r.Header.Set("Referer", "https://www.example.com/")
	w := nowhere{make(http.Header)}
	return func() {
		l := log.Begin(w, r, local, 1)
		l.Enter(r, inside)
		defer l.End()
		_, _ = l.Write(nil)
		l.Returned()
	}, logs.Flush
}

// BenchmarkW3CLog is all that a W3C log costs a request.
func BenchmarkW3CLog(b *testing.B) {
	visit, flush := w3cVisit(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		visit()
		if n++; n%4000 == 0 { // the disk has time between its writes, as between requests
			b.StopTimer()
			flush()
			b.StartTimer()
		}
	}
}
