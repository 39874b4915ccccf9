package iishttp

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

// urlView is a URL of a request, and what the tests of several rules share.
type urlView struct {
	urlForms
	pathTexts, queryTexts []string // by foldLoosely
}

// read refuses what HTTP.sys refuses.
func (v *urlView) read(r *http.Request, u *url.URL) error {
	var err error
	if v.urlForms, err = readURL(u); err != nil {
		return refuse(r, http.StatusBadRequest, 0, err.Error())
	}
	return nil
}

// paths are the forms of the path in which texts are searched: as it was sent,
// decoded, and with dot segments resolved.
func (v *urlView) paths() []string {
	if v.pathTexts == nil {
		v.pathTexts = append(v.pathTexts, foldLoosely(v.path))
		if v.raw != v.path {
			v.pathTexts = append(v.pathTexts, foldLoosely(v.raw))
		}
		if clean := v.resolved(); clean != v.path {
			v.pathTexts = append(v.pathTexts, foldLoosely(clean))
		}
	}
	return v.pathTexts
}

// queries are the forms of the query in which texts are searched: as it was
// sent and, unless that is switched off, decoded, with plus signs and without.
func (v *urlView) queries(escapedOnly bool) []string {
	if v.queryTexts == nil {
		v.queryTexts = append(v.queryTexts, foldLoosely(v.query))
		if escapedOnly {
			return v.queryTexts
		}
		if plain := unescapeLoosely(v.query); plain != v.query {
			v.queryTexts = append(v.queryTexts, foldLoosely(plain))
		}
		if strings.Contains(v.query, "+") {
			v.queryTexts = append(v.queryTexts, foldLoosely(unescapeLoosely(strings.ReplaceAll(v.query, "+", " "))))
		}
	}
	return v.queryTexts
}

func (f *Filter) testLengths(r *http.Request, v *urlView) error {
	if int64(len(v.raw)) > f.maxURL {
		return refuse(r, http.StatusNotFound, 14, "path too long")
	}
	if int64(len(v.query)) > f.maxQueryString {
		return refuse(r, http.StatusNotFound, 15, "query too long")
	}
	return nil
}

func (f *Filter) testPath(r *http.Request, v *urlView) error {
	if !f.AllowDoubleEscaping && (strings.Contains(v.path, "+") || hasEscape(v.path)) {
		return refuse(r, http.StatusNotFound, 11, "double escape in "+quote(v.raw))
	}
	if f.DenyHighBitCharacters && !isASCII(v.path) {
		return refuse(r, http.StatusNotFound, 12, "high bit character in "+quote(v.raw))
	}
	if f.DenySeveralDots && strings.Count(v.path, ".") > 1 {
		return refuse(r, http.StatusNotFound, 7, "several dots in "+quote(v.raw))
	}
	if len(f.urlTexts.deny) > 0 && !f.urlTexts.allowed.has(winpath.Fold(v.resolved())) {
		if text, found := f.urlTexts.in(v.paths()); found {
			return refuse(r, http.StatusNotFound, 5, "sequence "+quote(text)+" in "+quote(v.raw))
		}
	}
	if len(f.segments) > 0 {
		for _, name := range v.names {
			if f.hides(name) {
				return refuse(r, http.StatusNotFound, 8, "hidden segment "+quote(name))
			}
		}
	}
	if ext, denied := f.extensions.denies(v.names, v.folder); denied {
		return refuse(r, http.StatusNotFound, 7, "file extension "+quote(ext))
	}
	return nil
}

// hides tells whether a segment is hidden, or opens a file that is.
func (f *Filter) hides(name string) bool {
	if f.segments.hasFolded(name, foldLoosely) {
		return true
	}
	plain := windowsName(name)
	return plain != name && f.segments.hasFolded(plain, foldLoosely)
}

func (f *Filter) testTexts(r *http.Request, v *urlView) error {
	if len(f.queryTexts.deny) > 0 && v.query != "" && !f.queryTexts.allowed.has(winpath.Fold(v.query)) {
		if text, found := f.queryTexts.in(v.queries(f.KeepQueryStringEscaped)); found {
			return refuse(r, http.StatusNotFound, 18, "sequence "+quote(text)+" in the query")
		}
	}
	for i := range f.rules {
		if f.rules[i].denies(r, v, f.KeepQueryStringEscaped) {
			return refuse(r, http.StatusNotFound, 19, "rule "+quote(f.rules[i].Name))
		}
	}
	return nil
}
