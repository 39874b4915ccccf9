package logfile

import (
	"testing"
	"time"
)

// SetMaxOpen has fewer files open at a time during a test.
func SetMaxOpen(t *testing.T, n int64) {
	before := maxOpen
	maxOpen = n
	t.Cleanup(func() { maxOpen = before })
}

// OpenFiles counts the files that are open.
func OpenFiles() int64 { return openFiles.Load() }

// Write writes what waits as if it was a certain time, without the goroutine.
func (f *Folder) Write(now time.Time) {
	taken, _, _ := f.take()
	f.write(taken, now)
	f.giveBack(taken)
}

// Still keeps the goroutine from being started.
func (f *Folder) Still() { f.running = true }

const MaxLines = maxLines
