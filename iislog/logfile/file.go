package logfile

import (
	"bytes"
	"container/list"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/iislog"
)

// The rights of what is made here: programs that evaluate logs are in the group
// of the user that runs Caddy.
const (
	folderMode = 0o750
	fileMode   = 0o640
)

const (
	// lookEvery is how often an open file is looked for under its name: somebody
	// may have moved or removed it.
	lookEvery = 5 * time.Second
	// retryAfter is how long a file that could not be written is left alone.
	retryAfter = 5 * time.Second
	// lateLines is how long after a new file has begun lines of the time before go
	// into it: requests end at the same time on several cores.
	lateLines = time.Minute
	// purgeEvery is how often what is known of closed files is looked through.
	purgeEvery = time.Hour
)

// file is the current file of a site. What is known of it stays when it is
// closed for others: it need not begin with a header again.
type file struct {
	site   uint32
	layout *Layout
	name   string // without folder; empty: none yet
	number int    // of a file without period
	custom bool
	from   time.Time // the first moment of its period
	to     time.Time // the first one behind it; zero: there is none
	fields string    // the line #Fields that holds at its end

	open    *os.File // nil: it is closed
	place   *list.Element
	size    int64
	torn    bool // its last line has no end
	used    time.Time
	looked  time.Time
	retryAt time.Time

	buf   []byte
	count uint64  // lines in buf
	first *Layout // of the first one
}

// write writes lines to their files.
func (f *Folder) write(lines batch, now time.Time) {
	text := lines.text
	for i := range lines.lines {
		l := &lines.lines[i]
		fl := f.files[l.site]
		if fl == nil {
			fl = &file{site: l.site}
			f.files[l.site] = fl
		}
		f.add(fl, l, text[:l.size], now)
		text = text[l.size:]
	}
	for _, fl := range f.touched {
		f.flush(fl, now)
	}
	clear(f.touched)
	f.touched = f.touched[:0]
	f.closeUnused(now)
}

// add puts a line behind those that wait for a file.
func (f *Folder) add(fl *file, l *line, text []byte, now time.Time) {
	if !fl.holds(l) {
		f.flush(fl, now)
		f.shut(fl)
		fl.begin(l)
		f.findNumber(fl)
	}
	fl.layout = l.layout
	if fl.count == 0 {
		f.touched, fl.first = append(f.touched, fl), l.layout
	}
	if fields := l.layout.Format.FieldsLine(); fields != fl.fields {
		fl.buf = l.layout.Format.AppendHeader(fl.buf, l.at)
		fl.fields = fields
	}
	fl.buf = append(fl.buf, text...)
	fl.count++
}

// holds reports whether a line belongs into the current file.
func (fl *file) holds(l *line) bool {
	was := fl.layout
	if was == nil || was.Period != l.layout.Period || was.Local != l.layout.Local || was.MaxSize != l.layout.MaxSize || fl.custom != l.layout.Format.Custom() {
		return false
	}
	return fl.to.IsZero() || l.at.Before(fl.to) && !l.at.Before(fl.from.Add(-lateLines))
}

// begin makes the file current that a line belongs into.
func (fl *file) begin(l *line) {
	at := l.layout.inZone(l.at)
	fl.custom, fl.number, fl.fields = l.layout.Format.Custom(), 1, ""
	fl.from, fl.to = l.layout.Period.Span(at)
	fl.name = l.layout.Period.FileName(at, fl.number, fl.custom)
	fl.layout = l.layout
}

// findNumber goes on with the last file of a site, if those have numbers.
func (f *Folder) findNumber(fl *file) {
	if fl.layout.Period != iislog.None || fl.layout.MaxSize == 0 {
		return
	}
	entries, err := os.ReadDir(f.siteDir(fl.site))
	if err != nil {
		return // there is none yet, or opening tells why
	}
	for _, entry := range entries {
		digits, ok := strings.CutPrefix(entry.Name(), "u_extend")
		digits = strings.TrimSuffix(strings.TrimSuffix(digits, ".log"), "_x")
		if n, err := strconv.Atoi(digits); ok && err == nil && n > fl.number && entry.Name() == iislog.None.FileName(time.Time{}, n, fl.custom) {
			fl.number = n
		}
	}
	fl.name = iislog.None.FileName(time.Time{}, fl.number, fl.custom)
}

// flush writes what waits for a file. What cannot be written is dropped.
func (f *Folder) flush(fl *file, now time.Time) {
	if fl.count == 0 {
		return
	}
	count := fl.count
	err := f.store(fl, now)
	const large = 64 << 10
	if fl.buf, fl.count = fl.buf[:0], 0; cap(fl.buf) > large || fl.open == nil {
		fl.buf = nil
	}
	switch {
	case err == nil:
		f.written.Add(count)
	case !errors.Is(err, errLeftAlone):
		fl.retryAt = now.Add(retryAfter)
		f.failures.set(fl.site, err, f.notify)
		f.shut(fl)
		fallthrough
	default:
		f.failed.Add(count)
		fl.fields = "" // who knows what the file ends with
	}
}

// errLeftAlone says that a file could not be written a moment ago.
var errLeftAlone = errors.New("it could not be written a moment ago")

// store writes the buffer of a file.
func (f *Folder) store(fl *file, now time.Time) error {
	if now.Before(fl.retryAt) {
		return errLeftAlone
	}
	if err := f.ready(fl, now); err != nil {
		return err
	}
	if fl.layout.MaxSize > 0 && fl.layout.Period == iislog.None && fl.size > 0 && fl.size+int64(len(fl.buf)) > fl.layout.MaxSize {
		f.shut(fl)
		fl.number++
		fl.name = iislog.None.FileName(time.Time{}, fl.number, fl.custom)
		if err := f.ready(fl, now); err != nil {
			return err
		}
	}
	if fl.size == 0 && !bytes.HasPrefix(fl.buf, []byte("#Software:")) {
		fl.buf = append(fl.first.Format.AppendHeader(nil, now), fl.buf...)
	}
	if fl.torn {
		fl.buf = append([]byte(iislog.EndOfLine), fl.buf...)
	}
	n, err := fl.open.Write(fl.buf)
	fl.size += int64(n)
	if n > 0 {
		fl.torn = fl.buf[n-1] != '\n'
	}
	if err != nil {
		return err
	}
	fl.used = now
	f.recent.MoveToFront(fl.place)
	f.failures.set(fl.site, nil, f.notify)
	f.failures.set(probeKey, nil, f.notify)
	return nil
}

// ready opens a file, if it is not open under its name.
func (f *Folder) ready(fl *file, now time.Time) error {
	dir := f.siteDir(fl.site)
	path := filepath.Join(dir, fl.name)
	if fl.open != nil && !fl.isWhole() {
		f.shut(fl)
	}
	if fl.open != nil && now.Sub(fl.looked) >= lookEvery {
		fl.looked = now
		if !isStill(fl.open, path) {
			f.shut(fl)
		}
	}
	if fl.open != nil {
		return nil
	}
	for openFiles.Load() >= maxOpen && f.shutOldest() {
	}
	open, err := openAppend(path)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(dir, folderMode); err == nil {
			open, err = openAppend(path)
		}
	}
	if err != nil {
		return err
	}
	if fl.size, fl.torn, err = endOf(open); err != nil {
		_ = open.Close()
		return err
	}
	openFiles.Add(1)
	fl.open, fl.looked, fl.used, fl.place = open, now, now, f.recent.PushFront(fl)
	return nil
}

func openAppend(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, fileMode)
}

// isWhole reports whether an open file is as large as it was left: somebody may
// have cut it, and it then needs a header.
func (fl *file) isWhole() bool {
	info, err := fl.open.Stat()
	return err == nil && info.Size() == fl.size
}

// isStill reports whether an open file is the one under a name.
func isStill(open *os.File, path string) bool {
	have, err := open.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(have, named)
}

// endOf returns the size of a file, and whether its last line has no end, which
// is so when a process was killed.
func endOf(open *os.File) (size int64, torn bool, err error) {
	info, err := open.Stat()
	if err != nil {
		return 0, false, err
	}
	if !info.Mode().IsRegular() {
		return 0, false, &fs.PathError{Op: "open", Path: open.Name(), Err: fs.ErrInvalid}
	}
	if size = info.Size(); size == 0 {
		return 0, false, nil
	}
	var last [1]byte
	if _, err := open.ReadAt(last[:], size-1); err != nil {
		return size, false, err
	}
	return size, last[0] != '\n', nil
}

// shut closes a file.
func (f *Folder) shut(fl *file) {
	if fl.open == nil {
		return
	}
	if err := fl.open.Close(); err != nil {
		f.failures.set(fl.site, err, f.notify)
	}
	openFiles.Add(-1)
	f.recent.Remove(fl.place)
	fl.open, fl.place = nil, nil
}

// shutOldest closes the file that had no line for longest, if any is open.
func (f *Folder) shutOldest() bool {
	oldest := f.recent.Back()
	if oldest == nil {
		return false
	}
	fl := oldest.Value.(*file)
	f.shut(fl)
	if fl.count == 0 {
		fl.buf = nil
	}
	return true
}

// closeUnused closes files that had no line for some time, or that are too many.
func (f *Folder) closeUnused(now time.Time) {
	for oldest := f.recent.Back(); oldest != nil && now.Sub(oldest.Value.(*file).used) >= idleAfter; oldest = f.recent.Back() {
		f.shutOldest()
	}
	for openFiles.Load() > maxOpen && f.shutOldest() {
	}
	if now.Sub(f.purged) < purgeEvery {
		return
	}
	f.purged = now
	for site, fl := range f.files {
		if fl.open == nil && !fl.to.IsZero() && fl.to.Before(now) {
			delete(f.files, site)
			f.failures.set(site, nil, f.notify)
		}
	}
}

// closeAll closes all files.
func (f *Folder) closeAll() {
	for f.shutOldest() {
	}
}
