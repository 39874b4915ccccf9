package caddyiis_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

func init() {
	caddy.RegisterModule(new(taker))
	httpcaddyfile.RegisterHandlerDirective("test_taker", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return new(taker), nil })
	httpcaddyfile.RegisterDirectiveOrder("test_taker", httpcaddyfile.Before, "respond")
	caddy.RegisterModule(new(counter))
	httpcaddyfile.RegisterHandlerDirective("test_counter", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return new(counter), nil })
	httpcaddyfile.RegisterDirectiveOrder("test_counter", httpcaddyfile.Before, "respond")
}

// taker is a handler of somebody else that takes connections over, whatever was asked,
// and sends lines back: /keep does so when the handler has returned, /panic panics
// then.
type taker struct{ gone atomic.Bool }

func (*taker) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_taker", New: func() caddy.Module { return new(taker) }}
}

// Cleanup implements caddy.CleanerUpper.
func (h *taker) Cleanup() error {
	h.gone.Store(true)
	return nil
}

func (h *taker) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !strings.HasPrefix(r.URL.Path, "/take") {
		return next.ServeHTTP(w, r)
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	echo := func() {
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			if h.gone.Load() {
				line = "a handler that was cleaned up\n"
			}
			if _, err := io.WriteString(conn, line); err != nil {
				return
			}
		}
	}
	switch r.URL.Path {
	case "/take/keep":
		go echo()
	case "/take/panic":
		go echo()
		panic(http.ErrAbortHandler)
	default:
		echo()
	}
	return nil
}

// take asks for a connection in the way of a client of taker.
func take(t *testing.T, port int, host, path, header string) *socket {
	t.Helper()
	conn, err := ts.Dial(at("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, host, header)
	s := &socket{conn, bufio.NewReader(conn)}
	resp, err := http.ReadResponse(s.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("taking %s at %s: got %+v, %v", path, host, resp, err)
	}
	s.echo(t, "after it was taken")
	return s
}

// TestConnectionsThatHandlersTakeOver: it does not matter how a handler does it.
func TestConnectionsThatHandlersTakeOver(t *testing.T) {
	port, upstream := ts.FreePort(t), backend(t)
	config := func(load int, sites ...int) string {
		var b strings.Builder
		for _, id := range sites {
			fmt.Fprintf(&b, "site %d {\nserver_bindings :%d:%d.test\nheader X-Load %d\nroute /take* {\ntest_taker\n}\nerror /echo 418\nhandle_errors 418 {\nreverse_proxy %s\n}\n}\n", id, port, id, load, upstream)
		}
		return iisConfig(b.String())
	}
	s := ts.Start(t, config(0, 1, 2))
	const asked = "Connection: Upgrade\r\nUpgrade: echo\r\n"
	for name, open := range map[string]func(host string) *socket{
		"without Upgrade":            func(host string) *socket { return take(t, port, host, "/take", "") },
		"with Upgrade":               func(host string) *socket { return take(t, port, host, "/take", asked) },
		"the handler returns":        func(host string) *socket { return take(t, port, host, "/take/keep", asked) },
		"it returns without Upgrade": func(host string) *socket { return take(t, port, host, "/take/keep", "") },
		"the handler panics":         func(host string) *socket { return take(t, port, host, "/take/panic", asked) },
		"a route for errors":         func(host string) *socket { return upgradePlain(t, port, host) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.Load(config(0, 1, 2)); err != nil {
				t.Fatal(err)
			}
			one, two := open("1.test"), open("2.test")
			for i := range 2 {
				if err := s.Load(config(i+1, 1, 2)); err != nil {
					t.Fatal(err)
				}
				one.echo(t, "after a load")
				two.echo(t, "after a load")
			}
			if err := s.Load(config(3, 2)); err != nil {
				t.Fatal(err)
			}
			one.ends(t, "its site is removed")
			two.echo(t, "another site's")
		})
	}
}

// TestUpgradesDuringLoads: a connection that is taken over just when its configuration
// is replaced stays, whatever comes first.
func TestUpgradesDuringLoads(t *testing.T) {
	port, upstream := ts.FreePort(t), backend(t)
	config := func(load int) string {
		return iisConfig(fmt.Sprintf("site 1 {\nserver_bindings :%d:1.test\nheader X-Load %d\nreverse_proxy %s\n}\n", port, load, upstream))
	}
	s := ts.Start(t, config(0))
	var clients sync.WaitGroup
	var loaded atomic.Bool
	opened := make(chan *socket, 10_000)
	for range 4 {
		clients.Go(func() {
			for !loaded.Load() && len(opened) < cap(opened)-10 {
				conn, err := net.Dial("tcp", at("127.0.0.1", port))
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprint(conn, "GET /echo HTTP/1.1\r\nHost: 1.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				one := &socket{conn, bufio.NewReader(conn)}
				resp, err := http.ReadResponse(one.r, nil)
				if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
					t.Errorf("an upgrade during loads: %+v, %v", resp, err)
					return
				}
				opened <- one
				time.Sleep(5 * time.Millisecond) // as many files as a process may have open are enough
			}
		})
	}
	for i := range 20 {
		if err := s.Load(config(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	loaded.Store(true)
	clients.Wait()
	close(opened)
	t.Logf("%d connections", len(opened))
	for one := range opened {
		one.echo(t, "still there")
		one.Close()
	}
}

// TestUpgradedWebSocketIsToldOnce: several changes at once end it once.
func TestUpgradedWebSocketIsToldOnce(t *testing.T) {
	port, upstream := ts.FreePort(t), backend(t)
	l := startLive(t, "", fmt.Sprintf("template proxy {\nreverse_proxy %s\n}\nsite 2 {\nserver_bindings :%d:other.test\n}\n", upstream, port))
	for i := range 20 {
		l.want(201, "PUT", "sites/10", fmt.Sprintf(`{"server_bindings":[":%d:ws.test"],"template":"proxy"}`, port))
		conn, err := ts.Dial(at("127.0.0.1", port))
		if err != nil {
			t.Fatal(err)
		}
		webSocket := upgrade(t, conn, "ws.test", "websocket")
		var changes sync.WaitGroup
		changes.Go(func() { l.want(204, "DELETE", "sites/10", "") })
		for id := 11; id < 15; id++ {
			changes.Go(func() {
				l.want(http.StatusCreated, "PUT", fmt.Sprint("sites/", id+10*i), fmt.Sprintf(`{"server_bindings":[":%d:%d-%d.test"],"template":"proxy"}`, port, id, i))
			})
		}
		changes.Wait()
		if last := webSocket.ends(t, "the site is removed"); last != "\x88\x02\x03\xe9" {
			t.Fatalf("got %q, want one close frame with the code 1001", last)
		}
		conn.Close()
	}
}

// counter is a handler of somebody else that counts requests in the registry that it
// finds: by host, all, and how long they take; and in one counter for all registries.
type counter struct {
	requests *prometheus.CounterVec
	all      prometheus.Counter
	took     prometheus.Histogram
}

var countedEverywhere = prometheus.NewCounter(prometheus.CounterOpts{Name: "test_counted_everywhere_total", Help: "Requests."})

func (*counter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_counter", New: func() caddy.Module { return new(counter) }}
}

// Provision implements caddy.Provisioner.
func (c *counter) Provision(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	c.requests = registered(registry, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "test_counted_requests_total", Help: "Requests."}, []string{"host"}))
	c.all = registered(registry, prometheus.NewCounter(prometheus.CounterOpts{Name: "test_counted_total", Help: "Requests."}))
	c.took = registered(registry, prometheus.NewHistogram(prometheus.HistogramOpts{Name: "test_counted_seconds", Help: "Seconds.", Buckets: []float64{1}}))
	registered(registry, countedEverywhere)
	return nil
}

// registered returns the collector that a registry has.
func registered[C prometheus.Collector](registry *prometheus.Registry, c C) C {
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](registry.Register(c)); ok {
		return there.ExistingCollector.(C)
	}
	return c
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	c.requests.WithLabelValues(r.Host).Inc()
	c.all.Inc()
	c.took.Observe(0.5)
	countedEverywhere.Inc()
	return next.ServeHTTP(w, r)
}

// TestServeModuleMetrics: what modules in many sites count is shown, wherever their
// handlers are.
func TestServeModuleMetrics(t *testing.T) {
	port := ts.FreePort(t)
	var b strings.Builder
	for id := 1; id <= 100; id++ {
		fmt.Fprintf(&b, "site %d {\nserver_bindings :%d:%d.test\ntest_counter\n}\n", id, port, id)
	}
	s := ts.Start(t, iisConfig(b.String(), "metrics"))
	for id := 1; id <= 100; id++ {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Plain: true, Host: fmt.Sprintf("%d.test", id)})
		if err != nil || answer.Status != http.StatusOK {
			t.Fatal(answer, err)
		}
	}
	status, text := s.Admin(http.MethodGet, "/metrics", "")
	if status != http.StatusOK {
		t.Fatal(status, text)
	}
	for _, line := range []string{
		"test_counted_total 100\n", "test_counted_everywhere_total 100\n",
		"test_counted_seconds_bucket{le=\"1\"} 100\n", "test_counted_seconds_count 100\n", "test_counted_seconds_sum 50\n",
	} {
		if strings.Count(text, line) != 1 {
			t.Errorf("no %s", line)
		}
	}
	for id := 1; id <= 100; id++ {
		if line := fmt.Sprintf("test_counted_requests_total{host=\"%d.test\"} 1\n", id); strings.Count(text, line) != 1 {
			t.Errorf("no %s", line)
		}
	}
}
