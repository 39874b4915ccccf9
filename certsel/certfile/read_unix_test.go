//go:build unix

package certfile

import (
	"path/filepath"
	"syscall"
	"testing"
)

// TestReadFilePipe would wait for a writer for ever.
func TestReadFilePipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip(err)
	}
	_, err := ReadFile(name)
	wantError(t, err, "is not a regular file")
}
