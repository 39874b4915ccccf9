package front

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"

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
		return nil, false, bindError(runtime.GOOS, owner, key, err)
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
	addr := displayAddr(key.addr)
	if key.network == "tcp" {
		if ln, err := m.inherited.tcp(key); ln != nil || err != nil {
			return &tcpSocket{m: m, ln: ln}, err
		}
		ln, err := config.Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return &tcpSocket{m: m, ln: ln.(*net.TCPListener)}, nil
	}
	conn, err := m.inherited.udp(key)
	if conn == nil && err == nil {
		var pc net.PacketConn
		if pc, err = config.ListenPacket(ctx, "udp", addr); err == nil {
			conn = pc.(*net.UDPConn)
		}
	}
	if err != nil {
		return nil, err
	}
	return newUDPSocket(m, key.addr.Port(), conn), nil
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
