package iisconfig

import (
	"slices"
	"strconv"
	"strings"
)

// configReader reads applicationHost.config and web.config, which have the same
// form.
type configReader struct {
	b    *builder
	x    *xmlReader
	file string
	kind Kind
	// web is nil for applicationHost.config.
	web *webPlace
	// current collects the sections of the location that is being read.
	current *layer
	ctx     *context
	// second says that another applicationHost.config was read before.
	second bool
	// allow is the overrideMode of the current location: nil to inherit.
	allow *bool
	// inLocation says that an element location is open.
	inLocation bool
	// seen are the sections of a web.config, by the path of their location in lower case.
	seen map[sectionAt]bool
}

func (b *builder) applicationHost(name string, kind Kind, text []byte) error {
	if xml, ok := xmlPart(text); ok {
		text = xml // without the command that has printed it
	}
	r := &configReader{b: b, x: b.reader(name, text), file: name, kind: kind}
	return r.read()
}

func (r *configReader) read() error {
	configPath := ""
	if r.web != nil {
		configPath = r.web.scope()
	}
	roots := 0
	return r.at(configPath, false, nil, func() error {
		err := r.x.each(func(root *element) error {
			roots++
			if err := r.webRoot(root, roots); err != nil {
				return err
			}
			if root.name == "configuration" {
				return r.x.each(func(el *element) error { return r.section("", el) })
			}
			return r.section("", root)
		})
		if err == nil && roots == 0 {
			err = r.webRoot(nil, 0)
		}
		return err
	})
}

// at reads sections that apply to a configuration path.
func (r *configReader) at(configPath string, appOnly bool, allow *bool, fn func() error) error {
	outer := *r
	defer func() { r.current, r.ctx, r.allow = outer.current, outer.ctx, outer.allow }()
	r.ctx = &context{rep: r.b.rep, scope: configPath, name: "applicationHost.config"}
	if r.web != nil {
		r.ctx.name = "web.config"
	}
	r.current = &layer{appOnly: appOnly}
	r.allow = allow
	src := Source{File: r.file, Line: r.x.line, Scope: configPath}
	if r.web != nil {
		r.current.rank = r.web.rank()
	}
	if err := fn(); err != nil {
		return err
	}
	if r.ctx.faults != nil {
		r.current.changes = append(r.current.changes, change{section: Section{Name: r.ctx.name, Source: src}, faults: r.ctx.faults})
	}
	if len(r.current.changes) > 0 && !r.second {
		p := placement{layer: r.current, source: src}
		if r.web != nil {
			p.owner, p.path = r.web.site, strings.TrimPrefix(configPath, r.web.site.Name)
		} else {
			p.site, p.path, _ = strings.Cut(configPath, "/")
		}
		r.b.placed = append(r.b.placed, p)
	}
	return nil
}

// section reads one section, or a group of them, whose full name is prefix and the
// element's name.
func (r *configReader) section(prefix string, el *element) error {
	name := prefix + el.name
	if r.web != nil && r.web.dotNET && (groups[name] || name == "configSections") {
		return r.notRead(name, el)
	}
	if meant := r.meant(name); meant != "" {
		c := r.sectionContext(meant)
		c.otherCase(r.ctx.src(el), "the element "+shorten(el.name), meant)
		r.emit(meant, el, c, nil)
		return r.x.skip()
	}
	if r.web != nil && (serverOnly[name] || name == filtersSection) {
		return r.refuse(name, el)
	}
	switch name {
	case "location":
		return r.location(el)
	case "configSections":
		r.whole(el)
		return r.x.each(func(kid *element) error { return r.declaration("", kid) })
	case "system.applicationHost/sites", "sites":
		return r.sites(el)
	case "site":
		return r.site(el)
	case "system.applicationHost/applicationPools", "applicationPools":
		return r.pools(el)
	case filtersSection:
		return r.isapiFilters(name, el)
	case "system.webServer/fastCgi":
		if r.web == nil {
			r.notesLocks(name, el)
			return r.x.each(r.fastCGI)
		}
	case "webFarms":
		return r.x.each(r.webFarm)
	case "configurationRedirection":
		return r.redirection(el)
	}
	if groups[name] {
		if source, ok := el.lookup("configSource"); ok {
			r.unknownPart(name+"/*", el, "the file "+shorten(source))
		}
		r.ctx.attributes(el)
		return r.x.each(func(kid *element) error { return r.section(name+"/", kid) })
	}
	if r.twice(name, el) {
		return r.x.skip()
	}
	if read := sectionReaders[name]; read != nil {
		if err := r.x.tree(el); err != nil {
			return err
		}
		c := r.sectionContext(name)
		if el.has("configProtectionProvider") && closesUnread[name] {
			c.section = name // what is encrypted in it is not understood
		}
		apply := read(c, el)
		r.notesLocks(name, el)
		if el.missing {
			if closesUnread[name] {
				c.section = name
			}
			c.mark(c.src(el), "the file %s", shorten(el.str("configSource")))
		}
		r.outside(name, el, c)
		r.emit(name, el, c, apply)
		return nil
	}
	return r.leaveOut(name, el)
}

// meant returns the name of IIS that an element has in another case. What a web.config declares
// itself, or one above it, is the application's.
func (r *configReader) meant(name string) string {
	meant := namesOfIIS[strings.ToLower(name)]
	if meant == name || r.web != nil && (r.web.dotNET || !groups[meant] && r.declared(name)) {
		return ""
	}
	return meant
}

func (r *configReader) declared(name string) bool {
	for p := range upwards(r.web.scope()) {
		if r.b.ownNames[p][name] {
			return true
		}
	}
	return false
}

// whole notes that the file is a whole applicationHost.config, which declares all
// sections. A server has one; of others, such as old copies, only sites count.
func (r *configReader) whole(el *element) {
	switch {
	case r.kind != ApplicationHost:
	case r.b.whole == "":
		r.b.whole = r.file
	case r.b.whole != r.file:
		r.second = true
		r.b.rep.warn(CodeConflict, r.ctx.src(el), "import one server at a time",
			"%s was read before; settings of this second applicationHost.config are left out", r.b.whole)
	}
}

// sectionContext is the context that a section is read in.
func (r *configReader) sectionContext(name string) *context {
	c := &context{rep: r.ctx.rep, scope: r.ctx.scope, name: name}
	if protects(name) {
		c.section = name
	}
	return c
}

// emit adds what a section sets to the current location, with what is odd in it.
func (r *configReader) emit(name string, el *element, c *context, apply func(*Settings)) {
	src := r.ctx.src(el)
	added := change{section: Section{Name: name, Source: src}, apply: apply, faults: c.faults, unknown: c.unknowns}
	if r.web != nil {
		added.el = el
	}
	r.current.changes = append(r.current.changes, added)
}

// notesLocks notes what a section forbids to the files below: itself by the overrideMode of
// the current location, or parts of it. A web.config may forbid a section to those below it,
// but allow nothing.
func (r *configReader) notesLocks(name string, el *element) {
	if r.second {
		return
	}
	if r.allow != nil && (r.web == nil || !*r.allow) {
		r.b.setLock(name, r.ctx.scope, r.current.rank, *r.allow)
	}
	if r.web == nil {
		r.b.guard(name, r.ctx.scope, el)
	}
	r.b.lockParts(name, r.ctx.scope, r.current.rank, el)
}

// unknownPart marks the current location if a part that is not understood may protect
// something.
func (r *configReader) unknownPart(name string, el *element, what string) {
	c := r.sectionContext(name)
	c.mark(r.ctx.src(el), "%s", what)
	if c.unknowns != nil {
		r.emit(name, el, c, nil)
	}
}

// leaveOut reads a section that is not held by the model, for what IIS refuses in it, and says
// why. What is no section of IIS is skipped.
func (r *configReader) leaveOut(name string, el *element) error {
	src := r.ctx.src(el)
	source, moved := el.lookup("configSource")
	ofIIS := strings.Contains(name, "/")
	before := r.x.elements
	read := r.x.skip
	if ofIIS {
		read = func() error { return r.x.tree(el) }
	}
	if err := read(); err != nil {
		return err
	}
	empty := len(el.attrs) == 0 && r.x.elements == before
	left, known := leftOut[name]
	r.notesLocks(name, el)
	if ofIIS {
		c := r.sectionContext(name)
		if known {
			leftSchemas[name].check(c, el)
		}
		r.outside(name, el, c)
		if r.web != nil || c.faults != nil { // IIS answers 500.19 if the server has locked it
			r.emit(name, el, c, nil)
		}
	}
	switch {
	case known && empty:
	case known && left.warn:
		r.b.rep.warn(CodeUnsupported, src, left.fix, "the section %s is not translated: %s", name, left.why)
	case known:
		r.b.rep.info(CodeIgnored, src, "the section %s is not needed: %s", name, left.why)
	case !ofIIS && (r.web != nil || managedSections[name]):
		// What is not of IIS itself is read by .NET or by the application.
		r.emit(name, el, &context{}, func(s *Settings) {
			s.Managed = append(slices.Clip(s.Managed), Section{Name: name, Source: src})
		})
	case moved:
		r.b.rep.warn(CodeElsewhere, src, "", "the section %s is in the file %s", name, source)
		r.unknownPart(name, el, "the section, which is in the file "+shorten(source))
	default:
		r.b.rep.warn(CodeUnknown, src, "", "the section %s is not understood", name)
		r.unknownPart(name, el, "the section")
	}
	return nil
}

// outside is for a section whose configSource leads out of the folder of its web.config.
func (r *configReader) outside(name string, el *element, c *context) {
	if el.outside {
		c.faults = append(c.faults, Fault{
			Code: CodeRefused, Section: name, Message: "its configSource leads out of the folder", Source: c.src(el),
		})
	}
}

// declaration reads configSections for the sections that files below may not have.
func (r *configReader) declaration(prefix string, el *element) error {
	name := prefix + el.str("name")
	if r.web != nil && !strings.Contains(name, "/") && (el.name == "section" || el.name == "sectionGroup") {
		key := strings.ToLower(r.web.scope())
		if r.b.ownNames[key] == nil {
			r.b.ownNames[key] = make(map[string]bool)
		}
		r.b.ownNames[key][name] = true
	}
	switch {
	case el.is("sectionGroup"):
		r.ctx.cases(el)
		return r.x.each(func(kid *element) error { return r.declaration(name+"/", kid) })
	case el.is("section"):
		switch {
		case r.web != nil:
			r.redeclared(name, el)
		case !r.second:
			r.b.declare(name, el)
		}
		r.ctx.cases(el)
	case el.meant != "":
		r.ctx.unknown(el, "in configSections")
	}
	return r.x.skip()
}

// location reads the element location: sections for a site or a path. IIS compares
// paths without case.
func (r *configReader) location(el *element) error {
	at := strings.Trim(slashes(el.str("path")), "/")
	if r.web != nil {
		if why := r.badLocation(el.str("path")); why != "" {
			return r.refuseBecause("location", el, "the location "+strconv.Quote(shorten(el.str("path")))+" is refused: "+why)
		}
	} else {
		// appcmd writes paths from the root of the hierarchy.
		if rest, ok := cutPrefixFold(at, "MACHINE/WEBROOT/APPHOST"); ok {
			at = strings.Trim(rest, "/")
		}
	}
	if at == "." {
		at = ""
	}
	if r.ctx.scope != "" {
		at = joinScope(r.ctx.scope, at)
	}
	appOnly := !r.ctx.boolean(el, "inheritInChildApplications", true)
	var allow *bool
	if mode, ok := el.lookup("overrideMode"); ok && !strings.EqualFold(mode, "Inherit") {
		v := !strings.EqualFold(mode, "Deny")
		allow = &v
	} else if el.has("allowOverride") {
		v := r.ctx.boolean(el, "allowOverride", true)
		allow = &v
	}
	r.ctx.attributes(el)
	outer := r.inLocation
	defer func() { r.inLocation = outer }()
	r.inLocation = true
	return r.at(at, appOnly, allow, func() error {
		return r.x.each(func(kid *element) error { return r.section("", kid) })
	})
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// redirection reads redirection.config: IIS then takes applicationHost.config from
// a share.
func (r *configReader) redirection(el *element) error {
	src := r.ctx.src(el)
	if r.ctx.boolean(el, "enabled", false) {
		r.b.rep.warn(CodeElsewhere, src, "copy applicationHost.config from there",
			"the configuration of the server is redirected to %s; the applicationHost.config of the server itself does not count", el.str("path"))
	}
	return r.x.skip()
}
