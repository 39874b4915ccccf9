//go:build unix

package logfile

import "syscall"

// fileLimit returns how many files the process may have open. Go has raised it
// to what the system allows.
func fileLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // it has a sign on some systems
}
