package iisimport

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// refusals refuse what handlers have that do nothing else, with their status; all that a node
// has, if the last one is for every request. unclear is one whose path has no form. Those of the
// whole server matter for workers only: what is theirs is never sent as a file.
func (w *siteWriter) refusals(n *node) (out []*Directive, unclear *iisconfig.Handler) {
	list, every := w.handlers(n)
	if every != nil {
		list = append(slices.Clone(list), *every)
	}
	for i, h := range list {
		if h.Refuses() == 0 || h.Source.Scope == "" && n.worker == "" {
			continue
		}
		if h.Path != "*" && h.Path != "*." && !hasForm(strings.ToLower(h.Path)) {
			return nil, &h
		}
		is := fits(h)
		for _, earlier := range list[:i] {
			if earlier.Refuses() == 0 && surely(earlier) && meet(earlier.Path, h.Path) {
				is = append(is, block(fits(earlier), "not"))
			}
		}
		m := "*"
		if is != nil {
			m = "@refused" + strconv.Itoa(i+1)
			out = append(out, block(is, m))
		}
		out = append(out, directive("error", m, strconv.Itoa(h.Refuses())).because("The handler "+h.Name+" of IIS refuses these."))
	}
	return out, nil
}

// fits matches the requests that a handler has; nil if it has all.
func fits(h iisconfig.Handler) (out []*Directive) {
	if h.Path != "*" {
		out = append(out, directive("path_regexp", pathsPattern([]string{h.Path})))
	}
	if verbs := verbsOf(h.Verb); verbs != nil {
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
