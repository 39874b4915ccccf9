package files

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// resubscribe is when to ask again for notifications of a folder for which
// there were none to be had.
const resubscribe = 10 * time.Minute

// folder is a folder with files that are watched. Guarded by Watcher.mu.
type folder struct {
	watches    map[string][]*Watch // by the file's name in the folder
	asked      bool                // for notifications
	subscribed bool
	askAgain   time.Time
}

// enter takes a watch into the folders of its files. The caller holds w.mu.
func (w *Watcher) enter(h *Watch) {
	for _, file := range h.files {
		dir := w.dirs[filepath.Dir(file)]
		if dir == nil {
			dir = &folder{watches: make(map[string][]*Watch)}
			w.dirs[filepath.Dir(file)] = dir
		}
		base := filepath.Base(file)
		dir.watches[base] = append(dir.watches[base], h)
	}
}

// exit is the reverse of enter.
func (w *Watcher) exit(h *Watch) {
	for _, file := range h.files {
		path, base := filepath.Dir(file), filepath.Base(file)
		dir := w.dirs[path]
		if dir == nil {
			continue
		}
		dir.watches[base] = slices.DeleteFunc(dir.watches[base], func(other *Watch) bool { return other == h })
		if len(dir.watches[base]) == 0 {
			delete(dir.watches, base)
		}
		if len(dir.watches) == 0 {
			delete(w.dirs, path)
			if dir.asked {
				w.notify.request(path, false)
			}
		}
	}
}

// subscribe asks for notifications of the folders of files that a check has
// found: asking may hang where the check would have. The caller holds w.mu.
func (w *Watcher) subscribe(h *Watch, seen []state) {
	if w.notify == nil {
		return
	}
	for i, file := range h.files {
		path := filepath.Dir(file)
		dir := w.dirs[path]
		if i >= len(seen) || seen[i].problem != "" || dir == nil || dir.asked || time.Now().Before(dir.askAgain) {
			continue
		}
		dir.asked = w.notify.request(path, true)
		if !dir.asked {
			dir.askAgain = time.Now().Add(resubscribe)
		}
	}
}

// subscribed takes note of the answer.
func (w *Watcher) subscribed(path string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	dir := w.dirs[path]
	if dir == nil {
		return
	}
	if dir.subscribed = err == nil; !dir.subscribed {
		dir.asked = false
		dir.askAgain = time.Now().Add(resubscribe)
	}
}

// asked reports whether somebody has asked for notifications of all folders of a
// group. The caller holds w.mu.
func (w *Watcher) asked(h *Watch) bool {
	for _, file := range h.files {
		if !w.dirs[filepath.Dir(file)].asked {
			return false
		}
	}
	return true
}

// notified reports whether the operating system notifies of changes in all
// folders of a group. The caller holds w.mu.
func (w *Watcher) notified(h *Watch) bool {
	for _, file := range h.files {
		if dir := w.dirs[filepath.Dir(file)]; dir == nil || !dir.subscribed {
			return false
		}
	}
	return true
}

// renew asks anew for notifications of the folders of a group: a change that
// was not notified of means that another folder stands there now. The caller
// holds w.mu.
func (w *Watcher) renew(h *Watch) {
	for _, file := range h.files {
		path := filepath.Dir(file)
		if dir := w.dirs[path]; dir != nil && dir.subscribed {
			dir.asked, dir.subscribed = false, false
			w.notify.request(path, false)
		}
	}
}

// event has the groups checked that a notification concerns.
func (w *Watcher) event(e fsnotify.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if dir := w.dirs[e.Name]; dir != nil && dir.asked && (e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)) {
		dir.asked, dir.subscribed = false, false // the folder itself is gone
		w.notify.request(e.Name, false)
	}
	dir := w.dirs[filepath.Dir(e.Name)]
	if dir == nil {
		return
	}
	due := time.Now().Add(w.opts.Settle / 4)
	base := filepath.Base(e.Name)
	if watches, ok := dir.watches[base]; ok {
		for _, h := range watches {
			h.announced = true
			w.hasten(h, due)
		}
		return
	}
	for _, watches := range dir.watches {
		for _, h := range watches {
			if h.leadsThrough(base) {
				h.announced = true
				w.hasten(h, due)
			}
		}
	}
}

// lost has all groups checked as soon as if there were few: the operating system
// had more notifications than it keeps, and has dropped some.
func (w *Watcher) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, dir := range w.dirs {
		for _, watches := range dir.watches {
			for _, h := range watches {
				w.hasten(h, now.Add(spread(h.group.Interval)))
			}
		}
	}
}

// leadsThrough reports whether a file of the group is a symbolic link that
// begins with a name in its own folder, such as ..data.
func (h *Watch) leadsThrough(base string) bool {
	for _, s := range h.known {
		first, _, _ := strings.Cut(filepath.ToSlash(s.stamp.Target), "/")
		if first == base {
			return true
		}
	}
	return false
}

// notifier asks the operating system for notifications. It does that one
// after the other on a goroutine of its own, where it may hang: files are
// polled anyway.
type notifier struct {
	watcher *Watcher
	work    chan struct{} // capacity 1

	mu       sync.Mutex
	requests []request
	folders  map[string]struct{} // asked for
	closed   bool
}

type request struct {
	path string
	add  bool
}

func newNotifier(w *Watcher) *notifier {
	n := &notifier{watcher: w, work: make(chan struct{}, 1), folders: make(map[string]struct{})}
	go n.run()
	return n
}

// request asks to add or remove a folder. It refuses what would be too many.
func (n *notifier) request(path string, add bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed, add && len(n.folders) >= maxNotified:
		return false
	case add:
		n.folders[path] = struct{}{}
	default:
		delete(n.folders, path)
	}
	n.requests = append(n.requests, request{path, add})
	select {
	case n.work <- struct{}{}:
	default:
	}
	return true
}

func (n *notifier) next() (r request, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || len(n.requests) == 0 {
		return r, false
	}
	r = n.requests[0]
	n.requests = n.requests[1:]
	return r, true
}

func (n *notifier) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.closed = true
		close(n.work)
	}
}

func (n *notifier) run() {
	var source *fsnotify.Watcher
	for range n.work {
		for {
			r, ok := n.next()
			if !ok {
				break
			}
			var err error
			if source == nil {
				if source, err = fsnotify.NewWatcher(); err == nil {
					go n.forward(source)
				}
			}
			n.do(source, r, err)
		}
	}
	if source != nil {
		source.Close()
	}
}

func (n *notifier) do(source *fsnotify.Watcher, r request, err error) {
	switch {
	case !r.add:
		if source != nil {
			_ = source.Remove(r.path) // it may be gone already
		}
		return
	case err == nil:
		err = source.Add(r.path)
	}
	if err != nil {
		n.mu.Lock()
		delete(n.folders, r.path)
		n.mu.Unlock()
	}
	n.watcher.subscribed(r.path, err)
}

func (n *notifier) forward(source *fsnotify.Watcher) {
	for {
		select {
		case e, ok := <-source.Events:
			if !ok {
				return
			}
			n.watcher.event(e)
		case _, ok := <-source.Errors:
			if !ok {
				return
			}
			n.watcher.lost()
		}
	}
}
