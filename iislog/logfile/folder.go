// Package logfile writes the W3C logs of many sites into the files that IIS
// would have: a folder for each site, a file for each day. Whoever serves a
// request never waits for the disk.
package logfile

import (
	"container/list"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-iis/caddy-iis/iislog"
)

// Layout says what the files of sites hold and when a new one begins. It never
// changes, and many sites share one.
type Layout struct {
	Format *iislog.Format
	Period iislog.Period
	// Local says that days, and hours, are those of the local time zone
	// (localTimeRollover). Times in lines are UTC all the same.
	Local bool
	// MaxSize is the size in bytes at which a new file begins with period None
	// (truncateSize); 0 for never.
	MaxSize int64
}

// inZone returns a time in the zone that decides about days.
func (l *Layout) inZone(at time.Time) time.Time {
	if l.Local {
		return at.Local()
	}
	return at.UTC()
}

const (
	// flushEvery is how long a line waits at most for those behind it.
	flushEvery = time.Second
	// maxLines and maxBytes bound what waits to be written. What comes beyond that
	// is dropped, and counted.
	maxLines = 1 << 16
	maxBytes = 32 << 20
	// lineBytes is what a line takes beside its text.
	lineBytes = 64
	// wakeAt is how many lines are written before the second is over.
	wakeAt = 4096
	// idleAfter is how long a file stays open that gets no lines.
	idleAfter = time.Minute
	// closeWait bounds how long the end of a folder waits for its disk.
	closeWait = 10 * time.Second
)

// maxOpen bounds the files that are open at a time, in all folders together:
// those that had no line for longest are closed first.
var maxOpen = openLimit(fileLimit())

// openLimit leaves most of the files that a process may have open to connections.
func openLimit(files uint64) int64 { return int64(min(1000, max(16, files/4))) }

// openFiles counts them.
var openFiles atomic.Int64

// maxWaiting bounds the bytes that wait in all folders together: each site may
// have its own, and all of them a disk that has gone.
var maxWaiting int64 = 256 << 20

// waitingBytes counts them.
var waitingBytes atomic.Int64

// diskUsers bounds how many folders use the disk at a time: each that waits for
// it holds a thread, and a process ends that has 10,000 of them.
var diskUsers = make(chan struct{}, 1000)

// Folder writes the logs of sites below one folder. It opens nothing before
// there is a line, and ends its goroutine when no file is open any more.
type Folder struct {
	dir    string
	notify func(err error)

	mu      sync.Mutex
	queue   batch
	spare   batch
	running bool
	closed  bool
	waiting []chan struct{} // closed when what is in the queue has been written
	wake    chan struct{}

	written, full, failed atomic.Uint64
	failures              failures

	// Of the goroutine that writes, alone.
	files   map[uint32]*file
	recent  *list.List // open files, the one with the latest line first
	touched []*file
	purged  time.Time
}

// batch is lines that wait to be written, in the order in which they came.
type batch struct {
	lines []line
	text  []byte // of all lines
}

// line is a line of a batch.
type line struct {
	site   uint32
	size   int // of its text
	layout *Layout
	at     time.Time
}

// empty returns the batch without lines; of its memory it keeps what is not much
// more than it has needed.
func (b batch) empty() batch {
	const large = 1 << 20
	if cap(b.text) > large && len(b.text) < cap(b.text)/4 {
		return batch{}
	}
	clear(b.lines)
	return batch{b.lines[:0], b.text[:0]}
}

// scratch is where a line is made before it gets its place.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// New returns a folder. notify is told once that files cannot be written, and
// with nil that they can again; it may be nil.
func New(dir string, notify func(err error)) *Folder {
	if notify == nil {
		notify = func(error) {}
	}
	return &Folder{dir: dir, notify: notify, wake: make(chan struct{}, 1), files: make(map[uint32]*file), recent: list.New(), purged: time.Now()}
}

// Dir returns the folder's path.
func (f *Folder) Dir() string { return f.dir }

// Add adds the line of a request to the log of its site. It does not wait, and
// allocates nothing once there have been some lines.
func (f *Folder) Add(layout *Layout, r *iislog.Record) {
	buf := scratch.Get().(*[]byte)
	*buf = layout.Format.AppendLine((*buf)[:0], r)
	if added, many := f.enqueue(line{r.Site, len(*buf), layout, r.Time}, *buf); !added {
		f.full.Add(1)
	} else if many {
		f.hurry()
	}
	scratch.Put(buf)
}

// enqueue puts a line behind those that wait, if there is room, and reports
// whether there are so many of them that they should be written now.
func (f *Folder) enqueue(l line, text []byte) (added, many bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := &f.queue
	if f.closed || len(q.lines) >= maxLines || len(q.text)+len(text) > maxBytes {
		return false, false
	}
	if size := int64(len(text) + lineBytes); waitingBytes.Add(size) > maxWaiting {
		waitingBytes.Add(-size)
		return false, false
	}
	q.lines, q.text = append(q.lines, l), append(q.text, text...)
	f.start()
	return true, len(q.lines) == wakeAt || len(q.text) > maxBytes/2
}

// start has somebody write. The caller holds mu.
func (f *Folder) start() {
	if !f.running {
		f.running = true
		go f.run()
	}
}

// hurry has the queue written at once.
func (f *Folder) hurry() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// errSlow says that the disk does not answer.
var errSlow = errors.New("the disk does not answer")

// Flush returns when all lines that were added before are in their files.
func (f *Folder) Flush() error { return f.settle(false) }

// Close writes what waits and closes all files. Lines that come later are dropped.
func (f *Folder) Close() error { return f.settle(true) }

// Destruct implements the interface of Caddy's pools.
func (f *Folder) Destruct() error { return f.Close() }

func (f *Folder) settle(last bool) error {
	done := make(chan struct{})
	f.mu.Lock()
	f.closed = f.closed || last
	if !f.running && len(f.queue.lines) == 0 {
		f.mu.Unlock()
		return nil
	}
	f.waiting = append(f.waiting, done)
	f.start()
	f.mu.Unlock()
	f.hurry()
	select {
	case <-done:
		return nil
	case <-time.After(closeWait):
		return errSlow
	}
}

// run writes until nothing waits and no file is open.
func (f *Folder) run() {
	timer := time.NewTimer(flushEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-f.wake:
		}
		timer.Reset(flushEvery)
		taken, waiting, closed := f.take()
		f.useDisk(taken, closed)
		f.giveBack(taken)
		for _, done := range waiting {
			close(done)
		}
		if f.recent.Len() == 0 && f.rest() {
			return
		}
	}
}

// useDisk writes lines, and closes all files if they are the last.
func (f *Folder) useDisk(lines batch, last bool) {
	diskUsers <- struct{}{}
	defer func() { <-diskUsers }()
	f.write(lines, time.Now())
	if last {
		f.closeAll()
	}
}

// take returns what waits.
func (f *Folder) take() (taken batch, waiting []chan struct{}, closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken, waiting = f.queue, f.waiting
	f.queue, f.spare, f.waiting = f.spare, batch{}, nil
	return taken, waiting, f.closed
}

// giveBack keeps the memory of a batch for the next one but one.
func (f *Folder) giveBack(written batch) {
	waitingBytes.Add(-int64(len(written.text) + len(written.lines)*lineBytes))
	written = written.empty()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spare = written
}

// rest reports whether there is nothing to do, and lets go of memory then.
func (f *Folder) rest() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue.lines) > 0 || len(f.waiting) > 0 {
		return false
	}
	f.running, f.queue, f.spare = false, batch{}, batch{}
	return true
}

// Stats are counts since the folder is there.
type Stats struct {
	// Written counts lines in files, Full those that were dropped since too many
	// waited, and Failed those that could not be written.
	Written, Full, Failed uint64
}

// Stats returns the counts.
func (f *Folder) Stats() Stats { return Stats{f.written.Load(), f.full.Load(), f.failed.Load()} }

// Problem returns why some file cannot be written, nil if all can.
func (f *Folder) Problem() error { return f.failures.first() }

// Probe finds out whether files can be written, before there is a line. It may
// take as long as the disk does.
func (f *Folder) Probe() {
	diskUsers <- struct{}{}
	defer func() { <-diskUsers }()
	f.failures.set(probeKey, tryFolder(f.dir), f.notify)
	// A site that has no log any more will not tell that its folder is well again.
	for _, site := range f.failures.sites() {
		dir := f.siteDir(site)
		if _, err := os.Lstat(dir); os.IsNotExist(err) || err == nil && tryFolder(dir) == nil {
			f.failures.set(site, nil, f.notify)
		}
	}
}

// tryFolder finds out whether there can be files in a folder.
func tryFolder(dir string) error {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".w3c-*")
	if err != nil {
		return err
	}
	_ = probe.Close()
	return os.Remove(probe.Name())
}

// probeKey stands for the folder among the ids of sites.
const probeKey = 0

// siteDir is the folder of a site.
func (f *Folder) siteDir(site uint32) string { return filepath.Join(f.dir, iislog.Folder(site)) }

// failures are the reasons why files cannot be written, by site.
type failures struct {
	mu   sync.Mutex
	errs map[uint32]error
}

func (f *failures) first() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.errs) == 0 {
		return nil
	}
	return f.errs[slices.Min(slices.Collect(maps.Keys(f.errs)))]
}

// sites lists those that cannot be written.
func (f *failures) sites() (list []uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for site := range f.errs {
		if site != probeKey {
			list = append(list, site)
		}
	}
	return list
}

// set notes that the files of a site can be written, or why not, and tells if
// that makes a difference for the folder.
func (f *failures) set(site uint32, err error, notify func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.errs)
	if err == nil {
		delete(f.errs, site)
	} else {
		if f.errs == nil {
			f.errs = make(map[uint32]error)
		}
		f.errs[site] = err
	}
	switch {
	case before == 0 && len(f.errs) > 0:
		notify(err)
	case before > 0 && len(f.errs) == 0:
		notify(nil)
	}
}
