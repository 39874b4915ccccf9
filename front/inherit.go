package front

import (
	"errors"
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
	others  []string // what cannot serve, and why
	told    bool     // of what nobody uses
}

// handedOver is a socket that was handed over. It stays open while it is not used:
// whoever handed it over has it as well, so that the address cannot be bound anew, and
// others in this process may take it by its number (fd/3).
type handedOver struct {
	fd     int
	stored bool // by a process before this one, or this one; else a socket unit has it
	used   bool
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
	in := &inherited{sockets: make(map[socketKey]*handedOver)}
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
	stored := strings.HasPrefix(name, storedPrefix)
	var why string
	switch {
	case found.network == "":
		why = "it does not listen"
	case in.sockets[key] != nil:
		why = "there are two of them"
	case !key.addr.Addr().IsValid() && !found.allAddresses:
		why = "it is for one of IPv4 and IPv6: in a socket unit, name the port alone"
	default:
		in.sockets[key] = &handedOver{fd: fd, stored: stored}
		return
	}
	in.others = append(in.others, fmt.Sprintf("fd/%d %s (%s)", fd, found.addr, why))
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
	if h == nil {
		return nil, nil
	}
	fd, err := dupFD(h.fd)
	if err != nil {
		return nil, err
	}
	h.used = true
	return os.NewFile(uintptr(fd), displayAddr(key.addr)), nil
}

// store has the service manager keep a socket for the next process, if it keeps any.
func (in *inherited) store(key socketKey, sock socket) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.sockets[key] != nil || !keepsSockets() {
		return nil
	}
	raw, err := sock.syscallConn().SyscallConn()
	if err != nil {
		return err
	}
	own := -1
	if cerr := raw.Control(func(fd uintptr) { own, err = dupFD(int(fd)) }); cerr != nil || err != nil {
		return errors.Join(cerr, err)
	}
	if err := sendFD(own, "FDSTORE=1\nFDPOLL=0\nFDNAME="+storedName(key)); err != nil {
		closeFD(own)
		return err
	}
	in.sockets[key] = &handedOver{fd: own, stored: true, used: true}
	return nil
}

// has reports whether a socket outlives the process.
func (in *inherited) has(key socketKey) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.sockets[key] != nil
}

// drop is called when nobody needs a socket any more. One that was stored is given up;
// one of a socket unit stays with the unit.
func (in *inherited) drop(key socketKey) {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.sockets[key]
	if h == nil || !h.stored {
		return
	}
	_ = sendFD(-1, "FDSTOREREMOVE=1\nFDNAME="+storedName(key))
	closeFD(h.fd)
	delete(in.sockets, key)
}

// unused names, once, the sockets that no State has asked for: clients wait there and
// are never answered. Those that a process before this one has stored are given up.
func (in *inherited) unused() []string {
	in.mu.Lock()
	told := in.told
	in.told = true
	names := slices.Clone(in.others)
	var stored []socketKey
	for key, h := range in.sockets {
		switch {
		case h.used:
		case h.stored:
			stored = append(stored, key)
		default:
			names = append(names, fmt.Sprintf("fd/%d %s %s", h.fd, key.network, displayAddr(key.addr)))
		}
	}
	in.mu.Unlock()
	for _, key := range stored {
		in.drop(key)
	}
	if told {
		return nil
	}
	return names
}

// storedName names a socket in the store: a name there has no colon.
func storedName(key socketKey) string {
	return storedPrefix + key.network + "_" + strings.ReplaceAll(displayAddr(key.addr), ":", "_")
}
