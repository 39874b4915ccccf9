package certfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	want := bytes.Repeat([]byte("x"), 10_000)
	name := writeFile(t, "file", want)
	if got, err := ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := ReadFile(writeFile(t, "empty", nil)); err != nil || got == nil || len(got) != 0 {
		t.Errorf("an empty file: %v, %v", got, err)
	}
	if _, err := ReadFile(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	_, err := ReadFile(dir)
	wantError(t, err, "is not a regular file")
	large := writeFile(t, "large", nil)
	if err := os.Truncate(large, MaxFileSize+1); err != nil {
		t.Fatal(err)
	}
	_, err = ReadFile(large)
	wantError(t, err, "larger than 4 MiB")
}
