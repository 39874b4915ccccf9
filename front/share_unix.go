//go:build unix && !solaris && !aix

package front

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// canShare says that sockets can share an address with SO_REUSEPORT. Setting it
// after the bind is what Linux is known to take into account; where it is not,
// a port can be moved between an address and all addresses, or to another app
// of Caddy, only by way of a configuration that does without it.
const canShare = true

func controlShared(c syscall.RawConn, on bool) error {
	value := 0
	if on {
		value = 1
	}
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, value)
	}); cerr != nil {
		return cerr
	}
	return err
}
