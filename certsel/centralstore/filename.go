package centralstore

import (
	"context"
	"iter"
	"path"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/idn"
)

// fileName is the name of a certificate's file.
type fileName struct {
	base   string // the stem, or its form in Unicode
	format Format
}

func (n fileName) file() string { return n.base + string(n.format) }

// keyFile is the name of the file with the private key, where that is one of
// its own.
func (n fileName) keyFile() string { return n.base + keyExtension }

// names yields the names that the file of a stem may have, in the order in which
// they are looked for. An international host has two for each format: in Unicode,
// which is the one that IIS looks for, and as clients send it.
func (s *Store) names(stem string) iter.Seq[fileName] {
	return func(yield func(fileName) bool) {
		for _, base := range forms(stem) {
			for _, format := range s.opts.Formats {
				name := fileName{base, format}
				if len(name.file()) <= maxFile && !yield(name) {
					return
				}
			}
		}
	}
}

// forms returns a stem in Unicode, if it has that form, and as it is.
func forms(stem string) []string {
	if unicode, ok := idn.ToUnicode(stem); ok {
		return []string{unicode, stem}
	}
	return []string{stem}
}

// FileNames returns the names without extension that the file of a host may
// have, the preferred one first; none if it is no host name.
func FileNames(name string) []string {
	var h host
	if !h.parse(name) || h.exact() == nil {
		return nil
	}
	return forms(string(h.exact()))
}

// lister is a backend that can list its files.
type lister interface {
	// List calls yield with the names of files until it returns false.
	List(ctx context.Context, yield func(file string) bool) error
}

// maxListed bounds how many files of a store are looked at in search of those
// with a wrong name.
const maxListed = 200_000

// Misnamed is a file whose name is not looked for.
type Misnamed struct {
	File  string
	Right []string // the names that it should have one of
}

// Misnamed looks for files that are meant for hosts, but have a name that is not
// looked for: with upper-case letters, or with letters in two parts, where the
// file system tells these apart. It returns them by host. This is the only time
// that a store is listed, for somebody who asks what is wrong.
func (s *Store) Misnamed(ctx context.Context, hosts []string) map[string]Misnamed {
	list, ok := s.backend.(lister)
	if !ok || len(hosts) == 0 {
		return nil
	}
	wanted, right := make(map[string][]string), make(map[string]bool)
	for _, name := range hosts {
		var h host
		if !h.parse(name) {
			continue
		}
		for _, stem := range []string{string(h.exact()), string(h.wildcard())} {
			if stem == "" {
				continue
			}
			wanted[stem] = append(wanted[stem], name)
			for name := range s.names(stem) {
				right[name.file()] = true
			}
		}
	}
	found, err := call(ctx, s, func(ctx context.Context) (map[string]Misnamed, error) {
		found, seen := make(map[string]Misnamed), 0
		err := list.List(ctx, func(file string) bool {
			if name, ok := s.meant(file); ok && !right[file] {
				for _, host := range wanted[name.base] {
					if found[host].File == "" || name.base[0] != '_' {
						found[host] = Misnamed{file, rightNames(name)}
					}
				}
			}
			seen++
			return seen < maxListed && ctx.Err() == nil
		})
		return found, err
	})
	if err != nil {
		return nil // what is wrong with the store is said elsewhere
	}
	return found
}

// rightNames are the names that the file of a stem may have.
func rightNames(name fileName) (names []string) {
	for _, base := range forms(name.base) {
		names = append(names, base+string(name.format))
	}
	return names
}

// meant returns the stem and format that somebody may have meant by the name of a
// file.
func (s *Store) meant(file string) (name fileName, ok bool) {
	extension := path.Ext(file)
	for _, format := range s.opts.Formats {
		if strings.EqualFold(extension, string(format)) {
			stem, err := idn.ToASCII(strings.TrimSuffix(file, extension))
			if below, wildcard := strings.CutPrefix(stem, "*."); wildcard {
				stem = "_." + below
			}
			return fileName{stem, format}, err == nil && stem != ""
		}
	}
	return fileName{}, false
}
