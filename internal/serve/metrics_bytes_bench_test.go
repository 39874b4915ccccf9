package serve

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkSiteMetrics is what counting costs a request that writes a response once; without
// metrics nothing of it is done.
func BenchmarkSiteMetrics(b *testing.B) {
	metrics := newSiteMetrics(1)
	defer metrics.forget()
	w := httptest.NewRecorder()
	w.Body = nil
	body := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		counted := &countedResponse{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, metrics: metrics}
		counted.WriteHeader(http.StatusOK)
		if _, err := counted.Write(body); err != nil {
			b.Fatal(err)
		}
	}
}
