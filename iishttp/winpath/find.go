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

// Find looks for a file or folder below root by the names that Segments makes
// of a path, by the rules of this package; folder demands a folder. The name it
// returns is the path below root as it is spelled there, with slashes and
// without one at either end; that of root itself is empty.
//
// An error wraps fs.ErrNotExist if there is nothing of this name, also if a
// name before the last is a file's; fs.ErrPermission if a folder may not be
// read.
//
// What exists exactly as asked for costs one look at the file system.
func Find(root string, names []string, folder bool) (name string, info fs.FileInfo, err error) {
	name, info, err = find(root, names)
	if err == nil && folder && !info.IsDir() {
		return "", nil, fs.ErrNotExist
	}
	return name, info, err
}

// First looks for the first of several files in a folder, each a single name.
// It returns the place of the name among them, and the name as it is spelled
// in the folder. ok reports whether one is there.
func First(folder string, names []string) (place int, name string, info fs.FileInfo, ok bool) {
	held, err := listings.of(folder)
	for i, name := range names {
		// A folder that cannot be listed has files by their exact names.
		found, there := name, err != nil && !literalOnly(name)
		if err == nil {
			found, there = held.lookup(name)
		}
		if !there {
			continue
		}
		if info, err := stat(filepath.Join(folder, found)); err == nil && info.Mode().IsRegular() {
			return i, found, info, true
		}
	}
	return 0, "", nil, false
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
	if !literalOnly(name) {
		info, err := stat(filepath.Join(folder, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return name, info, err
		}
	}
	held, err := listings.of(folder)
	if err != nil {
		return "", nil, err
	}
	found, ok := held.lookup(name)
	if !ok {
		return "", nil, fs.ErrNotExist
	}
	info, err := stat(filepath.Join(folder, found))
	return found, info, err
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
