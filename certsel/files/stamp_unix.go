//go:build unix && !linux

package files

import (
	"io/fs"
	"syscall"
)

// identify adds what only some operating systems tell.
func (s *Stamp) identify(info fs.FileInfo) {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Device, s.Inode = uint64(sys.Dev), uint64(sys.Ino) //nolint:unconvert // differs by operating system
	}
}
