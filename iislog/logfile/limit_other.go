//go:build !unix

package logfile

import "math"

// fileLimit returns how many files the process may have open: there is no limit.
func fileLimit() uint64 { return math.MaxUint64 }
