package iisconfig

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
)

// Options bound what a hostile file can cost, and say where folders are.
// The zero value has usable bounds.
type Options struct {
	// MaxBytes bounds each file; 0 means 64 MB.
	MaxBytes int64
	// MaxTotal bounds all files together, certificates not counted; 0 means 512 MB.
	MaxTotal int64
	// MaxElements, MaxDepth and MaxToken bound the XML of a file: its elements, how
	// deep they are nested, and the bytes of one tag, text or comment. 0 means
	// 1,000,000, 64 and 1 MB.
	MaxElements, MaxDepth, MaxToken int
	// MaxFindings bounds the findings of each code; 0 means 1,000.
	MaxFindings int
	// Folders says of which folders of the IIS server the files below others are copies:
	// {`C:\inetpub`, "export/inetpub"}. The longest match counts. It finds the paths that
	// web.config files belong to. Without an entry, a web.config belongs to the folder
	// whose names, from the drive on, follow one another in its own path; the outermost
	// folder of a drive in it counts.
	Folders []Folder
	// WebConfigs are folders in which ReadFS looks for web.config files and nothing else.
	// They count where no other file is the web.config of a path.
	WebConfigs []string
}

func (o Options) withDefaults() Options {
	o.MaxBytes = cmp.Or(o.MaxBytes, 64<<20)
	o.MaxTotal = cmp.Or(o.MaxTotal, 512<<20)
	o.MaxElements = cmp.Or(o.MaxElements, 1_000_000)
	o.MaxDepth = cmp.Or(o.MaxDepth, 64)
	o.MaxToken = cmp.Or(o.MaxToken, 1<<20)
	o.MaxFindings = cmp.Or(o.MaxFindings, 1000)
	return o
}

// File is one file to read.
type File struct {
	// Name is for messages, and for web.config files it tells their folder. Slashes
	// and backslashes are both good.
	Name string
	Data []byte
}

// errDecided ends a reading of which enough was seen.
var errDecided = errors.New("decided")

// headSize is how much of a file of a folder is read to recognise it.
const headSize = 64 << 10

// item is a file whose content is read when it is its turn, so that a folder is
// never in memory as a whole.
type item struct {
	name string
	kind Kind
	size int64
	// walked says that nobody named the file: it was found in a folder.
	walked bool
	// depth counts the folders between it and the one that was named.
	depth int
	// base counts the names of that one.
	base int
	read func() ([]byte, error)
}

// Read reads files that are all of one server. The order of the files does not
// matter, except that of two that have the same site the first counts.
//
// The error joins an *Error for every file that cannot be read, with its line, and
// there is no Server then. A web.config is an exception: it makes a finding of the
// severity Error, because IIS too serves everything but that path.
func Read(files []File, opts Options) (*Server, error) {
	opts = opts.withDefaults()
	items := make([]item, 0, len(files))
	var errs []error
	for _, f := range files {
		it := item{name: f.Name, kind: WebConfig, size: int64(len(f.Data)), read: func() ([]byte, error) { return f.Data, nil }}
		if it.size > opts.MaxBytes {
			err := tooLarge(opts.MaxBytes)
			if !isWebConfig(f.Name) {
				errs = append(errs, &Error{File: f.Name, Err: err})
				continue
			}
			it.read = func() ([]byte, error) { return nil, err }
		}
		if !isWebConfig(f.Name) {
			it.kind = Detect(f.Data)
		}
		items = append(items, it)
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return read(items, opts)
}

// ReadDir reads everything in a folder and below it that is of a known kind; only
// the beginning of other files is looked at. Links are not followed, but named.
func ReadDir(fsys fs.FS, opts Options) (*Server, error) {
	return ReadFS(fsys, opts, ".")
}

// ReadFS is like ReadDir, for files and folders by name.
func ReadFS(fsys fs.FS, opts Options, names ...string) (*Server, error) {
	opts = opts.withDefaults()
	var items []item
	for _, name := range names {
		err := fs.WalkDir(fsys, name, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return &Error{File: p, Err: err}
			}
			it, err := look(fsys, p, d, opts)
			if it.read != nil {
				if it.walked = p != name; it.walked {
					it.base = len(segments(name))
				}
				it.depth = strings.Count(strings.TrimPrefix(p, name+"/"), "/")
				items = append(items, it)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	more, err := webConfigsBelow(fsys, opts)
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	items = slices.DeleteFunc(append(items, more...), func(it item) bool {
		again := seen[it.name]
		seen[it.name] = true
		return again
	})
	return read(items, opts)
}

// webConfigsBelow finds the files of Options.WebConfigs.
func webConfigsBelow(fsys fs.FS, opts Options) (items []item, err error) {
	const late = 1 << 20 // behind all other files
	for _, name := range opts.WebConfigs {
		err := fs.WalkDir(fsys, name, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return &Error{File: p, Err: err}
			}
			if !isWebConfig(p) {
				return nil
			}
			it, err := look(fsys, p, d, opts)
			if it.read != nil {
				it.walked, it.depth = true, late+strings.Count(p, "/")
				items = append(items, it)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return items, nil
}

// look recognises a file. Of a large one that is not recognised, no more than the
// beginning is read; one that is recognised may turn out to be of another kind as a
// whole.
//
// A web.config is one by its name, whatever is in it: nothing that a tenant writes
// into it makes it the configuration of the server. If it is a link, it is there for
// IIS, so that it must not be overlooked.
func look(fsys fs.FS, name string, d fs.DirEntry, opts Options) (item, error) {
	it := item{name: name, read: func() ([]byte, error) { return readFile(fsys, name, opts.MaxBytes) }}
	if d.IsDir() {
		return item{}, nil
	}
	if !d.Type().IsRegular() {
		it.read = func() ([]byte, error) { return nil, errors.New("it is not a regular file") }
	}
	if isWebConfig(name) {
		it.kind = WebConfig
	}
	if it.kind == WebConfig || !d.Type().IsRegular() {
		return it, nil
	}
	f, err := fsys.Open(name)
	if err != nil {
		return it, &Error{File: name, Err: err}
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		it.size = info.Size()
	}
	head, err := io.ReadAll(io.LimitReader(f, headSize))
	if err != nil {
		return it, &Error{File: name, Err: err}
	}
	it.kind = Detect(head)
	if it.kind == WebConfig && it.size > int64(len(head)) {
		// An applicationHost.config whose sites come late looks like this.
		// One that cannot be read fails when it is its turn, if it ever is.
		if data, err := it.read(); err == nil {
			it.kind = Detect(data)
		}
	}
	return it, nil
}

// readFile reads a file that is not larger than limit, whatever its size says.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, tooLarge(limit)
	}
	return data, nil
}

func tooLarge(limit int64) error { return fmt.Errorf("larger than %d bytes", limit) }

// isWebConfig reports whether IIS takes a file for the web.config of its folder.
func isWebConfig(name string) bool {
	return strings.EqualFold(path.Base(slashes(name)), "web.config")
}

// read reads the items by kind: web.config files last, because the sites tell
// where they belong, and of these the outer ones first, which declare names for inner ones.
func read(items []item, opts Options) (*Server, error) {
	b := newBuilder(opts, items)
	slices.SortStableFunc(b.items, func(x, y item) int {
		folders := 0
		if x.kind == WebConfig && y.kind == WebConfig {
			folders = cmp.Compare(strings.Count(slashes(x.name), "/"), strings.Count(slashes(y.name), "/"))
		}
		return cmp.Or(cmp.Compare(x.kind.order(), y.kind.order()), cmp.Compare(x.depth, y.depth), folders)
	})
	var errs []error
	for i := range b.items {
		it := &b.items[i]
		if it.kind.order() > Adsutil.order() {
			b.settle()
		}
		if !it.kind.read() || it.walked && (it.oldCopy() || it.otherConfig() || b.tenants(it)) {
			if err := b.listed(it); err != nil {
				errs = append(errs, err)
			}
			continue
		}
		data, err := it.read()
		if err == nil {
			err = b.charge(len(data))
		}
		if err != nil && isWebConfig(it.name) {
			b.webConfigFails(it, err)
			continue
		}
		if err == nil {
			err = b.file(it, data)
		}
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				err = &Error{File: it.name, Err: err}
			}
			errs = append(errs, err)
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return b.finish(), nil
}

// order is the one in which kinds are read. Files of no known kind come last, because
// another file may have named them.
func (k Kind) order() int {
	if k == Unknown {
		return math.MaxInt
	}
	return int(k)
}

// read reports whether files of the kind are read, not only listed.
func (k Kind) read() bool { return k != Unknown && k != PFX && k != PEM && k != DER }

// oldCopy reports whether the item is in one of the folders where IIS keeps former
// configurations: inetpub\history\CFGHISTORY_0000000001, inetsrv\backup,
// inetsrv\History and inetsrv\MetaBack.
func (it *item) oldCopy() bool {
	if it.kind != ApplicationHost && it.kind != Metabase && it.kind != Redirection {
		return false
	}
	return slices.ContainsFunc(segments(path.Dir(slashes(it.name))), func(dir string) bool {
		_, numbered := cutPrefixFold(dir, "CFGHISTORY_")
		return numbered || strings.EqualFold(dir, "history") || strings.EqualFold(dir, "backup") || strings.EqualFold(dir, "MetaBack")
	})
}

// otherConfig reports whether the item has the form of a web.config without being one:
// IIS reads the file of that name only, not Web.Release.config or the .config of a
// program.
func (it *item) otherConfig() bool {
	return it.kind == WebConfig && !isWebConfig(it.name)
}

// sibling finds the file that a configSource names, beside the file that names it.
func (b *builder) sibling(file, name string) *item {
	want := path.Join(path.Dir(slashes(file)), slashes(name))
	for i := range b.items {
		if strings.EqualFold(slashes(b.items[i].name), want) {
			return &b.items[i]
		}
	}
	return nil
}

func slashes(s string) string { return strings.ReplaceAll(s, `\`, "/") }
