package centralstore

import (
	"context"
	"iter"
	"path"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/idn"
)

// FileName names the files that a certificate is in, relative to the store and with
// slashes.
type FileName struct {
	// File is the file with the certificate.
	File string

	// Key is the file with the private key, if File does not hold it; empty: it must.
	Key string

	// Format is how File is read.
	Format Format
}

// standardNames are the names that the files of a stem may have in a central store.
func standardNames(formats []Format) func(base string) []FileName {
	return func(base string) []FileName {
		names := make([]FileName, 0, len(formats))
		for _, format := range formats {
			name := FileName{File: base + string(format), Format: format}
			if format.textual() {
				name.Key = base + keyExtension
			}
			names = append(names, name)
		}
		return names
	}
}

// names yields the names that the file of a stem may have, in the order in which
// they are looked for. An international host has them in two forms: in Unicode,
// which is the one that IIS looks for, and as clients send it.
func (s *Store) names(stem string) iter.Seq[FileName] {
	return func(yield func(FileName) bool) {
		for _, base := range forms(stem) {
			for _, name := range s.opts.Names(base) {
				if !tooLongName(name.File) && !yield(name) {
					return
				}
			}
		}
	}
}

// tooLongName reports whether no file system has such a name.
func tooLongName(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxFile {
			return true
		}
	}
	return false
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
	if !ok || len(hosts) == 0 || s.opts.named {
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
				right[name.File] = true
			}
		}
	}
	found, err := call(ctx, s, func(ctx context.Context) (map[string]Misnamed, error) {
		found, seen := make(map[string]Misnamed), 0
		err := list.List(ctx, func(file string) bool {
			if stem, format, ok := s.meant(file); ok && !right[file] {
				for _, host := range wanted[stem] {
					if found[host].File == "" || stem[0] != '_' {
						found[host] = Misnamed{file, rightNames(stem, format)}
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
func rightNames(stem string, format Format) (names []string) {
	for _, base := range forms(stem) {
		names = append(names, base+string(format))
	}
	return names
}

// meant returns the stem and format that somebody may have meant by the name of a
// file.
func (s *Store) meant(file string) (stem string, format Format, ok bool) {
	extension := path.Ext(file)
	for _, format := range s.opts.Formats {
		if strings.EqualFold(extension, string(format)) {
			stem, err := idn.ToASCII(strings.TrimSuffix(file, extension))
			if below, wildcard := strings.CutPrefix(stem, "*."); wildcard {
				stem = "_." + below
			}
			return stem, format, err == nil && stem != ""
		}
	}
	return "", "", false
}
