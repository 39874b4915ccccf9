package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestProtocols(t *testing.T) {
	m, port := newManager(t), freePort(t)
	s := newState("", secure(netip.Addr{}, port))
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := ConnFrom(r.Context())
		fmt.Fprintf(w, "%s %s %v %v", r.Proto, c.Local, c.QUIC, c.Handshake.Load())
	})
	inner := s.TLS
	s.TLS = func(hello *tls.ClientHelloInfo, c *Conn) (*tls.Config, error) {
		if ConnFrom(hello.Context()) != c {
			t.Error("handshake context has another connection")
		}
		c.Handshake.Store("saw " + c.Local.Addr().String())
		return inner(hello, c)
	}
	install(t, m, s)

	altSvc := fmt.Sprintf(`h3=":%d"; ma=2592000`, port)
	for _, ip := range []netip.Addr{loopback, netip.MustParseAddr("127.0.0.3"), loopback6} {
		for _, c := range []struct {
			*http.Client
			proto, altSvc string
			quic          bool
		}{
			{client1(t), "HTTP/1.1", altSvc, false},
			{client2(t), "HTTP/2.0", altSvc, false},
			{client3(t), "HTTP/3.0", "", true},
		} {
			for range 2 {
				local := netip.AddrPortFrom(ip, port)
				if c.quic && !QUICKnowsAddress(runtime.GOOS) {
					local = wildcard(local)
				}
				resp := expect(t, c.Client, url("https", ip, port), fmt.Sprintf("%s %s %v saw %s", c.proto, local, c.quic, local.Addr()))
				if got := resp.Header.Get("Alt-Svc"); got != c.altSvc {
					t.Errorf("%s: Alt-Svc %q", c.proto, got)
				}
			}
		}
	}
}

func TestConnFromForeignContext(t *testing.T) {
	if ConnFrom(context.Background()) != nil {
		t.Error("connection out of nothing")
	}
}

func TestHandlerDeletesAltSvc(t *testing.T) {
	m, port := newManager(t), freePort(t)
	s := newState("x", secure(loopback, port))
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Del("Alt-Svc") })
	install(t, m, s)
	if resp := expect(t, client2(t), url("https", loopback, port), ""); resp.Header.Get("Alt-Svc") != "" {
		t.Error("Alt-Svc is still there")
	}
}

// raw sends text over a plain connection and returns the response, nil if the
// connection was closed without one.
func raw(t *testing.T, port uint16, text string) *http.Response {
	t.Helper()
	c, err := net.Dial("tcp", netip.AddrPortFrom(loopback, port).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(c, text)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil
	}
	return resp
}

const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func TestPreface(t *testing.T) {
	m, port := newManager(t), freePort(t)
	s := install(t, m, newState("a", plain(loopback, port)))
	resp := raw(t, port, h2Preface)
	if resp == nil || resp.StatusCode != http.StatusHTTPVersionNotSupported || resp.Header.Get("X-State") != "" || !resp.Close {
		t.Fatalf("preface without h2c: %+v", resp)
	}

	e := plain(loopback, port)
	e.Settings.H2C = true
	replace(t, m, s, newState("b", e))
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	if resp := expect(t, &http.Client{Transport: tr}, url("http", loopback, port), "b"); resp.ProtoMajor != 2 {
		t.Fatalf("got %s", resp.Proto)
	}
	expect(t, client1(t), url("http", loopback, port), "b")
}

func TestMisdirected(t *testing.T) {
	m, port := newManager(t), freePort(t)
	m.Linger = time.Minute
	a := install(t, m, newState("a", plain(loopback, port), secure(loopback2, port)))
	kept := map[*http.Client]string{
		client1(t): url("http", loopback, port),
		client2(t): url("https", loopback2, port),
		client3(t): url("https", loopback2, port),
	}
	for c, u := range kept {
		expect(t, c, u, "a")
	}

	other := freePort(t)
	replace(t, m, a, newState("b", plain(loopback, other)))
	for c, u := range kept {
		body, resp, err := fetch(c, u)
		if err != nil || resp.StatusCode != http.StatusMisdirectedRequest || resp.Header.Get("X-State") != "" {
			t.Errorf("%s: %q %v %v", u, body, resp, err)
		} else if resp.ProtoMajor == 1 && !resp.Close {
			t.Errorf("%s: connection stays open", u)
		}
	}
	// new ones are not served, though the sockets are still open
	for c, u := range map[*http.Client]string{
		client1(t): url("http", loopback, port), client2(t): url("https", loopback2, port), client3(t): url("https", loopback2, port),
	} {
		if body, _, err := fetch(c, u); err == nil {
			t.Errorf("new connection to %s got %q", u, body)
		}
	}
}

func TestDrained(t *testing.T) {
	m, port := newManager(t), freePort(t)
	a := newState("a", plain(loopback, port), secure(loopback2, port))
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	a.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			entered <- struct{}{}
			<-leave
			_, _ = io.WriteString(w, "slow a")
		case "/panic":
			panic("on purpose")
		case "/hijack":
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
			rw.Flush()
			_, _ = io.Copy(c, c)
		}
	})
	install(t, m, a)

	type answer struct {
		body string
		err  error
	}
	answers := make(chan answer)
	urls := map[*http.Client]string{
		client1(t): url("http", loopback, port),
		client2(t): url("https", loopback2, port),
		client3(t): url("https", loopback2, port),
	}
	for c, u := range urls {
		if _, _, err := fetch(c, u+"panic"); err == nil {
			t.Error("panic was answered")
		}
		go func() {
			body, _, err := fetch(c, u+"slow")
			answers <- answer{body, err}
		}()
		<-entered
	}
	up, err := net.Dial("tcp", netip.AddrPortFrom(loopback, port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	_, _ = io.WriteString(up, "GET /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	upr := bufio.NewReader(up)
	if resp, err := http.ReadResponse(upr, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("upgrade: %v %v", resp, err)
	}

	replace(t, m, a, newState("b", plain(loopback, port), secure(loopback2, port)))
	if n := a.refs.Load(); n != 3 {
		t.Errorf("%d references, want those of 3 slow requests", n)
	}
	for c, u := range urls {
		// Clients of HTTP/1 need a second connection for this.
		expect(t, c, u, "b")
	}
	if isDrained(a) {
		t.Fatal("drained with requests in flight")
	}
	close(leave)
	for range urls {
		if got := <-answers; got.err != nil || got.body != "slow a" {
			t.Errorf("slow request: %+v", got)
		}
	}
	eventually(t, "a drained", func() bool { return isDrained(a) })

	// the upgraded connection lives on
	_, _ = io.WriteString(up, "ping")
	buf := make([]byte, 4)
	_ = up.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(upr, buf); err != nil || string(buf) != "ping" {
		t.Errorf("upgraded connection: %q %v", buf, err)
	}
}

func TestShutdownWaits(t *testing.T) {
	m, port := NewManager(), freePort(t)
	ends := []Endpoint{plain(loopback, port), secure(loopback2, port)}
	a := newState("a", ends...)
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	a.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-leave
		_, _ = io.WriteString(w, strings.Repeat("a", 1<<20))
	})
	install(t, m, a)
	results := make(chan error)
	clients := map[*http.Client]string{
		client1(t): url("http", loopback, port), client2(t): url("https", loopback2, port), client3(t): url("https", loopback2, port),
	}
	for c, u := range clients {
		go func() {
			body, _, err := fetch(c, u)
			if err == nil && len(body) != 1<<20 {
				err = fmt.Errorf("got %d bytes", len(body))
			}
			results <- err
		}()
		<-entered
	}
	// other settings, hence other servers
	for i := range ends {
		ends[i].Settings.IdleTimeout = time.Hour
	}
	replace(t, m, a, newState("b", ends...))
	idle := client3(t)
	expect(t, idle, url("https", loopback2, port), "b")

	done := make(chan error)
	go func() { done <- m.Shutdown(context.Background()) }()
	select {
	case err := <-done:
		t.Fatalf("shutdown has not waited: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if c, err := net.Dial("tcp", netip.AddrPortFrom(loopback, port).String()); err == nil {
		c.Close()
		t.Error("still listening")
	}
	close(leave)
	for range clients {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("shutdown does not end")
	}
	if err := m.Prepare(context.Background(), newState("c", ends...)); err == nil {
		t.Error("prepared after the end")
	}
	pc, err := net.ListenPacket("udp", "127.0.0.2:"+strconv.Itoa(int(port)))
	if err != nil {
		t.Fatal(err)
	}
	pc.Close()
}

func TestShutdownGivesUp(t *testing.T) {
	m, port := NewManager(), freePort(t)
	a := newState("a", secure(loopback, port))
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	a.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-leave
	})
	defer close(leave)
	install(t, m, a)
	for _, c := range []*http.Client{client1(t), client3(t)} {
		go func() { _, _, _ = fetch(c, url("https", loopback, port)) }()
		<-entered
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := m.Shutdown(ctx); err == nil {
		t.Error("no error")
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("took %s", d)
	}
}
