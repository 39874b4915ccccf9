//go:build unix

package files

import (
	"os"
	"syscall"
)

// OpenFlags opens a file for reading. Should it turn out not to be a regular
// one, opening it neither waits for another process, as with a named pipe,
// nor makes it the controlling terminal.
const OpenFlags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY
