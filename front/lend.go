package front

import (
	"sync"
	"syscall"
)

// loan is a permission for others to have ports that are open here.
type loan struct {
	covers func(port uint16) bool
}

// Lend lets other listeners of this process bind ports that are open here, as
// Caddy's own do by SO_REUSEPORT: a configuration can give a port to them while
// it is still served. It lasts until the returned function is called, which can
// be called more than once. While it lasts, other processes of the same user can
// have these ports as well, if they ask for it, so it should not last.
//
// On Linux a TCP port that others have had keeps one trace of it until all its
// sockets and connections are closed: the kernel goes on to let those in who ask
// for the address that was bound last.
func (m *Manager) Lend(covers func(port uint16) bool) (takeBack func()) {
	l := &loan{covers}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loans[l] = struct{}{}
	m.settleLoans()
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.loans, l)
		if !m.closed {
			m.sweep()
		}
	})
}

// settleLoans makes sockets available to others, or no longer. It reports
// whether that has to be done again later: a port on which Caddy itself still
// listens is shared with it for so long, since the kernel would otherwise give
// one of the two sockets all connections. The mutex is held.
func (m *Manager) settleLoans() (again bool) {
	for key, p := range m.sockets {
		on := false
		for l := range m.loans {
			on = on || l.covers(key.addr.Port())
		}
		if !on && p.lent && heldByCaddy(key) {
			on, again = true, true
		}
		p.setLent(on)
	}
	return again
}

// setLent changes the option of a socket.
func (p *pooled) setLent(on bool) {
	if p.lent != on {
		p.lent = on
		p.socket.lend(on)
	}
}

// setShared sets SO_REUSEPORT or takes it back. It is taken into account for
// sockets that are bound later.
func setShared(conn syscall.Conn, on bool) {
	if rc, err := conn.SyscallConn(); err == nil {
		_ = controlShared(rc, on)
	}
}
