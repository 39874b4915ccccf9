// Package wholefile writes files such that whenever the machine stops, there is either
// what was there before or all of the new, and such that who could read them still can:
// commands that root runs write files of services that are not root.
package wholefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace writes a file beside its place, syncs it and renames it. If write fails, what
// was there before stays. What was there has its owner and its mode on the new file; a
// file that is new, or in the place of a symbolic link, is as Create makes it.
func Replace(path string, write func(io.Writer) error) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = temp.Close()
			_ = os.Remove(temp.Name())
		}
	}()
	if err = errors.Join(write(temp), hand(temp, path), temp.Sync()); err != nil {
		return err
	}
	if err = temp.Close(); err != nil {
		return err
	}
	if err = os.Rename(temp.Name(), path); err != nil {
		return err
	}
	// The name is not durable before.
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync() // not on Windows
		_ = dir.Close()
	}
	return nil
}

// maxLinks is how many links lead on from one to the next, as on Linux.
const maxLinks = 40

// Follow tells which file is meant by a name that may be that of a symbolic link. Root follows
// a link only if it is root's and in a folder that nobody else may write to: a service could
// have root write wherever it likes. Replace takes the place of any other link.
func Follow(path string) (string, error) {
	for range maxLinks {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Type() != fs.ModeSymlink {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		trusted, err := trusts(path, info)
		if err != nil {
			return "", err
		}
		if !trusted {
			return path, nil
		}
		next, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(next) {
			// The folder may be a link too, and ".." is where that leads.
			folder, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			next = filepath.Join(folder, next)
		}
		path = next
	}
	return "", fmt.Errorf("%s is a link that leads to itself", path)
}

// Create makes an empty file that is not there yet, for its owner alone, and opens it to be
// read and written. If root makes it, its owner is whoever has the folder: a service, whose
// commands root runs. In a folder of root's that is a group's to read and nobody else's, as that
// of a service's configuration is, the group may read the file as well. Who has the folder can
// put something else under the name at any time: the file that is open is the one that was made.
func Create(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := handNew(file, path); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(path))
	}
	return file, nil
}

// Open opens a file that is there, to be read and written. What Follow leads to must be a file,
// also when it is opened: a link that root does not follow is refused.
func Open(path string) (*os.File, error) {
	path, err := Follow(path)
	if err != nil {
		return nil, err
	}
	there, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !there.Mode().IsRegular() {
		return nil, notPlain(path, there)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	opened, err := file.Stat()
	if err == nil && !os.SameFile(there, opened) {
		err = fmt.Errorf("%s was replaced while it was opened: see who writes to its folder", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func notPlain(path string, there fs.FileInfo) error {
	if there.Mode().Type() == fs.ModeSymlink {
		return fmt.Errorf("%s is a link that others can have made, which root does not follow: name the file itself", path)
	}
	return fmt.Errorf("%s is no regular file", path)
}

// hand gives a new file the owner and the mode of what it takes the place of.
func hand(file *os.File, path string) error {
	before, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && before.Mode().Type() == fs.ModeSymlink:
		return handNew(file, path)
	case err != nil:
		return err
	case !before.Mode().IsRegular():
		return fmt.Errorf("%s is no file that could be replaced", path)
	}
	return give(file, before, before.Mode().Perm())
}
