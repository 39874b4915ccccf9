package iishttp

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// headerLimit is an entry of headerLimits.
type headerLimit struct {
	name string // canonical
	size int64
}

func newHeaderLimits(limits map[string]int64) ([]headerLimit, error) {
	var list []headerLimit
	for name, size := range limits {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return nil, fmt.Errorf("%q is not the name of a header", name)
		case size < 0:
			return nil, fmt.Errorf("%s: %d is negative", name, size)
		}
		list = append(list, headerLimit{http.CanonicalHeaderKey(name), size})
	}
	slices.SortFunc(list, func(a, b headerLimit) int { return strings.Compare(a.name, b.name) })
	for i := range list {
		if i > 0 && list[i-1].name == list[i].name {
			return nil, fmt.Errorf("%s is there twice", list[i].name)
		}
	}
	return list, nil
}

func (f *Filter) testHeaders(r *http.Request) error {
	for _, limit := range f.headers {
		values := requestHeader(r, limit.name)
		size := int64(2 * (len(values) - 1)) // as IIS joins them: ", "
		for _, v := range values {
			size += int64(len(v))
		}
		if len(values) > 0 && (limit.size == 0 || size > limit.size) {
			return refuse(r, http.StatusRequestHeaderFieldsTooLarge, 0, "header "+limit.name+" too long")
		}
	}
	return nil
}

// requestHeader returns the values of a header, by its canonical name. Go keeps
// some apart from the others.
func requestHeader(r *http.Request, name string) []string {
	if values := r.Header[name]; values != nil {
		return values
	}
	switch {
	case name == "Host" && r.Host != "":
		return []string{r.Host}
	case name == "Transfer-Encoding":
		return r.TransferEncoding
	case name == "Content-Length" && r.ContentLength > 0:
		return []string{strconv.FormatInt(r.ContentLength, 10)}
	case name == "Trailer":
		return slices.Sorted(maps.Keys(r.Trailer))
	}
	return nil
}

// apartHeaders are those that requestHeader finds outside the header map.
var apartHeaders = []string{"Host", "Transfer-Encoding", "Content-Length", "Trailer"}

// filterRule is a FilterRule ready for use.
type filterRule struct {
	*FilterRule
	headers   []string // canonical
	appliesTo wordSet
	deny      sequences
}

func newFilterRule(rule FilterRule) (filterRule, error) {
	c := filterRule{FilterRule: &rule, appliesTo: newWordSet(rule.AppliesTo, foldLoosely)}
	for _, name := range rule.ScanHeaders {
		if !httpguts.ValidHeaderFieldName(name) {
			return c, fmt.Errorf("scan_headers: %q is not the name of a header", name)
		}
		c.headers = append(c.headers, http.CanonicalHeaderKey(name))
	}
	for _, ext := range rule.AppliesTo {
		if err := checkExtension(ext); err != nil {
			return c, fmt.Errorf("applies_to: %w", err)
		}
	}
	var err error
	if c.deny, err = newSequences(rule.DenyStrings, nil); err != nil {
		return c, fmt.Errorf("deny_strings: %w", err)
	}
	return c, nil
}

// denies tells whether a request has what the rule denies.
func (c *filterRule) denies(r *http.Request, v *urlView, escapedOnly bool) bool {
	if len(c.appliesTo) > 0 && !c.applies(v) {
		return false
	}
	if c.ScanURL {
		if _, found := c.deny.in(v.paths()); found || !c.AllowUnescapedPercent && hasUnescapedPercent(v.raw) {
			return true
		}
	}
	if c.ScanQueryString {
		if _, found := c.deny.in(v.queries(escapedOnly)); found || !c.AllowUnescapedPercent && hasUnescapedPercent(v.query) {
			return true
		}
	}
	return c.deniesHeaders(r)
}

// applies tells whether the path has an extension that the rule is for: that of
// its last name or, since it may have path info, of one before.
func (c *filterRule) applies(v *urlView) bool {
	if c.appliesTo.has(noExtension) && (v.folder || len(v.names) == 0) {
		return true
	}
	for i, name := range v.names {
		last := i == len(v.names)-1 && !v.folder
		for _, n := range [...]string{name, windowsName(name)} {
			if ext := extension(n); (ext != noExtension || last) && c.appliesTo.hasFolded(ext, foldLoosely) {
				return true
			}
		}
	}
	return false
}

func (c *filterRule) deniesHeaders(r *http.Request) bool {
	if len(c.deny.deny) == 0 {
		return false
	}
	search := func(prefix string, values []string) bool {
		for _, value := range values {
			if _, found := c.deny.in([]string{foldLoosely(prefix + value)}); found {
				return true
			}
		}
		return false
	}
	for _, name := range c.headers {
		if search("", requestHeader(r, name)) {
			return true
		}
	}
	if !c.ScanAllRaw {
		return false
	}
	for name, values := range r.Header {
		if search(name+": ", values) {
			return true
		}
	}
	for _, name := range apartHeaders {
		if _, listed := r.Header[name]; !listed && search(name+": ", requestHeader(r, name)) {
			return true
		}
	}
	return false
}
