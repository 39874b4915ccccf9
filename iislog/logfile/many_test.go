package logfile_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/iislog"
	"github.com/caddy-iis/caddy-iis/iislog/logfile"
)

// TestManyFolders: what waits in all folders together has a bound.
func TestManyFolders(t *testing.T) {
	logfile.SetMaxWaiting(t, 10_000)
	l := stems(t)
	var folders []*logfile.Folder
	full := func() (n uint64) {
		for _, f := range folders {
			n += f.Stats().Full
		}
		return n
	}
	for range 200 {
		f, _ := still(t)
		folders = append(folders, f)
		f.Add(l, record(1, noon, "/a"))
	}
	if n := full(); n < 50 || n > 150 {
		t.Fatalf("%d of 200 lines were dropped", n)
	}
	for _, f := range folders {
		f.Write(noon)
	}
	before := full()
	for _, f := range folders[:50] {
		f.Add(l, record(1, noon, "/b"))
		f.Write(noon)
	}
	if full() != before {
		t.Error("what has been written still counts")
	}
}

// TestOpenLimit: where a process may open few files, most are for connections.
func TestOpenLimit(t *testing.T) {
	for files, want := range map[uint64]int64{0: 16, 256: 64, 1024: 256, 4096: 1000, 1 << 20: 1000, math.MaxUint64: 1000} {
		if got := logfile.OpenLimit(files); got != want {
			t.Errorf("of %d files: got %d, want %d", files, got, want)
		}
	}
	if runtime.GOOS == "windows" {
		return // it has no such limit
	}
	if os.Getenv("OPEN_LIMIT_TEST") != "" {
		fmt.Println("at most", logfile.MaxOpen())
		return
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 400 && exec "$0" -test.run='^TestOpenLimit$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "OPEN_LIMIT_TEST=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "at most 100\n") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestDiskUsers: folders that wait for the disk hold no threads beyond a bound.
func TestDiskUsers(t *testing.T) {
	giveBack := logfile.TakeDisk()
	dir := t.TempDir()
	f := logfile.New(dir, nil)
	f.Add(stems(t), record(1, noon, "/a"))
	flushed, probed := make(chan error), make(chan error)
	go func() { flushed <- f.Flush() }()
	go func() { f.Probe(); probed <- f.Problem() }()
	for range 20 {
		time.Sleep(10 * time.Millisecond)
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Fatal("the disk is used")
		}
	}
	giveBack()
	for _, done := range []chan error{flushed, probed} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	expect(t, "# /a", dir, "W3SVC1", "u_ex260309.log")
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestFailureForgotten: a site that has no lines any more does not keep saying
// that its folder is not well.
func TestFailureForgotten(t *testing.T) {
	dir := t.TempDir()
	f := logfile.New(dir, nil)
	f.Still(t)
	for site := range uint32(2) {
		if err := os.WriteFile(filepath.Join(dir, iislog.Folder(site+1)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		f.Add(stems(t), record(site+1, noon, "/a"))
	}
	f.Write(noon)
	if f.Probe(); f.Problem() == nil {
		t.Fatal("nothing is wrong")
	}
	if err := os.Remove(filepath.Join(dir, iislog.Folder(1))); err != nil {
		t.Fatal(err)
	}
	if f.Probe(); f.Problem() == nil || !strings.Contains(f.Problem().Error(), iislog.Folder(2)) {
		t.Fatalf("of site 2 it says %v", f.Problem())
	}
	if err := os.Remove(filepath.Join(dir, iislog.Folder(2))); err != nil {
		t.Fatal(err)
	}
	if f.Probe(); f.Problem() != nil {
		t.Errorf("got %v", f.Problem())
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("%v was left", entries)
	}
}
