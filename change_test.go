package caddyiis_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// changeConfig is a configuration on two ports for http and https.
func changeConfig(httpPort, httpsPort int, extra string) string {
	return fmt.Sprintf(`{
		iis {
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			site 1 Main {
				server_bindings :%[1]d:www.contoso.test
				secure_bindings :%[2]d:www.contoso.test
				certificate wildcard
				respond "main"
			}
			site 2 Changing {
				secure_bindings :%[2]d:old.contoso.test
				certificate wildcard
				respond "changing"
			}
			site 3 Slow {
				secure_bindings :%[2]d:slow.contoso.test
				certificate wildcard
				test_slow 3s
				respond "slow"
			}
			%[3]s
		}
	}`, httpPort, httpsPort, extra)
}

// load makes requests until it is told to stop, and counts those that fail.
type load struct {
	stop            chan struct{}
	wg              sync.WaitGroup
	requests, fails atomic.Int64
	cuts            atomic.Int64 // kept connections that the server has ended
	mu              sync.Mutex
	first           error
}

func startLoad(request ts.Request, clients int, kept bool, want string, l *load) {
	for range clients {
		l.wg.Go(func() {
			client := ts.NewClient(request)
			defer func() {
				if kept {
					l.cuts.Add(int64(client.Cuts()))
					if request.Proto == "h2" || request.Proto == "h3" {
						l.cuts.Add(int64(client.Dials() - 1)) // it may have been told to go away
					}
				}
				client.Close()
			}()
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				if !kept {
					client.Close()
					client = ts.NewClient(request)
				}
				answer, err := client.Do(request)
				l.requests.Add(1)
				if err == nil && (answer.Status != 200 || answer.Body != want) {
					err = fmt.Errorf("%s %s: %d %q", request.Proto, request.Addr, answer.Status, answer.Body)
				}
				if err != nil {
					l.fails.Add(1)
					l.mu.Lock()
					if l.first == nil {
						l.first = err
					}
					l.mu.Unlock()
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
}

func (l *load) finish(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	if fails := l.fails.Load(); fails > 0 {
		t.Errorf("%d of %d requests failed, the first with: %v", fails, l.requests.Load(), l.first)
	}
	if l.requests.Load() < 100 {
		t.Errorf("only %d requests were made", l.requests.Load())
	}
	t.Logf("%d requests", l.requests.Load())
}

// allProtocols loads an address with fresh and kept connections of all kinds,
// 48 clients together.
func allProtocols(httpAddr, httpsAddr, host, body string) *load {
	return loadOf(httpAddr, httpsAddr, host, body, 6)
}

// loadOf is the same with as many clients of each kind, eight times that together.
func loadOf(httpAddr, httpsAddr, host, body string, clients int) *load {
	l := &load{stop: make(chan struct{})}
	for _, kept := range []bool{true, false} {
		for _, proto := range []string{"h1", "h2", "h3"} {
			startLoad(ts.Request{Addr: httpsAddr, SNI: host, Proto: proto}, clients, kept, body, l)
		}
		startLoad(ts.Request{Addr: httpAddr, Plain: true, Host: host}, clients, kept, body, l)
	}
	return l
}

func TestChangesLoseNothing(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, changeConfig(httpPort, httpsPort, ""))
	httpAddr, httpsAddr := fmt.Sprintf("127.0.0.1:%d", httpPort), fmt.Sprintf("127.0.0.1:%d", httpsPort)

	l := allProtocols(httpAddr, httpsAddr, "www.contoso.test", "main")
	for i := range 50 {
		host := fmt.Sprintf("n%d.contoso.test", i)
		body := fmt.Sprintf(`[":%d:%s"]`, httpsPort, host)
		if status, answer := s.Admin(http.MethodPatch, "/config/apps/iis/sites/2/secure_bindings", body); status != 200 {
			t.Fatalf("change %d: %d %s", i, status, answer)
		}
		answer, err := ts.Do(ts.Request{Addr: httpsAddr, SNI: host})
		if err != nil || answer.Status != 200 || answer.Body != "changing" {
			t.Fatalf("change %d is not live when the API has answered: %+v, %v", i, answer, err)
		}
	}
	l.finish(t)
}

func TestRequestsInFlightFinish(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, changeConfig(httpPort, httpsPort, ""))
	addr := fmt.Sprintf("127.0.0.1:%d", httpsPort)
	slowStats.usedAfterCleanup.Store(0)

	type result struct {
		proto  string
		answer *ts.Answer
		err    error
	}
	results := make(chan result)
	before := slowStats.started.Load()
	for _, proto := range []string{"h1", "h2", "h3"} {
		go func() {
			answer, err := ts.Do(ts.Request{Addr: addr, SNI: "slow.contoso.test", Proto: proto})
			results <- result{proto, answer, err}
		}()
	}
	waitFor(t, "the slow requests to begin", func() bool { return slowStats.started.Load() == before+3 })
	began := time.Now()
	if status, answer := s.Admin(http.MethodDelete, "/config/apps/iis/sites/3", ""); status != 200 {
		t.Fatalf("deleting the site: %d %s", status, answer)
	}
	if took := time.Since(began); took > 2500*time.Millisecond {
		t.Errorf("the change waited %v for requests in flight", took)
	}
	if answer, err := ts.Do(ts.Request{Addr: addr, SNI: "slow.contoso.test"}); err != nil || answer.Status != 400 {
		t.Errorf("the deleted site still answers: %+v, %v", answer, err)
	}
	for range 3 {
		r := <-results
		if r.err != nil || r.answer.Body != "slow" {
			t.Errorf("%s: the request in flight did not finish: %+v, %v", r.proto, r.answer, r.err)
		}
	}
	if n := slowStats.usedAfterCleanup.Load(); n > 0 {
		t.Errorf("%d requests were served by handlers that had been cleaned up", n)
	}
	waitFor(t, "the old handlers to be cleaned up", func() bool {
		return slowStats.provisioned.Load() == slowStats.cleaned.Load()
	})
}

// TestDrainIsBounded: a request that never ends does not hold a replaced
// configuration for ever.
func TestDrainIsBounded(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, changeConfig(httpPort, httpsPort, "drain 100ms"))
	addr := fmt.Sprintf("127.0.0.1:%d", httpsPort)
	before := slowStats.started.Load()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = ts.Do(ts.Request{Addr: addr, SNI: "slow.contoso.test"})
	}()
	waitFor(t, "the slow request to begin", func() bool { return slowStats.started.Load() == before+1 })
	if status, answer := s.Admin(http.MethodDelete, "/config/apps/iis/sites/3", ""); status != 200 {
		t.Fatalf("deleting the site: %d %s", status, answer)
	}
	waitFor(t, "the log line about it", func() bool {
		return len(ts.Logs.Lines("requests still run in a configuration that was replaced")) == 1
	})
	<-done
}

func TestPortsOpenAndClose(t *testing.T) {
	httpPort, httpsPort, newPort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, changeConfig(httpPort, httpsPort, ""))
	newAddr := fmt.Sprintf("127.0.0.1:%d", newPort)
	l := allProtocols(fmt.Sprintf("127.0.0.1:%d", httpPort), fmt.Sprintf("127.0.0.1:%d", httpsPort), "www.contoso.test", "main")
	for range 2 {
		if _, err := net.Dial("tcp", newAddr); err == nil {
			t.Fatal("the port is open before a binding names it")
		}
		body := fmt.Sprintf(`[":%d:old.contoso.test"]`, newPort)
		if status, answer := s.Admin(http.MethodPatch, "/config/apps/iis/sites/2/secure_bindings", body); status != 200 {
			t.Fatalf("moving the site: %d %s", status, answer)
		}
		for _, proto := range []string{"h1", "h2", "h3"} {
			answer, err := ts.Do(ts.Request{Addr: newAddr, SNI: "old.contoso.test", Proto: proto})
			if err != nil || answer.Body != "changing" {
				t.Errorf("%s on the new port: %+v, %v", proto, answer, err)
			}
		}
		body = fmt.Sprintf(`[":%d:old.contoso.test"]`, httpsPort)
		if status, answer := s.Admin(http.MethodPatch, "/config/apps/iis/sites/2/secure_bindings", body); status != 200 {
			t.Fatalf("moving the site back: %d %s", status, answer)
		}
		if answer, err := ts.Do(ts.Request{Addr: newAddr, SNI: "old.contoso.test"}); err == nil && answer.Status == 200 {
			t.Errorf("the port that no binding names any more still serves the site: %+v", answer)
		}
		waitFor(t, "the port to close", func() bool {
			conn, err := net.Dial("tcp", newAddr)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
	}
	l.finish(t)
}

func TestBadChangesAreRefused(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, changeConfig(httpPort, httpsPort, ""))
	addr := fmt.Sprintf("127.0.0.1:%d", httpsPort)
	_, before := s.Admin(http.MethodGet, "/config/", "")
	for _, c := range []struct{ body, reason string }{
		{`[":99999:x.contoso.test"]`, "port"},
		{`["443"]`, "binding"},
		{fmt.Sprintf(`[":%d:www.contoso.test"]`, httpsPort), "site 1"},
		{fmt.Sprintf(`[":%d:x.contoso.test"]`, httpPort), "http"},
		{`":443:"`, "json"},
	} {
		status, answer := s.Admin(http.MethodPatch, "/config/apps/iis/sites/2/secure_bindings", c.body)
		if status < 400 || !strings.Contains(answer, c.reason) {
			t.Errorf("%s: got %d %s, want a refusal that mentions %q", c.body, status, answer, c.reason)
		}
		if _, after := s.Admin(http.MethodGet, "/config/", ""); after != before {
			t.Errorf("%s: the refused change is in the configuration", c.body)
		}
		if answer, err := ts.Do(ts.Request{Addr: addr, SNI: "old.contoso.test"}); err != nil || answer.Body != "changing" {
			t.Errorf("%s: the old configuration does not serve: %+v, %v", c.body, answer, err)
		}
	}
}

// TestLateFailuresLeaveNoTrace: loads that are refused only when apps start
// change no answer and keep no socket and no goroutine.
func TestLateFailuresLeaveNoTrace(t *testing.T) {
	httpPort, httpsPort, newPort := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, changeConfig(httpPort, httpsPort, ""))
	httpAddr, httpsAddr := fmt.Sprintf("127.0.0.1:%d", httpPort), fmt.Sprintf("127.0.0.1:%d", httpsPort)
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	takenPort := taken.Addr().(*net.TCPAddr).Port

	bad := map[string]struct {
		config string
		edit   func(map[string]any)
		reason []string
	}{
		"port taken": {
			config: changeConfig(httpPort, httpsPort, fmt.Sprintf(`
				site 8 Early {
					server_bindings :%d:
				}
				site 9 Late {
					server_bindings :%d:late.contoso.test
				}`, newPort, takenPort)),
			reason: []string{"address already in use", "Late", fmt.Sprint(takenPort)},
		},
		"certificate missing": {
			config: changeConfig(httpPort, httpsPort, `certificate gone /nowhere/gone.pem /nowhere/gone.key`),
			reason: []string{`certificate "gone"`, "/nowhere/gone.pem"},
		},
		"another app fails": {
			config: strings.ReplaceAll(changeConfig(httpPort, httpsPort, fmt.Sprintf(`site 8 Early {
				server_bindings :%d:
			}`, newPort)), `"main"`, `"refused"`),
			edit:   func(cfg map[string]any) { cfg["apps"].(map[string]any)["test_failing"] = map[string]any{} },
			reason: []string{errFailingApp.Error()},
		},
	}
	attempt := func(name string) {
		t.Helper()
		c := bad[name]
		raw, err := s.Adapt(c.config)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.edit != nil {
			var cfg map[string]any
			if err := json.Unmarshal(raw, &cfg); err != nil {
				t.Fatal(err)
			}
			c.edit(cfg)
			raw, _ = json.Marshal(cfg)
		}
		err = s.LoadJSON(raw)
		if err == nil {
			t.Fatalf("%s: the load was not refused", name)
		}
		for _, reason := range c.reason {
			if !strings.Contains(err.Error(), reason) {
				t.Errorf("%s: the error %q does not mention %q", name, err, reason)
			}
		}
	}
	for name := range bad {
		attempt(name) // so that what is made once per process exists
	}
	goroutines, sockets := settle(), needs.Sockets(t)
	l := allProtocols(httpAddr, httpsAddr, "www.contoso.test", "main")
	for i := range 50 {
		attempt([]string{"port taken", "certificate missing", "another app fails"}[i%3])
	}
	l.finish(t)
	for i := range 200 {
		request := ts.Request{Addr: httpsAddr, SNI: "www.contoso.test", Proto: []string{"h1", "h2", "h3"}[i%3]}
		if i%4 == 3 {
			request = ts.Request{Addr: httpAddr, Host: "www.contoso.test", Plain: true}
		}
		answer, err := ts.Do(request)
		if err != nil || answer.Body != "main" {
			t.Fatalf("connection %d after the refused loads: %+v, %v", i, answer, err)
		}
	}
	waitFor(t, "the sockets of the refused loads to close", func() bool { return needs.Sockets(t) <= sockets })
	if now := settle(); now > goroutines+3 {
		var stacks bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		t.Errorf("%d goroutines after the refused loads, %d before:\n%s", now, goroutines, &stacks)
	}
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", newPort)); err == nil {
		conn.Close()
		t.Error("a port of a refused load is open")
	}
}

// TestSecondCaddy: another process gets an error, not a share of the port.
func TestSecondCaddy(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, changeConfig(httpPort, httpsPort, ""))
	raw, err := s.Adapt(fmt.Sprintf(`{
		admin off
		iis {
			site 7 Other {
				server_bindings :%d:other.contoso.test
			}
		}
	}`, httpPort))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), secondCaddy+"="+string(raw))
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("a second Caddy took the port as well:\n%s", out)
	}
	for _, want := range []string{"address already in use", `site 7 "Other"`, fmt.Sprint(httpPort)} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the error does not mention %q:\n%s", want, out)
		}
	}
}

// waitFor waits for a condition that other goroutines bring about.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// settle returns the number of goroutines once it stands still.
func settle() int {
	last, same := runtime.NumGoroutine(), 0
	for range 500 {
		time.Sleep(20 * time.Millisecond)
		now := runtime.NumGoroutine()
		if same++; now != last {
			last, same = now, 0
		}
		if same == 25 {
			break
		}
	}
	return last
}
