//go:build !linux

package front

import (
	"errors"
	"net"
)

// holdBack is known for Linux only.
func holdBack(*net.UDPConn, bool) error { return errors.ErrUnsupported }
