package load

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/websocket"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// serveHTTP3 serves over HTTP/3 what a server does, with one of its certificates, and
// returns the address.
func serveHTTP3(t *testing.T, set *sites.Set, handler http.Handler) string {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(set.Sites[0].Cert.CertFile, set.Sites[0].Cert.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}})}
	go func() { _ = server.Serve(conn) }()
	t.Cleanup(func() { _ = server.Close(); conn.Close() })
	return conn.LocalAddr().String()
}

func TestSessions(t *testing.T) {
	for _, mode := range []Mode{HTTP2, HTTP3} {
		t.Run(string(mode), func(t *testing.T) {
			s := newServer(t)
			var protocol atomic.Int64
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				protocol.Store(int64(r.ProtoMajor))
				s.ServeHTTP(w, r)
			})
			target := s.target()
			target.Sites = []sites.Site{s.set.Sites[0], s.set.Sites[8]} // they share a certificate
			if mode == HTTP3 {
				target.Addr = serveHTTP3(t, s.set, handler)
			} else {
				h2 := httptest.NewUnstartedServer(handler)
				h2.TLS, h2.EnableHTTP2 = &tls.Config{GetCertificate: s.certificate}, true
				h2.StartTLS()
				t.Cleanup(h2.Close)
				target.Addr = h2.Listener.Addr().String()
			}
			options := Options{Mode: mode, Conns: 2, Count: 40, Time: opTimeout}
			result, err := Run(t.Context(), target, options)
			if err != nil || result.Err() != nil || result.Count != 40 || result.Dialed < 1 || result.Dialed > 2 {
				t.Errorf("%+v (%v, %v)", result, err, result.Err())
			}
			if want := map[Mode]int64{HTTP2: 2, HTTP3: 3}[mode]; protocol.Load() != want {
				t.Errorf("HTTP/%d, not %d", protocol.Load(), want)
			}
			s.wrongBody.Store(true)
			if result, err := Run(t.Context(), target, options); err != nil || result.OK != 0 || result.Wrong != 40 {
				t.Errorf("wrong answers: %+v (%v)", result, err)
			}
		})
	}
}

func TestSockets(t *testing.T) {
	s := newServer(t)
	s.Config.Handler = websocket.Server{Handler: func(conn *websocket.Conn) { _, _ = io.Copy(conn, conn) }}
	socket, err := OpenSocket(s.Listener.Addr().String(), s.set.Sites[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Echo("a text"); err != nil {
		t.Error(err)
	}
	if socket.Echo(string(make([]byte, maxShort+1))) == nil {
		t.Error("a long text was sent")
	}
	s.CloseClientConnections() // does not reach what was taken over
	socket.Close()
	if socket.Echo("too late") == nil {
		t.Error("a WebSocket that is closed echoes")
	}
	s.Config.Handler = http.NotFoundHandler()
	if _, err := OpenSocket(s.Listener.Addr().String(), s.set.Sites[0]); err == nil {
		t.Error("404 opened a WebSocket")
	}
}

// TestSocketsOverHTTP3: frames go both ways on a stream of an extended CONNECT.
func TestSocketsOverHTTP3(t *testing.T) {
	s := newServer(t)
	var refuses atomic.Bool
	addr := serveHTTP3(t, s.set, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuses.Load() || r.Method != http.MethodConnect || r.Proto != "websocket" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		for {
			head := make([]byte, 6)
			if _, err := io.ReadFull(r.Body, head); err != nil {
				return
			}
			text := make([]byte, head[1]&^masked)
			_, _ = io.ReadFull(r.Body, text)
			_, _ = w.Write(append([]byte{frame, byte(len(text))}, text...))
			_ = http.NewResponseController(w).Flush()
		}
	}))
	socket, err := OpenSocketHTTP3(t.Context(), addr, s.set.Sites[0])
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.Echo("a text"); err != nil {
		t.Error(err)
	}
	refuses.Store(true)
	if _, err := OpenSocketHTTP3(t.Context(), addr, s.set.Sites[0]); err == nil {
		t.Error("404 opened a WebSocket")
	}
}
