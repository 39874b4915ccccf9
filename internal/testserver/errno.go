package testserver

import (
	"errors"
	"runtime"
	"syscall"
)

// socketError is an error of sockets. Windows has numbers of its own for them (winsock2.h):
// those that Go has there by the names of Unix are none that the system returns.
func socketError(unix, windows syscall.Errno) syscall.Errno {
	if runtime.GOOS == "windows" {
		return windows
	}
	return unix
}

// IsReset tells whether a connection over TCP ended by a reset, rather than by
// a TLS alert or by an end of the stream.
func IsReset(err error) bool { return errors.Is(err, socketError(syscall.ECONNRESET, 10054)) }

// IsNobody tells whether nobody listens where a connection over TCP was to be made.
func IsNobody(err error) bool { return errors.Is(err, socketError(syscall.ECONNREFUSED, 10061)) }

// Nobody is what the system says then.
func Nobody() string { return socketError(syscall.ECONNREFUSED, 10061).Error() }
