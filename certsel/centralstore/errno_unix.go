//go:build unix

package centralstore

import "syscall"

// tooLong reports whether a name is longer than the file system allows, which
// no file's is.
func tooLong(errno syscall.Errno) bool { return errno == syscall.ENAMETOOLONG }

// aboutFile reports whether a system error concerns one file, besides one
// that does not exist or may not be read.
func aboutFile(errno syscall.Errno) bool {
	switch errno {
	case syscall.ELOOP, syscall.ENOTDIR, syscall.EISDIR, syscall.ENXIO, syscall.EINVAL:
		return true
	}
	return false
}
