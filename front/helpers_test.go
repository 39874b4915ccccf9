package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-iis/caddy-iis/internal/testport"
)

var (
	loopback  = netip.MustParseAddr("127.0.0.1")
	loopback2 = netip.MustParseAddr("127.0.0.2")
	loopback6 = netip.MustParseAddr("::1")
)

// authority makes certificates for loopback addresses.
var authority = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		DNSNames:              []string{"localhost", "test.example"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2), net.IPv4(127, 0, 0, 3), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
})

func clientTLS(protos ...string) *tls.Config {
	_, pool := authority()
	return &tls.Config{RootCAs: pool, NextProtos: protos}
}

var allProtocols = Settings{H1: true, H2: true, H3: true, IdleTimeout: time.Minute}

func plain(ip netip.Addr, port uint16) Endpoint {
	return Endpoint{Addr: netip.AddrPortFrom(ip, port), Settings: Settings{H1: true}, Owner: "plain"}
}

func secure(ip netip.Addr, port uint16) Endpoint {
	return Endpoint{Addr: netip.AddrPortFrom(ip, port), TLS: true, Settings: allProtocols, Owner: "secure"}
}

// newState makes a State that answers every request with name.
func newState(name string, endpoints ...Endpoint) *State {
	cert, _ := authority()
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}
	return &State{
		Endpoints: endpoints,
		TLS:       func(*tls.ClientHelloInfo, *Conn) (*tls.Config, error) { return config, nil },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-State", name)
			_, _ = io.WriteString(w, name)
		}),
		DrainTimeout: 2 * time.Second,
	}
}

func newManager(t testing.TB) *Manager {
	m := NewManager()
	m.Linger = 50 * time.Millisecond
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return m
}

// install prepares and commits a State.
func install(t testing.TB, m *Manager, s *State) *State {
	t.Helper()
	if err := m.Prepare(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	m.Commit(s)
	return s
}

// replace exchanges a State in the order of a configuration load.
func replace(t testing.TB, m *Manager, old, s *State) *State {
	t.Helper()
	install(t, m, s)
	m.Remove(old)
	return s
}

// colliding returns those addresses which a second socket cannot have on the port of a
// first one: on Windows there may be one for an address beside one for all addresses.
func colliding(first netip.Addr, addrs ...netip.Addr) []netip.Addr {
	if runtime.GOOS == "windows" {
		return slices.DeleteFunc(addrs, func(ip netip.Addr) bool { return ip != first })
	}
	return addrs
}

func freePort(t testing.TB) uint16 {
	t.Helper()
	return uint16(testport.Free(t))
}

func url(scheme string, ip netip.Addr, port uint16) string {
	return scheme + "://" + netip.AddrPortFrom(ip, port).String() + "/"
}

func client1(t testing.TB) *http.Client {
	tr := &http.Transport{TLSClientConfig: clientTLS("http/1.1"), DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func client2(t testing.TB) *http.Client {
	tr := &http.Transport{TLSClientConfig: clientTLS("h2"), Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func client3(t testing.TB) *http.Client {
	tr := &http3.Transport{TLSClientConfig: clientTLS(), QUICConfig: &quic.Config{MaxIdleTimeout: 20 * time.Second}}
	t.Cleanup(func() { tr.Close() })
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// fetch returns body and response.
func fetch(c *http.Client, url string) (string, *http.Response, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), resp, err
}

// expect fails the test unless url answers with body.
func expect(t testing.TB, c *http.Client, url, body string) *http.Response {
	t.Helper()
	got, resp, err := fetch(c, url)
	if err != nil {
		t.Fatal(err)
	}
	if got != body {
		t.Fatalf("%s: got %d %q, want %q", url, resp.StatusCode, got, body)
	}
	return resp
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func isDrained(s *State) bool {
	select {
	case <-s.Drained():
		return true
	default:
		return false
	}
}

// named is a handler that can be compared.
type named struct{ name string }

// ServeHTTP implements [http.Handler].
func (n *named) ServeHTTP(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, n.name) }
