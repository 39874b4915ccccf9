package iisconfig

import (
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
func (b *builder) webConfig(name string, text []byte) {
	places := b.places(name)
	src := Source{File: name}
	if places == nil {
		b.rep.warn(CodeNoSite, src, "give it under the folder of its site, or name the folders of the server with their translation",
			"the web.config is in no folder of a site")
		// It is read all the same, for what is wrong with it.
		places = []webPlace{{site: &Site{Name: "?"}, nobody: true}}
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
		before := len(b.placed)
		r := &configReader{b: b, x: b.reader(name, text), file: name, kind: WebConfig, web: &places[i]}
		r.x.load = r.loadBelow
		err := r.read()
		if err != nil || places[i].nobody {
			b.placed = b.placed[:before]
		}
		if err != nil {
			b.malformed(src, err, places[i:i+1])
		}
	}
	b.rep.muted = false
}

// webConfigFails is for a web.config that cannot be read at all.
func (b *builder) webConfigFails(name string, err error) {
	b.server.Inputs = append(b.server.Inputs, Input{Name: name, Kind: WebConfig})
	b.malformed(Source{File: name}, err, b.places(name))
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

// folder is a virtual directory, for the web.config files in its folder.
type folder struct {
	place       webPlace
	noSubConfig bool
}

// folders indexes all virtual directories by the names of their folder, as
// folderNames has them.
func (b *builder) folders() map[string][]folder {
	out := make(map[string][]folder)
	for _, s := range b.server.Sites {
		for _, app := range s.Applications {
			for _, dir := range app.VirtualDirectories {
				names, translated := b.folderNames(dir.PhysicalPath)
				if len(names) == 0 && !translated {
					continue // a whole drive: any file might be in it
				}
				key := strings.Join(names, "/")
				out[key] = append(out[key], folder{
					place:       webPlace{site: s, path: path.Join("/", app.Path, dir.Path)},
					noSubConfig: dir.NoSubConfig,
				})
			}
		}
	}
	return out
}

// folderNames splits a folder of the server into names. Options.Folders translates
// it; else the drive, a share's host or a variable such as %SystemDrive% is dropped.
func (b *builder) folderNames(physical string) (names []string, translated bool) {
	p := strings.TrimRight(slashes(physical), "/")
	best, to := "", ""
	for from, target := range b.opts.Folders {
		from = strings.TrimRight(slashes(from), "/")
		if len(from) > len(best) && len(p) >= len(from) && strings.EqualFold(p[:len(from)], from) &&
			(len(p) == len(from) || p[len(from)] == '/') {
			best, to = from, target
		}
	}
	if best != "" {
		return lowerSegments(slashes(to) + p[len(best):]), true
	}
	names = lowerSegments(p)
	if len(names) > 0 && (strings.HasSuffix(names[0], ":") || strings.HasPrefix(names[0], "%") || strings.HasPrefix(p, "//")) {
		names = names[1:]
	}
	return names, false
}

func lowerSegments(p string) []string { return segments(strings.ToLower(p)) }

// places finds the paths that the folder of a file has. The virtual directory with
// the most names that are all in the file's own path tells where the copy of the
// server's folders starts; others above it serve the same file by a longer path.
func (b *builder) places(file string) []webPlace {
	if b.folderIndex == nil {
		b.folderIndex = b.folders()
	}
	parts := segments(path.Dir(slashes(file)))
	lower := lowerSegments(path.Dir(slashes(file)))
	for n := len(lower); n > 0; n-- {
		for start := len(lower) - n; start >= 0; start-- {
			if b.folderIndex[strings.Join(lower[start:start+n], "/")] == nil {
				continue
			}
			return b.placesFrom(parts[start:], lower[start:], n, 1)
		}
	}
	return b.placesFrom(parts, lower, 0, 0)
}

// placesFrom returns the places of all folders that the first parts name: at most n of
// them, and at least so many.
func (b *builder) placesFrom(parts, lower []string, n, least int) []webPlace {
	var out []webPlace
	for ; n >= least; n-- {
		for _, f := range b.folderIndex[strings.Join(lower[:n], "/")] {
			rest := strings.Join(parts[n:], "/")
			if f.noSubConfig && rest != "" {
				continue
			}
			place := webPlace{site: f.place.site, path: path.Join(f.place.path, rest)}
			if !slices.Contains(out, place) {
				out = append(out, place)
			}
		}
	}
	return out
}
