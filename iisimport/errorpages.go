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
	"github.com/caddy-iis/caddy-iis/iishttp"
)

// errorPages translates the custom error pages of the site's root.
func (w *siteWriter) errorPages() []*Directive {
	h := w.root.settings.HTTPErrors
	var out []*Directive
	for _, n := range w.nodes {
		if e := n.settings.HTTPErrors; e != nil && e != h && (h == nil || e.Source != h.Source) {
			w.report().decide(e.Source, "httpErrors at "+n.path, "write them into handle_errors of the site, with a matcher", "error pages of a path have no exact form")
		}
	}
	if h == nil {
		return nil
	}
	if strings.EqualFold(h.Mode, "Detailed") {
		w.report().dropped(h.Source, "httpErrors", "detailed errors are those of IIS")
		return nil
	}
	rest := w.defaultPage(h)
	pages := make(map[int]*statusPages)
	var order []int
	for _, p := range h.Errors {
		of := pages[p.Status]
		if of == nil {
			of = new(statusPages)
			pages[p.Status], order = of, append(order, p.Status)
		}
		of.all = of.all || p.SubStatus < 0
		if kids := w.errorPage(p); kids != nil {
			of.list = append(of.list, errorPage{p.SubStatus, kids})
		}
	}
	var statuses []string
	for _, status := range order {
		of := pages[status]
		if !of.all && rest != nil {
			of.list = append(of.list, errorPage{-1, rest})
		}
		if of.list != nil {
			out = append(out, block(byStatus(status, of.list), "handle_errors", strconv.Itoa(status)))
		}
		statuses = append(statuses, strconv.Itoa(status))
	}
	switch {
	case rest != nil && statuses != nil:
		m := "@default"
		out = append(out, block([]*Directive{
			directive(append([]string{m, "not", "vars", "{http.error.status_code}"}, statuses...)...),
			block(rest, "handle", m),
		}, "handle_errors").because("IIS has other pages for these."))
	case rest != nil:
		out = append(out, block(rest, "handle_errors"))
	}
	return out
}

// defaultPage is what makes the page of a status that has none of its own; nil if nothing does.
func (w *siteWriter) defaultPage(h *iisconfig.HTTPErrors) []*Directive {
	if h.DefaultPath == "" {
		return nil
	}
	what := "httpErrors defaultPath " + h.DefaultPath
	kids, why := w.errorHandler(iisconfig.ErrorPage{Path: h.DefaultPath, Mode: h.DefaultResponseMode, Source: h.Source})
	if why != "" {
		w.report().decide(h.Source, what, "write it into handle_errors", "%s", why)
		return nil
	}
	w.report().translated(h.Source, what, "handle_errors")
	return kids
}

// statusPages are the pages of a status.
type statusPages struct {
	list []errorPage
	all  bool // one is for all sub-statuses, also if nothing here makes it
}

// errorPage is what makes the page of a status.
type errorPage struct {
	sub  int // -1: any
	kids []*Directive
}

// byStatus chooses among the pages of a status: the one of the sub-status, else that of all.
func byStatus(status int, pages []errorPage) (out []*Directive) {
	if len(pages) == 1 && pages[0].sub < 0 {
		return pages[0].kids
	}
	slices.SortStableFunc(pages, func(x, y errorPage) int { return cmp.Compare(y.sub, x.sub) })
	for i, p := range pages {
		switch {
		case i > 0 && pages[i-1].sub == p.sub: // IIS has no two of them
		case p.sub < 0:
			out = append(out, block(p.kids, "handle"))
		default:
			m := "@sub" + strconv.Itoa(p.sub)
			is := directive(m, "vars", iishttp.SubStatusVar, fmt.Sprintf("%d.%d", status, p.sub))
			if p.sub == 0 {
				is.Words = append(is.Words, "") // an error that has none
			}
			out = append(out, is, block(p.kids, "handle", m))
		}
	}
	return out
}

// errorPage is what makes a page; nil if nothing does.
func (w *siteWriter) errorPage(p iisconfig.ErrorPage) []*Directive {
	what := fmt.Sprintf("error page %d %s", p.Status, p.Path)
	if p.SubStatus >= 0 {
		what = fmt.Sprintf("error page %d.%d %s", p.Status, p.SubStatus, p.Path)
	}
	if stockPage(p) {
		w.report().stock(p.Source, "error pages of IIS")
		return nil
	}
	if p.Prefix != "" || p.Status < 400 || p.Status > 599 || p.Path == "" {
		w.report().decide(p.Source, what, "write it into handle_errors", "a page by language has no exact form")
		return nil
	}
	kids, why := w.errorHandler(p)
	if why != "" && p.Source.Scope != "" && reWindowsRoot.MatchString(p.Path) && !w.root.settings.HTTPErrors.AbsolutePaths {
		why += "; IIS answers 500.19 for such a path in a web.config unless the server has allowAbsolutePathsWhenDelegated"
	}
	if why != "" {
		w.report().decide(p.Source, what, "write it into handle_errors", "%s", why)
		return nil
	}
	w.report().translated(p.Source, what, "handle_errors %d", p.Status)
	return kids
}

// errorHandler makes a page, or says why nothing does.
func (w *siteWriter) errorHandler(p iisconfig.ErrorPage) (kids []*Directive, why string) {
	const noForm = "the page is made by a worker process, is not in the site's folder, or has no form in a Caddyfile"
	if !expressible(literal(p.Path)) {
		return nil, noForm
	}
	if strings.EqualFold(p.Mode, "Redirect") {
		return []*Directive{directive("redir", "*", literal(p.Path), "302")}, ""
	}
	file := strings.ReplaceAll(p.Path, `\`, "/")
	lower := strings.ToLower(file)
	static := strings.HasSuffix(lower, ".htm") || strings.HasSuffix(lower, ".html") || strings.HasSuffix(lower, ".txt")
	if !static || strings.ContainsAny(file, ":?%#") || strings.HasPrefix(file, "//") || w.root.physical == "" || !w.nameable(w.root) {
		return nil, noForm
	}
	at := path.Clean("/" + file)
	send := []*Directive{
		w.folderAt(directive("root", "*"), w.root),
		directive("rewrite", "*", literal(at)),
		directive("file_server"),
	}
	if !strings.EqualFold(p.Mode, "ExecuteURL") {
		return send, ""
	}
	guards, why := w.childRequest(at)
	if guards == nil || why != "" {
		return send, why
	}
	// The URL is the page's before it is guarded.
	return []*Directive{block(slices.Concat(send[:2], guards, send[2:]), "route")}, ""
}

// childRequest is what guards a page that IIS asks its own pipeline for (ExecuteURL), or why
// nobody gets it. A page that is refused leaves the error as it is: there is no page about it.
func (w *siteWriter) childRequest(at string) (guards []*Directive, why string) {
	n := w.root
	if i := slices.IndexFunc(w.nodes, func(n *node) bool { return within(at, n.path) }); i >= 0 { // the longest path first
		n = w.nodes[i]
	}
	const closed = "ExecuteURL asks for the page as a client does, and its place is closed: the error has no page"
	switch {
	case n.worker != "" || w.folderOf(n) != w.root:
		return nil, "the page is made by a worker process, or is not in the site's folder"
	case n.shut > 0 || n.redirects || !passes(w.again(w.filter, n), at):
		return nil, closed
	}
	s := w.scripts(n)
	if !w.hasType(n, path.Ext(at)) || s.few && !slices.ContainsFunc(s.files, func(p string) bool { return regexp.MustCompile(pathsPattern([]string{p})).MatchString(at) }) {
		return nil, "ExecuteURL asks for the page as a client does, and IIS has no MIME type for it there, or no handler: the error has no page"
	}
	if patterns := slices.Concat(s.sent, s.closed); s.unclear != nil || patterns != nil && regexp.MustCompile(pathsPattern(patterns)).MatchString(at) {
		return nil, "a handler answers for the page, or refuses it: the error has no page"
	}
	return slices.Concat(w.again(w.addressList, n), w.again(w.allow, n)), ""
}

// hasType tells whether files of an extension have a MIME type at a node.
func (w *siteWriter) hasType(n *node, ext string) bool {
	c := w.mimeMaps(n)
	if c == nil {
		return iishttp.IIS10Types()[strings.ToLower(ext)] != ""
	}
	return slices.ContainsFunc(c.MIMEMaps, func(m iisconfig.MIMEMap) bool {
		return strings.EqualFold(m.Extension, ext) || m.Extension == "*" || m.Extension == ".*"
	})
}

// replaced makes errors of answers of worker processes and of other servers at a node, where IIS
// has pages of its own in their place, and says so.
func (w *siteWriter) replaced(n *node) []*Directive {
	h := n.settings.HTTPErrors
	if h == nil {
		return nil
	}
	what := "httpErrors existingResponse " + cmp.Or(h.ExistingResponse, "Auto")
	switch {
	case replaces(n):
		w.report().translated(h.Source, what, "handle_response: where a worker process or another server answers with 400 or more, its own page does not go out")
		return []*Directive{
			directive("@replaced", "status", "4xx", "5xx", "6xx", "7xx", "8xx", "9xx").because("The page of an error is that of handle_errors (existingResponse of IIS)."),
			block([]*Directive{
				block([]*Directive{directive("include", "WWW-Authenticate", "Allow", "Retry-After", "Set-Cookie")}, "copy_response_headers"),
				directive("error", "existingResponse Replace", "{http.reverse_proxy.status_code}"),
			}, "handle_response", "@replaced"),
		}
	case strings.EqualFold(h.ExistingResponse, "PassThrough"):
		w.report().translated(h.Source, what, "what a worker process or another server answers goes out as it is")
	case slices.ContainsFunc(h.Errors, func(p iisconfig.ErrorPage) bool { return !stockPage(p) }) || h.DefaultPath != "":
		w.report().decide(h.Source, what, `write existingResponse="Replace" into it and import again, if errors of the application shall have these pages`,
			"error pages of worker processes and of other servers go out as they are; IIS keeps those whose application asks for it")
	}
	return nil
}

// replaces tells whether IIS puts its own pages in the place of those of others.
func replaces(n *node) bool {
	h := n.settings.HTTPErrors
	return h != nil && strings.EqualFold(h.ExistingResponse, "Replace")
}

// stockPage tells whether a page is one of those that IIS brings along: those of IIS 6 are
// in iisHelp, later ones in custerr.
func stockPage(p iisconfig.ErrorPage) bool {
	file := strings.ReplaceAll(strings.ToLower(p.Prefix+p.Path), "/", `\`)
	return p.Source.Scope == "" && (strings.Contains(file, "custerr") || strings.Contains(file, `\help\iishelp\common\`))
}
