//go:build unix

package sitesource

import (
	"syscall"
	"time"
)

// cpu returns how long this process has kept processors busy.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
