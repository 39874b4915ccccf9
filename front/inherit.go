package front

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// inherited are the sockets that whoever started the process has handed over, as
// systemd does for a socket unit (sd_listen_fds(3)). They outlive the process: a
// client that comes while it is restarted waits, and is not refused.
type inherited struct {
	mu      sync.Mutex
	sockets map[socketKey]*handedOver
	others  []misfit
	refused map[socketKey]bool // what the service manager did not take, and that was said
}

// handedOver is a socket that was handed over, or that this process has stored. One of
// a socket unit stays open while it is not used: whoever handed it over has it as well,
// so that the address cannot be bound anew, and others in this process may take it by
// its number (fd/3).
type handedOver struct {
	fd     int    // -1 for what this process has stored: nothing is left open for it
	name   string // in the store
	stored bool   // by a process before this one, or this one; else a socket unit has it
	used   bool
	told   bool // that nobody uses it
}

// misfit is a socket that was handed over and cannot serve.
type misfit struct {
	key  socketKey
	text string // which one it is, and why
	told bool
}

// The environment by which sockets are handed over, and the name of those that a
// process has stored for the next one.
const (
	envListenPID   = "LISTEN_PID"
	envListenFDs   = "LISTEN_FDS"
	envListenNames = "LISTEN_FDNAMES"
	firstFD        = 3
	storedPrefix   = "caddy-iis_"
)

// inherit finds the sockets that were handed over to this process.
func inherit() *inherited {
	in := &inherited{sockets: make(map[socketKey]*handedOver), refused: make(map[socketKey]bool)}
	pid, err := strconv.Atoi(os.Getenv(envListenPID))
	if err != nil || pid != os.Getpid() {
		return in
	}
	n, err := strconv.Atoi(os.Getenv(envListenFDs))
	if err != nil || n < 0 {
		return in
	}
	names := strings.Split(os.Getenv(envListenNames), ":")
	for i := range n {
		name := ""
		if i < len(names) {
			name = names[i]
		}
		in.add(firstFD+i, name)
	}
	return in
}

// add takes one socket, if it is one for an address.
func (in *inherited) add(fd int, name string) {
	found, ok := describeFD(fd)
	if !ok {
		return // a Unix socket, or whatever else: somebody's who asks for it by number
	}
	key := socketKey{found.network, normalize(found.addr)}
	h := &handedOver{fd: fd, name: name, stored: strings.HasPrefix(name, storedPrefix)}
	var why string
	switch {
	case found.network == "":
		why = "it does not listen"
	case in.sockets[key] != nil:
		why = "there are two of them"
	case !key.addr.Addr().IsValid() && !found.allAddresses:
		why = "it is for one of IPv4 and IPv6: in a socket unit, name the port alone"
	default:
		in.sockets[key] = h
		return
	}
	in.others = append(in.others, misfit{key: key, text: fmt.Sprintf("fd/%d %s (%s)", fd, found.addr, why)})
}

// fdSocket is what a socket is that was handed over.
type fdSocket struct {
	network      string // "tcp" or "udp"; empty for a TCP socket that does not listen
	addr         netip.AddrPort
	allAddresses bool // of IPv4 and IPv6, as far as this system has both
}

// tcp returns a listener on the socket for an address; nil if none was handed over.
func (in *inherited) tcp(key socketKey) (*net.TCPListener, error) {
	file, err := in.use(key)
	if file == nil {
		return nil, err
	}
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// udp is the same for UDP.
func (in *inherited) udp(key socketKey) (*net.UDPConn, error) {
	file, err := in.use(key)
	if file == nil {
		return nil, err
	}
	defer file.Close()
	pc, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	conn := pc.(*net.UDPConn)
	_ = holdBack(conn, false) // a process that was killed can have left it so
	return conn, nil
}

// use returns a descriptor of its own for a socket.
func (in *inherited) use(key socketKey) (*os.File, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.sockets[key]
	if h == nil || h.fd < 0 {
		return nil, nil
	}
	fd, err := dupFD(h.fd)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), displayAddr(key.addr)), nil
}

// serves notes that a socket is in use, and has the service manager keep it for the
// next process, if it keeps any: it does not say so, so nothing is left open for it
// here, where clients would wait in vain. An error is returned once for each socket.
func (in *inherited) serves(key socketKey, sock socket) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if h := in.sockets[key]; h != nil {
		h.used, h.told = true, false
		return nil
	}
	if !keepsSockets() {
		return nil
	}
	h := &handedOver{fd: -1, name: storedName(key), stored: true, used: true}
	raw, err := sock.syscallConn().SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = sendFD(int(fd), "FDSTORE=1\nFDPOLL=0\nFDNAME="+h.name) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		if in.refused[key] {
			return nil
		}
		in.refused[key] = true
		return err
	}
	delete(in.refused, key)
	in.sockets[key] = h
	return nil
}

// fromBefore are the sockets that a process before this one has stored.
func (in *inherited) fromBefore() []socketKey {
	in.mu.Lock()
	defer in.mu.Unlock()
	var keys []socketKey
	for key, h := range in.sockets {
		if h.stored && h.fd >= 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// isStored reports whether a process before this one has stored the socket, or this one.
func (in *inherited) isStored(key socketKey) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.sockets[key]
	return h != nil && h.stored
}

// inTheWay names the sockets of socket units because of which an address cannot be
// bound.
func (in *inherited) inTheWay(key socketKey) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var names []string
	for _, other := range in.others {
		if other.key.overlaps(key) {
			names = append(names, other.text)
		}
	}
	for k, h := range in.sockets {
		if k != key && k.overlaps(key) && !h.stored {
			names = append(names, h.text(k))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (h *handedOver) text(key socketKey) string {
	return fmt.Sprintf("fd/%d %s %s", h.fd, key.network, displayAddr(key.addr))
}

// has reports whether a socket outlives the process.
func (in *inherited) has(key socketKey) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.sockets[key] != nil
}

// drop is called before a socket is closed that nobody needs any more. One that was
// stored is given up, at once and not only when the service manager has read of it: who
// has the port from now on would share its clients with a socket where nobody answers.
// One of a socket unit stays with the unit.
func (in *inherited) drop(key socketKey, sock socket) {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.sockets[key]
	switch {
	case h == nil:
	case !h.stored:
		h.used = false
	default:
		if key.network == "tcp" {
			endListening(sock.syscallConn())
		}
		_ = sendFD(-1, "FDSTOREREMOVE=1\nFDNAME="+h.name)
		if h.fd >= 0 {
			closeFD(h.fd)
		}
		delete(in.sockets, key)
	}
}

// unused names, once, the sockets of socket units that nobody has asked for: clients
// wait there and are never answered.
func (in *inherited) unused() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var names []string
	for i := range in.others {
		if other := &in.others[i]; !other.told {
			other.told = true
			names = append(names, other.text)
		}
	}
	for key, h := range in.sockets {
		if !h.used && !h.told && !h.stored {
			h.told = true
			names = append(names, h.text(key))
		}
	}
	return names
}

// storedName names a socket in the store: a name there has no colon.
func storedName(key socketKey) string {
	return storedPrefix + key.network + "_" + strings.ReplaceAll(displayAddr(key.addr), ":", "_")
}
