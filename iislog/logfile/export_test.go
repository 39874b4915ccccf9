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

// OpenLimit is how many files are open at most, if the process may open so many.
func OpenLimit(files uint64) int64 { return openLimit(files) }

// MaxOpen is how many files are open at most in this process.
func MaxOpen() int64 { return maxOpen }

// SetMaxWaiting has less wait in all folders together during a test.
func SetMaxWaiting(t *testing.T, n int64) {
	before := maxWaiting
	maxWaiting = n
	t.Cleanup(func() { maxWaiting = before })
}

// TakeDisk has nobody use the disk until the function is called.
func TakeDisk() (giveBack func()) {
	for range cap(diskUsers) {
		diskUsers <- struct{}{}
	}
	return func() {
		for range cap(diskUsers) {
			<-diskUsers
		}
	}
}

// OpenFiles counts the files that are open.
func OpenFiles() int64 { return openFiles.Load() }

// Write writes what waits as if it was a certain time, without the goroutine.
func (f *Folder) Write(now time.Time) {
	taken, _, _ := f.take()
	f.write(taken, now)
	f.giveBack(taken)
}

// Still keeps the goroutine from being started during a test, which closes the files in its
// place: Windows deletes none that is open.
func (f *Folder) Still(t testing.TB) {
	f.running = true
	t.Cleanup(func() {
		for f.shutOldest() {
		}
	})
}

const MaxLines = maxLines
