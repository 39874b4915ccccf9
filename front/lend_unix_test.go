//go:build unix

// Elsewhere sockets cannot be shared: see share_other.go.

package front

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
)

// joins reports whether somebody who asks for a share of a port gets it.
func joins(t *testing.T, network, addr string) bool {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return controlShared(c, true) }}
	if network == "udp" {
		pc, err := config.ListenPacket(context.Background(), network, addr)
		if err == nil {
			pc.Close()
		}
		return err == nil
	}
	ln, err := config.Listen(context.Background(), network, addr)
	if err == nil {
		ln.Close()
	}
	return err == nil
}

// Nobody gets a share of a port unless it is lent.
func TestLend(t *testing.T) {
	m, port, other := newManager(t), freePort(t), freePort(t)
	cur := install(t, m, newState("a", secure(netip.Addr{}, port), secure(netip.Addr{}, other)))
	closed := func(when string) {
		t.Helper()
		for _, network := range []string{"tcp", "udp"} {
			for _, host := range []string{"", "127.0.0.1", "[::1]"} {
				if joins(t, network, host+":"+strconv.Itoa(int(port))) {
					t.Errorf("%s: somebody else can have %s %s", when, network, host)
				}
			}
		}
	}
	closed("at first")

	// a loan that nobody made use of, or of another port, leaves no trace
	m.Lend(func(uint16) bool { return true })()
	closed("after a loan")
	takeBack := m.Lend(func(p uint16) bool { return p == other })
	closed("during a loan of another port")
	takeBack()

	// of two loans the last one counts, also for sockets bound meanwhile
	first, second := m.Lend(func(uint16) bool { return true }), m.Lend(func(uint16) bool { return true })
	first()
	first()
	late := freePort(t)
	cur = replace(t, m, cur, newState("b", secure(netip.Addr{}, port), secure(netip.Addr{}, late)))
	for _, p := range []uint16{port, late} {
		if !joins(t, "tcp", ":"+strconv.Itoa(int(p))) || !joins(t, "udp", "127.0.0.1:"+strconv.Itoa(int(p))) {
			t.Errorf("port %d is not lent", p)
		}
	}
	second()
	if joins(t, "udp", ":"+strconv.Itoa(int(port))) {
		t.Error("the loan was not taken back")
	}
	expect(t, client1(t), url("https", loopback, port), "b")
	expect(t, client3(t), url("https", loopback, late), "b")
	m.Remove(cur)
}

// Moving an address needs no loan that lasts.
func TestMoveLendsForAMoment(t *testing.T) {
	m, port := newManager(t), freePort(t)
	cur := install(t, m, newState("a", secure(netip.Addr{}, port)))
	replace(t, m, cur, newState("b", secure(loopback2, port)))
	m.mu.Lock()
	for key, p := range m.sockets {
		if p.lent {
			t.Errorf("%s %s is lent", key.network, displayAddr(key.addr))
		}
	}
	m.mu.Unlock()
	if joins(t, "udp", "127.0.0.2:"+strconv.Itoa(int(port))) {
		t.Error("somebody else can have the address")
	}
}
