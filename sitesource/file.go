package sitesource

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// Defaults of FileOptions.
const (
	DefaultPoll    = 500 * time.Millisecond
	DefaultSettle  = files.DefaultSettle
	DefaultTimeout = 30 * time.Second
)

// MaxSize is the size in bytes above which a file is not read. A million sites
// need about half of it.
const MaxSize = 256 << 20

// maxSites is the number of sites above which a file is none with sites.
const maxSites = 4 << 20

// maxLine is the length in bytes above which a record is not decoded.
const maxLine = 1 << 20

// FileOptions sets how a file is read and watched. Zero values mean the
// defaults.
type FileOptions struct {
	// Reader reads the file. It may be shared, so that all files together
	// occupy a bounded number of threads where file systems hang. Without it,
	// the file has a reader of its own.
	Reader *files.Reader

	// MaxSize is the size in bytes above which the file is not read; MaxSize,
	// which is the default, at most.
	MaxSize int64

	// Poll is how often the file is looked at. Where the operating system
	// notifies of changes, that is not what they wait for.
	Poll time.Duration

	// Settle is how long the file must stand still before it is read.
	Settle time.Duration

	// Timeout bounds how long the file system may take to read the file.
	Timeout time.Duration
}

// File is a source that reads a file with one site on each line.
//
// It has no memory of what it read: states may be handed from one File to
// another, such as that of the next configuration, provided that both decode
// alike.
type File[T any] struct {
	path   string
	decode Decode[T]
	opts   FileOptions
	disk   disk

	// pollOnly is for tests.
	pollOnly bool

	// unread is whether the file could not be read the last time, for a reason
	// that may pass without the file being touched.
	unread atomic.Bool
}

// NewFile returns a source that reads a file. It does not touch the file
// system.
func NewFile[T any](path string, decode Decode[T], o FileOptions) *File[T] {
	if o.Reader == nil {
		o.Reader = files.NewReader(files.WorkerOptions{Workers: 4})
	}
	if o.MaxSize <= 0 || o.MaxSize > MaxSize {
		o.MaxSize = MaxSize
	}
	o.Poll = cmp.Or(o.Poll, DefaultPoll)
	o.Settle = cmp.Or(o.Settle, DefaultSettle)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	return &File[T]{path: path, decode: decode, opts: o, disk: o.Reader}
}

// String returns the path of the file.
func (f *File[T]) String() string { return f.path }

// Read implements Source. What is wrong with lines of the file is in a
// *LinesError.
//
// A file that was modified a moment ago is waited for to stand still. An empty
// file is taken for one that somebody is about to write, or whose writer found
// the disk full.
func (f *File[T]) Read(ctx context.Context, since State) (State, Difference[T], error) {
	old, err := f.earlier(since)
	if err != nil {
		return since, Difference[T]{}, err
	}
	data, err := f.load(ctx)
	if err != nil {
		return since, Difference[T]{}, err
	}
	state, diff, err := f.compare(ctx, data, old)
	if err != nil {
		return since, Difference[T]{}, err
	}
	return state, diff, nil
}

// earlier returns a state in the shape in which this package made it.
func (f *File[T]) earlier(since State) (*fileState, error) {
	if since == nil {
		return newFileState(), nil
	}
	old, ok := since.(*fileState)
	if !ok {
		return nil, fmt.Errorf("%s: cannot be compared with the state of another kind of source", f.path)
	}
	return old, nil
}

// compare returns the state that data is, and how it differs from an earlier
// one.
func (f *File[T]) compare(ctx context.Context, data []byte, old *fileState) (*fileState, Difference[T], error) {
	var none Difference[T]
	state := old.next(data)
	if state.same(old) {
		return old, none, nil
	}
	body, err := text(data)
	if err != nil {
		return nil, none, fmt.Errorf("%s %w", f.path, err)
	}
	if len(body) == 0 {
		return nil, none, fmt.Errorf("%s %w", f.path, errEmpty)
	}
	spans := state.split(body, old.Len())
	if len(spans) > maxSites {
		return nil, none, fmt.Errorf("%s has more than %d lines: it is no file with sites", f.path, maxSites)
	}
	fresh, gone := match(old.lines, state.lines)
	records, errs, err := f.decodeLines(ctx, body, spans, state.lines, fresh)
	if err != nil {
		return nil, none, err
	}
	removed, clash := settleIDs(state.lines, fresh, gone)
	if err := f.refuse(state.lines, fresh, errs, clash); err != nil {
		return nil, none, err
	}
	return state, Difference[T]{Changed: records, Removed: removed}, nil
}
