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
	if _, err := Create(file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created where one was: %v", err)
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) != 1 {
		t.Errorf("left behind: %v, %v", there, err)
	}
}

// TestOpen: what is there is opened, through links as well, and nothing is made.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	name, link, gone := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "gone")
	for _, wrong := range []string{gone, filepath.Join(gone, "file")} {
		if _, err := Open(wrong); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if _, err := Open(dir); err == nil {
		t.Error("a folder is opened")
	}
	made, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	names := []string{name}
	if os.Symlink(name, link) == nil { // Windows may not
		names = append(names, link)
	}
	for _, name := range names {
		file, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(file); err != nil || string(text) != "text" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		file.Close()
	}
}
