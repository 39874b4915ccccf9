package iisimport

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iishttp"
)

// denied is the status with which IIS answers for a program that may not run.
const denied = "404.2"

// refuses returns the status that all requests get which a handler has at a node: one that does
// nothing else, or whose program isapiCgiRestriction denies. 0 if it does anything else.
func (n *node) refuses(h iisconfig.Handler) int {
	if n.settings.Restriction.Denies(h, n.engine) {
		return 404
	}
	return h.Refuses()
}

// engineOf is the folder of .NET for the application pool of a node.
func (w *siteWriter) engineOf(n *node) string {
	bits, version := "Framework64", "v4.0.30319"
	if pool := w.b.pool(n.pool); pool != nil {
		if pool.Enable32Bit {
			bits = "Framework"
		}
		if strings.HasPrefix(strings.ToLower(pool.RuntimeVersion), "v2") {
			version = "v2.0.50727"
		}
	}
	return `%windir%\Microsoft.NET\` + bits + `\` + version
}

// refusals refuse what handlers have that refuse it, with their status, or that keep it from the
// worker process of a node; all that a node has, if the last one is for every request. unclear is one whose path has no form. Those of the
// whole server matter for workers only: what is theirs is never sent as a file.
func (w *siteWriter) refusals(n *node) (out []*Directive, unclear *iisconfig.Handler) {
	list, every := w.handlers(n)
	if every != nil {
		list = append(slices.Clone(list), *every)
	}
	for i, h := range list {
		status := n.refuses(h)
		if n.keepsFromWorker(h) {
			status = 403
		}
		if status == 0 || h.Source.Scope == "" && n.worker == "" {
			continue
		}
		if h.Path != "*" && h.Path != "*." && !hasForm(strings.ToLower(h.Path)) {
			return nil, &h
		}
		is := fits(h)
		for _, earlier := range list[:i] {
			if n.refuses(earlier) == 0 && surely(earlier) && meet(earlier.Path, h.Path) {
				is = append(is, block(fits(earlier), "not"))
			}
		}
		m := "*"
		if is != nil {
			m = "@refused" + strconv.Itoa(i+1)
			out = append(out, block(is, m))
		}
		why := "The handler " + h.Name + " of IIS refuses these."
		switch {
		case n.keepsFromWorker(h):
			why = "The handler " + h.Name + " of IIS has these, and no worker process gets them."
		case h.Refuses() == 0:
			out = append(out, directive("vars", m, iishttp.SubStatusVar, denied))
		}
		out = append(out, directive("error", m, strconv.Itoa(status)).because(why))
	}
	return out, nil
}

// keepsFromWorker tells whether a handler of IIS itself, such as that of files, has some paths at
// a node with a worker process, which gets no request that a handler before its own has. Where
// .NET guards files, it has them there.
func (n *node) keepsFromWorker(h iisconfig.Handler) bool {
	return n.worker != "" && n.refuses(h) == 0 && h.Path != "*" && !h.NeedsWorker() && !h.FilesOfNET() && anyResource(h)
}

// fits matches the requests that a handler has; nil if it has all.
func fits(h iisconfig.Handler) (out []*Directive) {
	if h.Path != "*" {
		out = append(out, directive("path_regexp", pathsPattern([]string{h.Path})))
	}
	if verbs := h.Verbs(); verbs != nil {
		out = append(out, directive(append([]string{"method"}, verbs...)...))
	}
	return out
}

// surely tells whether nothing is opened if a handler has all requests that fit it: which of them
// are for files that are there, a matcher does not know, but who sends files does.
func surely(h iisconfig.Handler) bool {
	return (!h.NeedsWorker() || anyResource(h)) && (h.Path == "*" || hasForm(strings.ToLower(h.Path)))
}

// anyResource tells whether a handler has its paths also where there is no file or folder.
func anyResource(h iisconfig.Handler) bool {
	return h.ResourceType == "" || strings.EqualFold(h.ResourceType, "Unspecified")
}

// meet tells whether a request may fit both of two paths of handlers.
func meet(earlier, later string) bool {
	return earlier == "*" || later == "*" || strings.EqualFold(earlier, later) || overlap(strings.ToLower(earlier), strings.ToLower(later)) != ""
}
