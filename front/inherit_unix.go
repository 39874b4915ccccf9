//go:build unix && !solaris && !aix

package front

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// describeFD looks what a descriptor is, which is not for programs that this one starts.
// It reports false if it is no socket for an IP address.
func describeFD(fd int) (found fdSocket, ok bool) {
	unix.CloseOnExec(fd)
	name, err := unix.Getsockname(fd)
	if err != nil {
		return found, false
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		found.addr = netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
		found.allAddresses = found.addr.Addr().IsUnspecified() && !hasIPv6()
	case *unix.SockaddrInet6:
		found.addr = netip.AddrPortFrom(netip.AddrFrom16(name.Addr).WithZone(zoneName(name.ZoneId)), uint16(name.Port))
		only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		found.allAddresses = found.addr.Addr().IsUnspecified() && err == nil && only == 0
	default:
		return found, false
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err != nil:
	case kind == unix.SOCK_DGRAM:
		found.network = "udp"
	case kind == unix.SOCK_STREAM:
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listens != 0 {
			found.network = "tcp"
		}
	}
	return found, true
}

// dupFD returns another descriptor of a socket.
func dupFD(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

func closeFD(fd int) { _ = unix.Close(fd) }

// endListening has a socket listen no longer, also where other processes have it: Linux
// does so, others when the last of them has closed it.
func endListening(conn syscall.Conn) {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	}
}

// zoneName is how package net writes the zone of an address.
func zoneName(index uint32) string {
	if index == 0 {
		return ""
	}
	if ifi, err := net.InterfaceByIndex(int(index)); err == nil {
		return ifi.Name
	}
	return strconv.Itoa(int(index))
}

// hasIPv6 reports whether this system has IPv6.
func hasIPv6() bool {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = ln.Close()
	return true
}

// notifySocket is where the service manager listens (sd_notify(3)); empty without one.
// Caddy itself takes it from the environment in the same way.
func notifySocket() string { return os.Getenv("NOTIFY_SOCKET") }

// keepsSockets reports whether there is a service manager that may keep sockets
// (sd_pid_notify_with_fds(3)). How many it keeps its unit says: FileDescriptorStoreMax.
func keepsSockets() bool { return notifySocket() != "" }

// sendFD sends a message to the service manager, with a descriptor unless it is negative.
func sendFD(fd int, message string) error {
	// Not a net.UnixConn: connected ones cannot send descriptors, and others need a name.
	syscall.ForkLock.RLock() // no program is started meanwhile
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(sock)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(sock)
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	return os.NewSyscallError("sendmsg", unix.Sendmsg(sock, []byte(message), rights, &unix.SockaddrUnix{Name: notifySocket()}, 0))
}
