package sitesource

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
	"github.com/caddy-iis/caddy-iis/internal/needs"
)

// follower reads a source whenever it may have changed.
type follower struct {
	source *File[string]
	calls  atomic.Int32
	errors atomic.Int32

	mu    sync.Mutex
	state State
	sites map[uint32]lined
	err   error
}

func follow(t *testing.T, f *File[string]) *follower {
	w := &follower{source: f, sites: make(map[uint32]lined)}
	var running atomic.Int32
	stop, err := f.Watch(func() {
		if running.Add(1) > 1 {
			t.Error("called twice at the same time")
		}
		defer running.Add(-1)
		w.read(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return w
}

func (w *follower) read(ctx context.Context) {
	w.calls.Add(1)
	state, diff, err := w.source.Read(ctx, w.state)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state, w.err = state, err
	if err != nil {
		w.errors.Add(1)
	}
	apply(w.sites, diff)
}

// has reports whether the sites are those with these values.
func (w *follower) has(values ...string) func() bool {
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, v := range values {
			id, _, _ := decodeText([]byte(v))
			if w.sites[id].value != v {
				return false
			}
		}
		return len(w.sites) == len(values)
	}
}

func (w *follower) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil
}

// modes runs a test mostly with notifications, if there are any, and with
// polling alone.
func modes(t *testing.T, test func(t *testing.T, source func(path string) *File[string])) {
	for name, poll := range map[string]time.Duration{"notified": 0, "polled": 30 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(path string) *File[string] {
				f := NewFile(path, decodeText, FileOptions{Settle: 40 * time.Millisecond, Poll: poll})
				f.pollOnly = name == "polled"
				return f
			})
		})
	}
}

func TestWatchSeesChanges(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, source func(string) *File[string]) {
		path := sitesPath(t)
		write(t, path, "1 a\n")
		w := follow(t, source(path))
		eventually(t, "at the beginning", w.has("1 a"))

		write(t, path, "1 b\n")
		eventually(t, "in place", w.has("1 b"))
		replace(t, path, "1 c\n2 x\n")
		eventually(t, "renamed into place", w.has("1 c", "2 x"))

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		eventually(t, "deleted", w.failed)
		if !w.has("1 c", "2 x")() {
			t.Error("sites were lost with the file")
		}
		write(t, path, "1 d\n2 x\n")
		eventually(t, "made again", w.has("1 d", "2 x"))

		write(t, path, "1 d\nx\n")
		eventually(t, "bad", w.failed)
		write(t, path, "1 e\n")
		eventually(t, "good again", w.has("1 e"))
	})
}

func TestWatchSeesSwappedLinks(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, source func(string) *File[string]) {
		dir := t.TempDir()
		for _, version := range []string{"1", "2", "3"} {
			folder := filepath.Join(dir, "..v"+version)
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(folder, "sites"), version+" x\n")
		}
		data, path := filepath.Join(dir, "..data"), filepath.Join(dir, "sites")
		needs.Symlink(t, "..v1", data)
		needs.Symlink(t, filepath.Join("..data", "sites"), path)
		w := follow(t, source(path))
		eventually(t, "at the beginning", w.has("1 x"))
		for _, version := range []string{"2", "3"} {
			needs.Symlink(t, "..v"+version, data+"_tmp")
			if err := os.Rename(data+"_tmp", data); err != nil {
				t.Fatal(err)
			}
			eventually(t, "swap to "+version, w.has(version+" x"))
		}
	})
}

func TestWatchSeesAFileAppear(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, source func(string) *File[string]) {
		path := filepath.Join(t.TempDir(), "later", "sites")
		w := follow(t, source(path))
		eventually(t, "missing", w.failed)
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, "1 a\n")
		eventually(t, "there", w.has("1 a"))
	})
}

// A program writes a file bit by bit: nobody reads it before it is finished.
func TestWatchWaitsForStandstill(t *testing.T) {
	path := sitesPath(t)
	write(t, path, "1 a\n")
	f := NewFile(path, decodeText, FileOptions{Settle: time.Second, Poll: 50 * time.Millisecond})
	w := follow(t, f)
	eventually(t, "at the beginning", w.has("1 a"))
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 40 {
		fmt.Fprintf(out, "%d ", i+1)
		time.Sleep(15 * time.Millisecond)
		fmt.Fprintf(out, "%s\n", strings.Repeat("x", i))
		want = append(want, strings.TrimSpace(fmt.Sprintf("%d %s", i+1, strings.Repeat("x", i))))
	}
	out.Close()
	eventually(t, "whole", w.has(want...))
	if n := w.errors.Load(); n > 0 {
		t.Errorf("%d reads failed: %v", n, w.err)
	}
}

// A file that cannot be read is tried again though nothing seems to change.
func TestWatchTriesAgain(t *testing.T) {
	path := sitesPath(t)
	write(t, path, "1 a\n")
	f := NewFile(path, decodeText, FileOptions{Settle: 5 * time.Millisecond, Poll: 10 * time.Millisecond})
	m := &memory{data: []byte("1 a\n"), fails: []error{os.ErrPermission, os.ErrPermission, files.ErrUnavailable}}
	f.disk = m
	w := follow(t, f)
	eventually(t, "read at last", w.has("1 a"))
	calls := w.calls.Load()
	if calls != 4 {
		t.Errorf("read %d times", calls)
	}
	time.Sleep(200 * time.Millisecond)
	if n := w.calls.Load(); n != calls {
		t.Errorf("read %d times without reason", n-calls)
	}
}

func TestWatchNoticesSoon(t *testing.T) {
	for _, pollOnly := range []bool{false, true} {
		path := sitesPath(t)
		write(t, path, "1 a\n")
		f := NewFile(path, decodeText, FileOptions{})
		f.pollOnly = pollOnly
		w := follow(t, f)
		eventually(t, "at the beginning", w.has("1 a"))
		time.Sleep(600 * time.Millisecond) // notifications are on
		for i := range 2 {
			start, site := time.Now(), fmt.Sprintf("1 b%d", i)
			replace(t, path, site)
			eventually(t, "noticed", w.has(site))
			took := time.Since(start)
			t.Logf("polling alone %t: %s", pollOnly, took)
			if took > 5*time.Second { // one, on a machine with nothing else to do
				t.Errorf("noticed after %s", took)
			}
		}
	}
}

func TestWatchEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	path := sitesPath(t)
	write(t, path, "1 a\n")
	f := NewFile(path, decodeText, FileOptions{Settle: 5 * time.Millisecond, Poll: 5 * time.Millisecond})
	var calls atomic.Int32
	stop, err := f.Watch(func() { calls.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "called", func() bool { return calls.Load() > 0 })
	stop()
	stop()
	n := calls.Load()
	write(t, path, "1 bb\n")
	time.Sleep(100 * time.Millisecond)
	if calls.Load() != n {
		t.Error("called after stop")
	}

	// From within changed.
	stops := make(chan func(), 1)
	stopped := make(chan struct{})
	stop, err = f.Watch(func() {
		(<-stops)()
		close(stopped)
	})
	if err != nil {
		t.Fatal(err)
	}
	stops <- stop
	<-stopped
	eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

// A file system that hangs holds up the call for the timeout, and no longer.
func TestReadHangs(t *testing.T) {
	f := NewFile(sitesPath(t), decodeText, FileOptions{Timeout: 20 * time.Millisecond})
	f.disk = hanging{}
	start := time.Now()
	if got := refused(t, f, nil); !strings.Contains(got, files.ErrUnavailable.Error()) || time.Since(start) > 10*time.Second {
		t.Errorf("%s, after %s", got, time.Since(start))
	}
	if !f.unread.Load() {
		t.Error("not to be tried again")
	}
}
