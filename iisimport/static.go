package iisimport

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iishttp"
)

// static serves files as IIS does, but for what handlers refuse: iis_content_types says
// which, file_server sends them.
func (w *siteWriter) static(n *node, refusals []*Directive) []*Directive {
	from := w.folderOf(n)
	if from.physical == "" {
		return []*Directive{w.closed(404, n.source, "folder of "+n.path, "add root and file_server", "the files do not say which it is")}
	}
	if !expressible(from.path) {
		return []*Directive{w.closed(404, n.source, "path "+from.path, "write what answers there", "the path has no form in a Caddyfile")}
	}
	root := w.folderAt(directive("root", "*"), from).because("On the IIS server: " + from.physical)
	if !w.nameable(from) {
		return []*Directive{w.closed(404, n.source, "folder "+from.physical, "give its folder here another name, with --map", "it has no form in a Caddyfile")}
	}
	if n.physical != "" {
		w.report().translated(n.source, "folder "+n.physical, "root and file_server at %s", n.path)
	}
	if h := n.settings.Handlers; h != nil && !permits(h.AccessPolicy, "Read") {
		return []*Directive{w.closed(403, h.Source, "handlers accessPolicy "+h.AccessPolicy, "", "it lets nobody read files: 403.2")}
	}
	s := w.scripts(n)
	_, every := w.handlers(n)
	refused := every != nil && !sendsFiles(n, *every)
	s.few = refused || w.unserved(n)
	if !s.few {
		s.documents, s.listing = w.inFolders(n)
	}
	if s.few && s.sent == nil && s.files == nil && s.unclear == nil {
		if refused {
			return []*Directive{w.closed(403, every.Source, "handler "+every.Name, "", "it has no StaticFileModule, the server has not, or accessPolicy lets it not run: 403")}
		}
		return []*Directive{w.noHandler(n)}
	}
	s.closed = append(s.closed, w.closedDocuments(n)...)
	if h := s.unclear; h != nil {
		return []*Directive{w.closed(403, h.Source, "handler "+h.Name, "write its path as a matcher", fmt.Sprintf("its path %q has no form here", h.Path))}
	}
	types := w.acceptedOr(w.contentTypes(n, from, s), 404, n.source)
	if types.Words[0] == "iis_closed" {
		return []*Directive{types}
	}
	out := slices.Concat(refusals, w.documentGuards(n), []*Directive{root, types})
	if s.sent != nil {
		out = append(out, w.toFastCGI(n, from, s)...)
		out = append(out, w.toWorkers(n, s)...)
	}
	return append(out, w.fileServer(n, s))
}

// contentTypes writes the rules of the handler StaticFile: which extensions are sent,
// default documents, listings, and what is run and so never sent.
func (w *siteWriter) contentTypes(n, from *node, s scripts) *Directive {
	var kids []*Directive
	if from.path != "/" {
		kids = append(kids, directive("prefix", from.path))
	}
	if s.few {
		kids = append(kids, w.fewTypes(n, s.files)...)
	} else {
		kids = append(kids, w.types(n)...)
	}
	if s.documents {
		kids = append(kids, w.documents(n))
	} else {
		kids = append(kids, directive("documents", "off"))
	}
	if s.listing && listed(n) {
		kids = append(kids, directive("browse"))
	}
	kids = append(kids, s.lines...)
	if s.sent != nil {
		kids = append(kids, directive(append([]string{"scripts"}, s.sent...)...))
	}
	if s.closed != nil {
		kids = append(kids, directive(append([]string{"closed"}, s.closed...)...))
	}
	if s.closed != nil && s.lines == nil {
		but := ""
		if s.fast != nil {
			but = ", but for those that FastCGI runs"
		}
		w.report().dropped(w.b.serverSource("handlers"), "handlers of scripts",
			"of the section handlers, those of the whole server%s, and those without the web.config of their site, are not run: requests for their paths get 404, whatever else they say", but)
	}
	kids = append(kids, w.cache(n)...)
	return block(kids, "iis_content_types")
}

var reExtension = regexp.MustCompile(`^\.[^\s/\\{}` + "`" + `"]*$`)

// mimeMaps has the MIME types of the place; nil if no file has any. Where the server's list is
// not known, that of IIS 10 stands for it.
func (w *siteWriter) mimeMaps(n *node) *iisconfig.StaticContent {
	c := n.settings.StaticContent
	if c == nil || w.b.serverSource("staticContent").File != "" {
		return c
	}
	own := *c
	own.MIMEMaps = slices.Clip(c.MIMEMaps)
	for ext, kind := range iishttp.IIS10Types() {
		if !c.Gone.Has(ext) && !slices.ContainsFunc(c.MIMEMaps, func(m iisconfig.MIMEMap) bool { return strings.EqualFold(m.Extension, ext) }) {
			own.MIMEMaps = append(own.MIMEMaps, iisconfig.MIMEMap{Extension: ext, Type: kind})
		}
	}
	return &own
}

// fewTypes are the types of the files that handlers for an extension send, where none
// sends all.
func (w *siteWriter) fewTypes(n *node, files []string) []*Directive {
	known := iishttp.IIS10Types()
	if c := w.mimeMaps(n); c != nil {
		clear(known)
		for _, d := range w.allTypes(c) {
			known[d.Words[1]] = d.Words[2]
		}
	}
	out := []*Directive{directive("types", "none")}
	for _, p := range files {
		if m := reExtensionPattern.FindStringSubmatch(p); m != nil && known[m[1]] != "" {
			out = append(out, directive("type", m[1], known[m[1]]))
		}
	}
	w.report().translated(n.settings.Handlers.Source, "handlers", "iis_content_types: no handler sends all files; sent are those of handlers for an extension")
	return out
}

// types are the MIME types of the place: an extension without one is not sent. They are
// written as the difference to those of IIS 10.
func (w *siteWriter) types(n *node) []*Directive {
	c := w.mimeMaps(n)
	if c == nil {
		return nil
	}
	known := iishttp.IIS10Types()
	base := len(known)
	var changed []*Directive
	own := make(map[string]bool)
	for _, m := range c.MIMEMaps {
		ext := strings.ToLower(m.Extension)
		if !reExtension.MatchString(ext) || !expressible(ext) || !expressible(m.Type) {
			w.report().decide(m.Source, "mimeMap "+m.Extension, "", "no form for the extension: such files are not sent")
			continue
		}
		own[ext] = true
		if known[ext] != m.Type {
			changed = append(changed, directive("type", ext, m.Type))
		}
		if m.Source.Scope != "" {
			w.report().translated(m.Source, "mimeMap "+m.Extension, "iis_content_types: %s", m.Type)
		}
	}
	if c.Source.Scope != "" && !c.Gone.Empty() {
		w.report().translated(c.Source, "staticContent", "iis_content_types: without the types that it takes out")
	}
	var removed []string
	for ext := range known {
		if !own[ext] {
			removed = append(removed, ext)
		}
	}
	slices.Sort(removed)
	if len(removed) > base/2 {
		return append([]*Directive{directive("types", "none")}, w.allTypes(c)...)
	}
	slices.SortFunc(changed, func(x, y *Directive) int { return strings.Compare(x.Words[1], y.Words[1]) })
	if removed != nil {
		changed = append(changed, directive(append([]string{"remove"}, removed...)...))
	}
	return changed
}

// allTypes writes a list of its own.
func (w *siteWriter) allTypes(c *iisconfig.StaticContent) []*Directive {
	var out []*Directive
	for _, m := range c.MIMEMaps {
		if ext := strings.ToLower(m.Extension); reExtension.MatchString(ext) && expressible(ext) && expressible(m.Type) {
			out = append(out, directive("type", ext, m.Type))
		}
	}
	return out
}

func (b *builder) serverSource(section string) iisconfig.Source {
	for _, s := range b.server.Configured {
		if path.Base(s.Name) == section {
			return s.Source
		}
	}
	return iisconfig.Source{}
}

// cache is clientCache.
func (w *siteWriter) cache(n *node) []*Directive {
	c := n.settings.StaticContent
	if c == nil || c.CacheMode == "" || strings.EqualFold(c.CacheMode, "NoControl") {
		return nil
	}
	what, value := "clientCache "+c.CacheMode, ""
	switch strings.ToLower(c.CacheMode) {
	case "disablecache":
		value = "no-cache"
	case "usemaxage":
		if seconds, ok := timeSpan(c.CacheMaxAge); ok {
			value = "max-age=" + strconv.Itoa(seconds)
		}
	case "useexpires":
		if c.CacheExpires != "" && expressible(c.CacheExpires) {
			w.report().translated(c.Source, what, "iis_content_types: expires")
			return []*Directive{directive("expires", c.CacheExpires)}
		}
	}
	if value == "" {
		w.report().decide(c.Source, what, "", "its time is not understood")
		return nil
	}
	if c.CacheCustom != "" {
		value += ", " + c.CacheCustom
	}
	if !expressible(value) {
		w.report().decide(c.Source, what, "", "its text has no form in a Caddyfile")
		return nil
	}
	w.report().translated(c.Source, what, "iis_content_types: cache_control %s", value)
	return []*Directive{directive("cache_control", value)}
}

var reTimeSpan = regexp.MustCompile(`^(?:(\d{1,6})\.)?(\d{1,3}):(\d{2}):(\d{2})$`)

// timeSpan reads d.hh:mm:ss.
func timeSpan(s string) (int, bool) {
	if s == "" {
		s = "1.00:00:00"
	}
	m := reTimeSpan.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi("0" + m[i+1])
	}
	return ((n[0]*24+n[1])*60+n[2])*60 + n[3], true
}

// noDocument is a name that no file has: iis_content_types has found the default
// document already, and file_server must not look for one of its own.
const noDocument = ".no-default-document"

// listed tells whether directoryBrowse lets see what is in folders.
func listed(n *node) bool {
	return n.settings.DirectoryBrowse != nil && n.settings.DirectoryBrowse.Enabled
}

// fileServer sends what iis_content_types has let through.
func (w *siteWriter) fileServer(n *node, s scripts) *Directive {
	d := directive("file_server")
	switch {
	case !listed(n):
	case s.listing:
		d.Words = append(d.Words, "browse")
		w.report().translated(n.settings.DirectoryBrowse.Source, "directoryBrowse", "file_server browse")
		if flags := n.settings.DirectoryBrowse.ShowFlags; flags != "" {
			w.report().dropped(n.settings.DirectoryBrowse.Source, "directoryBrowse showFlags "+flags, "listings have the name, size and time of each file")
		}
	default:
		w.report().dropped(n.settings.DirectoryBrowse.Source, "directoryBrowse", "no handler with the DirectoryListingModule answers for folders")
	}
	d.hasBlock = true
	d.Block = []*Directive{directive("index", noDocument), directive("disable_canonical_uris")}
	return d
}

// shippedDocuments are those of servers whose own are not known.
var shippedDocuments = []string{"Default.htm", "Default.asp", "index.htm", "index.html", "iisstart.htm"}

// documents are the default documents, which may be scripts.
func (w *siteWriter) documents(n *node) *Directive {
	doc := n.settings.DefaultDocument
	if doc == nil {
		return directive(append([]string{"documents"}, shippedDocuments...)...)
	}
	words, files := []string{"documents"}, doc.Files
	if w.b.serverSource("defaultDocument").File == "" {
		files = withShipped(files, shippedDocuments, doc.Gone, nil)
	}
	for _, f := range files {
		if strings.ContainsAny(f.Value, `/\`) || f.Value == "" || !expressible(f.Value) || strings.EqualFold(f.Value, "off") {
			w.report().decide(f.Source, "default document "+f.Value, "", "it is not the name of a file")
			continue
		}
		words = append(words, f.Value)
	}
	if !doc.Enabled || len(words) == 1 {
		words = []string{"documents", "off"}
	}
	w.report().translated(doc.Source, "defaultDocument", "%s in iis_content_types", strings.Join(words, " "))
	return directive(words...)
}

// closedDocuments are default documents of the folder of a node that have guards of their
// own: IIS asks them when it answers with the document. They are named by their paths.
func (w *siteWriter) closedDocuments(n *node) (paths []string) {
	names := w.again(func(n *node) []*Directive { return []*Directive{w.documents(n)} }, n)[0].Words[1:]
	guards := func(n *node) string {
		return plainText(w.again(w.filter, n)) + plainText(w.again(w.addresses, n)) + plainText(w.again(w.allow, n))
	}
	for _, other := range w.nodes {
		isDocument := slices.ContainsFunc(names, func(doc string) bool { return strings.EqualFold(doc, path.Base(other.path)) })
		if isDocument && other.physical == "" && w.over(other) == n && guards(other) != guards(n) {
			paths = append(paths, strings.ToLower(other.path))
		}
	}
	return paths
}

// documentGuards are the guards of the default documents at a node for requests that
// rules have led there from another place: IIS answers with such a document by a request
// of its own, which meets the guards in front of the rules, too.
func (w *siteWriter) documentGuards(n *node) (out []*Directive) {
	if w.varying == nil {
		w.varying = map[string]bool{"filter": w.differs(w.filter), "addresses": w.differs(w.addresses)}
		w.varying["rules"] = w.differs(w.rules) || w.again(w.rules, w.root) != nil
	}
	if !w.varying["rules"] {
		return nil
	}
	if filter := w.again(w.filter, n); w.varying["filter"] && len(filter) == 1 && filter[0].Words[0] == "iis_filter" {
		only := *filter[0]
		only.Block = append([]*Directive{directive("documents_only")}, only.Block...)
		out = append(out, &only)
	}
	if list := w.again(w.addresses, n); w.varying["addresses"] && list != nil {
		m := w.matcher("documents")
		out = append(out, directive(m, "path_regexp", "/$"), block(list, "route", m))
	}
	return out
}

// differs tells whether a step is not the same everywhere.
func (w *siteWriter) differs(step func(*node) []*Directive) bool {
	root := plainText(w.again(step, w.root))
	return slices.ContainsFunc(w.nodes, func(n *node) bool { return plainText(w.again(step, n)) != root })
}

// again writes a step that is written elsewhere already: the report has it.
func (w *siteWriter) again(step func(*node) []*Directive, n *node) []*Directive {
	report, origins := w.b.plan.Report, w.origins
	w.b.plan.Report = new(Report)
	defer func() { w.b.plan.Report, w.origins = report, origins }()
	return step(n)
}

var reHeaderName = regexp.MustCompile(`^[A-Za-z0-9!#$&'*.^_|~][A-Za-z0-9!#$&'*.^_|~-]*$`)

// headers are those that IIS adds to responses, and compression.
func (w *siteWriter) headers(n *node) []*Directive {
	var out []*Directive
	if p := n.settings.HTTPProtocol; p != nil {
		out = append(out, w.ownHeaders(p.CustomHeaders, "header", nil)...)
		redirects := directive("match", "status", "301", "302", "303", "307", "308")
		out = append(out, w.ownHeaders(p.RedirectHeaders, "redirectHeaders", redirects)...)
		if p.NoKeepAlive {
			w.report().dropped(p.Source, "httpProtocol allowKeepAlive=false", "connections are kept for more requests, as HTTP/2 and HTTP/3 have to")
		}
	}
	if c := n.settings.URLCompression; c != nil && (c.Static || c.Dynamic) {
		but := ""
		switch {
		case !c.Static:
			but = ", also for files, which IIS sends as they are (doStaticCompression)"
		case !c.Dynamic:
			but = ", also for what applications answer, which IIS sends as it is (doDynamicCompression)"
		}
		w.report().translated(c.Source, "urlCompression", "encode gzip%s", but)
		out = append(out, directive("encode", "gzip"))
	}
	return out
}

// ownHeaders writes headers of a list, for the responses that are matched.
func (w *siteWriter) ownHeaders(headers []iisconfig.Header, what string, match *Directive) (out []*Directive) {
	for _, h := range headers {
		what := what + " " + h.Name
		switch {
		case strings.EqualFold(h.Name, "X-Powered-By"):
			w.report().dropped(h.Source, what, "it names software that does not serve the site any more")
		case !reHeaderName.MatchString(h.Name) || !expressible(literal(h.Value)):
			w.report().decide(h.Source, what, "", "it has no form in a Caddyfile")
		case match != nil:
			out = append(out, block([]*Directive{match, directive(h.Name, literal(h.Value))}, "header", "*"))
			w.report().translated(h.Source, what, "header, for redirects")
		default:
			out = append(out, directive("header", "*", h.Name, literal(h.Value)))
			w.report().translated(h.Source, what, "header")
		}
	}
	return out
}

// hidesServer tells whether some place takes the header Server out of its responses, and where
// it says so.
func (w *siteWriter) hidesServer() (src iisconfig.Source, hides bool) {
	for _, n := range append(slices.Clone(w.nodes), w.root) {
		if f := n.settings.RequestFiltering; f != nil && f.RemoveServerHeader {
			src, hides = f.Source, true
		}
	}
	return src, hides
}

// withoutServer takes the header Server out of what the site answers, with error pages and
// without them, where it names itself or an application behind it. What one place hides, no
// other one tells.
func (w *siteWriter) withoutServer(body, pages []*Directive) []*Directive {
	src, hides := w.hidesServer()
	if !hides {
		return append(body, pages...)
	}
	w.report().translated(src, "requestFiltering removeServerHeader", "header -Server, for the whole site")
	hide := directive("header", "*", "-Server")
	route := body[len(body)-1]
	route.Block = slices.Insert(route.Block, 0, hide)
	for _, page := range pages {
		page.Block = slices.Insert(page.Block, 0, hide)
	}
	return append(append(body, pages...), block([]*Directive{hide}, "handle_errors"))
}
