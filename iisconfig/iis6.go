package iisconfig

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// convert turns nodes of IIS 6 into sites, pools and settings.
func (b *builder) convert(m *metabase, kind Kind) {
	// adsutil names the children of a node without saying anything of them.
	m.order = slices.DeleteFunc(m.order, func(n *mbNode) bool { return kind == Adsutil && len(n.props) == 0 })
	c := &converter{b: b, m: m, kind: kind, byID: make(map[uint32]*Site), unknown: make(map[string][]Source)}
	for _, n := range m.order {
		c.node(n)
	}
	for _, n := range m.order {
		c.content(n)
	}
	c.report()
	for _, s := range c.sites {
		b.addSite(s)
	}
}

type converter struct {
	b     *builder
	m     *metabase
	kind  Kind
	sites []*Site
	byID  map[uint32]*Site
	// unknown collects properties, to report each name once.
	unknown map[string][]Source
}

// siteOf returns the site id and the path of a location below /LM/W3SVC, such as
// "/LM/W3SVC/1/ROOT/shop". Templates are below /LM/W3SVC/Info and have no number.
func siteOf(location string) (id uint32, path string, ok bool) {
	parts := segments(location)
	if len(parts) < 3 || !strings.EqualFold(parts[1], "W3SVC") {
		return 0, "", false
	}
	n, err := strconv.ParseUint(parts[2], 10, 32)
	if err != nil || n == 0 {
		return 0, "", false
	}
	if len(parts) == 3 {
		return uint32(n), "", true
	}
	if !strings.EqualFold(parts[3], "ROOT") {
		return 0, "", false // Filters, IIsCertMapper
	}
	return uint32(n), "/" + strings.Join(parts[4:], "/"), true
}

// node makes the sites and pools.
func (c *converter) node(n *mbNode) {
	parts := segments(n.location)
	lower := strings.ToLower(n.location)
	switch id, path, ok := siteOf(n.location); {
	case ok && path == "":
		c.site(n, id)
	case ok:
	case under(lower, "/lm/msftpsvc"), under(lower, "/lm/smtpsvc"), under(lower, "/lm/nntpsvc"):
		if len(parts) == 3 && isNumber(parts[2]) {
			c.b.rep.info(CodeNotHTTP, n.source, "%s is a server of another service than the web", n.location)
		}
	case strings.HasPrefix(lower, "/lm/w3svc/info/templates/") && strings.EqualFold(n.keyType, "IIsWebServer"):
		c.b.rep.info(CodeIgnored, n.source, "%s is a template, not a site", n.location)
	case strings.HasPrefix(lower, "/lm/w3svc/apppools/") && len(parts) == 4:
		c.pool(n, parts[3])
	}
}

func isFalse(s string) bool { return s == "0" || strings.EqualFold(s, "false") }

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}

// site reads an IIsWebServer. Its one certificate serves all its secure bindings.
func (c *converter) site(n *mbNode, id uint32) {
	s := &Site{ID: id, Name: cmp.Or(n.str("ServerComment"), "W3SVC/"+strconv.FormatUint(uint64(id), 10)), Source: n.source, kind: c.kind}
	s.AutoStart = !isFalse(n.str("ServerAutoStart"))
	s.State = c.b.state(n.source, n.str("ServerState"))
	s.LogFile = c.logFile(n)
	hash, store := n.str("SSLCertHash"), n.str("SSLStoreName")
	for _, secure := range []bool{false, true} {
		name, protocol := "ServerBindings", "http"
		if secure {
			name, protocol = "SecureBindings", "https"
		}
		prop := n.props[strings.ToLower(name)]
		for _, item := range prop.list(nil) {
			src := Source{File: n.source.File, Line: item.line}
			add := c.b.newBinding(protocol, item.value, src)
			if secure {
				c.b.setHash(add, hash, store, src)
			}
			c.b.addBinding(s, add)
		}
	}
	c.byID[id] = s
	c.sites = append(c.sites, s)
}

func (c *converter) pool(n *mbNode, name string) {
	identities := map[string]string{"0": "LocalSystem", "1": "LocalService", "2": "NetworkService", "3": "SpecificUser"}
	c.b.addPool(&ApplicationPool{
		Name: name, Identity: identities[c.m.up(n, "AppPoolIdentityType")],
		AutoStart: !isFalse(c.m.up(n, "AppPoolAutoStart")),
		State:     c.b.state(n.source, n.str("AppPoolState")), Source: n.source,
	})
}

// content reads folders and settings, which need all sites.
func (c *converter) content(n *mbNode) {
	lower := strings.ToLower(n.location)
	if dll := n.str("FilterPath"); dll != "" && under(lower, "/lm/w3svc") {
		c.filter(n, dll)
		return
	}
	id, path, ok := siteOf(n.location)
	if !ok {
		if lower == "/lm/w3svc" || lower == "/lm/mimemap" {
			c.settings(n, nil, "/")
		}
		return
	}
	s := c.byID[id]
	if s == nil {
		c.b.rep.warn(CodeNoSite, n.source, "give the node of the site too", "%s is of a site that is not here", n.location)
		// The node of the site may be in another file.
		s = &Site{ID: id, Name: "W3SVC/" + strconv.FormatUint(uint64(id), 10), AutoStart: true, Source: n.source, kind: c.kind}
		c.byID[id] = s
		c.sites = append(c.sites, s)
	}
	if path != "" {
		c.folder(n, s, path)
	}
	c.settings(n, s, cmp.Or(path, "/"))
}

// filter reads an ISAPI filter of the server or of a site.
func (c *converter) filter(n *mbNode, dll string) {
	if !foreignFilter(dll) {
		c.b.rep.info(CodeIgnored, n.source, "the ISAPI filter %s of IIS protects no files", dll)
		return
	}
	var site *Site
	if parts := segments(n.location); len(parts) > 2 && isNumber(parts[2]) {
		id, _ := strconv.ParseUint(parts[2], 10, 32)
		if site = c.byID[uint32(id)]; site == nil {
			c.b.rep.warn(CodeNoSite, n.source, "give the node of the site too", "%s is of a site that is not here", n.location)
			return
		}
	}
	if strings.HasSuffix(strings.ToLower(dll), urlScanDLL) {
		c.urlScanFilter(n, site, dll)
		return
	}
	c.close(site, "/", unknownFilter(dll, n.source))
}

// close closes a place, since something may protect it that is not understood.
func (c *converter) close(site *Site, path string, part UnknownPart) {
	l := &layer{changes: []change{{section: Section{Name: part.Section, Source: part.Source}, unknown: []UnknownPart{part}}}}
	c.b.placed = append(c.b.placed, placement{owner: site, path: path, layer: l, source: part.Source})
}

// folder adds a virtual directory, and an application if the node is the root of one:
// AppRoot then names the node itself.
func (c *converter) folder(n *mbNode, s *Site, path string) {
	isApp := path == "/" || strings.EqualFold(strings.TrimRight(n.str("AppRoot"), "/"), n.location)
	if isApp && c.appOf(s, path, true) == nil {
		s.Applications = append(s.Applications, &Application{Path: path, Pool: c.m.up(n, "AppPoolId"), Source: n.source})
		c.b.appIndex[appKey{s, strings.ToLower(path)}] = s.Applications[len(s.Applications)-1]
	}
	prop, hasPath := n.props["path"]
	if !hasPath {
		if isApp && path == "/" {
			c.b.rep.info(CodeNoFolder, n.source, "%s has no Path, so no folder", n.location)
		}
		return
	}
	app := c.appOf(s, path, false)
	if app == nil { // the node of the root comes later, or not at all
		app = &Application{Path: "/", Pool: c.m.up(n, "AppPoolId"), Source: n.source}
		s.Applications = append([]*Application{app}, s.Applications...)
		c.b.appIndex[appKey{s, "/"}] = app
	}
	rel := path
	if app.Path != "/" {
		rel = path[len(app.Path):]
	}
	app.VirtualDirectories = append(app.VirtualDirectories, &VirtualDirectory{
		Path: cleanPath(rel), PhysicalPath: prop.value, UserName: n.str("UNCUserName"),
		Source: Source{File: n.source.File, Line: cmp.Or(prop.line, n.source.Line)},
	})
}

// appKey finds applications by site and path in lower case.
type appKey struct {
	site *Site
	path string
}

// appOf returns the application that a path belongs to, or the one of exactly that
// path.
func (c *converter) appOf(s *Site, path string, exact bool) *Application {
	for {
		if app := c.b.appIndex[appKey{s, strings.ToLower(path)}]; app != nil || exact || path == "/" {
			return app
		}
		path = cmp.Or(path[:strings.LastIndexByte(path, '/')], "/")
	}
}

// settings reads the properties of a node as sections of a later IIS.
func (c *converter) settings(n *mbNode, site *Site, path string) {
	l := &layer{rank: len(segments(n.location))} // a site's node comes before its ROOT
	src := n.source
	if site != nil {
		src.Scope = joinScope(site.Name, path)
	}
	for _, key := range mbKeys(n) {
		prop := n.props[key]
		at := Source{File: src.File, Line: cmp.Or(prop.line, src.Line), Scope: src.Scope}
		if read := mbProperties[key]; read != nil {
			section, apply := read(c.b.rep, at, prop)
			l.changes = append(l.changes, change{section: Section{Name: section, Source: at}, apply: apply})
			continue
		}
		if key == "ipsecurity" {
			if prop.value != "" || len(prop.items) > 0 {
				c.close(site, path, UnknownPart{
					Section: "system.webServer/security/ipSecurity", What: "IPSecurity, which restricts who may come to addresses, is in a form that", Source: at,
					Fix: "look them up in the IIS Manager, and write iis_ip_security",
				})
			}
			continue
		}
		if mbIgnored(key) || key == "azenable" && isFalse(prop.value) {
			continue
		}
		c.unknown[prop.name] = append(c.unknown[prop.name], at)
		if section := mbProtects(key); section != "" {
			c.close(site, path, UnknownPart{
				Section: section, What: "the property " + shorten(prop.name), Source: at,
				Fix: "look it up in the IIS Manager, and write what it does in its place; if it protects nothing, take it out of the copy of the file, and import again",
			})
		}
	}
	if len(l.changes) > 0 {
		c.b.placed = append(c.b.placed, placement{owner: site, path: path, layer: l, source: src})
	}
}

// report tells of each property that is not understood once.
func (c *converter) report() {
	for _, name := range slices.Sorted(maps.Keys(c.unknown)) {
		at := c.unknown[name]
		more := ""
		if len(at) > 1 {
			more = ", and at " + strconv.Itoa(len(at)-1) + " other nodes"
		}
		c.b.rep.info(CodeUnknown, at[0], "the property %s is not understood%s", shorten(name), more)
	}
}
