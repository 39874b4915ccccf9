package iisimport

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// node is a path of a site with a folder or settings of its own.
type node struct {
	path     string // "/" or "/shop/images"
	physical string // of the virtual directory; empty if a node above has the folder
	stripped bool   // the path is taken off before the node sees a request
	worker   string // why a worker process answers
	settings *iisconfig.Settings
	source   iisconfig.Source
}

// siteWriter translates the content of one site.
type siteWriter struct {
	b      *builder
	site   *Site
	root   *node
	nodes  []*node // without root, the longest path first
	counts map[string]int
}

// content translates what a site serves.
func (b *builder) content(s *Site) {
	w := &siteWriter{b: b, site: s, counts: make(map[string]int)}
	w.collect()
	w.siteWords()
	if w.root == nil {
		s.body = append(s.body, comment("What this site served is not among the files: its content is empty."))
		b.plan.Report.decide(s.source.Source, fmt.Sprintf("site %q", s.Name), "add root and file_server, or reverse_proxy", "the files do not say what it serves")
		return
	}
	s.body = append(s.body, w.body()...)
	s.body = append(s.body, w.errorPages()...)
}

// matcher returns a new name for a matcher.
func (w *siteWriter) matcher(name string) string {
	w.counts[name]++
	if n := w.counts[name]; n > 1 {
		return "@" + name + strconv.Itoa(n)
	}
	return "@" + name
}

func (w *siteWriter) report() *Report { return w.b.plan.Report }

// collect finds the nodes.
func (w *siteWriter) collect() {
	s := w.site.source
	byPath := make(map[string]*node)
	add := func(p string) *node {
		key := strings.ToLower(p)
		n := byPath[key]
		if n == nil {
			n = &node{path: p, settings: s.At(p)}
			byPath[key] = n
		}
		return n
	}
	for _, app := range s.Applications {
		for _, dir := range app.VirtualDirectories {
			n := add(path.Join("/", app.Path, dir.Path))
			n.physical, n.source = dir.PhysicalPath, dir.Source
			if dir.UserName != "" {
				w.report().decide(dir.Source, "account "+dir.UserName, "give the user that Caddy runs as access to the folder",
					"Caddy reads %s with its own account", dir.PhysicalPath)
			}
		}
		if app.Path != "/" && len(app.VirtualDirectories) == 0 {
			add(app.Path).source = app.Source
		}
	}
	w.root = byPath["/"]
	for _, c := range s.Configured {
		if byPath[strings.ToLower(c.Path)] == nil && w.root != nil {
			add(c.Path).source = c.Sections[0].Source
		}
	}
	for key, n := range byPath {
		n.worker = w.needsWorker(n)
		n.stripped = n.physical != "" && n.worker == "" && key != "/"
		if key != "/" {
			w.nodes = append(w.nodes, n)
		}
	}
	slices.SortFunc(w.nodes, func(x, y *node) int {
		return cmp.Or(cmp.Compare(len(y.path), len(x.path)), cmp.Compare(strings.ToLower(x.path), strings.ToLower(y.path)))
	})
}

// needsWorker tells what at a path only a worker process can answer. What every
// server has for all sites is no sign of it.
func (w *siteWriter) needsWorker(n *node) string {
	set := n.settings
	switch {
	case set.AspNetCore != nil:
		return "ASP.NET Core (" + cmp.Or(set.AspNetCore.ProcessPath, "process path not known") + ")"
	case set.Handlers != nil:
		for _, h := range set.Handlers.Entries {
			if h.Path == "*" && h.NeedsWorker() && h.Source.Scope != "" && !nativeVerb(h) {
				return "the handler " + h.Name
			}
		}
	}
	for _, sec := range set.Managed {
		if sec.Source.Scope != "" {
			return "the section " + sec.Name
		}
	}
	return ""
}

// nativeVerb knows the handlers of IIS for OPTIONS and TRACE and those of its
// services for developers.
func nativeVerb(h iisconfig.Handler) bool {
	return strings.EqualFold(h.Verb, "OPTIONS") || strings.EqualFold(h.Verb, "TRACE")
}

func (w *siteWriter) upstream() string {
	w.b.plan.Workers = true
	w.report().worker(fmt.Sprintf("site %d %s", w.site.ID, w.site.Name))
	return "{$IIS_UPSTREAM:" + w.b.plan.opts.Upstream + "}"
}

// siteWords are the words of a site that are no directives.
func (w *siteWriter) siteWords() {
	s, src := w.site, w.site.source
	root := src.At("/")
	if a := root.Access; a != nil {
		w.accessWords(a)
	}
	if h := src.HSTS; h != nil && h.Enabled {
		d := directive("hsts", strconv.FormatUint(uint64(h.MaxAge), 10)+"s")
		for _, f := range []struct {
			set  bool
			word string
		}{{h.IncludeSubDomains, "include_subdomains"}, {h.Preload, "preload"}, {h.RedirectHTTPToHTTPS, "redirect_http"}} {
			if f.set {
				d.Block = append(d.Block, directive(f.word))
			}
		}
		d.hasBlock = d.Block != nil
		s.access = append(s.access, d)
		w.report().translated(h.Source, "hsts", "hsts %ds", h.MaxAge)
	}
	for _, app := range src.Applications {
		for _, pool := range w.b.server.ApplicationPools {
			if app.Path == "/" && pool.Name == app.Pool && strings.EqualFold(pool.State, "stopped") {
				s.access = append(s.access, directive("offline").because("Its application pool "+pool.Name+" was stopped."))
				w.report().translated(pool.Source, "application pool "+pool.Name, "offline, since it was stopped")
			}
		}
	}
}

func (w *siteWriter) accessWords(a *iisconfig.Access) {
	f := a.SSLFlags
	what := "access sslFlags " + f.String()
	if w.unmeetable(a) {
		w.report().decide(a.Source, what, "give the site an https binding", "the site has no https binding, so nobody can meet it: it answers 403")
		return
	}
	if f&iisconfig.AccessSSL != 0 {
		w.site.access = append(w.site.access, directive("require_ssl"))
		w.report().translated(a.Source, what, "require_ssl")
	}
	if f&iisconfig.AccessRequireCert != 0 {
		w.site.access = append(w.site.access, directive("require_client_certificate"))
		w.report().translated(a.Source, what, "require_client_certificate, and client_auth in the bindings")
	}
	if f&iisconfig.AccessMapCert != 0 {
		w.report().decide(a.Source, what, "", "client certificates are not mapped to accounts: there are none")
	}
}

// unmeetable tells whether https is required of a site that has none.
func (w *siteWriter) unmeetable(a *iisconfig.Access) bool {
	const need = iisconfig.AccessSSL | iisconfig.AccessRequireCert
	return a != nil && a.SSLFlags&need != 0 && !slices.ContainsFunc(w.site.Bindings, func(b *Binding) bool { return b.rec != nil })
}

// body translates the nodes. Where their order matters, they are in a route.
func (w *siteWriter) body() []*Directive {
	rules := w.rewriteRules(w.root, "")
	var kids []*Directive
	for _, n := range w.nodes {
		kids = append(kids, w.below(n)...)
	}
	own := w.serve(w.root)
	all := append(w.headers(w.root), rules...)
	all = append(all, kids...)
	all = append(all, w.guards(w.root)...)
	all = append(all, own.list...)
	if len(rules) == 0 && len(kids) == 0 && !own.ordered {
		return all
	}
	return []*Directive{block(all, "route")}
}

// nodeContent is what serves a node.
type nodeContent struct {
	list    []*Directive
	ordered bool // the order of Caddy's directives is not that of IIS
}

// safePath tells whether a path can stand in a matcher.
func safePath(p string) bool { return !strings.ContainsAny(p, "*?%{}`\"\\#") }

// below translates a node below the root.
func (w *siteWriter) below(n *node) []*Directive {
	if !safePath(n.path) {
		w.report().decide(n.source, "path "+n.path, "", "a path with such characters has no form in a matcher; requests to it get the content of the path above")
		return []*Directive{comment("Left out: the path " + n.path)}
	}
	if n.physical == "" && w.sameAsAbove(n) {
		return nil
	}
	list := append(w.headers(n), w.guards(n)...)
	list = append(list, w.rewriteRules(n, n.prefix())...)
	list = append(list, w.serve(n).list...)
	where := n.source.String()
	if n.stripped {
		return []*Directive{
			directive("redir", n.path, n.path+"/{http.request.uri.prefixed_query}", "301"),
			block([]*Directive{block(list, "route")}, "handle_path", n.path+"/*").because(where),
		}
	}
	m := w.matcher("at")
	return []*Directive{
		directive(m, "path", n.path, n.path+"/*"),
		block([]*Directive{block(list, "route")}, "handle", m).because(where),
	}
}

// prefix is what requests to the node have before the part that its rules see.
func (n *node) prefix() string {
	if n.stripped || n.path == "/" {
		return ""
	}
	return n.path
}

// above returns the node whose folder a path is in.
func (w *siteWriter) above(n *node) *node {
	for _, other := range w.nodes {
		if other != n && other.physical != "" && len(other.path) < len(n.path) && strings.EqualFold(n.path[:len(other.path)+1], other.path+"/") {
			return other
		}
	}
	return w.root
}

// sameAsAbove tells whether a node changes nothing that is translated.
func (w *siteWriter) sameAsAbove(n *node) bool { return n.settings == w.above(n).settings }
