package centralstore

import "syscall"

// System errors of Windows.
const (
	errSharingViolation syscall.Errno = 32
	errLockViolation    syscall.Errno = 33
	errInvalidName      syscall.Errno = 123
	errNameTooLong      syscall.Errno = 206
	errCantAccessFile   syscall.Errno = 1920
)

// tooLong reports whether a name is longer than the file system allows, which
// no file's is.
func tooLong(errno syscall.Errno) bool { return errno == errInvalidName || errno == errNameTooLong }

// aboutFile reports whether a system error concerns one file, besides one
// that does not exist or may not be read.
func aboutFile(errno syscall.Errno) bool {
	return errno == errSharingViolation || errno == errLockViolation || errno == errCantAccessFile
}
