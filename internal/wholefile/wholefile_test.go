package wholefile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestReplaceIsWhole: what was there stays if the new cannot be written, and nothing lies
// about.
func TestReplaceIsWhole(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for _, content := range []string{"first", "second"} {
		if err := Replace(file, func(to io.Writer) error { _, err := io.WriteString(to, content); return err }); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != content {
			t.Errorf("got %q, %v", got, err)
		}
	}
	full := errors.New("the disk is full")
	err := Replace(file, func(to io.Writer) error { _, _ = io.WriteString(to, "half"); return full })
	if !errors.Is(err, full) {
		t.Error(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "second" {
		t.Errorf("after the error: %q, %v", got, err)
	}
	if err := Create(file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created where one was: %v", err)
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) != 1 {
		t.Errorf("left behind: %v, %v", there, err)
	}
}
