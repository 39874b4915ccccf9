package centralstore

import "syscall"

// System errors of Windows.
const (
	sharingViolation syscall.Errno = 32
	lockViolation    syscall.Errno = 33
	invalidName      syscall.Errno = 123
	nameTooLong      syscall.Errno = 206
	cantAccessFile   syscall.Errno = 1920
)

// tooLong reports whether a name is longer than the file system allows, which
// no file's is.
func tooLong(errno syscall.Errno) bool { return errno == invalidName || errno == nameTooLong }

// aboutFile reports whether a system error concerns one file, besides one
// that does not exist or may not be read.
func aboutFile(errno syscall.Errno) bool {
	return errno == sharingViolation || errno == lockViolation || errno == cantAccessFile
}
