package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"

	"github.com/caddy-iis/caddy-iis/internal/needs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loader reads the files of a group whenever they change.
type loader struct {
	mu    sync.Mutex
	loads []string
	fail  error
}

func (l *loader) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.loads) == 0 {
		return ""
	}
	return l.loads[len(l.loads)-1]
}

func (l *loader) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.loads)
}

func (l *loader) group(r *Reader, interval time.Duration, files ...string) Group {
	g := Group{Files: files, Interval: interval}
	for _, file := range files {
		stamp, _ := r.Stat(context.Background(), file)
		g.Stamps = append(g.Stamps, stamp)
	}
	g.Changed = func(ctx context.Context) error {
		content := ""
		for _, file := range files {
			data, _, err := r.Read(ctx, file, 0)
			if err != nil {
				data = []byte("-")
			}
			content += string(data)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.loads = append(l.loads, content)
		return l.fail
	}
	return g
}

// newWatcher returns a watcher, which ends with the test, and its reader.
func newWatcher(t *testing.T, o WatcherOptions) (*Reader, *Watcher) {
	t.Helper()
	t.TempDir() // the test's folders go after the watcher, which comes later
	r := NewReader(WorkerOptions{})
	w := NewWatcher(r, o)
	t.Cleanup(w.Close)
	return r, w
}

// modes runs a test with notifications alone, as it were, and polling alone.
func modes(t *testing.T, test func(t *testing.T, r *Reader, w *Watcher, interval time.Duration)) {
	intervals := map[string]time.Duration{"polled": 30 * time.Millisecond}
	if maxNotified > 0 { // the systems on which polling is all there is have but that
		intervals["notified"] = time.Hour
	}
	for name, interval := range intervals {
		t.Run(name, func(t *testing.T) {
			r, w := newWatcher(t, WatcherOptions{Settle: 40 * time.Millisecond, PollOnly: name == "polled"})
			test(t, r, w, interval)
		})
	}
}

// watched adds a group and waits until notifications, if any, are on.
func watched(t *testing.T, w *Watcher, g Group) *Watch {
	t.Helper()
	h := w.Add(g)
	h.Check()
	if w.notify != nil {
		eventually(t, "the folder is notified of", func() bool { return w.Stats().Notified > 0 })
	}
	return h
}

func TestWatcherSeesChanges(t *testing.T) {
	modes(t, func(t *testing.T, r *Reader, w *Watcher, interval time.Duration) {
		dir := t.TempDir()
		crt, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
		write(t, crt, "C1")
		write(t, key, "K1")
		var l loader
		watched(t, w, l.group(r, interval, crt, key))

		write(t, crt, "C2")
		write(t, key, "K2")
		eventually(t, "in place", func() bool { return l.last() == "C2K2" })

		write(t, crt+".tmp", "C3")
		if err := os.Rename(crt+".tmp", crt); err != nil {
			t.Fatal(err)
		}
		eventually(t, "rename", func() bool { return l.last() == "C3K2" })

		os.Remove(key)
		eventually(t, "deleted", func() bool { return l.last() == "C3-" })
		write(t, key, "K4")
		eventually(t, "created", func() bool { return l.last() == "C3K4" })
	})
}

func TestWatcherSeesSwappedLinks(t *testing.T) {
	modes(t, func(t *testing.T, r *Reader, w *Watcher, interval time.Duration) {
		dir := t.TempDir()
		for _, version := range []string{"1", "2", "3"} {
			folder := filepath.Join(dir, "..v"+version)
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(folder, "tls.crt"), version)
		}
		data, crt := filepath.Join(dir, "..data"), filepath.Join(dir, "tls.crt")
		needs.Symlink(t, "..v1", data)
		needs.Symlink(t, filepath.Join("..data", "tls.crt"), crt)
		var l loader
		watched(t, w, l.group(r, interval, crt))
		for _, version := range []string{"2", "3"} {
			needs.Symlink(t, "..v"+version, data+"_tmp")
			if err := os.Rename(data+"_tmp", data); err != nil {
				t.Fatal(err)
			}
			eventually(t, "swap to "+version, func() bool { return l.last() == version })
		}
	})
}

func TestWatcherSeesSwappedFolder(t *testing.T) {
	r, w := newWatcher(t, WatcherOptions{Settle: 20 * time.Millisecond})
	dir := t.TempDir()
	live := filepath.Join(dir, "live")
	for _, version := range []string{"1", "2", "3"} {
		os.Mkdir(filepath.Join(dir, version), 0o700)
		write(t, filepath.Join(dir, version, "a"), version)
	}
	needs.Symlink(t, "1", live)
	var l loader
	g := l.group(r, 50*time.Millisecond, filepath.Join(live, "a"))
	watched(t, w, g)
	for _, version := range []string{"2", "3"} {
		needs.Symlink(t, version, live+"2")
		os.Rename(live+"2", live)
		eventually(t, "swap to "+version, func() bool { return l.last() == version })
	}
	// Deleted and made again.
	os.RemoveAll(filepath.Join(dir, "3"))
	eventually(t, "deleted", func() bool { return l.last() == "-" })
	os.Mkdir(filepath.Join(dir, "3"), 0o700)
	write(t, filepath.Join(dir, "3", "a"), "new")
	eventually(t, "made again", func() bool { return l.last() == "new" })
}

func TestWatcherWaitsForStandstill(t *testing.T) {
	r, w := newWatcher(t, WatcherOptions{Settle: 150 * time.Millisecond, PollOnly: true})
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "0")
	var l loader
	w.Add(l.group(r, 10*time.Millisecond, path))
	for i := range 10 {
		write(t, path, fmt.Sprintf("half %d", i))
		time.Sleep(20 * time.Millisecond)
	}
	write(t, path, "whole")
	eventually(t, "loaded", func() bool { return l.last() == "whole" })
	if n := l.count(); n > 4 { // one, unless this machine is slow
		t.Errorf("loaded %d times", n)
	}
}

func TestWatcherSeesChangesBeforeItBegan(t *testing.T) {
	r, w := newWatcher(t, WatcherOptions{Settle: 10 * time.Millisecond, PollOnly: true})
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "old")
	var l loader
	g := l.group(r, 10*time.Millisecond, path)
	write(t, path, "newer")
	w.Add(g)
	eventually(t, "loaded", func() bool { return l.last() == "newer" })
}

func TestWatcherTriesAgain(t *testing.T) {
	r, w := newWatcher(t, WatcherOptions{Settle: 5 * time.Millisecond, PollOnly: true})
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "old")
	l := loader{fail: errors.New("broken")}
	w.Add(l.group(r, 10*time.Millisecond, path))
	write(t, path, "newer")
	eventually(t, "tried again", func() bool { return l.count() >= 3 })
	l.mu.Lock()
	l.fail = nil
	l.mu.Unlock()
	n := l.count()
	eventually(t, "tried again", func() bool { return l.count() > n })
	n = l.count()
	time.Sleep(100 * time.Millisecond)
	if l.count() != n {
		t.Error("loaded again without reason")
	}
}

func TestWatcherClosedGroup(t *testing.T) {
	r, w := newWatcher(t, WatcherOptions{Settle: 5 * time.Millisecond})
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "old")
	var l loader
	h := w.Add(l.group(r, 10*time.Millisecond, path))
	h.Close()
	h.Close()
	write(t, path, "newer")
	time.Sleep(60 * time.Millisecond)
	if l.count() != 0 {
		t.Error("a closed group was loaded")
	}
	if s := w.Stats(); s.Groups != 0 || len(w.dirs) != 0 || len(w.queue) != 0 {
		t.Errorf("left over: %+v, %d folders, %d in the queue", s, len(w.dirs), len(w.queue))
	}
}

func TestWatcherOnADeadShare(t *testing.T) {
	r := NewReader(WorkerOptions{Stuck: 10 * time.Millisecond})
	dir := t.TempDir()
	dead, alive := filepath.Join(dir, "dead"), filepath.Join(dir, "alive")
	os.Mkdir(dead, 0o700)
	os.Mkdir(alive, 0o700)
	var hangs atomic.Bool
	gate := make(chan struct{})
	r.stat = func(path string) (Stamp, error) {
		if hangs.Load() && filepath.Dir(path) == dead {
			<-gate
		}
		return stat(path)
	}
	w := NewWatcher(r, WatcherOptions{Settle: 5 * time.Millisecond, StatTimeout: 20 * time.Millisecond, PollOnly: true})
	defer w.Close()
	var reports, recoveries atomic.Int32
	for i := range 50 {
		path := filepath.Join(dead, fmt.Sprint(i))
		write(t, path, "x")
		s := &Slot[Stamp]{
			Load:      func(ctx context.Context) (Stamp, error) { return r.Stat(ctx, path) },
			OnError:   func(error) { reports.Add(1) },
			OnRecover: func() { recoveries.Add(1) },
		}
		w.Add(Group{Files: []string{path}, Interval: 20 * time.Millisecond, Changed: s.Reload})
	}
	path := filepath.Join(alive, "a")
	write(t, path, "1")
	var l loader
	w.Add(l.group(r, 20*time.Millisecond, path))
	eventually(t, "first checks", func() bool { return w.Stats().Checks > 200 })

	hangs.Store(true)
	eventually(t, "the share is reported", func() bool { return reports.Load() == 50 })
	write(t, path, "two")
	eventually(t, "other files are served", func() bool { return l.last() == "two" })
	if n := r.workers.Running(); n > DefaultWorkers/2 {
		t.Errorf("%d workers are occupied", n)
	}
	hangs.Store(false)
	close(gate)
	eventually(t, "the share is back", func() bool { return recoveries.Load() == 50 })
	if n := reports.Load(); n != 50 {
		t.Errorf("%d reports for 50 files", n)
	}
}

func TestWatcherManyGroups(t *testing.T) {
	const groups = 10_000
	r := NewReader(WorkerOptions{})
	var running, most atomic.Int32
	r.stat = func(path string) (Stamp, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		return Stamp{Size: 1}, nil
	}
	w := NewWatcher(r, WatcherOptions{PollOnly: true})
	defer w.Close()
	for i := range groups {
		dir := filepath.Join("/certs", fmt.Sprint(i))
		w.Add(Group{
			Files:    []string{filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")},
			Interval: time.Second,
			Changed:  func(context.Context) error { t.Error("changed"); return nil },
		})
	}
	start := time.Now()
	eventually(t, "all are checked", func() bool { return w.Stats().Checks >= groups })
	if n := runtime.NumGoroutine(); n > 30 {
		t.Errorf("%d goroutines", n)
	}
	if n, took := w.Stats().Checks, time.Since(start); float64(n) > 1.2*groups*(took.Seconds()+0.1) {
		t.Errorf("%d checks in %s, want one a second each", n, took)
	}
	if m := most.Load(); m > DefaultChecks {
		t.Errorf("%d checks at the same time", m)
	}
}

// With very many groups, each is checked less often, and least where the
// operating system notifies.
func TestWatcherBoundsChecks(t *testing.T) {
	modes(t, func(t *testing.T, r *Reader, w *Watcher, interval time.Duration) {
		path := filepath.Join(t.TempDir(), "a")
		write(t, path, "1")
		var l loader
		h := watched(t, w, l.group(r, interval, path))
		now := time.Now()
		for groups, want := range map[int][2]time.Duration{ // polled, notified
			1:         {interval, interval},
			100:       {max(interval, 100*time.Millisecond), interval},
			10_000:    {max(interval, 10*time.Second), interval},
			1_000_000: {1000 * time.Second, max(interval, 5000*time.Second)},
		} {
			w.mu.Lock()
			w.groups = groups
			got := h.next(now).Sub(now)
			w.mu.Unlock()
			i := 0
			if w.notify != nil {
				i = 1
			}
			if got != want[i] {
				t.Errorf("%d groups: %v between checks, not %v", groups, got, want[i])
			}
		}
	})
}

// Changed that fails is called again at its time, however long it is until the
// next check of an unchanged file.
func TestWatcherRetriesAmongManyGroups(t *testing.T) {
	r, w := newWatcher(t, WatcherOptions{Settle: 5 * time.Millisecond})
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "1")
	l := loader{fail: errors.New("fails")}
	h := watched(t, w, l.group(r, 20*time.Millisecond, path))
	w.mu.Lock()
	w.groups = 1_000_000
	w.mu.Unlock()
	write(t, path, "2")
	h.Check()
	eventually(t, "three calls", func() bool { return l.count() >= 3 })
}

// Where notifications were lost, everything is looked at soon, however many
// groups there are.
func TestWatcherLosesNotifications(t *testing.T) {
	r, w := newWatcher(t, WatcherOptions{Settle: 5 * time.Millisecond, PollOnly: true})
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "1")
	var l loader
	w.mu.Lock()
	w.groups = 1_000_000
	w.mu.Unlock()
	w.Add(l.group(r, 20*time.Millisecond, path))
	eventually(t, "the first check", func() bool { return w.Stats().Checks > 0 })
	write(t, path, "2")
	time.Sleep(100 * time.Millisecond)
	if l.count() != 0 {
		t.Fatal("it was looked at again")
	}
	source := &fsnotify.Watcher{Events: make(chan fsnotify.Event), Errors: make(chan error)}
	go (&notifier{watcher: w}).forward(source)
	source.Errors <- fsnotify.ErrEventOverflow
	close(source.Errors)
	eventually(t, "the change", func() bool { return l.last() == "2" })
}
