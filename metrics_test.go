package caddyiis_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// metric returns the value of a metric with the given labels, as the admin
// endpoint shows it.
func metric(t *testing.T, s *ts.Server, name string, labels ...string) string {
	t.Helper()
	status, body := s.Admin(http.MethodGet, "/metrics", "")
	if status != 200 {
		t.Fatalf("GET /metrics: %d %s", status, body)
	}
next:
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(line, label) {
				continue next
			}
		}
		return strings.TrimSpace(line[strings.LastIndex(line, " ")+1:])
	}
	return ""
}

// TestMetrics answers the question whether the fallback can be switched off:
// does any client still come without SNI? It runs beside metrics of the http
// app on the same port.
func TestMetrics(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	config := func(sites string) string {
		return sharedConfig(httpPort, httpsPort, "metrics", "metrics\n"+sites, "")
	}
	s := ts.Start(t, config("site 2 Gone {\nserver_bindings :"+fmt.Sprint(httpPort)+":gone.test\nrespond gone 404\n}"))
	addr := fmt.Sprintf("127.0.0.1:%d", httpsPort)
	waitFor(t, "the ordinary certificate", func() bool {
		cert, err := ts.Handshake(addr, "ordinary.test")
		return err == nil && cert.VerifyHostname("ordinary.test") == nil
	})
	port := fmt.Sprintf(`port="%d"`, httpsPort)
	for _, request := range []ts.Request{
		{Addr: addr, SNI: "www.contoso.test"},
		{Addr: addr, SNI: "www.contoso.test", Proto: "h2"},
		{Addr: addr, Host: "www.contoso.test"},
		{Addr: addr, SNI: "unknown.test"},
		{Addr: addr, SNI: "ordinary.test", Proto: "h3"},
		{Addr: fmt.Sprintf("127.0.0.1:%d", httpPort), Host: "gone.test", Plain: true},
	} {
		if _, err := ts.Do(request); err != nil {
			t.Fatalf("%+v: %v", request, err)
		}
	}
	check := func(want, name string, labels ...string) {
		t.Helper()
		if got := metric(t, s, name, labels...); got != want {
			t.Errorf("%s %q: got %q, want %q", name, labels, got, want)
		}
	}
	check("2", "caddy_iis_handshakes_total", port, `server_name="matched"`, `result="site"`)
	check("1", "caddy_iis_handshakes_total", port, `server_name="missing"`, `result="site"`)
	check("1", "caddy_iis_handshakes_total", port, `server_name="unmatched"`, `result="site"`)
	check("", "caddy_iis_handshakes_total", fmt.Sprintf(`port="%d"`, httpPort))
	check("3", "caddy_iis_requests_total", `site="1"`, `class="2xx"`)
	check("1", "caddy_iis_requests_total", `site="2"`, `class="4xx"`)
	check("1", "caddy_iis_unknown_host_requests_total", port)
	check("2", "caddy_iis_sites", `state="started"`)
	if got := metric(t, s, "caddy_http_requests_total"); got == "" {
		t.Error("the metrics of the http app are gone")
	}
	if got := metric(t, s, "caddy_iis_certificate_expiry_timestamp_seconds", `certificate="wildcard"`); got == "" {
		t.Error("nothing says when the certificate expires")
	}
	if err := s.Load(config("")); err != nil {
		t.Fatal(err)
	}
	check("3", "caddy_iis_requests_total", `site="1"`, `class="2xx"`)
	check("", "caddy_iis_requests_total", `site="2"`)
	check("1", "caddy_iis_sites", `state="started"`)
}

// TestRefusedLoadsLeaveNoLabels: a configuration that is refused late has no
// ports and sites in the metrics.
func TestRefusedLoadsLeaveNoLabels(t *testing.T) {
	httpPort, httpsPort, refusedPort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, changeConfig(httpPort, httpsPort, "metrics"))
	if a, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", httpPort), Plain: true, Host: "www.contoso.test"}); err != nil || a.Status != 200 {
		t.Fatal(a, err)
	}
	raw, err := s.Adapt(changeConfig(httpPort, httpsPort, fmt.Sprintf("metrics\nsite 77 {\nserver_bindings :%d:\n}", refusedPort)))
	if err != nil {
		t.Fatal(err)
	}
	err = s.LoadJSON(editJSON(t, raw, func(cfg map[string]any) { cfg["apps"].(map[string]any)["test_failing"] = map[string]any{} }))
	if err == nil {
		t.Fatal("not refused")
	}
	if got := metric(t, s, "caddy_iis_requests_total", `site="1"`); got == "" {
		t.Error("the active configuration's counters are gone")
	}
	for _, label := range []string{`site="77"`, fmt.Sprintf(`port="%d"`, refusedPort)} {
		for _, name := range []string{"caddy_iis_requests_total", "caddy_iis_unknown_host_requests_total"} {
			if got := metric(t, s, name, label); got != "" {
				t.Errorf("%s{%s} is %s", name, label, got)
			}
		}
	}
}
