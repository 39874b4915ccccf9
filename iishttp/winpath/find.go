package winpath

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Find looks for a file or folder below root, by the rules of this package. The
// name is its path below root as it is spelled there, with slashes and without
// one at either end; root itself has the name "".
//
// An error wraps fs.ErrNotExist if there is nothing of this name, also if a
// name before the last is a file's or the path ends in a slash and names a
// file; fs.ErrInvalid if no file can have this path; fs.ErrPermission if a
// folder may not be read.
//
// A name that exists exactly as asked for costs one look at the file system.
func Find(root, path string) (name string, info fs.FileInfo, err error) {
	names, folder, err := Segments(path)
	if err != nil {
		return "", nil, err
	}
	name, info, err = find(root, names)
	if err == nil && folder && !info.IsDir() {
		return "", nil, fs.ErrNotExist
	}
	return name, info, err
}

func find(root string, names []string) (string, fs.FileInfo, error) {
	if !slices.ContainsFunc(names, literalOnly) {
		name := strings.Join(names, "/")
		if info, err := stat(filepath.Join(root, filepath.FromSlash(name))); err == nil {
			return name, info, nil
		}
	}
	info, err := stat(root)
	if err != nil {
		return "", nil, err
	}
	found := make([]string, 0, len(names))
	at := root
	for _, name := range names {
		if !info.IsDir() {
			return "", nil, fs.ErrNotExist
		}
		if name, info, err = findIn(at, name); err != nil {
			return "", nil, err
		}
		at = filepath.Join(at, name)
		found = append(found, name)
	}
	return strings.Join(found, "/"), info, nil
}

// findIn looks for one name in a folder.
func findIn(folder, name string) (string, fs.FileInfo, error) {
	literal := literalOnly(name)
	if !literal {
		info, err := stat(filepath.Join(folder, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return name, info, err
		}
	}
	names, err := listings.of(folder)
	if err != nil {
		return "", nil, err
	}
	var ok bool
	if literal {
		if !names.has(name) {
			return "", nil, errReserved
		}
	} else if name, ok = names.find(name); !ok {
		return "", nil, fs.ErrNotExist
	}
	info, err := stat(filepath.Join(folder, name))
	return name, info, err
}

// stat is os.Stat. That a file is no folder, or a name longer than a file's can
// be, is one more way of not being there.
func stat(name string) (fs.FileInfo, error) {
	info, err := os.Stat(name)
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) {
		return nil, fs.ErrNotExist
	}
	return info, err
}
