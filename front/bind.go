package front

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// open binds a socket. It wants the address for itself, so that it notices when
// another process has it. Only if the address is taken and this very process
// has a socket in the way is it shared with that one; lent tells whether.
func (m *Manager) open(ctx context.Context, key socketKey, owner string) (sock socket, lent bool, err error) {
	sock, err = m.listen(ctx, key, false)
	if err != nil && canShare && causeOf(runtime.GOOS, err) == inUse && (m.holds(key) || heldByCaddy(key)) {
		for k, p := range m.sockets {
			if k.overlaps(key) {
				p.setLent(true) // until the loans are settled
			}
		}
		lent = true
		sock, err = m.listen(ctx, key, true)
	}
	if err != nil {
		m.settleLoans()
		if way := m.inherited.inTheWay(key); way != "" && causeOf(runtime.GOOS, err) == inUse {
			err = fmt.Errorf("%s: %w; it is in the way that this process has been handed %s", cannotListen(owner, key), err, way)
		} else {
			err = bindError(runtime.GOOS, owner, key, err)
		}
		return nil, false, &ListenError{key.network, key.addr, err}
	}
	return sock, lent, nil
}

// listen takes the socket that was handed over to the process, or binds one: to IPv4
// and IPv6 if the address has no IP and the system has both.
func (m *Manager) listen(ctx context.Context, key socketKey, share bool) (socket, error) {
	config := net.ListenConfig{KeepAlive: -1} // set per endpoint later
	if share {
		config.Control = func(_, _ string, c syscall.RawConn) error { return controlShared(c, true) }
	}
	if sock, err := m.take(key); sock != nil || err != nil {
		return sock, err
	}
	addr := displayAddr(key.addr)
	if key.network == "tcp" {
		ln, err := config.Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return &tcpSocket{m: m, ln: ln.(*net.TCPListener)}, nil
	}
	pc, err := config.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	return newUDPSocket(m, key.addr.Port(), pc.(*net.UDPConn)), nil
}

// take returns the socket that was handed over to the process; nil without one.
func (m *Manager) take(key socketKey) (socket, error) {
	if key.network == "tcp" {
		ln, err := m.inherited.tcp(key)
		if ln == nil {
			return nil, err
		}
		return &tcpSocket{m: m, ln: ln}, nil
	}
	conn, err := m.inherited.udp(key)
	if conn == nil {
		return nil, err
	}
	return newUDPSocket(m, key.addr.Port(), conn), nil
}

// adopt puts the sockets into the pool that a process before this one has stored, as if
// they were a State's of this one. Those that no State wants are in the way of others
// for the same port, and clients may wait there.
func (m *Manager) adopt() {
	for _, key := range m.inherited.fromBefore() {
		if sock, err := m.take(key); err == nil && sock != nil {
			sock.lend(false) // a process that ended in a load can have left it so
			m.sockets[key] = &pooled{socket: sock, key: key, unwanted: time.Now()}
		}
	}
}

// answerWaiting begins to serve what was adopted and the first State, which is committed
// now, has other sockets for: who waits there is answered before it is closed.
func (m *Manager) answerWaiting(s *State) {
	for key, p := range m.sockets {
		if _, own := s.sockets[key]; own || p.serving || !m.inherited.isStored(key) {
			continue
		}
		for k := range s.sockets {
			if k.overlaps(key) {
				p.unwanted = time.Now()
				p.configure(s)
				p.start()
				break
			}
		}
	}
}

// heldByCaddy reports whether Caddy itself has a listener in this process that
// collides with key. It can only be asked for hosts as they were configured.
func heldByCaddy(key socketKey) bool {
	port := strconv.Itoa(int(key.addr.Port()))
	for _, host := range hostForms(key.addr.Addr()) {
		for _, suffix := range []string{"", "4", "6"} {
			if caddy.ListenerUsage(key.network+suffix, net.JoinHostPort(host, port)) > 0 {
				return true
			}
		}
	}
	return false
}

// hostForms returns the ways to write an address that collides with ip.
func hostForms(ip netip.Addr) []string {
	hosts := []string{"", "0.0.0.0", "::"}
	if ip.IsValid() {
		hosts = append(hosts, ip.String())
		if ip.IsLoopback() {
			hosts = append(hosts, "localhost")
		}
		return hosts
	}
	hosts = append(hosts, "localhost")
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			hosts = append(hosts, prefix.Addr().String())
		}
	}
	return hosts
}
