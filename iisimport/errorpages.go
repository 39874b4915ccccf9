package iisimport

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
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
	for _, page := range h.Errors {
		out = append(out, w.errorPage(page)...)
	}
	return out
}

func (w *siteWriter) errorPage(p iisconfig.ErrorPage) []*Directive {
	what := fmt.Sprintf("error page %d %s", p.Status, p.Path)
	if stockPage(p) {
		w.report().stock(p.Source, "error pages of IIS")
		return nil
	}
	if p.SubStatus > 0 || p.Prefix != "" || p.Status < 400 || p.Status > 599 || p.Path == "" {
		w.report().decide(p.Source, what, "write it into handle_errors", "a page by sub-status or language has no exact form")
		return nil
	}
	kids, ok := w.errorHandler(p)
	if !ok {
		w.report().decide(p.Source, what, "write it into handle_errors", "the page is made by a worker process, or is not in the site's folder")
		return nil
	}
	w.report().translated(p.Source, what, "handle_errors %d", p.Status)
	return []*Directive{block(kids, "handle_errors", strconv.Itoa(p.Status))}
}

func (w *siteWriter) errorHandler(p iisconfig.ErrorPage) ([]*Directive, bool) {
	if strings.EqualFold(p.Mode, "Redirect") {
		return []*Directive{directive("redir", literal(p.Path), "302")}, true
	}
	file := strings.ReplaceAll(p.Path, `\`, "/")
	lower := strings.ToLower(file)
	static := strings.HasSuffix(lower, ".htm") || strings.HasSuffix(lower, ".html") || strings.HasSuffix(lower, ".txt")
	if !static || strings.ContainsAny(file, ":?%#") || strings.HasPrefix(file, "//") || w.root.physical == "" {
		return nil, false
	}
	return []*Directive{
		w.folderAt(directive("root", "*"), w.root),
		directive("rewrite", "*", "/"+literal(strings.TrimPrefix(file, "/"))),
		directive("file_server"),
	}, true
}

// stockPage tells whether a page is one of those that IIS brings along: those of IIS 6 are
// in iisHelp, later ones in custerr.
func stockPage(p iisconfig.ErrorPage) bool {
	file := strings.ReplaceAll(strings.ToLower(p.Prefix+p.Path), "/", `\`)
	return p.Source.Scope == "" && (strings.Contains(file, "custerr") || strings.Contains(file, `\help\iishelp\common\`))
}
