package iishttp

import (
	"fmt"
	"io/fs"

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

// documents are the names of default documents.
type documents struct {
	names []string   // of one part each; empty if there are others
	paths [][]string // in place of names
}

func newDocuments(names []string) (documents, error) {
	var d documents
	plain := true
	for _, name := range names {
		path, folder, err := winpath.Segments(name)
		if err != nil || folder || len(path) == 0 {
			return documents{}, fmt.Errorf("%q is no name of a file", name)
		}
		plain = plain && len(path) == 1
		d.paths = append(d.paths, path)
	}
	if plain {
		d.names, d.paths = names, nil
	}
	return d, nil
}

// in returns the default document of a folder, by its path there.
func (d documents) in(folder string) (name string, info fs.FileInfo, found bool) {
	if len(d.names) > 0 {
		_, name, info, found = winpath.First(folder, d.names)
		return name, info, found
	}
	for _, path := range d.paths {
		name, info, err := winpath.Find(folder, path, false)
		if err == nil && info.Mode().IsRegular() {
			return name, info, true
		}
	}
	return "", nil, false
}
