package iishttp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/iishttp/winpath"
)

func init() {
	caddy.RegisterModule(new(Filter))
}

// Filter refuses requests as the section requestFiltering of IIS does, whatever would
// answer them. It looks at the URL of the client and, if a handler in front has
// rewritten it, at the result as well. Names are compared without regard to case, verbs
// with.
type Filter struct {
	// Whether paths may change when they are decoded a second time, or have a plus sign.
	// Else: 404.11.
	AllowDoubleEscaping bool `json:"allow_double_escaping,omitempty"`

	// Whether characters above U+007F in the path are refused: 404.12.
	DenyHighBitCharacters bool `json:"deny_high_bit_characters,omitempty"`

	// Whether queries are tested as they were sent only, and not decoded as well:
	// unescapeQueryString="false".
	KeepQueryStringEscaped bool `json:"keep_query_string_escaped,omitempty"`

	// The largest body in bytes. Default: 30000000. A larger one: 413.1.
	MaxContentLength int64 `json:"max_content_length,omitempty"`

	// The longest path in bytes as it was sent. Default: 4096. A longer one: 404.14.
	MaxURL int `json:"max_url,omitempty"`

	// The longest query in bytes as it was sent. Default: 2048. A longer one: 404.15.
	MaxQueryString int `json:"max_query_string,omitempty"`

	// The longest value in bytes of headers by name; 0: the header may not be sent. Else: 431.
	HeaderLimits map[string]int `json:"header_limits,omitempty"`

	// Methods. Not allowed: 404.6.
	Verbs FilterList `json:"verbs,omitzero"`

	// Extensions with their dot; "." alone stands for none. Not allowed: 404.7. The
	// extensions of names before path info (/x.asa/y) count as well.
	FileExtensions FilterList `json:"file_extensions,omitzero"`

	// Names that no part of a path may be: 404.8.
	HiddenSegments []string `json:"hidden_segments,omitempty"`

	// Texts that a path may not have, raw or decoded: 404.5; and paths that may.
	DenyURLSequences  []string `json:"deny_url_sequences,omitempty"`
	AlwaysAllowedURLs []string `json:"always_allowed_urls,omitempty"`

	// Texts that a query may not have: 404.18; and queries that may.
	DenyQueryStringSequences  []string `json:"deny_query_string_sequences,omitempty"`
	AlwaysAllowedQueryStrings []string `json:"always_allowed_query_strings,omitempty"`

	// Rules about texts: 404.19.
	Rules []FilterRule `json:"rules,omitempty"`
}

// FilterList allows and denies words.
type FilterList struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
	// Whether words of neither list are denied: allowUnlisted="false".
	DenyUnlisted bool `json:"deny_unlisted,omitempty"`
}

// denies tells what becomes of a word. Deny wins.
func (l *FilterList) denies(word string) bool {
	if slices.Contains(l.Deny, word) {
		return true
	}
	return l.DenyUnlisted && !slices.Contains(l.Allow, word)
}

// FilterRule is an entry of filteringRules.
type FilterRule struct {
	Name string `json:"name,omitempty"`
	// What is searched: the path, the query, all headers, or these headers.
	ScanURL         bool     `json:"scan_url,omitempty"`
	ScanQueryString bool     `json:"scan_query_string,omitempty"`
	ScanAllRaw      bool     `json:"scan_all_raw,omitempty"`
	ScanHeaders     []string `json:"scan_headers,omitempty"`
	// Whether a percent sign that encodes nothing is let through in what is scanned.
	AllowUnescapedPercent bool `json:"allow_unescaped_percent,omitempty"`
	// Extensions of the paths that the rule is for. Default: all.
	AppliesTo []string `json:"applies_to,omitempty"`
	// What may not be there, without regard to case.
	DenyStrings []string `json:"deny_strings,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Filter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_filter", New: func() caddy.Module { return new(Filter) }}
}

// The limits of IIS.
const (
	defaultMaxContentLength = 30_000_000
	defaultMaxURL           = 4096
	defaultMaxQueryString   = 2048
)

// Provision implements caddy.Provisioner.
func (f *Filter) Provision(caddy.Context) error {
	if f.MaxContentLength == 0 {
		f.MaxContentLength = defaultMaxContentLength
	}
	if f.MaxURL == 0 {
		f.MaxURL = defaultMaxURL
	}
	if f.MaxQueryString == 0 {
		f.MaxQueryString = defaultMaxQueryString
	}
	for _, list := range [][]string{
		f.FileExtensions.Allow, f.FileExtensions.Deny, f.HiddenSegments, f.DenyURLSequences, f.AlwaysAllowedURLs,
		f.DenyQueryStringSequences, f.AlwaysAllowedQueryStrings,
	} {
		fold(list)
	}
	for i := range f.Rules {
		fold(f.Rules[i].AppliesTo)
		fold(f.Rules[i].DenyStrings)
	}
	return nil
}

func fold(list []string) {
	for i := range list {
		list[i] = lower(list[i])
	}
}

// lower is the one form in which texts are compared. It takes the letters that some
// tables take for ASCII ones (U+017F, U+212A) for these, since this list denies.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return strings.NewReplacer("\u017f", "s", "\u212a", "k").Replace(strings.ToLower(s))
		}
	}
	return strings.ToLower(s)
}

// Validate implements caddy.Validator.
func (f *Filter) Validate() error {
	if f.MaxContentLength < 0 || f.MaxURL < 0 || f.MaxQueryString < 0 {
		return errors.New("iis_filter: a limit is negative")
	}
	for _, s := range f.HiddenSegments {
		if s == "" || strings.ContainsAny(s, `/\`) {
			return fmt.Errorf("iis_filter: hidden segment %q is no segment", s)
		}
	}
	for _, e := range slices.Concat(f.FileExtensions.Allow, f.FileExtensions.Deny) {
		if !strings.HasPrefix(e, ".") {
			return fmt.Errorf("iis_filter: file extension %q has no dot in front", e)
		}
	}
	for _, list := range [][]string{f.DenyURLSequences, f.DenyQueryStringSequences} {
		if slices.Contains(list, "") {
			return errors.New("iis_filter: an empty sequence is in everything")
		}
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (f *Filter) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if err := f.test(r); err != nil {
		return err
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &limitedBody{body: r.Body, left: f.MaxContentLength, request: r}
	}
	return next.ServeHTTP(w, r)
}

func (f *Filter) test(r *http.Request) error {
	if f.Verbs.denies(r.Method) {
		return refuse(r, http.StatusNotFound, 6, "verb")
	}
	if err := f.testURL(r, r.URL); err != nil {
		return err
	}
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && orig.URL != nil &&
		(orig.URL.Path != r.URL.Path || orig.URL.RawQuery != r.URL.RawQuery) {
		if err := f.testURL(r, orig.URL); err != nil {
			return err
		}
	}
	for name, limit := range f.HeaderLimits {
		for _, value := range r.Header.Values(name) {
			if limit == 0 || len(value) > limit {
				return refuse(r, http.StatusRequestHeaderFieldsTooLarge, 0, "header "+name)
			}
		}
	}
	if r.ContentLength > f.MaxContentLength {
		return refuse(r, http.StatusRequestEntityTooLarge, 1, "content length")
	}
	return nil
}

// testURL tests what depends on a URL.
func (f *Filter) testURL(r *http.Request, u *url.URL) error {
	raw := u.EscapedPath()
	switch {
	case strings.ContainsFunc(u.Path, control):
		return refuse(r, http.StatusBadRequest, 0, "control character in the path")
	case !utf8.ValidString(u.Path):
		return refuse(r, http.StatusBadRequest, 0, "path is not in UTF-8")
	case len(raw) > f.MaxURL:
		return refuse(r, http.StatusNotFound, 14, "path too long")
	case len(u.RawQuery) > f.MaxQueryString:
		return refuse(r, http.StatusNotFound, 15, "query too long")
	case !f.AllowDoubleEscaping && doubleEscaped(u.Path):
		return refuse(r, http.StatusNotFound, 11, "double escaping")
	case f.DenyHighBitCharacters && strings.ContainsFunc(u.Path, func(c rune) bool { return c > 0x7f }):
		return refuse(r, http.StatusNotFound, 12, "high bit character")
	}
	path := lower(strings.ReplaceAll(u.Path, `\`, "/"))
	if err := f.testPath(r, path, lower(raw)); err != nil {
		return err
	}
	return f.testQuery(r, u.RawQuery, path, raw)
}

// doubleEscaped tells whether a decoded path still has something to decode.
func doubleEscaped(path string) bool {
	if strings.Contains(path, "+") {
		return true
	}
	for i := 0; i+2 < len(path); i++ {
		if path[i] == '%' && isHex(path[i+1]) && isHex(path[i+2]) {
			return true
		}
	}
	return false
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func (f *Filter) testPath(r *http.Request, path, raw string) error {
	if !slices.Contains(f.AlwaysAllowedURLs, path) {
		for _, s := range f.DenyURLSequences {
			if strings.Contains(path, s) || strings.Contains(raw, s) {
				return refuse(r, http.StatusNotFound, 5, "sequence in the path")
			}
		}
	}
	rest := path
	for rest != "" {
		var segment string
		segment, rest, _ = strings.Cut(rest, "/")
		// Windows takes dots and blanks off the end of a name.
		if slices.Contains(f.HiddenSegments, strings.TrimRight(segment, ". ")) || slices.Contains(f.HiddenSegments, segment) {
			return refuse(r, http.StatusNotFound, 8, "hidden segment")
		}
	}
	return f.testExtensions(r, path)
}

func (f *Filter) testExtensions(r *http.Request, path string) error {
	l := &f.FileExtensions
	if len(l.Deny) == 0 && !l.DenyUnlisted {
		return nil
	}
	rest, last := path, false
	for !last {
		var segment string
		segment, rest, last = cutSegment(rest)
		ext := extension(strings.TrimRight(segment, ". "))
		switch {
		case last && segment == "": // a folder
		case ext == "." && !last:
		case last && l.denies(ext), !last && slices.Contains(l.Deny, ext):
			return refuse(r, http.StatusNotFound, 7, "file extension")
		}
	}
	return nil
}

func cutSegment(path string) (segment, rest string, last bool) {
	segment, rest, more := strings.Cut(path, "/")
	return segment, rest, !more
}

// extension is that of a name; "." if it has none.
func extension(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		// An alternate stream of a file is the file's: x.asp::$DATA.
		ext, _, _ := strings.Cut(name[i:], ":")
		return ext
	}
	return "."
}

func (f *Filter) testQuery(r *http.Request, query, path, raw string) error {
	forms := []string{lower(query)}
	if !f.KeepQueryStringEscaped && strings.ContainsAny(query, "%+") {
		forms = append(forms, lower(decodeLoosely(query)))
	}
	if !slices.Contains(f.AlwaysAllowedQueryStrings, forms[0]) {
		for _, s := range f.DenyQueryStringSequences {
			for _, q := range forms {
				if strings.Contains(q, s) {
					return refuse(r, http.StatusNotFound, 18, "sequence in the query")
				}
			}
		}
	}
	for i := range f.Rules {
		if f.Rules[i].denies(r, path, lower(raw), forms) {
			return refuse(r, http.StatusNotFound, 19, "rule "+f.Rules[i].Name)
		}
	}
	return nil
}

// decodeLoosely decodes what can be decoded and leaves the rest.
func decodeLoosely(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(bytes.ToValidUTF8(out, []byte("\ufffd")))
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// denies tells whether a request has what the rule denies.
func (rule *FilterRule) denies(r *http.Request, path, raw string, queries []string) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if len(rule.AppliesTo) > 0 && !slices.Contains(rule.AppliesTo, extension(name)) {
		return false
	}
	var scanned []string
	if rule.ScanURL {
		scanned = append(scanned, path, raw)
	}
	if rule.ScanQueryString {
		scanned = append(scanned, queries...)
		if !rule.AllowUnescapedPercent && unescapedPercent(queries[0]) {
			return true
		}
	}
	for name, values := range r.Header {
		if rule.ScanAllRaw || slices.ContainsFunc(rule.ScanHeaders, func(h string) bool { return strings.EqualFold(h, name) }) {
			for _, v := range values {
				scanned = append(scanned, lower(v))
			}
		}
		if rule.ScanAllRaw {
			scanned = append(scanned, lower(name))
		}
	}
	if rule.ScanAllRaw || slices.ContainsFunc(rule.ScanHeaders, func(h string) bool { return strings.EqualFold(h, "Host") }) {
		scanned = append(scanned, lower(r.Host))
	}
	return slices.ContainsFunc(rule.DenyStrings, func(s string) bool {
		return slices.ContainsFunc(scanned, func(text string) bool { return strings.Contains(text, s) })
	})
}

func unescapedPercent(s string) bool {
	for i := range len(s) {
		if s[i] == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])) {
			return true
		}
	}
	return false
}

// limitedBody ends a body that is longer than it may be.
type limitedBody struct {
	body    io.ReadCloser
	left    int64
	request *http.Request
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, refuse(b.request, http.StatusRequestEntityTooLarge, 1, "content length")
	}
	return n, err
}

// Close implements io.Closer.
func (b *limitedBody) Close() error { return b.body.Close() }

var _ = winpath.Fold

// Interface guards
var (
	_ caddy.Provisioner           = (*Filter)(nil)
	_ caddy.Validator             = (*Filter)(nil)
	_ caddyhttp.MiddlewareHandler = (*Filter)(nil)
)
