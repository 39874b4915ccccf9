package front

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

func mustListen(t testing.TB, network, addr string, share bool) any {
	t.Helper()
	var config net.ListenConfig
	if share {
		config.Control = func(_, _ string, c syscall.RawConn) error { return controlShared(c, true) }
	}
	if network == "udp" {
		pc, err := config.ListenPacket(context.Background(), network, addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pc.Close() })
		return pc
	}
	ln, err := config.Listen(context.Background(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func portOf(l any) uint16 {
	if pc, ok := l.(net.PacketConn); ok {
		return addrPort(pc.LocalAddr()).Port()
	}
	return addrPort(l.(net.Listener).Addr()).Port()
}

func TestPortTaken(t *testing.T) {
	for name, c := range map[string]struct {
		network string
		ip      netip.Addr
		shared  bool
	}{
		"plain":      {"tcp", loopback, false},
		"shared":     {"tcp", loopback, true},
		"all":        {"tcp", netip.Addr{}, true},
		"udp":        {"udp", loopback, false},
		"udp shared": {"udp", netip.Addr{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newManager(t)
			port := freePort(t) // for the other protocol too
			mustListen(t, c.network, displayAddr(netip.AddrPortFrom(c.ip, port)), c.shared)
			for _, ip := range colliding(c.ip, loopback, netip.Addr{}) {
				e := secure(ip, port)
				e.Owner = `site 1 "Test"`
				err := m.Prepare(context.Background(), newState("a", e))
				if err == nil {
					t.Fatal("no error")
				}
				hint := bindHint(runtime.GOOS, socketKey{c.network, e.Addr}, inUse)
				for _, want := range []string{`site 1 "Test": cannot listen on ` + c.network + " " + displayAddr(e.Addr) + ": ", "; " + hint} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q does not mention %q", err, want)
					}
				}
				if got := m.Listening(); len(got) != 0 {
					t.Errorf("left open: %+v", got)
				}
			}
		})
	}
}

// Two managers are like two processes.
func TestSecondManager(t *testing.T) {
	m1, m2, port := newManager(t), newManager(t), freePort(t)
	install(t, m1, newState("1", secure(loopback, port)))
	for _, ip := range colliding(loopback, loopback, netip.Addr{}) {
		if err := m2.Prepare(context.Background(), newState("2", secure(ip, port))); err == nil {
			t.Errorf("second manager got port as well (%v)", ip)
		}
	}
	expect(t, client1(t), url("https", loopback, port), "1")
}

func TestAddressMoves(t *testing.T) {
	m, port := newManager(t), freePort(t)
	m.Linger = 200 * time.Millisecond
	cur := install(t, m, newState("0", secure(netip.Addr{}, port)))
	l := &load{t: t}
	for _, fresh := range []bool{false, true} {
		l.client(client1(t), url("https", loopback2, port), fresh)
		l.client(client2(t), url("https", loopback2, port), fresh)
	}
	for i := range 10 {
		ip := loopback2
		if i%2 == 1 {
			ip = netip.Addr{}
		}
		cur = replace(t, m, cur, newState(ip.String(), secure(ip, port)))
		expect(t, client2(t), url("https", loopback2, port), ip.String())
		expect(t, client3(t), url("https", loopback2, port), ip.String())
		_, _, err := fetch(client1(t), url("https", loopback, port))
		if ip == loopback2 && err == nil {
			t.Error("the other address answers")
		} else if ip != loopback2 && err != nil {
			t.Error("the other address does not answer")
		}
		time.Sleep(50 * time.Millisecond)
	}
	l.stop()
	// under the wildcard the other socket stays
	if got := m.Listening(); len(got) != 4 {
		t.Errorf("listening: %+v", got)
	}
	replace(t, m, cur, newState("x", secure(loopback2, port)))
	eventually(t, "wildcard closed", func() bool { return len(m.Listening()) == 2 })
	if _, err := net.Dial("tcp", netip.AddrPortFrom(loopback, port).String()); err == nil {
		t.Error("the other address accepts")
	}
	expect(t, client3(t), url("https", loopback2, port), "x")
}

// New connections to an address that is being bound under a wildcard must not
// wait until the new State is committed.
func TestPreparedUnderWildcardServes(t *testing.T) {
	m, port := newManager(t), freePort(t)
	install(t, m, newState("a", secure(netip.Addr{}, port)))
	b := newState("b", secure(loopback2, port))
	if err := m.Prepare(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*http.Client{client1(t), client3(t)} {
		expect(t, c, url("https", loopback2, port), "a")
	}
	m.Remove(b)
	for _, c := range []*http.Client{client1(t), client3(t)} {
		expect(t, c, url("https", loopback2, port), "a")
	}
}

func TestSchemeChange(t *testing.T) {
	m, port := newManager(t), freePort(t)
	cur := install(t, m, newState("http", plain(loopback, port)))
	for range 5 {
		kept := client1(t)
		expect(t, kept, url("http", loopback, port), "http")
		cur = replace(t, m, cur, newState("https", secure(loopback, port)))
		if _, resp, err := fetch(kept, url("http", loopback, port)); err != nil || resp.StatusCode != http.StatusMisdirectedRequest {
			t.Fatalf("kept plain connection: %v %v", resp, err)
		}
		kept, kept3 := client2(t), client3(t)
		expect(t, kept, url("https", loopback, port), "https")
		expect(t, kept3, url("https", loopback, port), "https")
		cur = replace(t, m, cur, newState("http", plain(loopback, port)))
		if _, resp, err := fetch(kept, url("https", loopback, port)); err != nil || resp.StatusCode != http.StatusMisdirectedRequest {
			t.Fatalf("kept TLS connection: %v %v", resp, err)
		}
		expect(t, client1(t), url("http", loopback, port), "http")
	}
}

func TestLinger(t *testing.T) {
	m, port, port2 := newManager(t), freePort(t), freePort(t)
	m.Linger = 300 * time.Millisecond
	a := install(t, m, newState("a", plain(loopback, port), secure(loopback, port2)))
	kept := client1(t)
	expect(t, kept, url("http", loopback, port), "a")
	kept3 := client3(t)
	expect(t, kept3, url("https", loopback, port2), "a")
	m.Remove(a)
	if got := m.Listening(); len(got) != 3 || got[0].Status != "closing" {
		t.Errorf("listening: %+v", got)
	}
	// the port comes back while its socket lingers
	b := install(t, m, newState("b", plain(loopback, port), secure(loopback, port2)))
	time.Sleep(400 * time.Millisecond)
	expect(t, kept, url("http", loopback, port), "b")
	expect(t, kept3, url("https", loopback, port2), "b")
	m.Remove(b)
	eventually(t, "closed", func() bool { return len(m.Listening()) == 0 })
	mustListen(t, "tcp", ":"+strconv.Itoa(int(port)), false)
	mustListen(t, "udp", ":"+strconv.Itoa(int(port2)), false)
}

// A UDP socket with connections stays until a response has been sent, and is
// taken back if its port is.
func TestDyingUDP(t *testing.T) {
	m, port := newManager(t), freePort(t)
	a := newState("a", secure(loopback, port))
	entered, leave := make(chan struct{}), make(chan struct{})
	a.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-leave
		_, _ = w.Write([]byte("a"))
	})
	install(t, m, a)
	got := make(chan string)
	c := client3(t)
	go func() {
		body, _, err := fetch(c, url("https", loopback, port))
		if err != nil {
			body = err.Error()
		}
		got <- body
	}()
	<-entered
	m.Remove(a)
	eventually(t, "only the UDP socket is left", func() bool {
		l := m.Listening()
		return len(l) == 1 && l[0].Network == "udp" && l[0].Status == "closing"
	})
	b := install(t, m, newState("b", secure(loopback, port)))
	expect(t, client3(t), url("https", loopback, port), "b")
	m.Remove(b)
	time.Sleep(100 * time.Millisecond)
	close(leave)
	if body := <-got; body != "a" {
		t.Errorf("got %q", body)
	}
	eventually(t, "closed", func() bool { return len(m.Listening()) == 0 })
}

// A port can pass between Caddy's own listeners and the front.
func TestPortOfCaddy(t *testing.T) {
	needs.SharedAddresses(t)
	m, port := newManager(t), freePort(t)
	listen := func(host string) net.Listener {
		na := caddy.NetworkAddress{Network: "tcp", Host: host, StartPort: uint(port), EndPort: uint(port)}
		ln, err := na.Listen(context.Background(), 0, net.ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return ln.(net.Listener)
	}
	for _, host := range []string{"", "0.0.0.0", "127.0.0.1", "localhost", "::"} {
		ln := listen(host)
		s := install(t, m, newState("front", plain(loopback, port), plain(loopback6, port)))
		ln.Close()
		eventually(t, "only the front is left", func() bool {
			body, _, err := fetch(client1(t), url("http", loopback, port))
			return err == nil && body == "front"
		})
		takeBack := m.Lend(func(p uint16) bool { return p == port })
		ln = listen(host)
		m.Remove(s)
		takeBack()
		eventually(t, "closed", func() bool { return len(m.Listening()) == 0 })
		ln.Close()
	}
}

func TestInvalidEndpoints(t *testing.T) {
	m, port := newManager(t), freePort(t)
	none := plain(loopback, port)
	none.Settings = Settings{H2: true, H3: true}
	for name, ends := range map[string][]Endpoint{
		"want different settings": {plain(loopback, port), secure(loopback, port)},
		"needs a port":            {plain(loopback, 0)},
		"no protocol":             {none},
	} {
		err := m.Prepare(context.Background(), newState("a", ends...))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// different spellings of one address
	s := newState("a", plain(netip.Addr{}, port), plain(netip.IPv4Unspecified(), port), plain(netip.IPv6Unspecified(), port))
	install(t, m, s)
	if got := m.Listening(); len(got) != 1 || got[0].Address != ":"+strconv.Itoa(int(port)) {
		t.Errorf("listening: %+v", got)
	}
}

// On one port each address can have settings of its own.
func TestAddressesOfOnePort(t *testing.T) {
	m, port := newManager(t), freePort(t)
	install(t, m, newState("a", secure(netip.Addr{}, port), plain(loopback2, port)))
	if got := m.Listening(); len(got) != 2 {
		t.Errorf("listening: %+v", got)
	}
	expect(t, client1(t), url("http", loopback2, port), "a")
	expect(t, client2(t), url("https", loopback, port), "a")
	expect(t, client3(t), url("https", loopback6, port), "a")
	if !QUICKnowsAddress(runtime.GOOS) {
		return // such a port must be without HTTP/3 there
	}
	if _, _, err := fetch(client3(t), url("https", loopback2, port)); err == nil {
		t.Error("HTTP/3 on an address without TLS")
	}
}
