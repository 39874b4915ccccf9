//go:build !unix || solaris || aix

package front

import (
	"errors"
	"syscall"
)

func describeFD(int) (fdSocket, bool) { return fdSocket{}, false }

func dupFD(int) (int, error) { return 0, errors.ErrUnsupported }

func closeFD(int) {}

func endListening(syscall.Conn) {}

// keepsSockets is false: no service manager of this system keeps sockets.
func keepsSockets() bool { return false }

func sendFD(int, string) error { return errors.ErrUnsupported }
