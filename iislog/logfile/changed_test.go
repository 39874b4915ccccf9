package logfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/iislog"
	"github.com/caddy-iis/caddy-iis/iislog/logfile"
	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// TestTruncated: a file that somebody has made empty, as logrotate does with
// copytruncate, begins with a header again.
func TestTruncated(t *testing.T) {
	f, dir := still(t)
	l := stems(t)
	name := filepath.Join(dir, "W3SVC1", "u_ex260309.log")
	for i, stem := range []string{"/a", "/b", "/c"} {
		f.Add(l, record(1, noon, stem))
		f.Write(noon.Add(time.Duration(i) * time.Second))
		if stem == "/a" {
			if err := os.Truncate(name, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect(t, "# /b /c", name)
}

// TestNewFileOtherFields: what waits when the fields change has its own fields
// above it in a new file.
func TestNewFileOtherFields(t *testing.T) {
	needs.OpenFilesGo(t)
	f, dir := still(t)
	l, other := stems(t), layout(t, iislog.Daily, "sc-status", "cs-uri-stem")
	name := filepath.Join(dir, "W3SVC1", "u_ex260309.log")
	f.Add(l, record(1, noon, "/a"))
	f.Write(noon)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	f.Add(l, record(1, noon, "/b"))
	f.Add(other, record(1, noon, "/c"))
	f.Write(noon.Add(10 * time.Second))
	expect(t, "# /b # /c", name)
	if got := read(t, name); strings.Index(got, "#Fields: "+"date time") > strings.Index(got, "/b") || !strings.Contains(got, "#Fields: date time") {
		t.Errorf("got %q", got)
	}
}

// TestOtherMaxSize: with another max_size a site goes on with its last file.
func TestOtherMaxSize(t *testing.T) {
	f, dir := still(t)
	small, never := layout(t, iislog.None, "date", "cs-uri-stem"), layout(t, iislog.None, "date", "cs-uri-stem")
	small.MaxSize = 400
	add := func(l *logfile.Layout, stem string) {
		f.Add(l, record(1, noon, stem))
		f.Write(noon)
	}
	add(small, fmt.Sprintf("/%0300d", 1))
	add(small, "/second")
	add(never, "/never")
	add(small, "/small")
	for name, want := range map[string]string{"u_extend1.log": "/never", "u_extend2.log": "/small"} {
		if got := read(t, dir, "W3SVC1", name); !strings.HasSuffix(got, want+"\r\n") {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
