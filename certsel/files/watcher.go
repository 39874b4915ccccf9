package files

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// Defaults of WatcherOptions.
const (
	DefaultInterval      = 5 * time.Second
	DefaultSettle        = 200 * time.Millisecond
	DefaultStatTimeout   = 2 * time.Second
	DefaultReloadTimeout = 30 * time.Second
	DefaultChecks        = 4
)

// WatcherOptions sets how files are watched. Zero values mean the defaults.
type WatcherOptions struct {
	// Settle is how long changed files must stand still before Changed is
	// called, so that somebody who writes a certificate and its key one after
	// the other can finish.
	Settle time.Duration

	// StatTimeout bounds one check of the files of a group.
	StatTimeout time.Duration

	// ReloadTimeout bounds one call of Changed.
	ReloadTimeout time.Duration

	// Checks is how many groups are checked at the same time. It should leave
	// workers of the reader to others.
	Checks int

	// Reloads is how many calls of Changed run at the same time. The default
	// is one for each processor.
	Reloads int

	// PollOnly turns off notifications by the operating system.
	PollOnly bool
}

// Group is the files of one certificate.
type Group struct {
	// Files are the paths. A file need not exist: that it appears, or
	// disappears, is a change.
	Files []string

	// Stamps are the stamps the files had when they were read, in the same
	// order, so that a change since then is noticed. Without them, the files
	// as the first check finds them are what changes are compared with.
	Stamps []Stamp

	// Interval is how often the files are checked, or less often if there are
	// very many groups. Default: DefaultInterval.
	Interval time.Duration

	// Changed is called when the files have changed and stand still again;
	// never twice at the same time for one group. While it returns an error
	// it is called again now and then, even without a change.
	Changed func(ctx context.Context) error
}

// Watcher watches groups of files. All groups are checked regularly, but not
// more of them in a second than pollRate and notifiedRate say. Where the
// operating system notifies of changes, a check follows at once.
//
// It has a fixed number of goroutines, however many groups there are.
type Watcher struct {
	reader *Reader
	opts   WatcherOptions
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}
	done   chan struct{}
	notify *notifier // nil: poll only

	mu        sync.Mutex
	queue     queue
	dirs      map[string]*folder
	groups    int
	checking  int
	reloading int
	reloads   []*Watch // that wait for their turn
	checks    uint64
	changes   uint64
}

// WatcherStats says what a watcher does.
type WatcherStats struct {
	Groups   int    // that are watched
	Notified int    // folders whose changes the operating system tells
	Checks   uint64 // of groups
	Changes  uint64 // calls of Changed
}

// NewWatcher returns a watcher that reads through reader. It must be closed.
func NewWatcher(reader *Reader, o WatcherOptions) *Watcher {
	o.Settle = or(o.Settle, DefaultSettle)
	o.StatTimeout = or(o.StatTimeout, DefaultStatTimeout)
	o.ReloadTimeout = or(o.ReloadTimeout, DefaultReloadTimeout)
	o.Checks = or(o.Checks, DefaultChecks)
	o.Reloads = or(o.Reloads, runtime.GOMAXPROCS(0))
	w := &Watcher{
		reader: reader,
		opts:   o,
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		dirs:   make(map[string]*folder),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	if maxNotified > 0 && !o.PollOnly {
		w.notify = newNotifier(w)
	}
	go w.run()
	return w
}

// Add begins to watch a group. It does not touch the file system. A first check
// follows at once where nobody has asked for notifications of a folder yet, else
// within the interval: the files may have changed since they were read.
func (w *Watcher) Add(g Group) *Watch {
	g.Interval = or(g.Interval, DefaultInterval)
	h := &Watch{watcher: w, group: g, index: -1}
	for _, file := range g.Files {
		if abs, err := filepath.Abs(file); err == nil {
			file = abs
		}
		h.files = append(h.files, file)
	}
	if len(g.Stamps) == len(g.Files) {
		for _, stamp := range g.Stamps {
			h.known = append(h.known, state{stamp: stamp})
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.groups++
	w.enter(h)
	due := time.Now()
	if w.notify == nil || w.asked(h) {
		due = due.Add(spread(g.Interval))
	}
	w.schedule(h, due)
	return h
}

// Stats returns what the watcher does.
func (w *Watcher) Stats() WatcherStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := WatcherStats{Groups: w.groups, Checks: w.checks, Changes: w.changes}
	for _, dir := range w.dirs {
		if dir.subscribed {
			s.Notified++
		}
	}
	return s
}

// Close ends watching. Calls of Changed that run see their context end; no
// call begins any more.
func (w *Watcher) Close() {
	w.cancel()
	<-w.done
	if w.notify != nil {
		w.notify.close()
	}
}
