package iisimport

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// node is a path of a site with a folder or settings of its own.
type node struct {
	path     string // "/" or "/shop/images"
	physical string // of the virtual directory; empty if a node above has the folder
	pool     string // of the application that the path is in
	worker   string // why a worker process answers
	core     bool   // the program of aspNetCore is it
	engine   string // the folder of .NET for the pool
	settings *iisconfig.Settings
	source   iisconfig.Source

	shut      step // the first step that closes it; 0: none does
	redirects bool // it has an iis_redirect
}

// siteWriter translates the content of one site.
type siteWriter struct {
	b     *builder
	site  *Site
	root  *node
	nodes []*node // without root, the longest path first
	// matchers counts those of a name in the scope of the site.
	matchers map[string]int
	origins  []string        // that rules lead to, in the order of the rules
	varying  map[string]bool // see documentGuards
	told     []told
	offline  bool // all of its application pools were stopped

	variables map[string]string   // by name, the path whose folder or upstream it is
	services  map[string]*Service // by path of the application; nil for one that has no form
}

// content translates what a site serves.
func (b *builder) content(s *Site) {
	w := &siteWriter{b: b, site: s, matchers: make(map[string]int), variables: make(map[string]string), services: make(map[string]*Service)}
	w.collect()
	w.siteWords()
	if w.root == nil {
		s.body = append(s.body, comment("What this site served is not among the files: its content is empty."))
		b.plan.Report.decide(s.source.Source, fmt.Sprintf("site %q", s.Name), "add root and file_server, or reverse_proxy", "the files do not say what it serves")
		return
	}
	body := w.body()
	from := len(w.report().Lines)
	s.body = append(s.body, w.withoutServer(body, w.errorPages())...)
	w.tell(nil, stepAnswer, from)
	w.takeBack()
}

// matcher returns a new name for a matcher in the scope of the site.
func (w *siteWriter) matcher(name string) string {
	w.matchers[name]++
	if n := w.matchers[name]; n > 1 {
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
			if dir.NoSubConfig {
				w.report().translated(dir.Source, `virtualDirectory allowSubDirConfig="false"`,
					"as in IIS, web.config files of folders below %s do not count, but for what .NET reads of them by itself", dir.PhysicalPath)
			}
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
		n.pool = w.poolOf(n.path)
		n.engine = w.engineOf(n)
		n.core = w.allToCore(n)
		n.worker = w.needsWorker(n)
		if key != "/" {
			w.nodes = append(w.nodes, n)
		}
	}
	slices.SortFunc(w.nodes, func(x, y *node) int {
		return cmp.Or(cmp.Compare(len(y.path), len(x.path)), cmp.Compare(strings.ToLower(x.path), strings.ToLower(y.path)))
	})
}

// within tells whether a path is another one or below it. IIS compares without case.
func within(p, top string) bool {
	if top == "/" {
		return true
	}
	p, top = strings.ToLower(p), strings.ToLower(top)
	return p == top || strings.HasPrefix(p, top+"/")
}

// application returns the one that a path is in; nil if there is none.
func (w *siteWriter) application(p string) *iisconfig.Application {
	var found *iisconfig.Application
	for _, app := range w.site.source.Applications {
		if within(p, app.Path) && (found == nil || len(app.Path) > len(found.Path)) {
			found = app
		}
	}
	return found
}

// poolOf returns the application pool of a path.
func (w *siteWriter) poolOf(p string) string {
	if app := w.application(p); app != nil {
		return strings.ToLower(app.Pool)
	}
	return ""
}

// appOf returns the path of the application that a node is in.
func (w *siteWriter) appOf(n *node) string {
	if app := w.application(n.path); app != nil {
		return app.Path
	}
	return "/"
}

func (w *siteWriter) upstream() string {
	w.b.plan.Workers = true
	w.report().worker(fmt.Sprintf("site %d %s", w.site.ID, w.site.Name))
	return "{$IIS_UPSTREAM:" + w.b.plan.opts.Upstream + "}"
}

// body writes what the site does with a request, in the order of the modules of
// IIS. First, as the client's URL has it: request filtering, restrictions of
// addresses, rules. Then, as rules have left the URL: who may, and what answers.
func (w *siteWriter) body() []*Directive {
	list := []*Directive{directive("iis_url")}
	from := len(w.report().Lines)
	global := w.globalRules()
	w.tell(nil, stepGlobal, from)
	for _, n := range w.nodes {
		n.shut = w.root.shut
	}
	if global != nil {
		// Filtering tests the URL of the client, and what global rules make of it.
		list = append(list, w.stage(stepFilter, w.filter)...)
		list = append(list, global...)
	}
	headers := w.stage(stepHeaders, w.headers)
	if len(headers) > 0 && headers[0].Words[0] != "route" {
		list = slices.Insert(list, 0, headers...) // the same everywhere: also for what rules answer
		headers = nil
	}
	list = append(list, w.stage(stepFilter, w.filter)...)
	list = append(list, w.stage(stepAddresses, w.addresses)...)
	list = append(list, w.stage(stepRules, w.rules)...)
	list = append(list, headers...)
	list = append(list, w.stage(stepAllow, w.allow)...)
	from = len(w.report().Lines)
	list = append(list, w.proxies()...)
	w.tell(nil, stepAnswer, from)
	list = append(list, w.stage(stepAnswer, w.answer)...)
	return []*Directive{block(list, "route")}
}

// allow decides whether the request may have what it asks for.
func (w *siteWriter) allow(n *node) []*Directive {
	if closed := w.refusedAgain(n); closed != nil {
		return closed
	}
	out := w.access(n)
	out = append(out, w.upgrades(n)...)
	out = append(out, w.accounts(n)...)
	return append(out, w.redirect(n)...)
}

// stage writes what each node does at one step. A node that does what the one above
// it does needs no words of its own.
func (w *siteWriter) stage(at step, write func(*node) []*Directive) []*Directive {
	own := w.write(w.root, at, write)
	texts := map[*node]string{w.root: plainText(own)}
	bodies := make(map[*node][]*Directive, len(w.nodes))
	for _, n := range slices.Backward(w.nodes) { // those above first
		bodies[n] = w.write(n, at, write)
		texts[n] = plainText(bodies[n])
	}
	var kids []*Directive
	for _, n := range w.nodes {
		if texts[n] == texts[w.over(n)] {
			continue
		}
		m := w.matcher("at")
		kids = append(kids,
			directive(append([]string{m}, pathMatcher(n.path)...)...),
			block([]*Directive{block(bodies[n], "route")}, "handle", m).because(n.source.String()))
	}
	if kids == nil {
		return own
	}
	if own != nil {
		kids = append(kids, block([]*Directive{block(own, "route")}, "handle"))
	}
	return []*Directive{block(kids, "route")}
}

// pathMatcher matches a path and all below it. What the matcher path takes for a pattern
// (*, ?, [ and \), or for an escape, goes into a regular expression, where it means itself.
func pathMatcher(p string) []string {
	if !strings.ContainsAny(p, "*?[]%{}`\"\\#") && expressible(p) {
		return []string{"path", p, p + "/*"}
	}
	var pattern strings.Builder
	for _, r := range p {
		if text := string(r); strings.ContainsRune("{}`", r) || !expressible(text) {
			fmt.Fprintf(&pattern, `\x{%04X}`, r)
		} else {
			pattern.WriteString(regexp.QuoteMeta(text))
		}
	}
	return []string{"path_regexp", "(?i)^" + pattern.String() + "(?:/|$)"}
}

// over returns the node above another.
func (w *siteWriter) over(n *node) *node {
	for _, other := range w.nodes { // the longest path first
		if other != n && len(other.path) < len(n.path) && within(n.path, other.path) {
			return other
		}
	}
	return w.root
}

// folderOf returns the node whose folder a path is in.
func (w *siteWriter) folderOf(n *node) *node {
	for n.physical == "" && n != w.root {
		n = w.over(n)
	}
	return n
}

// place returns the path of the site that a section was written for: that of a web.config
// or a location, "/" for those of the whole server.
func (w *siteWriter) place(src iisconfig.Source) string {
	scope := "/" + strings.Trim(src.Scope, "/")
	if top := "/" + w.site.source.Name; within(scope, top) && scope != "/" {
		return cmp.Or(scope[len(top):], "/")
	}
	return "/"
}

// closed closes a node: what would answer must not, until somebody has looked at it.
func (w *siteWriter) closed(status int, src iisconfig.Source, what, fix, why string) *Directive {
	fix = cmp.Or(fix, "if somebody shall have the place, change it in the copy of the file, and import again")
	w.report().closed(src, what, fix, "%s; the place answers %d", why, status)
	return directive("iis_closed", "*", strconv.Itoa(status), prose(what+": "+why))
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
	open := slices.ContainsFunc(src.Applications, func(app *iisconfig.Application) bool { return w.b.stoppedPool(app.Pool) == nil })
	if app := w.application("/"); app != nil && !open {
		pool := w.b.stoppedPool(app.Pool)
		w.offline = true
		s.access = append(s.access, directive("offline").because("Its application pool "+pool.Name+" was stopped."))
		w.report().translated(pool.Source, "application pool "+pool.Name, "offline, since it was stopped")
	}
}

// stoppedPool returns the application pool of a name if it was stopped, or if IIS does not
// start it and nothing says that somebody has; nil if it runs.
func (b *builder) stoppedPool(name string) *iisconfig.ApplicationPool {
	if pool := b.pool(name); pool != nil && (strings.EqualFold(pool.State, "stopped") || pool.State == "" && !pool.AutoStart) {
		return pool
	}
	return nil
}

// pool returns the application pool of a name, which IIS compares without case; nil if it is
// not among the files.
func (b *builder) pool(name string) *iisconfig.ApplicationPool {
	i := slices.IndexFunc(b.server.ApplicationPools, func(p *iisconfig.ApplicationPool) bool { return strings.EqualFold(p.Name, name) })
	if i < 0 {
		return nil
	}
	return b.server.ApplicationPools[i]
}

func (w *siteWriter) accessWords(a *iisconfig.Access) {
	f := a.SSLFlags
	what := "access sslFlags " + f.String()
	if w.unmeetable(a) {
		w.report().decide(a.Source, what, "give the site an https binding", "the site has no https binding, so nobody can meet it: it answers 403")
		return
	}
	if f&needSSL != 0 {
		w.site.access = append(w.site.access, directive("require_ssl"))
		w.report().translated(a.Source, what, "require_ssl")
	}
	if f&iisconfig.AccessRequireCert != 0 {
		w.site.access = append(w.site.access, directive("require_client_certificate"))
		w.report().translated(a.Source, what, "require_client_certificate, and client_auth in the bindings")
	}
	if f&iisconfig.AccessMapCert != 0 {
		w.notMapped(a)
	}
}

// unmeetable tells whether https is required of a site that has none.
func (w *siteWriter) unmeetable(a *iisconfig.Access) bool {
	const need = needSSL | iisconfig.AccessRequireCert
	return a != nil && a.SSLFlags&need != 0 && !slices.ContainsFunc(w.site.Bindings, func(b *Binding) bool { return b.rec != nil })
}
