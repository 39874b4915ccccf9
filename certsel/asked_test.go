package certsel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// askedManager is a certificate manager.
type askedManager struct {
	mu    sync.Mutex
	asked int
	get   func(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error)
}

// GetCertificate implements certmagic.Manager.
func (m *askedManager) GetCertificate(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	m.mu.Lock()
	m.asked++
	m.mu.Unlock()
	return m.get(ctx, hello)
}

func (m *askedManager) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

// localConn is a connection that came to an address.
type localConn struct {
	net.Conn
	addr net.Addr
}

func (c localConn) LocalAddr() net.Addr { return c.addr }

// helloAt is the ClientHello of a client like another one, at an address.
func helloAt(live *tls.ClientHelloInfo, local, name string, schemes ...tls.SignatureScheme) *tls.ClientHelloInfo {
	hello := *live
	hello.ServerName, hello.SignatureSchemes = name, schemes
	hello.Conn = localConn{addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local))}
	return &hello
}

func newAsked(t *testing.T, m *askedManager, entries int) *AskedStore {
	t.Helper()
	a := &AskedStore{
		Keep: caddy.Duration(time.Minute), Timeout: caddy.Duration(100 * time.Millisecond), Entries: entries,
		manager: m, logger: zap.NewNop(), newNames: rate.NewLimiter(100, 1000), atOnce: make(chan struct{}, askedAtOnce),
		answers: make(map[askedKey]*askedAnswer),
	}
	a.ctx, a.cancel = context.WithCancel(t.Context())
	t.Cleanup(func() { _ = a.Cleanup() })
	return a
}

// TestAskedStore: what is asked apart, what is bounded, and a manager that hangs or
// panics.
func TestAskedStore(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := newPair(t, "www.test", nil, key)
	cert := &tls.Certificate{Certificate: [][]byte{made.cert.Raw}, PrivateKey: key}
	m := &askedManager{get: func(context.Context, *tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }}
	a := newAsked(t, m, 50)
	const local = "127.0.0.1:443"
	live := liveHello(t)
	for i, hello := range []*tls.ClientHelloInfo{
		helloAt(live, local, "www.test", tls.ECDSAWithP256AndSHA256), helloAt(live, local, "www.test", tls.PSSWithSHA256),
		helloAt(live, "127.0.0.1:8443", "www.test", tls.PSSWithSHA256), helloAt(live, "127.0.0.2:443", "www.test", tls.PSSWithSHA256),
	} {
		for range 3 {
			if got := a.Select(hello); got == nil || got.Leaf == nil {
				t.Fatalf("%d: %v", i, got)
			}
		}
		if n := m.count(); n != i+1 {
			t.Errorf("%d: asked %d times", i, n)
		}
	}
	fixed := helloAt(live, local, "fixed.test", tls.ECDSAWithP256AndSHA256)
	a.Select(fixed) // asks
	if allocs := testing.AllocsPerRun(100, func() { a.Select(fixed) }); allocs > 0 {
		t.Errorf("an answer in memory allocates %v times", allocs)
	}
	for i := range 200 {
		a.Select(helloAt(live, local, fmt.Sprintf("n%d.test", i)))
	}
	if n := len(a.Current()); n > 50 {
		t.Errorf("%d answers are in memory", n)
	}
	asked := m.count()
	for _, name := range []string{"..", "a b", "../x", "*"} {
		if a.Select(helloAt(live, local, name)) != nil {
			t.Errorf("%q has a certificate", name)
		}
	}
	for i := range 5000 { // a flood of names
		a.Select(helloAt(live, local, fmt.Sprintf("f%d.test", i)))
	}
	if n := m.count() - asked; n > 1500 {
		t.Errorf("a flood of 5000 names was %d questions", n)
	}

	hang := make(chan struct{})
	defer close(hang)
	m = &askedManager{get: func(context.Context, *tls.ClientHelloInfo) (*tls.Certificate, error) { <-hang; return nil, nil }}
	a = newAsked(t, m, 1000)
	began := time.Now()
	if a.Select(helloAt(live, local, "www.test")) != nil || time.Since(began) > 5*time.Second {
		t.Errorf("a manager that hangs: %v", time.Since(began))
	}
	a = newAsked(t, m, 1000)
	a.Timeout = 1
	for i := range 500 {
		a.Select(helloAt(live, local, fmt.Sprintf("n%d.test", i)))
	}
	if n := m.count() - 1; n > askedAtOnce {
		t.Errorf("%d questions are on their way", n)
	}

	m = &askedManager{get: func(context.Context, *tls.ClientHelloInfo) (*tls.Certificate, error) { panic("fault") }}
	a = newAsked(t, m, 10)
	if a.Select(helloAt(live, local, "www.test")) != nil || a.Status().LastError == nil {
		t.Error("a manager that panics is no error")
	}
	if _, err := a.Check(t.Context(), "www.test"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a check of what nobody has asked for: %v", err)
	}
	probe := &tls.ClientHelloInfo{ServerName: "probe.test", Conn: helloAt(live, local, "").Conn}
	if a.Select(probe) != nil || m.count() != 1 {
		t.Error("a question without a client asks the manager")
	}
}

// TestAskedStoreEnds: questions that a manager never answers end, and make room for
// others.
func TestAskedStoreEnds(t *testing.T) {
	live := liveHello(t)
	m := &askedManager{get: func(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "www.test" {
			return nil, nil
		}
		<-ctx.Done()
		return nil, fmt.Errorf("hangs\x1b: %w", ctx.Err())
	}}
	a := newAsked(t, m, 1000)
	a.Timeout = caddy.Duration(20 * time.Millisecond)
	for i := range askedAtOnce + 10 {
		go a.Select(helloAt(live, "127.0.0.1:443", fmt.Sprintf("n%d.test", i)))
	}
	until(t, "all places to be taken", func() bool { return m.count() == askedAtOnce })
	until(t, "a place", func() bool {
		a.Select(helloAt(live, "127.0.0.1:443", "www.test"))
		return m.count() > askedAtOnce
	})
	n := 0
	until(t, "the fault to be told", func() bool { // an answer that comes later ends it
		n++
		a.Select(helloAt(live, "127.0.0.1:443", fmt.Sprintf("late%d.test", n)))
		return a.Status().LastError != nil
	})
	if told := a.Status().LastError.Error(); told != "hangs : context deadline exceeded" {
		t.Errorf("told as %q", told)
	}
}
