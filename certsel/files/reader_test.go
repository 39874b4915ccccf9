package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadRegularFile(t *testing.T) {
	r := NewReader(WorkerOptions{})
	path := filepath.Join(t.TempDir(), "a.pem")
	write(t, path, "one")
	data, stamp, err := r.Read(t.Context(), path, 0)
	if err != nil || string(data) != "one" {
		t.Fatalf("%q, %v", data, err)
	}
	if again, err := r.Stat(t.Context(), path); err != nil || again != stamp {
		t.Errorf("stat says %+v, %v; read said %+v", again, err, stamp)
	}
	if time.Since(stamp.ModTime()).Abs() > time.Hour {
		t.Errorf("modified at %s", stamp.ModTime())
	}
	write(t, path, "three")
	if again, err := r.Stat(t.Context(), path); err != nil || again == stamp {
		t.Errorf("same stamp after a change: %+v, %v", again, err)
	}
}

func TestReadFollowsLinks(t *testing.T) {
	r := NewReader(WorkerOptions{})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "one"), "1")
	write(t, filepath.Join(dir, "two"), "2")
	link := filepath.Join(dir, "link")
	needs.Symlink(t, "one", link)
	data, stamp, err := r.Read(t.Context(), link, 0)
	if err != nil || string(data) != "1" || stamp.Target != "one" {
		t.Fatalf("%q, %+v, %v", data, stamp, err)
	}
	if again, _ := r.Stat(t.Context(), link); again != stamp {
		t.Errorf("stat says %+v, read said %+v", again, stamp)
	}
	os.Remove(link)
	needs.Symlink(t, "two", link)
	if again, _ := r.Stat(t.Context(), link); again == stamp {
		t.Error("same stamp after the link was turned")
	}
}

func TestReadRefuses(t *testing.T) {
	r := NewReader(WorkerOptions{})
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	write(t, large, strings.Repeat("secret", 1000))
	tests := map[string]struct {
		path string
		want error
	}{
		"folder":  {dir, ErrNotRegular},
		"device":  {os.DevNull, ErrNotRegular},
		"large":   {large, ErrTooLarge},
		"missing": {filepath.Join(dir, "none"), fs.ErrNotExist},
	}
	for name, test := range tests {
		_, _, err := r.Read(t.Context(), test.path, 100)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
			continue
		}
		if !strings.Contains(err.Error(), test.path) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %q", name, err)
		}
		if strings.Count(err.Error(), test.path) != 1 {
			t.Errorf("%s: error names the file more than once: %q", name, err)
		}
	}
}

func TestReadHangingFileSystem(t *testing.T) {
	r := NewReader(WorkerOptions{})
	gate := make(chan struct{})
	defer close(gate)
	r.read = func(string, int64) ([]byte, Stamp, error) { <-gate; return nil, Stamp{}, nil }
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, _, err := r.Read(ctx, "/share/a.pfx", 0)
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "/share/a.pfx") {
		t.Errorf("got %v", err)
	}
}
