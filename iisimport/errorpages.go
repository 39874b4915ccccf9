package iisimport

import (
	"cmp"
	"fmt"
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
	pages := make(map[int][]errorPage)
	var order []int
	for _, p := range h.Errors {
		kids := w.errorPage(p)
		if kids == nil {
			continue
		}
		if pages[p.Status] == nil {
			order = append(order, p.Status)
		}
		pages[p.Status] = append(pages[p.Status], errorPage{p.SubStatus, kids})
	}
	for _, status := range order {
		out = append(out, block(byStatus(status, pages[status]), "handle_errors", strconv.Itoa(status)))
	}
	return out
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
	kids, ok := w.errorHandler(p)
	if !ok {
		w.report().decide(p.Source, what, "write it into handle_errors", "the page is made by a worker process, is not in the site's folder, or has no form in a Caddyfile")
		return nil
	}
	w.report().translated(p.Source, what, "handle_errors %d", p.Status)
	return kids
}

func (w *siteWriter) errorHandler(p iisconfig.ErrorPage) ([]*Directive, bool) {
	if !expressible(literal(p.Path)) {
		return nil, false
	}
	if strings.EqualFold(p.Mode, "Redirect") {
		return []*Directive{directive("redir", "*", literal(p.Path), "302")}, true
	}
	file := strings.ReplaceAll(p.Path, `\`, "/")
	lower := strings.ToLower(file)
	static := strings.HasSuffix(lower, ".htm") || strings.HasSuffix(lower, ".html") || strings.HasSuffix(lower, ".txt")
	if !static || strings.ContainsAny(file, ":?%#") || strings.HasPrefix(file, "//") || w.root.physical == "" || !w.nameable(w.root) {
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
