package front

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// socketKey identifies a socket. The address is normalized.
type socketKey struct {
	network string // "tcp" or "udp"
	addr    netip.AddrPort
}

// overlaps reports whether binding one of two sockets collides with the other.
func (k socketKey) overlaps(o socketKey) bool {
	return k.network == o.network && k.addr.Port() == o.addr.Port() &&
		(!k.addr.Addr().IsValid() || !o.addr.Addr().IsValid() || k.addr == o.addr)
}

// compare orders by port, address and network.
func (k socketKey) compare(o socketKey) int {
	return cmp.Or(
		cmp.Compare(k.addr.Port(), o.addr.Port()),
		k.addr.Compare(o.addr),
		cmp.Compare(k.network, o.network))
}

// socket is a bound socket.
type socket interface {
	start()              // begins to accept; may be called again
	configure(s *State)  // takes over what is decided per socket
	busy() time.Duration // how long closing may be put off for what it would cut
	stopAccepting()      // existing connections go on
	leave() bool         // instead, if another process goes on with the socket
	close()
	lend(on bool) // lets others have the address as well, or no longer
	syscallConn() syscall.Conn
}

// pooled is a socket in the pool. It stays there until it is closed: otherwise
// a port that comes back would be found in use by the process itself.
type pooled struct {
	socket
	key      socketKey
	owner    string
	serving  bool      // has been started
	lent     bool      // SO_REUSEPORT is set
	unwanted time.Time // since when; zero if wanted
}

func (p *pooled) start() {
	if !p.serving {
		p.serving = true
		p.socket.start()
	}
}

// SocketInfo describes an open socket.
type SocketInfo struct {
	// Network is "tcp" or "udp".
	Network string `json:"network"`

	// Address has a missing IP (":443") if the socket is bound to all addresses.
	Address string `json:"address"`

	// Addr is Address with the zero IP for all addresses.
	Addr netip.AddrPort `json:"-"`

	// Owner is who wanted the socket last.
	Owner string `json:"owner,omitempty"`

	// Status is "serving"; "prepared" for a socket that is bound but whose
	// State has not been committed; "closing" for one that is not wanted any
	// more and still open.
	Status string `json:"status"`
}

// Listening returns the open sockets, ordered by port, address and network.
func (m *Manager) Listening() []SocketInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	infos := make([]SocketInfo, 0, len(m.sockets))
	for _, key := range slices.SortedFunc(maps.Keys(m.sockets), socketKey.compare) {
		p := m.sockets[key]
		status := "serving"
		switch {
		case !p.unwanted.IsZero():
			status = "closing"
		case !p.serving:
			status = "prepared"
		}
		infos = append(infos, SocketInfo{key.network, displayAddr(key.addr), key.addr, p.owner, status})
	}
	return infos
}

// holds reports whether the pool has a socket that collides with key.
func (m *Manager) holds(key socketKey) bool {
	for k := range m.sockets {
		if k.overlaps(key) {
			return true
		}
	}
	return false
}

// wanted reports whether an installed State needs the socket. One that lies
// under a wanted wildcard is kept: the kernel has given it connections that
// closing it would reset.
func (m *Manager) wanted(key socketKey) bool {
	for _, s := range m.states {
		if _, ok := s.sockets[key]; ok {
			return true
		}
		if _, ok := s.sockets[socketKey{key.network, wildcard(key.addr)}]; ok {
			return true
		}
	}
	return false
}

// sweep closes what is not needed any more and plans the next sweep. The
// mutex is held.
func (m *Manager) sweep() {
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
	var next time.Duration
	again := func(d time.Duration) {
		if next == 0 || d < next {
			next = max(d, time.Millisecond)
		}
	}
	for key, p := range m.sockets {
		if m.wanted(key) {
			p.unwanted = time.Time{}
			continue
		}
		if !m.begun && m.inherited.isStored(key) {
			continue // a start that fails gives nothing up
		}
		if p.unwanted.IsZero() {
			p.unwanted = time.Now()
		}
		if wait := m.closable(p); wait > 0 {
			again(wait)
			continue
		}
		m.inherited.drop(key, p.socket)
		p.close()
		delete(m.sockets, key)
	}
	m.tellUnused()
	for srv := range m.servers {
		if srv.retiredAt.IsZero() || srv.draining || m.portInUse(srv.addr) {
			continue
		}
		if wait := m.Linger - time.Since(srv.retiredAt); wait > 0 {
			again(wait)
			continue
		}
		srv.draining = true
		go srv.drain()
	}
	if m.settleLoans() {
		again(m.Linger)
	}
	if next > 0 {
		m.timer = time.AfterFunc(next, m.sweepLater)
	}
}

func (m *Manager) sweepLater() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.sweep()
	}
}

// closable returns how long to wait until an unwanted socket can be looked at
// again; 0 if it can be closed now.
func (m *Manager) closable(p *pooled) time.Duration {
	if !p.serving {
		return 0 // nobody has been answered on it
	}
	if p.lent && heldByCaddy(p.key) {
		return 0 // Caddy's own socket gets the connections that would come to nobody here
	}
	age := time.Since(p.unwanted)
	if age < m.Linger {
		return m.Linger - age
	}
	if left := m.Linger + p.busy() - age; left > 0 {
		return min(left, busyPoll)
	}
	return 0
}

// busyPoll is how often a socket whose connections are ending is looked at.
const busyPoll = 200 * time.Millisecond

// portInUse reports whether the current State serves the port of addr.
// Connections of a retired server for it may still be covered.
func (m *Manager) portInUse(addr netip.AddrPort) bool {
	cur := m.current.Load()
	if cur == nil {
		return false
	}
	for a := range cur.table {
		if a.Port() == addr.Port() {
			return true
		}
	}
	return false
}
