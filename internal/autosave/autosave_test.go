package autosave

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	config  = `{"admin":{"listen":"localhost:2019"},"apps":{"iis":{"sites":{"1":{}}}}}`
	another = `{"apps":{"iis":{"sites":{"2":{}}}}}`
)

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, file, want string) {
	t.Helper()
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v; want %q", filepath.Base(file), got, err, want)
	}
}

// TestKeep: whatever the file is cut off to, the copy stays.
func TestKeep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "autosave.json")
	if err := Keep(file); err == nil {
		t.Error("a missing file is kept")
	}
	write(t, file, config)
	if err := Keep(file); err != nil {
		t.Fatal(err)
	}
	expect(t, CopyOf(file), config)
	for n := range len(another) {
		write(t, file, another[:n])
		if err := Keep(file); !errors.Is(err, ErrNotWhole) {
			t.Errorf("%q: %v", another[:n], err)
		}
	}
	for _, other := range []string{`{"apps":{"http":{}}}`, `{"apps":{"iis":null}}`, `{"apps":{"iis":1}}`, `[]`, another + another} {
		write(t, file, other)
		if err := Keep(file); !errors.Is(err, ErrNotWhole) {
			t.Errorf("%q: %v", other, err)
		}
	}
	expect(t, CopyOf(file), config)
	write(t, file, another)
	if err := Keep(file); err != nil {
		t.Fatal(err)
	}
	expect(t, CopyOf(file), another)
	if info, err := os.Stat(CopyOf(file)); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("the copy has mode %v, %v", info.Mode(), err)
	}
	rest, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.tmp"))
	if err != nil || len(rest) > 0 {
		t.Errorf("left behind: %v, %v", rest, err)
	}
}

func TestRestore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "autosave.json")
	if _, err := Restore(file, false); err == nil || !strings.Contains(err.Error(), "there is no copy") {
		t.Errorf("without a copy: %v", err)
	}
	write(t, CopyOf(file), config)
	for _, broken := range []string{"", " ", another[:10], another[:len(another)-1], "null", "\x00\x00\x00\x00"} {
		write(t, file, broken)
		r, err := Restore(file, false)
		if err != nil || !r.Restored || r.Bytes != len(config) || r.Saved.IsZero() {
			t.Errorf("%q: %+v, %v", broken, r, err)
		}
		expect(t, file, config)
	}
	if r, err := Restore(file, false); err != nil || r.Restored {
		t.Errorf("the same: %+v, %v", r, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(file, false); err != nil {
		t.Error(err)
	}
	expect(t, file, config)
	write(t, file, `{"apps":{}}`)
	if _, err := Restore(file, false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("a whole file: %v", err)
	}
	expect(t, file, `{"apps":{}}`)
	if r, err := Restore(file, true); err != nil || !r.Restored {
		t.Errorf("with force: %+v, %v", r, err)
	}
	expect(t, file, config)
	write(t, CopyOf(file), config[:20])
	if _, err := Restore(file, true); !errors.Is(err, ErrNotWhole) {
		t.Errorf("from a broken copy: %v", err)
	}
	expect(t, file, config)
}
