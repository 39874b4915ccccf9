//go:build !unix || solaris || aix

package front

import "syscall"

// canShare says that a port cannot be shared with another socket of this
// process. Windows lets a socket for one address and one for all addresses
// exist side by side, so addresses can be moved all the same; but a port cannot
// pass to or from another app of Caddy in one configuration change.
const canShare = false

func controlShared(syscall.RawConn, bool) error { return nil }
