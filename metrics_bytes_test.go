package caddyiis_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestMetricsBytes: the bodies of requests and responses are counted by site, also of sites
// of a source, and the counters go with the site.
func TestMetricsBytes(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("x", 5000))
	}))
	defer upstream.Close()
	l := startLive(t, "", fmt.Sprintf("metrics\ntemplate proxy {\nreverse_proxy %s\n}", strings.TrimPrefix(upstream.URL, "http://")))
	l.want(201, "PUT", "sites/10", l.site("A", "a.test", `"template":"proxy"`))
	send := func(method, body string) {
		t.Helper()
		req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d/", l.plain), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "a.test"
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode, err)
		}
	}
	send("POST", strings.Repeat("y", 1000))
	send("POST", strings.Repeat("y", 234))
	send("HEAD", "")
	for name, want := range map[string]string{"caddy_iis_request_bytes_total": "1234", "caddy_iis_response_bytes_total": "10000"} {
		eventually(t, name, 10*time.Second, func() bool { return metric(t, l.Server, name, `site="10"`) == want })
	}
	l.want(204, "DELETE", "sites/10", "")
	for _, name := range []string{"caddy_iis_request_bytes_total", "caddy_iis_response_bytes_total"} {
		if got := metric(t, l.Server, name, `site="10"`); got != "" {
			t.Errorf("%s of a site that is gone: %s", name, got)
		}
	}
}

// TestMetricsBytesInFlight: a request that is under way while its site changes and goes
// brings no counters back.
func TestMetricsBytesInFlight(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-answer
		_, _ = io.WriteString(w, "late")
	}))
	defer upstream.Close()
	l := startLive(t, "", fmt.Sprintf("metrics\ntemplate proxy {\nreverse_proxy %s\n}", strings.TrimPrefix(upstream.URL, "http://")))
	l.want(201, "PUT", "sites/10", l.site("A", "a.test", `"template":"proxy"`))
	got := make(chan string)
	go func() {
		a, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "a.test", Plain: true})
		got <- fmt.Sprint(a, err)
	}()
	<-arrived
	l.want(200, "PATCH", "sites/10", `{"name":"B"}`)
	l.want(204, "DELETE", "sites/10", "")
	close(answer)
	if text := <-got; !strings.Contains(text, "late") {
		t.Fatal(text)
	}
	for _, name := range []string{"caddy_iis_response_bytes_total", "caddy_iis_requests_total"} {
		if got := metric(t, l.Server, name, `site="10"`); got != "" {
			t.Errorf("%s of a site that is gone: %s", name, got)
		}
	}
}

// TestMetricsBytesOfStreams: what is said on a stream that a handler has taken over is no
// body, over HTTP/3 as over HTTP/1.1.
func TestMetricsBytesOfStreams(t *testing.T) {
	l := startLive(t, "", "metrics\ntemplate proxy {\nreverse_proxy "+backend(t)+"\n}")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test", `"template":"proxy"`))
	extendedConnect(t, l.secure, "a.test").echo(t, "over HTTP/3")
	upgradePlain(t, l.plain, "a.test").echo(t, "over HTTP/1.1")
	for _, name := range []string{"caddy_iis_request_bytes_total", "caddy_iis_response_bytes_total"} {
		if got := metric(t, l.Server, name, `site="10"`); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}
