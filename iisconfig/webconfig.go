package iisconfig

import (
	"crypto/sha256"
	"errors"
	"path"
	"slices"
	"strings"
)

// webPlace is a path of a site that a web.config belongs to.
type webPlace struct {
	site *Site
	path string
	// nobody says that the file is in no folder of a site.
	nobody bool
	// dotNET says that IIS does not read the file (allowSubDirConfig="false", IIS 6): what .NET
	// reads of it counts, as it does for requests that .NET sees.
	dotNET bool
}

func (w *webPlace) scope() string { return joinScope(w.site.Name, w.path) }

// rank puts web.config files after applicationHost.config and inner ones after outer
// ones.
func (w *webPlace) rank() int { return 1 + len(segments(w.path)) }

// webConfig reads a web.config for every path whose folder it is in. Two sites may
// share a folder.
//
// One that is not well-formed makes a finding, no error: IIS answers 500.19 for its
// path and serves the others.
func (b *builder) webConfig(it *item, text []byte) {
	name, places := it.name, b.places(it)
	src := Source{File: name}
	if places == nil {
		b.rep.warn(CodeNoSite, src, "give it under the folder of its site, or name the folders of the server with their translation",
			"the web.config is in no folder of a site")
		// It is read all the same, for what is wrong with it.
		places = []webPlace{{site: &Site{Name: "?"}, nobody: true}}
	}
	if places = b.notRead(name, text, places); len(places) == 0 {
		return
	}
	for i := range places {
		if i > 0 {
			b.rep.muted = true
			if err := b.charge(len(text)); err != nil {
				b.rep.muted = false
				b.malformed(src, err, places[i:])
				return
			}
		}
		if places[i].dotNET {
			b.rep.info(CodeIgnored, Source{File: name, Scope: places[i].scope()},
				"IIS does not read it: %s; only what .NET reads of it counts, such as system.web", b.whyNotRead(places[i]))
		}
		before := len(b.placed)
		r := &configReader{b: b, x: b.reader(name, text), file: name, kind: WebConfig, web: &places[i]}
		r.x.load = r.loadBelow
		err := r.read()
		switch {
		case err != nil, places[i].nobody:
			b.placed = b.placed[:before]
		case !slices.ContainsFunc(b.placed[before:], func(p placement) bool { return p.source.Scope == places[i].scope() }):
			b.wasThere(places[i], name)
		}
		if err != nil {
			b.malformed(src, err, places[i:i+1])
		}
	}
	b.rep.muted = false
}

// webConfigFails is for a web.config that cannot be read at all.
func (b *builder) webConfigFails(it *item, err error) {
	b.server.Inputs = append(b.server.Inputs, Input{Name: it.name, Kind: WebConfig})
	b.malformed(Source{File: it.name}, err, b.places(it))
}

// malformed marks the places of a web.config of which nothing could be used.
func (b *builder) malformed(src Source, err error, places []webPlace) {
	if e, ok := errors.AsType[*Error](err); ok {
		src.Line, err = e.Line, e.Err
	}
	b.rep.error(CodeMalformed, src, "", "the web.config is left out, as IIS answers 500.19 for its path: %v", err)
	for _, p := range places {
		b.markWebConfig(p, src, CodeMalformed, err.Error())
	}
}

// markWebConfig makes a place answer 500.19 for its web.config as a whole.
func (b *builder) markWebConfig(p webPlace, src Source, code, message string) {
	if p.nobody {
		return
	}
	src.Scope = p.scope()
	b.placed = append(b.placed, placement{owner: p.site, path: p.path, source: src, layer: &layer{rank: p.rank(), changes: []change{{
		section: Section{Name: "web.config", Source: src},
		faults:  []Fault{{Code: code, Section: "web.config", Message: message, Source: src}},
	}}}})
}

// wasThere notes of a web.config that says nothing of its own folder to IIS that it was among
// the files: what it has to say is known.
func (b *builder) wasThere(p webPlace, name string) {
	src := Source{File: name, Scope: p.scope()}
	b.placed = append(b.placed, placement{owner: p.site, path: p.path, source: src, layer: &layer{rank: p.rank(), changes: []change{{
		section: Section{Name: "web.config", Source: src}, apply: func(*Settings) {},
	}}}})
}

// folder is a virtual directory, for the web.config files in its folder.
type folder struct {
	place       webPlace
	physical    string // in its clean form
	noSubConfig bool
}

// folderIndex finds virtual directories.
type folderIndex struct {
	byPath  map[string][]folder // by their folder in lower case
	byNames map[string][]folder // by the names of it, without drive, host or variable
	top     map[string]bool     // the first of these names
	// owners are the virtual directories of a site by their path in lower case.
	owners map[*Site]map[string]string
}

func (b *builder) folders() *folderIndex {
	if b.folderIndex != nil {
		return b.folderIndex
	}
	x := &folderIndex{
		byPath: make(map[string][]folder), byNames: make(map[string][]folder), top: make(map[string]bool), owners: make(map[*Site]map[string]string),
	}
	b.folderIndex = x
	for _, s := range b.server.Sites {
		x.owners[s] = make(map[string]string)
		for _, app := range s.Applications {
			for _, dir := range app.VirtualDirectories {
				f := folder{
					place:    webPlace{site: s, path: path.Join("/", app.Path, dir.Path)},
					physical: CleanFolder(dir.PhysicalPath), noSubConfig: dir.NoSubConfig,
				}
				x.owners[s][strings.ToLower(f.place.path)] = f.physical
				key := strings.ToLower(f.physical)
				x.byPath[key] = append(x.byPath[key], f)
				// In a whole drive, any file might be.
				if names := folderNames(f.physical); len(names) > 0 {
					key := strings.Join(names, "/")
					x.byNames[key] = append(x.byNames[key], f)
					x.top[names[0]] = true
				}
			}
		}
	}
	return x
}

// folderNames splits a folder of the server into names, without the drive, a share's
// host or a variable.
func folderNames(clean string) []string {
	names := lowerSegments(clean)
	if len(names) > 0 && (strings.HasSuffix(names[0], ":") || strings.HasPrefix(names[0], "%") || strings.HasPrefix(clean, "//")) {
		names = names[1:]
	}
	return names
}

func lowerSegments(p string) []string { return segments(strings.ToLower(p)) }

// places finds the paths that the folder of a file has. Options.Folders tells which
// folder of the server it is. Else its names do: the outermost one that a drive of the
// server has tells where the copy of the drive starts. Nothing further in does, because
// whoever fills a folder of a site can make folders of any name in it.
func (b *builder) places(it *item) []webPlace {
	dir := path.Dir(slashes(it.name))
	if on, ok := b.copied(dir); ok {
		return b.placesOn(on)
	}
	lower := lowerSegments(dir)
	// A folder that was named may itself be a copy of one of the server's.
	for start := range it.base {
		if n := b.folders().longest(lower[start:]); start+n >= it.base && n > 0 {
			return b.placesFrom(it.name, start, n)
		}
	}
	for start := it.base; start < len(lower); start++ {
		if !b.folders().top[lower[start]] {
			continue
		}
		if n := b.folders().longest(lower[start:]); n > 0 {
			return b.placesFrom(it.name, start, n)
		}
		if it.walked {
			break
		}
	}
	return nil
}

// longest returns how many of the names are those of a folder of a virtual directory.
func (x *folderIndex) longest(names []string) int {
	for n := len(names); n > 0; n-- {
		if x.byNames[strings.Join(names[:n], "/")] != nil {
			return n
		}
	}
	return 0
}

// placesFrom returns the places of a file whose folder has, from a name on, n names of a
// virtual directory's folder. Others above it serve the same file by a longer path.
func (b *builder) placesFrom(file string, start, n int) (out []webPlace) {
	dir := path.Dir(slashes(file))
	parts, lower := segments(dir)[start:], lowerSegments(dir)[start:]
	index := b.folders().byNames
	b.ambiguous(file, index[strings.Join(lower[:n], "/")])
	for ; n > 0; n-- {
		out = b.addPlaces(out, index[strings.Join(lower[:n], "/")], strings.Join(parts[n:], "/"))
	}
	return out
}

// copied returns the folders of the server that Options.Folders has for one here.
func (b *builder) copied(dir string) (on []string, ok bool) {
	parts, longest := segments(dir), -1
	for _, f := range b.opts.Folders {
		to := segments(f.To)
		if len(to) > len(parts) || !slices.Equal(parts[:len(to)], to) || len(to) < longest {
			continue
		}
		if len(to) > longest {
			on, longest = nil, len(to)
		}
		on = append(on, strings.TrimSuffix(CleanFolder(f.From)+"/"+strings.Join(parts[len(to):], "/"), "/"))
	}
	return on, longest >= 0
}

// placesOn returns the places of folders of the server.
func (b *builder) placesOn(on []string) (out []webPlace) {
	for _, physical := range on {
		for above := physical; ; {
			rest := strings.Trim(physical[len(above):], "/")
			out = b.addPlaces(out, b.folders().byPath[strings.ToLower(above)], rest)
			i := strings.LastIndexByte(above, '/')
			if i <= 0 {
				break
			}
			above = above[:i]
		}
	}
	return out
}

// addPlaces adds the paths that virtual directories give to a folder below theirs. Where
// another virtual directory has the path, IIS looks into that one.
func (b *builder) addPlaces(out []webPlace, folders []folder, rest string) []webPlace {
	for _, f := range folders {
		place := webPlace{site: f.place.site, path: path.Join(f.place.path, rest), dotNET: f.noSubConfig && rest != "" || b.version(f.place.site) <= 6}
		if !slices.Contains(out, place) && b.owner(place) == f.physical {
			out = append(out, place)
		}
	}
	return out
}

// owner returns the folder of the virtual directory that a path is in.
func (b *builder) owner(place webPlace) string {
	owners := b.folders().owners[place.site]
	for p := strings.ToLower(place.path); ; p = path.Dir(p) {
		if physical, ok := owners[p]; ok || p == "/" {
			return physical
		}
	}
}

// ambiguous warns of a file that is found by names which two folders of the server
// have.
func (b *builder) ambiguous(file string, found []folder) {
	for _, f := range found[1:] {
		if !strings.EqualFold(f.physical, found[0].physical) {
			b.rep.warn(CodeConflict, Source{File: file}, "say where the copies of each are",
				"two folders of the server have these names, and it is taken for the file of both: %s and %s", found[0].physical, f.physical)
			return
		}
	}
}

// notRead takes out of the places of a web.config those whose web.config was read from
// another file.
func (b *builder) notRead(name string, text []byte, places []webPlace) []webPlace {
	sum := sha256.Sum256(text)
	return slices.DeleteFunc(places, func(p webPlace) bool {
		key := webPlace{site: p.site, path: strings.ToLower(p.path)}
		first, again := b.webRead[key]
		switch {
		case !again:
			b.webRead[key] = webFile{name, sum}
		case first.sum == sum:
			b.rep.info(CodeIgnored, Source{File: name}, "it is the same as %s", first.name)
		default:
			b.rep.warn(CodeConflict, Source{File: name}, "leave only the one that the server has",
				"the web.config of %s was read from %s, which is another one; this one is left out", p.scope(), first.name)
		}
		return again
	})
}

// webFile is a web.config that was read.
type webFile struct {
	name string
	sum  [sha256.Size]byte
}
