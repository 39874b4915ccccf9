package iisimport

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// guards are what decides whether a request is served at all.
func (w *siteWriter) guards(n *node) []*Directive {
	var out []*Directive
	switch {
	case w.unmeetable(n.settings.Access):
		out = append(out, directive("error", "403").because("access sslFlags "+n.settings.Access.SSLFlags.String()+", but the site has no https binding."))
	case n != w.root:
		out = w.access(n)
	}
	out = append(out, w.addresses(n)...)
	if n.worker == "" {
		out = append(out, w.accounts(n)...)
	}
	return out
}

// access is require SSL for a path.
func (w *siteWriter) access(n *node) []*Directive {
	a, above := n.settings.Access, w.root.settings.Access
	if above != nil && above.SSLFlags&iisconfig.AccessSSL != 0 && (a == nil || a.SSLFlags&iisconfig.AccessSSL == 0) {
		w.report().decide(n.source, "access at "+n.path, "", "the site requires https, and this path does not; here, the whole site does")
	}
	if a == nil {
		return nil
	}
	what := "access sslFlags " + a.SSLFlags.String() + " at " + n.path
	var out []*Directive
	if a.SSLFlags&iisconfig.AccessSSL != 0 && (above == nil || above.SSLFlags&iisconfig.AccessSSL == 0) {
		m := w.matcher("plain")
		out = append(out, directive(m, "protocol", "http"), directive("error", m, "403"))
		w.report().translated(a.Source, what, "requests by http get 403")
	}
	if a.SSLFlags&iisconfig.AccessRequireCert != 0 && (above == nil || above.SSLFlags&iisconfig.AccessRequireCert == 0) {
		w.report().decide(a.Source, what, "use a host or port of its own, with require_client_certificate",
			"client certificates cannot be asked for after the request; the path answers 403")
		out = append(out, directive("error", "403").because("IIS requires a client certificate for this path only, which needs a host or port of its own here."))
	} else if a.SSLFlags&iisconfig.AccessNegotiateCert != 0 && (above == nil || above.SSLFlags&iisconfig.AccessNegotiateCert == 0) {
		w.report().decide(a.Source, what, "use a host or port of its own", "client certificates cannot be asked for after the request; nobody is asked")
	}
	return out
}

// addresses is the restriction to IP addresses.
func (w *siteWriter) addresses(n *node) []*Directive {
	sec := n.settings.IPSecurity
	if sec == nil || len(sec.Entries) == 0 && !sec.DenyUnlisted {
		return nil
	}
	effective := slices.ContainsFunc(sec.Entries, func(e iisconfig.IPEntry) bool { return e.Allow == sec.DenyUnlisted })
	if !effective && !sec.DenyUnlisted {
		w.report().dropped(sec.Source, "ipSecurity", "it allows some addresses, and all others as well")
		return nil
	}
	status := map[string]string{"": "403", "forbidden": "403", "unauthorized": "401", "notfound": "404"}[strings.ToLower(sec.DenyAction)]
	m := w.matcher("denied")
	words := []string{m, "not", "remote_ip"}
	if !sec.DenyUnlisted {
		words = []string{m, "remote_ip"}
	}
	exact := true
	for _, e := range sec.Entries {
		prefix, ok := network(e)
		exact = exact && ok && e.Allow == sec.DenyUnlisted
		words = append(words, prefix)
	}
	if !exact && effective {
		w.report().decide(sec.Source, "ipSecurity", "write it with the matcher remote_ip", "entries that allow and deny, or name domains, have no exact form; the path answers 403")
		return []*Directive{directive("error", "403").because("The IP restrictions of IIS are not translated: write them with the matcher remote_ip.")}
	}
	w.report().translated(sec.Source, "ipSecurity", "a matcher remote_ip")
	if !effective {
		return []*Directive{directive("error", "403").because("ipSecurity denies all addresses.")}
	}
	if status == "" {
		return []*Directive{directive(words...), directive("abort", m)}
	}
	return []*Directive{directive(words...), directive("error", m, status)}
}

// network reads an entry as a prefix.
func network(e iisconfig.IPEntry) (string, bool) {
	ip, err := netip.ParseAddr(e.Address)
	if err != nil || e.Domain != "" {
		return "", false
	}
	if e.Mask == "" || e.Mask == "255.255.255.255" {
		return netip.PrefixFrom(ip, ip.BitLen()).String(), true
	}
	if bits, err := strconv.Atoi(e.Mask); err == nil {
		prefix, err := ip.Prefix(bits)
		return prefix.String(), err == nil
	}
	mask, err := netip.ParseAddr(e.Mask)
	if err != nil || !mask.Is4() || !ip.Is4() {
		return "", false
	}
	bits, rest := 0, false
	for _, b := range mask.As4() {
		for i := 7; i >= 0; i-- {
			one := b&(1<<i) != 0
			if one && rest {
				return "", false
			}
			if one {
				bits++
			} else {
				rest = true
			}
		}
	}
	prefix, err := ip.Prefix(bits)
	return prefix.String(), err == nil
}

// accounts closes what IIS shows to users only, since there are no accounts here.
func (w *siteWriter) accounts(n *node) []*Directive {
	closed, src := "", iisconfig.Source{}
	for _, a := range n.settings.Authentication {
		if strings.HasPrefix(strings.ToLower(a.Method), "anonymous") && !a.Enabled {
			closed, src = "anonymous access is off", a.Source
		}
	}
	for _, a := range n.settings.Authorization {
		everybody := a.Users == "*" || a.Users == "?" || a.Users == "*,?" || a.Users == "" && a.Roles == ""
		if !a.Allow || !everybody {
			closed, src = "not everybody is authorized", a.Source
		}
	}
	if closed == "" {
		return nil
	}
	w.report().decide(src, "authentication at "+n.path, "replace error 401 by basic_auth or forward_auth",
		"%s, and there are no Windows accounts here; the path answers 401", closed)
	return []*Directive{directive("error", "401").because("In IIS, " + closed + ". Replace this line by basic_auth or forward_auth.")}
}

// headers are those that IIS adds to responses.
func (w *siteWriter) headers(n *node) []*Directive {
	var out []*Directive
	have := make(map[string]bool)
	if p := n.settings.HTTPProtocol; p != nil {
		for _, h := range p.CustomHeaders {
			have[strings.ToLower(h.Name)] = true
			switch {
			case strings.EqualFold(h.Name, "X-Powered-By"):
				w.report().dropped(h.Source, "header "+h.Name, "it names software that does not serve the site any more")
			case !reHeaderName.MatchString(h.Name):
				w.report().decide(h.Source, "header "+h.Name, "", "it is no name of a header")
			case n == w.root || !w.inherits(n, h):
				out = append(out, directive("header", h.Name, literal(h.Value)))
				w.report().translated(h.Source, "header "+h.Name, "header")
			}
		}
	}
	if n == w.root {
		return append(out, w.compression(n)...)
	}
	if p := w.root.settings.HTTPProtocol; p != nil {
		for _, h := range p.CustomHeaders {
			if !have[strings.ToLower(h.Name)] && reHeaderName.MatchString(h.Name) {
				out = append(out, directive("header", "-"+h.Name))
			}
		}
	}
	return out
}

var reHeaderName = regexp.MustCompile(`^[A-Za-z0-9!#$&'*.^_|~][A-Za-z0-9!#$&'*.^_|~-]*$`)

func (w *siteWriter) inherits(n *node, h iisconfig.Header) bool {
	p := w.root.settings.HTTPProtocol
	return n != w.root && p != nil && slices.ContainsFunc(p.CustomHeaders, func(o iisconfig.Header) bool { return o == h })
}

func (w *siteWriter) compression(n *node) []*Directive {
	c := n.settings.URLCompression
	if c == nil || !c.Static && !c.Dynamic {
		return nil
	}
	w.report().translated(c.Source, "urlCompression", "encode gzip")
	return []*Directive{directive("encode", "gzip")}
}

// serve translates what answers at a node.
func (w *siteWriter) serve(n *node) nodeContent {
	redirect, done := w.redirect(n)
	if done {
		return nodeContent{redirect, true}
	}
	ordered := len(redirect) > 0
	if n.worker == "" {
		return nodeContent{append(redirect, w.static(n)...), ordered}
	}
	w.report().decide(n.source, fmt.Sprintf("path %s of site %d", n.path, w.site.ID), "run the application there, or let the IIS server go on running it",
		"%s needs a worker process: requests go to the address in IIS_UPSTREAM", n.worker)
	d := directive("reverse_proxy", w.upstream()).because("A worker process of IIS answers here: " + n.worker + ".")
	return nodeContent{append(redirect, d), ordered}
}

// static serves files as IIS does.
func (w *siteWriter) static(n *node) []*Directive {
	var out []*Directive
	from := n
	if n.physical == "" {
		from = w.above(n)
	}
	if n.physical != "" {
		out = append(out, directive("root", "*", w.folderWord(n.physical, n.source)).because("On the IIS server: "+n.physical))
		w.report().translated(n.source, "folder "+n.physical, "root and file_server at %s", n.path)
	} else {
		out = append(out, directive("root", "*", w.folderWord(from.physical, from.source)))
		if from != w.root {
			out = append(out, directive("uri", "strip_prefix", from.path))
		}
	}
	out = append(out, w.filtering(n)...)
	out = append(out, w.scripts(n)...)
	out = append(out, w.types(n)...)
	out = append(out, w.cache(n)...)
	return append(out, w.fileServer(n))
}

// What IIS never sends in its default configuration, for sources that do not have
// that section.
var (
	defaultSegments   = []string{"web.config", "bin", "App_code", "App_GlobalResources", "App_LocalResources", "App_WebReferences", "App_Data", "App_Browsers"}
	defaultExtensions = []string{".asax", ".ascx", ".master", ".config", ".cs", ".csproj", ".vb", ".vbproj", ".resx", ".mdb", ".mdf", ".ldf", ".compiled"}
)

// filtering is request filtering: files that must never be sent.
func (w *siteWriter) filtering(n *node) []*Directive {
	f := n.settings.RequestFiltering
	segments, denied := defaultSegments, defaultExtensions
	if f != nil {
		segments, denied = words(f.HiddenSegments), words(f.DeniedExtensions)
		if !slices.ContainsFunc(segments, func(s string) bool { return strings.EqualFold(s, "web.config") }) {
			segments = append([]string{"web.config"}, segments...)
		}
	}
	var parts []string
	if len(segments) > 0 {
		parts = append(parts, `/(?:`+alternatives(segments)+`)(?:/|$)`)
	}
	if len(denied) > 0 {
		parts = append(parts, `(?:`+alternatives(denied)+`)$`)
	}
	hidden := w.matcher("hidden")
	out := []*Directive{directive(hidden, "path_regexp", "(?i)"+strings.Join(parts, "|")), directive("error", hidden, "404")}
	if f == nil {
		return out
	}
	w.report().translated(f.Source, "requestFiltering", "requests that it denies get 404")
	return append(out, w.filterMore(f)...)
}

func (w *siteWriter) filterMore(f *iisconfig.RequestFiltering) []*Directive {
	var out []*Directive
	refuse := func(name string, matcher ...string) {
		m := w.matcher(name)
		out = append(out, directive(append([]string{m}, matcher...)...), directive("error", m, "404"))
	}
	if verbs := words(f.DeniedVerbs); len(verbs) > 0 && methods(verbs) {
		refuse("verb", append([]string{"method"}, verbs...)...)
	}
	if verbs := words(f.AllowedVerbs); !f.UnlistedVerbs && methods(verbs) && len(verbs) > 0 {
		refuse("verb", append([]string{"not", "method"}, verbs...)...)
	}
	if !f.UnlistedExtensions {
		m := w.matcher("unlisted")
		kids := []*Directive{directive("path_regexp", `\.[^/.]*$`)}
		if allowed := words(f.AllowedExtensions); len(allowed) > 0 {
			kids = append(kids, directive("not", "path_regexp", `(?i)(?:`+alternatives(allowed)+`)$`))
		}
		out = append(out, block(kids, m), directive("error", m, "404"))
	}
	if seq := words(f.DeniedURLSequences); len(seq) > 0 {
		refuse("sequence", "path_regexp", "(?i)"+alternatives(seq))
	}
	if f.MaxContentLength > 0 {
		out = append(out, block([]*Directive{directive("max_size", strconv.FormatUint(f.MaxContentLength, 10)+"B")}, "request_body"))
	}
	return out
}

var reMethod = regexp.MustCompile(`^[A-Za-z]+$`)

func methods(verbs []string) bool {
	return !slices.ContainsFunc(verbs, func(v string) bool { return !reMethod.MatchString(v) })
}

func words(values []iisconfig.Value) []string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		if v.Value != "" {
			out = append(out, v.Value)
		}
	}
	return out
}

// alternatives is a regular expression for one of some texts.
func alternatives(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = regexp.QuoteMeta(t)
	}
	return strings.Join(quoted, "|")
}

// scriptExtensions are run by worker processes; a file server would send their
// source.
var scriptExtensions = []string{
	".asp", ".aspx", ".ashx", ".asmx", ".axd", ".svc", ".cshtml", ".vbhtml", ".cer", ".cdx", ".asa", ".soap", ".rem",
	".php", ".phtml", ".cgi", ".pl", ".py", ".jsp", ".cfm", ".shtml", ".shtm", ".stm", ".idc", ".htr", ".dll", ".exe",
}

// scripts keeps what is run in IIS from being sent as files.
func (w *siteWriter) scripts(n *node) []*Directive {
	exts := make(map[string]bool)
	own := iisconfig.Source{}
	for _, e := range scriptExtensions {
		exts[e] = e != ".cer" && e != ".cdx" && e != ".dll" && e != ".exe" && e != ".py" && e != ".pl"
	}
	if h := n.settings.Handlers; h != nil {
		for _, e := range h.Entries {
			ext := strings.ToLower(strings.TrimPrefix(e.Path, "*"))
			if strings.HasPrefix(ext, ".") && reExtension.MatchString(ext) && e.NeedsWorker() {
				exts[ext] = true
				if e.Source.Scope != "" {
					own = e.Source
				}
			}
		}
	}
	var list []string
	for e, run := range exts {
		if run {
			list = append(list, "*"+e)
		}
	}
	slices.Sort(list)
	m := w.matcher("scripts")
	out := []*Directive{directive(append([]string{m, "path"}, list...)...)}
	if own.File == "" {
		w.report().dropped(w.b.serverSource("handlers"), "scripts", "sites without an application of their own answer 404 for them: their source must not be sent")
		return append(out, directive("error", m, "404").because("What IIS would run is not sent. If the site has such files: reverse_proxy to a server that runs them."))
	}
	w.report().decide(own, fmt.Sprintf("handlers at %s of site %d", n.path, w.site.ID), "run the scripts there, or let the IIS server go on running them",
		"requests for scripts go to the address in IIS_UPSTREAM")
	return append(out, directive("reverse_proxy", m, w.upstream()).because("Handlers of the site run these in IIS."))
}

var reExtension = regexp.MustCompile(`^\.[a-z0-9_-]+$`)

// types are the MIME types of the site's own; Caddy and the system know the usual
// ones.
func (w *siteWriter) types(n *node) []*Directive {
	c := n.settings.StaticContent
	if c == nil {
		return nil
	}
	var out []*Directive
	server := 0
	for _, m := range c.MIMEMaps {
		switch {
		case m.Source.Scope == "":
			server++
		case !reExtension.MatchString(strings.ToLower(m.Extension)):
			w.report().decide(m.Source, "mimeMap "+m.Extension, "", "no exact form for the extension")
		default:
			name := w.matcher("type")
			out = append(out, directive(name, "path", "*"+m.Extension), directive("header", name, "Content-Type", literal(m.Type)))
			w.report().translated(m.Source, "mimeMap "+m.Extension, "header Content-Type %s", m.Type)
		}
	}
	if server > 0 {
		w.report().dropped(w.b.serverSource("staticContent"), "staticContent",
			"the %d MIME types of the whole server are left to Caddy and the operating system; files of other types are sent here, where IIS answers 404.3", server)
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
		if c.CacheExpires != "" {
			w.report().translated(c.Source, what, "header Expires")
			return []*Directive{directive("header", "Expires", literal(c.CacheExpires))}
		}
	}
	if value == "" {
		w.report().decide(c.Source, what, "", "its time is not understood")
		return nil
	}
	if c.CacheCustom != "" {
		value += ", " + c.CacheCustom
	}
	w.report().translated(c.Source, what, "header Cache-Control %s", value)
	return []*Directive{directive("header", "Cache-Control", literal(value))}
}

var reTimeSpan = regexp.MustCompile(`^(?:(\d{1,6})\.)?(\d{1,2}):(\d{2}):(\d{2})$`)

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

// defaultDocuments are those of IIS, for sources that do not have that section.
var defaultDocuments = []string{"Default.htm", "index.htm", "index.html", "iisstart.htm"}

// fileServer is the static file handler with default documents and listings.
func (w *siteWriter) fileServer(n *node) *Directive {
	d := directive("file_server")
	if b := n.settings.DirectoryBrowse; b != nil && b.Enabled {
		d.Words = append(d.Words, "browse")
		w.report().translated(b.Source, "directoryBrowse", "file_server browse")
	}
	d.hasBlock = true
	d.Block = []*Directive{directive(append([]string{"index"}, w.documents(n)...)...)}
	return d
}

func (w *siteWriter) documents(n *node) []string {
	doc := n.settings.DefaultDocument
	switch {
	case doc == nil:
		return defaultDocuments
	case !doc.Enabled:
		w.report().translated(doc.Source, "defaultDocument", "none: the name that index has is one that no file has")
		return []string{".no-default-document"}
	}
	var out []string
	for _, f := range doc.Files {
		ext := strings.ToLower(path.Ext(f.Value))
		switch {
		case slices.Contains(scriptExtensions, ext):
			w.report().decide(f.Source, "default document "+f.Value, "if folders have such a file, send requests for them to a server that runs it",
				"it is a script, whose source must not be sent")
		case strings.ContainsAny(f.Value, `/\`) || f.Value == "":
			w.report().decide(f.Source, "default document "+f.Value, "", "it is not the name of a file")
		default:
			out = append(out, literal(f.Value))
		}
	}
	if len(out) == 0 {
		return []string{".no-default-document"}
	}
	w.report().translated(doc.Source, "defaultDocument", "index in file_server")
	return out
}
