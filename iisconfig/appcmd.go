package iisconfig

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// appcmdObjects are what appcmd has listed besides sites; they are put into the sites
// at the end.
type appcmdObjects struct {
	apps []appcmdApp
	dirs []appcmdDir
}

// appcmdApp has a name such as "Default Web Site/shop".
type appcmdApp struct {
	name, pool string
	source     Source
}

// appcmdDir has a name such as "Default Web Site/shop/images".
type appcmdDir struct {
	name, app, physical string
	source              Source
}

// Names of objects are the same in every language, the words inside the parentheses
// need not be: their places tell them.
var (
	reAppcmdLine = regexp.MustCompile(`^(SITE|APP|VDIR|APPPOOL) "(.*)" \((.*)\)$`)
	reAppcmdSite = regexp.MustCompile(`^[^:]+:(\d+),[^:]+:(.*),[^:,]+:([^:,]*)$`)
	reAppcmdPool = regexp.MustCompile(`^[^:]+:([^,]*),[^:]+:([^,]*),[^:]+:(.*)$`)
	reAppcmdDone = regexp.MustCompile(`^(?:SITE|APP|VDIR|APPPOOL) object ".*" `)
)

// appcmdText reads the output of "appcmd list site", "app", "vdir" and "apppool".
func (b *builder) appcmdText(name string, text []byte) {
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		src := Source{File: name, Line: i + 1}
		m := reAppcmdLine.FindStringSubmatch(line)
		switch {
		case line == "" || strings.Contains(strings.ToLower(line), "appcmd"):
		case m == nil && reAppcmdDone.MatchString(line):
			b.rep.info(CodeIgnored, src, "the line says what appcmd did; only appcmd list tells what is there")
		case m == nil || !b.appcmdLine(src, m[1], m[2], m[3]):
			b.rep.warn(CodeUnknown, src, "", "the line %q is not understood", shorten(line))
		}
	}
}

func (b *builder) appcmdLine(src Source, object, name, rest string) bool {
	switch object {
	case "SITE":
		m := reAppcmdSite.FindStringSubmatch(rest)
		if m == nil {
			return false
		}
		id, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil {
			return false
		}
		b.addSite(b.appcmdSite(src, name, uint32(id), m[2], m[3]))
	case "APP":
		_, pool, _ := strings.Cut(rest, ":")
		b.appcmd.apps = append(b.appcmd.apps, appcmdApp{name: name, pool: pool, source: src})
	case "VDIR":
		_, physical, _ := strings.Cut(rest, ":")
		b.appcmd.dirs = append(b.appcmd.dirs, appcmdDir{name: name, physical: physical, source: src})
	case "APPPOOL":
		m := reAppcmdPool.FindStringSubmatch(rest)
		if m == nil {
			return false
		}
		b.addPool(appcmdPool(src, name, m[1], m[2], m[3]))
	}
	return true
}

func appcmdPool(src Source, name, version, mode, state string) *ApplicationPool {
	return &ApplicationPool{
		Name: name, RuntimeVersion: version, Unmanaged: version == "", PipelineMode: mode,
		AutoStart: true, State: strings.ToLower(state), Source: src,
	}
}

// appcmdSite makes a site of a list of bindings such as
// "http/*:80:,https/*:443:www.example.com".
func (b *builder) appcmdSite(src Source, name string, id uint32, bindings, state string) *Site {
	s := &Site{ID: id, Name: name, AutoStart: true, State: b.state(src, state), Source: src, kind: Appcmd}
	for item := range strings.SplitSeq(bindings, ",") {
		if item == "" {
			continue
		}
		protocol, info, found := strings.Cut(item, "/")
		if !found {
			b.rep.warn(CodeUnknown, src, "", "the binding %q is not understood", shorten(item))
			continue
		}
		b.addBinding(s, b.newBinding(protocol, info, src))
	}
	return s
}

// siteStates are the states of ServerState in IIS 6, by number (metabase property
// 1016). IIS 7 has the same words.
var siteStates = map[string]string{
	"1": "starting", "2": "started", "3": "stopping", "4": "stopped", "5": "pausing", "6": "paused", "7": "continuing",
}

// state returns the word for a state. Another language than English is noted.
func (b *builder) state(src Source, s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if word := siteStates[s]; word != "" {
		return word
	}
	for _, word := range siteStates {
		if s == word {
			return s
		}
	}
	if s != "" && s != "unknown" {
		b.rep.info(CodeUnknown, src, "the state %q is not understood", shorten(s))
		return ""
	}
	return ""
}

// appcmdXML reads the output of appcmd with /xml: the objects are attributes of
// elements, and with /config the configuration of each is inside.
func (b *builder) appcmdXML(name string, text []byte) error {
	r := &configReader{b: b, x: b.reader(name, text), file: name}
	r.ctx, r.current = &context{rep: b.rep}, &layer{}
	return r.x.each(func(root *element) error {
		if root.name != "appcmd" {
			return r.section("", root)
		}
		return r.x.each(r.appcmdObject)
	})
}

func (r *configReader) appcmdObject(el *element) error {
	b, src := r.b, r.ctx.src(el)
	switch el.name {
	case "SITE":
		id := uint32(r.ctx.number(el, "SITE.ID", 0, 1, math.MaxUint32))
		s := b.appcmdSite(src, el.str("SITE.NAME"), id, el.str("bindings"), el.str("state"))
		r.ctx.attributes(el)
		// What is inside is more: it goes first, and the attributes add the state.
		err := r.x.each(func(kid *element) error {
			if kid.name == "site" {
				return r.site(kid)
			}
			return r.leaveOut(kid.name, kid)
		})
		b.addSite(s)
		return err
	case "APP":
		b.appcmd.apps = append(b.appcmd.apps, appcmdApp{name: el.str("APP.NAME"), pool: el.str("APPPOOL.NAME"), source: src})
		el.ignore("SITE.NAME", "path")
	case "VDIR":
		b.appcmd.dirs = append(b.appcmd.dirs, appcmdDir{
			name: el.str("VDIR.NAME"), app: el.str("APP.NAME"), physical: el.str("physicalPath"), source: src,
		})
		el.ignore("path")
	case "APPPOOL":
		b.addPool(appcmdPool(src, el.str("APPPOOL.NAME"), el.str("RuntimeVersion"), el.str("PipelineMode"), el.str("state")))
	default:
		r.ctx.unknown(el, "in the output of appcmd")
		return r.x.skip()
	}
	r.ctx.attributes(el)
	return r.x.skip()
}

// placeAppcmd puts listed applications and virtual directories into their sites,
// unless a configuration file has told them.
func (b *builder) placeAppcmd() {
	full := make(map[*Site]bool)
	for _, s := range b.server.Sites {
		full[s] = len(s.Applications) > 0
	}
	apps := make(map[string]*Application) // by full name in lower case
	for _, a := range b.appcmd.apps {
		site, path, _ := strings.Cut(a.name, "/")
		s := b.byName[strings.ToLower(site)]
		if s == nil {
			b.rep.warn(CodeNoSite, a.source, "give the output of appcmd list site too", "the application %q is of no site that is known", shorten(a.name))
			continue
		}
		if full[s] {
			continue
		}
		app := &Application{Path: cleanPath(path), Pool: a.pool, Source: a.source}
		s.Applications = append(s.Applications, app)
		apps[strings.ToLower(strings.TrimRight(a.name, "/"))] = app
	}
	for _, d := range b.appcmd.dirs {
		b.placeDir(d, apps, full)
	}
}

// placeDir finds the application of a virtual directory: the text names it only as the
// beginning of the directory's own name.
func (b *builder) placeDir(d appcmdDir, apps map[string]*Application, full map[*Site]bool) {
	site, _, _ := strings.Cut(d.name, "/")
	s := b.byName[strings.ToLower(site)]
	if s == nil {
		b.rep.warn(CodeNoSite, d.source, "give the output of appcmd list site too", "the virtual directory %q is of no site that is known", shorten(d.name))
		return
	}
	if full[s] {
		return
	}
	name := strings.TrimRight(d.name, "/")
	for owner := name; ; {
		if app := apps[strings.ToLower(owner)]; app != nil && (d.app == "" || strings.EqualFold(strings.TrimRight(d.app, "/"), owner)) {
			app.VirtualDirectories = append(app.VirtualDirectories, &VirtualDirectory{
				Path: cleanPath(name[len(owner):]), PhysicalPath: d.physical, Source: d.source,
			})
			return
		}
		i := strings.LastIndexByte(owner, '/')
		if i < 0 {
			break
		}
		owner = owner[:i]
	}
	// Without the output of appcmd list app, everything is in the root application.
	root := &Application{Path: "/", Source: d.source, VirtualDirectories: []*VirtualDirectory{{
		Path: cleanPath(name[len(site):]), PhysicalPath: d.physical, Source: d.source,
	}}}
	s.Applications = append(s.Applications, root)
	apps[strings.ToLower(site)] = root
}
