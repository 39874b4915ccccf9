package iisconfig

import (
	"math"
	"path"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

// siteDefaults are what sites inherit: siteDefaults, applicationDefaults and
// virtualDirectoryDefaults, which stand before or after the sites.
type siteDefaults struct {
	site, app, dir *element
}

// siteDraft is a site whose inherited values are still missing.
type siteDraft struct {
	site     *Site
	el       *element
	apps     []appDraft
	app, dir *element // applicationDefaults, virtualDirectoryDefaults of the site
	hsts     *element
	logFile  *element
	paths    map[string]bool // of applications, in lower case
	bound    bool            // it has an element bindings
}

type appDraft struct {
	app  *Application
	el   *element
	dir  *element // virtualDirectoryDefaults of the application
	dirs []*element
}

// sites reads the section system.applicationHost/sites.
func (r *configReader) sites(el *element) error {
	r.ctx.attributes(el)
	r.moved(el)
	var defaults siteDefaults
	var drafts []siteDraft
	err := r.x.each(func(kid *element) error {
		if err := r.x.tree(kid); err != nil {
			return err
		}
		switch {
		case kid.is("site"):
			drafts = append(drafts, r.draft(kid))
		case kid.is("siteDefaults"):
			defaults.site = kid
			r.siteChildren(kid, &siteDraft{site: &Site{Name: "siteDefaults"}, el: kid})
		case kid.is("applicationDefaults"):
			defaults.app = kid
		case kid.is("virtualDirectoryDefaults"):
			defaults.dir = kid
		default:
			r.ctx.unknown(kid, "in sites")
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range drafts {
		r.finish(&drafts[i], defaults)
	}
	for _, el := range []*element{defaults.site, defaults.app, defaults.dir} {
		if el != nil {
			r.checked(el)
		}
	}
	return nil
}

// moved reports a section that is in another file. If that file is here, it is read by
// itself.
func (r *configReader) moved(el *element) {
	if source, ok := el.lookup("configSource"); ok && r.b.sibling(el.file, source) == nil {
		r.b.rep.warn(CodeElsewhere, r.ctx.src(el), "give that file too", "the section %s is in the file %s, which is not here", el.name, source)
	}
}

// site reads a site that stands alone, as appcmd prints it.
func (r *configReader) site(el *element) error {
	if err := r.x.tree(el); err != nil {
		return err
	}
	d := r.draft(el)
	r.finish(&d, siteDefaults{})
	return nil
}

func (r *configReader) draft(el *element) siteDraft {
	c := r.ctx
	s := &Site{
		ID:        uint32(c.number(el, "id", 0, 1, math.MaxUint32)),
		Name:      el.str("name"),
		AutoStart: true,
		Source:    c.src(el),
		kind:      ApplicationHost,
	}
	if s.ID == 0 {
		c.rep.warn(CodeBadValue, s.Source, "give it an id", "the site %q has no id", shorten(s.Name))
	}
	d := siteDraft{site: s, el: el}
	r.siteChildren(el, &d)
	return d
}

// siteChildren reads what a site contains, but for what is inherited attribute by
// attribute.
func (r *configReader) siteChildren(el *element, d *siteDraft) {
	for _, kid := range el.kids {
		switch {
		case kid.is("bindings"):
			d.bound = true
			r.bindings(kid, d.site)
		case kid.is("application"):
			r.application(kid, d)
		case kid.is("applicationDefaults"):
			d.app = kid
		case kid.is("virtualDirectoryDefaults"):
			d.dir = kid
		case kid.is("hsts"):
			d.hsts = kid
		case kid.is("limits"):
			r.ctx.rep.info(CodeIgnored, r.ctx.src(kid), "limits of a site have no counterpart")
		case kid.is("logFile"):
			d.logFile = kid
		case kid.is("traceFailedRequestsLogging"):
			r.ctx.rep.info(CodeIgnored, r.ctx.src(kid), "%s is about log files", kid.name)
		case kid.is("ftpServer"):
			r.ctx.rep.info(CodeIgnored, r.ctx.src(kid), "FTP is another service")
		default:
			r.ctx.unknown(kid, "in "+el.name)
		}
	}
}

func (r *configReader) bindings(el *element, s *Site) {
	for _, kid := range el.kids {
		switch {
		case kid.is("binding"):
			b := r.b.newBinding(kid.str("protocol"), kid.str("bindingInformation"), r.ctx.src(kid))
			b.SSLFlags = r.sslFlags(kid)
			r.b.setHash(b, kid.str("certificateHash"), kid.str("certificateStoreName"), b.Source)
			r.ctx.done(kid)
			r.b.addBinding(s, b)
		case kid.is("clear"):
			s.Bindings = nil
		case kid.is("remove"):
			r.ctx.rep.info(CodeUnknown, r.ctx.src(kid), "a binding that is not there is removed")
		default:
			r.ctx.unknown(kid, "in bindings")
		}
	}
	r.ctx.attributes(el)
}

func (r *configReader) sslFlags(el *element) binding.Flags {
	flags := binding.Flags(r.ctx.number(el, "sslFlags", 0, 0, math.MaxUint16))
	if err := flags.Validate(); err != nil {
		r.ctx.rep.warn(CodeBadValue, r.ctx.src(el), "", "sslFlags: %v", err)
	}
	return flags
}

func (r *configReader) application(el *element, d *siteDraft) {
	c := r.ctx
	if strings.EqualFold(el.str("xdt:Transform"), "Remove") {
		c.rep.info(CodeIgnored, c.src(el), "the application %s is removed by the transformation", el.str("path"))
		return
	}
	a := appDraft{el: el, app: &Application{Path: cleanPath(el.str("path")), Source: c.src(el)}}
	for _, kid := range el.kids {
		switch {
		case kid.is("virtualDirectory"):
			a.dirs = append(a.dirs, kid)
		case kid.is("virtualDirectoryDefaults"):
			a.dir = kid
		default:
			c.unknown(kid, "in application")
		}
	}
	if key := strings.ToLower(a.app.Path); d.paths[key] {
		c.rep.warn(CodeDuplicate, a.app.Source, "remove one of them", "the site %s has the application %s twice; the first is kept", d.site.Name, a.app.Path)
		return
	} else if d.paths == nil {
		d.paths = map[string]bool{key: true}
	} else {
		d.paths[key] = true
	}
	d.site.Applications = append(d.site.Applications, a.app)
	d.apps = append(d.apps, a)
}

// cleanPath returns a path with a leading slash and without one at its end.
func cleanPath(p string) string { return path.Clean("/" + slashes(p)) }

// inherit returns the value of an attribute from the first element that has it.
func inherit(attr string, els ...*element) (*element, string) {
	for _, el := range els {
		if el == nil {
			continue
		}
		if v, ok := el.lookup(attr); ok {
			return el, v
		}
	}
	return nil, ""
}

func (c *context) inheritBool(attr string, def bool, els ...*element) bool {
	if el, _ := inherit(attr, els...); el != nil {
		return c.boolean(el, attr, def)
	}
	return def
}

// finish gives a site what it inherits and adds it to the model.
func (r *configReader) finish(d *siteDraft, defaults siteDefaults) {
	c, s := r.ctx, d.site
	s.AutoStart = c.inheritBool("serverAutoStart", true, d.el, defaults.site)
	var hstsDefault, logDefault *element
	if defaults.site != nil {
		hstsDefault, logDefault = defaults.site.kid("hsts"), defaults.site.kid("logFile")
		if bound := defaults.site.kid("bindings"); bound != nil && !d.bound {
			r.bindings(bound, s)
		}
	}
	s.HSTS = r.hsts(d.hsts, hstsDefault)
	s.LogFile = r.logFile(d.logFile, logDefault)
	for i := range d.apps {
		a := &d.apps[i]
		_, a.app.Pool = inherit("applicationPool", a.el, d.app, defaults.app)
		from, protocols := inherit("enabledProtocols", a.el, d.app, defaults.app)
		a.app.EnabledProtocols, a.app.NoHTTP = protocols, from != nil && !inList(protocols, "http")
		for _, dir := range a.dirs {
			a.app.VirtualDirectories = append(a.app.VirtualDirectories, r.directory(dir, a.dir, d.dir, defaults.dir))
		}
		a.el.ignore("preloadEnabled", "serviceAutoStartEnabled", "serviceAutoStartProvider")
		c.attributes(a.el)
	}
	for _, el := range []*element{d.app, d.dir} {
		if el != nil {
			r.checked(el)
		}
	}
	if len(s.Applications) == 0 {
		c.rep.info(CodeNoFolder, s.Source, "the site %q has no application, so no folder", shorten(s.Name))
	}
	c.attributes(d.el)
	r.b.addSite(s)
}

// checked reports what is not understood in an element of defaults.
func (r *configReader) checked(el *element) {
	el.ignore("serverAutoStart", "applicationPool", "enabledProtocols", "physicalPath", "userName", "password",
		"logonMethod", "allowSubDirConfig", "path", "preloadEnabled", "serviceAutoStartEnabled", "name", "id",
		"serviceAutoStartProvider")
	r.ctx.attributes(el)
}

func (r *configReader) directory(el *element, defaults ...*element) *VirtualDirectory {
	els := append([]*element{el}, defaults...)
	_, physical := inherit("physicalPath", els...)
	_, user := inherit("userName", els...)
	dir := &VirtualDirectory{
		Path: cleanPath(el.str("path")), PhysicalPath: physical, UserName: user,
		NoSubConfig: !r.ctx.inheritBool("allowSubDirConfig", true, els...), Source: r.ctx.src(el),
	}
	el.ignore("password", "logonMethod")
	r.ctx.done(el)
	return dir
}

// hsts reads the element hsts (IIS 10 1709). Attributes that a site does not have
// come from siteDefaults.
func (r *configReader) hsts(own, defaults *element) *HSTS {
	if own == nil && defaults == nil {
		return nil
	}
	c := r.ctx
	at := own
	if at == nil {
		at = defaults
	}
	h := &HSTS{
		Enabled:             c.inheritBool("enabled", false, own, defaults),
		IncludeSubDomains:   c.inheritBool("includeSubDomains", false, own, defaults),
		Preload:             c.inheritBool("preload", false, own, defaults),
		RedirectHTTPToHTTPS: c.inheritBool("redirectHttpToHttps", false, own, defaults),
		Source:              c.src(at),
	}
	if el, _ := inherit("max-age", own, defaults); el != nil {
		h.MaxAge = uint32(c.number(el, "max-age", 0, 0, math.MaxUint32))
	}
	c.done(at)
	return h
}

func (el *element) kid(name string) *element {
	for _, kid := range el.kids {
		if kid.name == name {
			return kid
		}
	}
	return nil
}

// addSite adds a site to the model, or what is new to one that is there.
func (b *builder) addSite(s *Site) {
	b.folderIndex = nil
	if have := b.byID[s.ID]; s.ID != 0 && have != nil {
		if strings.EqualFold(have.Name, s.Name) || s.Name == "" {
			b.mergeSite(have, s)
			return
		}
		b.rep.error(CodeConflict, s.Source, "import one server at a time, or change one of the ids",
			"the site %q has the id %d of the site %q (%s)", s.Name, s.ID, have.Name, have.Source)
	}
	if have := b.byName[strings.ToLower(s.Name)]; have != nil && s.Name != "" {
		if s.ID == 0 {
			b.mergeSite(have, s)
			return
		}
		b.rep.warn(CodeConflict, s.Source, "rename one of them", "two sites have the name %q (the other: %s)", s.Name, have.Source)
	} else {
		b.byName[strings.ToLower(s.Name)] = s
	}
	if b.byID[s.ID] == nil {
		b.byID[s.ID] = s
	}
	b.server.Sites = append(b.server.Sites, s)
}
