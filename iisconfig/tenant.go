package iisconfig

import (
	"errors"
	"path"
	"slices"
	"strings"
)

// A web.config belongs to whoever fills the folder, who may be anybody. It says
// something about that folder and those below it, as far as the server lets it, and
// about nothing else.

// serverOnly are the elements of applicationHost.config and redirection.config that no
// web.config may have, whatever the server declares: they are about the server and all
// of its sites.
var serverOnly = map[string]bool{
	"system.applicationHost": true, "sites": true, "site": true, "applicationPools": true, "webFarms": true,
	"configurationRedirection": true, "system.webServer/globalModules": true, "system.webServer/rewrite/globalRules": true,
	restrictionSection: true,
}

// tenants reports whether an item that was found has the form of a file of the server,
// but is in the folder of a site, where whoever fills it can put anything. What an
// administrator copied is beside these folders.
func (b *builder) tenants(it *item) bool {
	if !it.walked || it.depth == 0 || it.kind == WebConfig {
		return false
	}
	return b.places(it) != nil
}

// refuse skips an element of a web.config, names it, and marks the place: IIS answers
// 500.19 there. Only a filter that the server lets a site have is no such fault.
func (r *configReader) refuse(name string, el *element) error {
	return r.refuseBecause(name, el, "only the configuration of the server itself may have the element "+name)
}

func (r *configReader) refuseBecause(name string, el *element, why string) error {
	src := r.ctx.src(el)
	r.b.rep.warn(CodeRefused, src, "look who has written it", "%s; it is without effect", why)
	c := &context{}
	if name != "system.webServer/isapiFilters" {
		c.faults = []Fault{{Code: CodeRefused, Section: name, Message: why, Source: src}}
	}
	r.notesLocks(name, el)
	r.emit(name, el, c, nil)
	return r.x.skip()
}

// webRoot checks the root element of a web.config: there is one, and it is
// configuration. Parts of an applicationHost.config are none.
func (r *configReader) webRoot(root *element, count int) error {
	switch {
	case !isWebConfig(r.file):
		return nil
	case count == 0:
		return errors.New("it has no root element")
	case count > 1:
		return r.x.fail(root.line, "it has more than one root element")
	case root.name != "configuration":
		return r.x.fail(root.line, "its root element is %s, not configuration", shorten(root.name))
	}
	return nil
}

// badLocation says why a location of a web.config is refused. Its path is one below
// the folder of the file. A folder may have the name of another site.
func (r *configReader) badLocation(at string) (why string) {
	p := slashes(at)
	_, absolute := cutPrefixFold(p, "MACHINE/WEBROOT")
	parts := strings.Split(p, "/")
	up := slices.ContainsFunc(parts, func(part string) bool {
		return len(part) > 1 && strings.Trim(part, ". ") == "" // Windows drops dots and blanks at the end
	})
	switch {
	case r.inLocation:
		return "it is inside of another location"
	case p == "" || p == ".":
		return ""
	case absolute, strings.HasPrefix(p, "/"), strings.ContainsAny(p, `?:*"<>|`):
		return "it is not a path below the folder"
	case up:
		return "it leads out of the folder"
	}
	return ""
}

// redeclared refuses a section in configSections that IIS has already: a web.config
// cannot change what the server says about it.
func (r *configReader) redeclared(name string, el *element) {
	first, _, _ := strings.Cut(name, "/")
	known := sectionReaders[name] != nil || leftOut[name].why != "" || r.b.locks[name] != nil ||
		first == "system.webServer" || first == "system.applicationHost"
	if !known {
		return
	}
	src := r.ctx.src(el)
	const why = "IIS declares the section itself"
	r.b.rep.warn(CodeRefused, src, "take it out", "the declaration of the section %s is without effect: %s", name, why)
	r.emit("configSections", el, &context{faults: []Fault{{Code: CodeRefused, Section: name, Message: why, Source: src}}}, nil)
}

// loadBelow reads the file that a configSource of a web.config names. IIS takes it from
// the folder of the web.config or below it only.
func (r *configReader) loadBelow(el *element, name string) *element {
	p := slashes(name)
	if strings.HasPrefix(p, "/") || strings.ContainsAny(p, ":%") || !below(p) {
		el.outside = true
		r.b.rep.warn(CodeRefused, Source{File: el.file, Line: el.line, Scope: r.ctx.scope}, "look who has written it",
			"the configSource %q of the section %s leads out of the folder; it is without effect", shorten(name), el.name)
		return nil
	}
	return r.b.loadSource(el, name)
}

// below reports whether a relative path stays in its folder.
func below(p string) bool {
	clean := path.Clean(p)
	return clean != ".." && !strings.HasPrefix(clean, "../") && clean != "." && !strings.HasPrefix(clean, "/")
}

// sectionAt is a section in a location, or outside of all.
type sectionAt struct {
	section, path string
	inLocation    bool
}

// twice reports whether a web.config has a section of IIS a second time in one location: IIS
// answers 500.19 wherever the file is in force.
func (r *configReader) twice(name string, el *element) bool {
	if r.web == nil || !strings.HasPrefix(name, webServer) {
		return false
	}
	key := sectionAt{name, strings.ToLower(r.ctx.scope), r.inLocation}
	if !r.seen[key] {
		if r.seen == nil {
			r.seen = make(map[sectionAt]bool)
		}
		r.seen[key] = true
		return false
	}
	src := r.ctx.src(el)
	what := "the section " + name + " is there twice"
	r.b.rep.warn(CodeDuplicate, src, "make one of them", "%s, for which IIS answers 500.19; the first counts", what)
	r.b.markWebConfig(*r.web, src, CodeDuplicate, what)
	return true
}

// notRead skips what IIS does not read in a web.config. Where it might be an IIS that does,
// what may protect the place closes it.
func (r *configReader) notRead(name string, el *element) error {
	if !groups[name] || r.b.version(r.web.site) != 0 {
		return r.x.skip()
	}
	return r.x.each(func(kid *element) error {
		kidName := name + "/" + kid.name
		if groups[kidName] {
			return r.notRead(kidName, kid)
		}
		c := &context{rep: r.ctx.rep, scope: r.ctx.scope, name: kidName}
		if protects(kidName) || closesUnread[kidName] {
			c.section = kidName
		}
		c.mark(r.ctx.src(kid), "the section, which IIS 6 does not read and later ones do, on a server whose version nobody has told,")
		if c.unknowns != nil {
			c.unknowns[0].Fix = "give the output of: cscript adsutil.vbs ENUM W3SVC/INFO"
			r.emit(kidName, kid, c, nil)
		}
		return r.x.skip()
	})
}
