//go:build unix

package files

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestReadRefusesNamedPipe(t *testing.T) {
	r := NewReader(WorkerOptions{})
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, _, err := r.Read(t.Context(), path, 0); !errors.Is(err, ErrNotRegular) {
		t.Errorf("got %v", err)
	}
	// Also if it takes the place of a file after that was looked at.
	file, err := os.OpenFile(path, OpenFlags, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, _, err := ReadOpened(file, 0); !errors.Is(err, ErrNotRegular) {
		t.Errorf("opened: got %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if _, err := r.Stat(t.Context(), path); err != nil {
		t.Errorf("stat: %v", err)
	}
}
