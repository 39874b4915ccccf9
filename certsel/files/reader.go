package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Reader reads files on workers. A process needs one, whose workers bound
// how many threads all dead file systems together can hold.
type Reader struct {
	workers *Workers
	read    func(path string, limit int64) ([]byte, Stamp, error)
	stat    func(path string) (Stamp, error)
}

// NewReader returns a reader.
func NewReader(o WorkerOptions) *Reader {
	return &Reader{workers: NewWorkers(o), read: read, stat: stat}
}

// Workers returns the workers of the reader.
func (r *Reader) Workers() *Workers { return r.workers }

// Read returns the content of a regular file of at most limit bytes, and the
// stamp it had; a limit of zero stands for DefaultMaxSize. Symbolic links are
// followed. It returns when the context ends even if the file system hangs.
// Errors name the file.
func (r *Reader) Read(ctx context.Context, path string, limit int64) ([]byte, Stamp, error) {
	type content struct {
		data  []byte
		stamp Stamp
	}
	c, err := Do(ctx, r.workers, Place(path), func() (c content, err error) {
		c.data, c.stamp, err = r.read(path, limit)
		return c, err
	})
	return c.data, c.stamp, pathError("read", path, err)
}

// Stat returns the stamp of a file, whatever kind of file it is. Errors name
// the file.
func (r *Reader) Stat(ctx context.Context, path string) (Stamp, error) {
	stamp, err := Do(ctx, r.workers, Place(path), func() (Stamp, error) { return r.stat(path) })
	return stamp, pathError("stat", path, err)
}

// Place is what hangs together: a share, or else a folder.
func Place(path string) string {
	if volume := filepath.VolumeName(path); len(volume) > 2 {
		return volume
	}
	return filepath.Dir(path)
}

// pathError names the file in an error, once.
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if named := (*fs.PathError)(nil); errors.As(err, &named) {
		err = named.Err
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

func read(path string, limit int64) ([]byte, Stamp, error) {
	// First, since opening some devices has effects of its own.
	info, target, err := look(path)
	if err != nil {
		return nil, Stamp{}, err
	}
	if err := CheckRegular(info, limit); err != nil {
		return nil, Stamp{}, err
	}
	file, err := os.OpenFile(path, OpenFlags, 0)
	if err != nil {
		return nil, Stamp{}, err
	}
	defer file.Close()
	data, stamp, err := ReadOpened(file, limit)
	stamp.Target = target
	return data, stamp, err
}

func stat(path string) (Stamp, error) {
	info, target, err := look(path)
	if err != nil {
		return Stamp{}, err
	}
	stamp := StampOf(info)
	stamp.Target = target
	return stamp, nil
}

// look describes a file, and says where its name leads to if that is a symbolic
// link.
func look(path string) (info fs.FileInfo, target string, err error) {
	info, err = os.Lstat(path)
	if err == nil && info.Mode()&(fs.ModeSymlink|fs.ModeIrregular) != 0 {
		target = link(path)
		info, err = os.Stat(path)
	}
	return info, target, err
}

// link returns where a symbolic link leads to.
func link(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	return target
}
