package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// testServer serves sites, and makes mistakes when it is told to.
type testServer struct {
	*httptest.Server
	set     *sites.Set
	certs   map[string]*tls.Certificate
	bodies  map[string]string
	refuses bool

	wrongCertificate, wrongBody, wrongStatus, closes, noAnswer atomic.Bool
	requests, handshakes                                       atomic.Int64

	// Handshakes wait until there are so many: of workers that share what is to do,
	// one may have done it all before another has begun.
	together int64
	complete chan struct{}
}

func newServer(t *testing.T) *testServer {
	t.Helper()
	set, err := sites.Generate(t.TempDir(), sites.Shared, 20)
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{set: set, certs: make(map[string]*tls.Certificate), bodies: make(map[string]string)}
	for _, site := range set.All() {
		cert, err := tls.LoadX509KeyPair(site.Cert.CertFile, site.Cert.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		s.certs[site.Host], s.bodies[site.Host] = &cert, site.Body()
	}
	s.Server = httptest.NewUnstartedServer(s)
	// The server adds a certificate of its own to its configuration.
	cfg := &tls.Config{GetCertificate: s.certificate}
	s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return cfg, nil }}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *testServer) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if n := s.handshakes.Add(1); n == s.together {
		close(s.complete)
	}
	if s.together > 0 {
		<-s.complete
	}
	cert := s.certs[hello.ServerName]
	switch {
	case s.wrongCertificate.Load():
		return s.certs[sites.Host(7)], nil
	case cert != nil:
		return cert, nil
	case hello.ServerName != "" && s.refuses:
		return nil, errors.New("unknown name")
	}
	return s.certs[sites.DefaultHost], nil
}

func (s *testServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	wrongBody := s.wrongBody.Load()
	s.requests.Add(1)
	if s.noAnswer.Load() {
		panic(http.ErrAbortHandler)
	}
	if s.closes.Load() {
		w.Header().Set("Connection", "close")
	}
	body, ok := s.bodies[r.Host]
	if wrongBody {
		body = s.bodies[sites.DefaultHost]
	}
	if !ok || s.wrongStatus.Load() {
		w.WriteHeader(http.StatusNotFound)
		body += "no such site"
	}
	fmt.Fprint(w, body)
}

func (s *testServer) target() Target {
	return Target{
		Addr: s.Listener.Addr().String(), Default: s.set.Default, Sites: s.set.Sites[:7], // the certificate of the 8th is the wrong one
		Unknown: UnknownAnswer{Refused: s.refuses, Status: 404, Body: "such site"},
	}
}

func run(t *testing.T, s *testServer, o Options) Result {
	t.Helper()
	if o.Conns == 0 {
		o.Conns = 3
	}
	if o.Time == 0 {
		o.Time = 5 * time.Second
	}
	result, err := Run(t.Context(), s.target(), o)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestRightAnswers(t *testing.T) {
	for _, mode := range Modes {
		t.Run(string(mode), func(t *testing.T) {
			s := newServer(t)
			if mode == KeepAlive {
				s.together, s.complete = 3, make(chan struct{})
			}
			result := run(t, s, Options{Mode: mode, Count: 60, Time: time.Minute})
			if err := result.Err(); err != nil {
				t.Error(err)
			}
			if result.Count != 60 || result.P99 < result.P50 || result.P50 <= 0 || result.PerWall <= 0 {
				t.Errorf("result %+v", result)
			}
			want := int64(60)
			if mode == KeepAlive {
				want = 3
			}
			if got := s.handshakes.Load(); got != want {
				t.Errorf("%d handshakes, not %d", got, want)
			}
		})
	}
}

func TestMistakesAreFound(t *testing.T) {
	for name, mistake := range map[string]struct {
		make  func(*testServer) *atomic.Bool
		wrong bool // a wrong answer; else none
		modes []Mode
	}{
		"certificate": {func(s *testServer) *atomic.Bool { return &s.wrongCertificate }, true, Modes},
		"body":        {func(s *testServer) *atomic.Bool { return &s.wrongBody }, true, []Mode{Handshake, NoSNI, KeepAlive}},
		"status":      {func(s *testServer) *atomic.Bool { return &s.wrongStatus }, true, []Mode{Handshake, NoSNI, KeepAlive}},
		"no answer":   {func(s *testServer) *atomic.Bool { return &s.noAnswer }, false, Modes},
		"closes":      {func(s *testServer) *atomic.Bool { return &s.closes }, false, []Mode{KeepAlive}},
	} {
		for _, mode := range mistake.modes {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				s := newServer(t)
				mistake.make(s).Store(true)
				result := run(t, s, Options{Mode: mode, Count: 9})
				if result.Err() == nil || result.OK != 0 {
					t.Errorf("%d of %d answers were right: %v", result.OK, result.Count, result.Err())
				}
				if mistake.wrong != (result.Wrong == 9) || mistake.wrong == (result.Failed == 9) {
					t.Errorf("%d wrong, %d failed: %v", result.Wrong, result.Failed, result.Problems)
				}
			})
		}
	}
}

func TestMistakesWhileWarmingUp(t *testing.T) {
	s := newServer(t)
	s.wrongBody.Store(true)
	go func() { // until one answer at least was wrong
		for s.requests.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		s.wrongBody.Store(false)
	}()
	result := run(t, s, Options{Mode: KeepAlive, Count: 1_000_000, Warm: 200 * time.Millisecond, Time: 50 * time.Millisecond})
	if result.Wrong == 0 || result.Err() == nil || result.OK != result.Count {
		t.Errorf("%d of %d right, %d wrong: %v", result.OK, result.Count, result.Wrong, result.Err())
	}
}

func TestUnknownNamesThatAreRefused(t *testing.T) {
	s := newServer(t)
	s.refuses = true
	if result := run(t, s, Options{Mode: Unknown, Count: 9}); result.Err() != nil {
		t.Error(result.Err())
	}
	target := s.target()
	s.refuses = false // and now it accepts what it is expected to refuse
	result, err := Run(t.Context(), target, Options{Mode: Unknown, Count: 9, Conns: 1, Time: time.Second})
	if err != nil || result.OK != 0 {
		t.Errorf("%+v (%v)", result, err)
	}
}

func TestBounds(t *testing.T) {
	s := newServer(t)
	start := time.Now()
	result := run(t, s, Options{Mode: KeepAlive, Count: 1_000_000_000, Time: 100 * time.Millisecond})
	if took := time.Since(start); took > 2*time.Second || result.Count == 0 || result.Elapsed < 0.1 {
		t.Errorf("%d operations in %s: %+v", result.Count, took, result)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := Run(ctx, s.target(), Options{Mode: KeepAlive, Conns: 1, Count: 1_000_000_000, Time: time.Minute, Pause: time.Second}); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it went on for %s", took)
	}
}

func TestServerTime(t *testing.T) {
	s := newServer(t)
	var spent time.Duration
	result := run(t, s, Options{Mode: KeepAlive, Count: 60, CPU: func() (time.Duration, error) {
		spent += time.Second
		return spent, nil
	}})
	if result.ServerCPU != 1 || result.PerCPU != 60 {
		t.Errorf("%+v", result)
	}
	failing := func() (time.Duration, error) { return 0, errors.New("no such process") }
	if _, err := Run(t.Context(), s.target(), Options{Mode: KeepAlive, Conns: 1, Time: time.Second, CPU: failing}); err == nil {
		t.Error("a server that is not there was measured")
	}
}

func TestOptionsThatAreWrong(t *testing.T) {
	s := newServer(t)
	for _, o := range []Options{{Mode: "other", Conns: 1}, {Mode: Handshake}} {
		if _, err := Run(t.Context(), s.target(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestAwait(t *testing.T) {
	s := newServer(t)
	s.wrongBody.Store(true)
	start := time.Now()
	time.AfterFunc(50*time.Millisecond, func() { s.wrongBody.Store(false) })
	ready, err := Await(t.Context(), s.target().Addr, s.set.Sites[3], time.Millisecond)
	if err != nil || ready.Sub(start) < 50*time.Millisecond {
		t.Errorf("ready after %s (%v)", ready.Sub(start), err)
	}
	s.wrongCertificate.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = Await(ctx, s.target().Addr, s.set.Sites[3], time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `certificate of "*.example-7.test"`) {
		t.Errorf("error %v", err)
	}
}
