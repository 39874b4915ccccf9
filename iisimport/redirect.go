package iisimport

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

const (
	restOfURI = "{http.request.uri}"
	query     = "{http.request.uri.prefixed_query}"
)

// redirect translates httpRedirect. It is done if nothing else answers at the node.
func (w *siteWriter) redirect(n *node) (list []*Directive, done bool) {
	r := n.settings.HTTPRedirect
	if r == nil || !r.Enabled {
		return nil, false
	}
	what := "httpRedirect to " + r.Destination
	for _, wild := range r.Wildcards {
		w.report().decide(wild.Source, "redirect of "+wild.Wildcard, "write it with redir", "redirects by wildcard have no exact form")
	}
	if r.Destination == "" {
		return nil, false
	}
	target, ok := redirectTarget(r)
	if !ok {
		w.report().decide(r.Source, what, "write it with redir", "its variables have no exact form; the path answers 404")
		return []*Directive{directive("error", "404").because("Left out: " + what)}, true
	}
	if prefix := n.prefix(); prefix != "" {
		list = append(list, directive("uri", "strip_prefix", prefix))
	}
	w.report().translated(r.Source, what, "redir to %s, %d", target, r.Status)
	if r.ChildOnly {
		m := w.matcher("here")
		pattern := `^` + regexp.QuoteMeta(n.prefix()) + `/?[^/]*$`
		return []*Directive{directive(m, "path_regexp", pattern), block(append(list, directive("redir", target, strconv.Itoa(r.Status))), "route", m)}, false
	}
	return append(list, directive("redir", target, strconv.Itoa(r.Status))), true
}

// redirectTarget writes the destination with Caddy's placeholders. Without
// exactDestination, IIS appends the rest of the path and the query.
func redirectTarget(r *iisconfig.HTTPRedirect) (string, bool) {
	dest := r.Destination
	if !r.Exact {
		if strings.ContainsAny(dest, "$?") {
			return "", false
		}
		return literal(strings.TrimSuffix(dest, "/")) + restOfURI, true
	}
	for _, v := range []struct{ iis, caddy string }{
		{"$S$Q", restOfURI}, {"$P", restOfURI}, {"$V$Q", "{http.request.orig_uri}"}, {"$Q", query},
	} {
		if rest, ok := strings.CutSuffix(dest, v.iis); ok && !strings.Contains(rest, "$") {
			return literal(rest) + v.caddy, true
		}
	}
	return literal(dest), !strings.Contains(dest, "$")
}

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
	if p.Source.Scope == "" && strings.Contains(strings.ToLower(p.Prefix+p.Path), "custerr") {
		w.report().dropped(p.Source, what, "it is one of those that IIS brings along")
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
		directive("root", "*", w.folderWord(w.root.physical, w.root.source)),
		directive("rewrite", "*", "/"+literal(strings.TrimPrefix(file, "/"))),
		directive("file_server"),
	}, true
}
