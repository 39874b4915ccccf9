package centralstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/files"
)

// lease is how long a folder is kept open. It is opened anew every time it is
// used after that, so that another folder that took its place is noticed, and
// nobody is kept from moving it away.
const lease = time.Second

// folder is a store in the file system.
type folder struct {
	path string

	mu   sync.Mutex
	open *openFolder
}

// openFolder is a folder that is open. What is in it cannot lead out of it.
type openFolder struct {
	*os.Root
	uses int // guarded by folder.mu
}

// Folder returns the backend of a folder. It is not touched until it is asked
// for a file.
func Folder(path string) Backend {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return &folder{path: path}
}

// Stat implements Backend.
func (f *folder) Stat(_ context.Context, file string) (stamp files.Stamp, err error) {
	err = f.with(func(root *os.Root) error {
		stamp, _, err = stat(root, file)
		return err
	})
	return stamp, err
}

// Read implements Backend.
func (f *folder) Read(_ context.Context, file string, limit int64) (data []byte, stamp files.Stamp, err error) {
	err = f.with(func(root *os.Root) error {
		data, stamp, err = read(root, file, limit)
		return err
	})
	return data, stamp, err
}

// Ping implements Backend.
func (f *folder) Ping(context.Context) error {
	return f.with(func(root *os.Root) error {
		dir, err := root.Open(".")
		if err != nil {
			return err
		}
		defer dir.Close()
		switch _, err := dir.Readdirnames(1); {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w: %s is empty", ErrStore, f.path)
		case err != nil: // such as that the folder was deleted
			return fmt.Errorf("%w: %v", ErrStore, err) //nolint:errorlint // no file is missing, the store is
		}
		return nil
	})
}

// List implements lister.
func (f *folder) List(ctx context.Context, yield func(file string) bool) error {
	return f.with(func(root *os.Root) error {
		dir, err := root.Open(".")
		if err != nil {
			return err
		}
		defer dir.Close()
		for ctx.Err() == nil {
			names, err := dir.Readdirnames(1000)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			for _, name := range names {
				if !yield(name) {
					return nil
				}
			}
		}
		return ctx.Err()
	})
}

// Locate implements Backend.
func (f *folder) Locate(file string) string { return filepath.Join(f.path, file) }

// String implements Backend.
func (f *folder) String() string { return f.path }

// with calls use with the open folder.
func (f *folder) with(use func(*os.Root) error) error {
	root, err := f.acquire()
	if err != nil {
		return fmt.Errorf("%w: %v", ErrStore, err) //nolint:errorlint // no file is missing, the store is
	}
	defer f.release(root)
	return fileError(use(root.Root))
}

func (f *folder) acquire() (*openFolder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		root, err := openRoot(f.path)
		if err != nil {
			return nil, err
		}
		open := &openFolder{Root: root, uses: 1} // the lease is a use
		f.open = open
		time.AfterFunc(lease, func() { f.expire(open) })
	}
	f.open.uses++
	return f.open, nil
}

func (f *folder) expire(open *openFolder) {
	f.mu.Lock()
	f.open = nil
	f.mu.Unlock()
	f.release(open)
}

func (f *folder) release(open *openFolder) {
	f.mu.Lock()
	open.uses--
	unused := open.uses == 0
	f.mu.Unlock()
	if unused {
		_ = open.Close() // opened for reading only
	}
}

// openRoot opens a folder. Something else in its place is not opened, since
// opening a named pipe would wait for its writer.
func openRoot(path string) (*os.Root, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", path)
	}
	return os.OpenRoot(path)
}

func stat(root *os.Root, file string) (files.Stamp, fs.FileInfo, error) {
	info, err := root.Lstat(file)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return stampOf(info), info, err
	}
	target, err := root.Readlink(file)
	if err != nil {
		return files.Stamp{}, nil, err
	}
	if info, err = root.Stat(file); err != nil {
		return files.Stamp{}, nil, err
	}
	stamp := stampOf(info)
	stamp.Target = target
	return stamp, info, nil
}

func stampOf(info fs.FileInfo) files.Stamp {
	if info == nil {
		return files.Stamp{}
	}
	return files.StampOf(info)
}

func read(root *os.Root, file string, limit int64) ([]byte, files.Stamp, error) {
	named, info, err := stat(root, file)
	if err != nil {
		return nil, files.Stamp{}, err
	}
	if err := files.CheckRegular(info, limit); err != nil {
		return nil, files.Stamp{}, err
	}
	open, err := root.OpenFile(file, files.OpenFlags, 0)
	if err != nil {
		return nil, files.Stamp{}, err
	}
	defer open.Close()
	data, stamp, err := files.ReadOpened(open, limit)
	stamp.Target = named.Target
	return data, stamp, err
}

// fileError returns an error without the name of the file, which the caller
// adds. What is not about one file is about the store, such as a share that
// is gone.
func fileError(err error) error {
	if named := (*fs.PathError)(nil); errors.As(err, &named) {
		err = named.Err
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch {
	case tooLong(errno):
		return fs.ErrNotExist
	case aboutFile(errno), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return err
	default:
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
}
