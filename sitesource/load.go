package sitesource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// maxTries is how often a file is read that changes meanwhile.
const maxTries = 5

var errMoving = errors.New("it keeps changing: a program that is still writing it?")

// disk is what a file is read with: a *files.Reader, but in tests.
type disk interface {
	Read(ctx context.Context, path string, limit int64) ([]byte, files.Stamp, error)
	Stat(ctx context.Context, path string) (files.Stamp, error)
}

// load returns the content of the file, and takes note of whether it could not
// be read.
func (f *File[T]) load(ctx context.Context) ([]byte, error) {
	data, err := f.loadStill(ctx)
	f.unread.Store(err != nil && ctx.Err() == nil && !visible(err))
	if errors.Is(err, files.ErrTooLarge) {
		return nil, fmt.Errorf("%s: larger than %s", f.path, size(f.opts.MaxSize))
	}
	return data, err
}

// visible reports whether an error passes only with a change that watching the
// file shows.
func visible(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, files.ErrNotRegular) || errors.Is(err, files.ErrTooLarge)
}

// loadStill returns the content of the file when it stands still.
func (f *File[T]) loadStill(ctx context.Context) (data []byte, err error) {
	for try := range maxTries {
		if try > 0 {
			_ = sleep(ctx, f.opts.Settle/4) // if it is cut short, reading fails
		}
		var stamp files.Stamp
		data, stamp, err = f.read(ctx)
		if err == nil {
			err = f.still(ctx, stamp)
		}
		if err == nil || lasting(ctx, err) {
			break
		}
	}
	return data, err
}

// lasting reports whether an error would be the same at once again. Others are
// mostly of programs that write the file, or lock it.
func lasting(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || visible(err) ||
		errors.Is(err, fs.ErrPermission) || errors.Is(err, files.ErrUnavailable))
}

// still waits until a file is old enough to be taken for finished, and returns
// an error unless it is then what it was. The Watcher waits so for most changes,
// but it loses patience, and nobody does for the first of all reads. Times from
// a share whose clock is wrong say nothing, and are not waited for.
func (f *File[T]) still(ctx context.Context, stamp files.Stamp) error {
	age := time.Since(stamp.ModTime())
	if age < 0 || age >= f.opts.Settle {
		return nil
	}
	if err := sleep(ctx, f.opts.Settle-age); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	defer cancel()
	now, err := f.disk.Stat(ctx, f.path)
	if err == nil && now != stamp {
		err = &fs.PathError{Op: "read", Path: f.path, Err: errMoving}
	}
	return err
}

func (f *File[T]) read(ctx context.Context) ([]byte, files.Stamp, error) {
	ctx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	defer cancel()
	return f.disk.Read(ctx, f.path, f.opts.MaxSize)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
