package iishttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(Filter))
}

// Filter refuses requests as the section requestFiltering of IIS does, whatever
// would answer them. First comes what HTTP.sys refuses: a path with control
// characters (U+0000 to U+001F, U+007F to U+009F), one that is not UTF-8, and
// one with more than 255 segments or a segment of more than 260 characters get
// 400. All else is refused with 404, 413 or 431 and IIS's sub-status, see
// SubStatusVar.
//
// It looks at the URL that the client has sent and, if handlers in front have
// changed it, at that one as well. Paths are tested as HTTP.sys reads them:
// decoded once, "\" as "/", dot segments resolved. Nothing is compared with
// regard to case but verbs. Lists are not built in: IIS has them in
// applicationHost.config.
type Filter struct {
	// Whether requests pass without a test, and only default documents that
	// iis_content_types answers with are tested: for places that rules lead to,
	// whose filter the request has not met.
	DocumentsOnly bool `json:"documents_only,omitempty"`

	// Whether a path may change when it is decoded a second time, and whether
	// it may have a plus sign (allowDoubleEscaping). Else: 404.11.
	AllowDoubleEscaping bool `json:"allow_double_escaping,omitempty"`

	// Whether characters above U+007F are refused in paths
	// (allowHighBitCharacters="false"): 404.12.
	DenyHighBitCharacters bool `json:"deny_high_bit_characters,omitempty"`

	// Whether paths with more than one dot are refused (AllowDotInPath=0 of
	// UrlScan): 404.7.
	DenySeveralDots bool `json:"deny_several_dots,omitempty"`

	// Whether queries are tested as they were sent only, not decoded as well
	// (unescapeQueryString="false").
	KeepQueryStringEscaped bool `json:"keep_query_string_escaped,omitempty"`

	// The largest body in bytes (maxAllowedContentLength). Default: 30000000.
	// A larger one gets 413.1: at once by its Content-Length, else as soon as
	// more is read.
	MaxContentLength *int64 `json:"max_content_length,omitempty"`

	// The longest path in bytes as it was sent (maxUrl). Default: 4096. A
	// longer one: 404.14.
	MaxURL *int64 `json:"max_url,omitempty"`

	// The longest query in bytes as it was sent, without its question mark
	// (maxQueryString). Default: 2048. A longer one: 404.15.
	MaxQueryString *int64 `json:"max_query_string,omitempty"`

	// The longest value in bytes of headers by name (headerLimits); 0: the
	// header may not be there. Lines of one name count together. Else: 431.
	HeaderLimits map[string]int64 `json:"header_limits,omitempty"`

	// Methods, with regard to case (verbs). Not allowed: 404.6.
	Verbs FilterList `json:"verbs,omitzero"`

	// Extensions with their dot (fileExtensions); "." is for names without one
	// and for folders. Not allowed: 404.7. Names in front of the last one are
	// tested as well, since they may be a script with path info, as in
	// /x.asa/y: for extensions that are denied by name, and for those that no
	// list has if they may be a script's (not in .well-known or v1.2).
	FileExtensions FilterList `json:"file_extensions,omitzero"`

	// Names that no segment of a path may be (hiddenSegments): 404.8.
	HiddenSegments []string `json:"hidden_segments,omitempty"`

	// Texts that a path may not have, as it was sent or decoded
	// (denyUrlSequences): 404.5.
	DenyURLSequences []string `json:"deny_url_sequences,omitempty"`

	// Whole paths that may have them (alwaysAllowedUrls).
	AlwaysAllowedURLs []string `json:"always_allowed_urls,omitempty"`

	// Texts that a query may not have (denyQueryStringSequences): 404.18.
	DenyQueryStringSequences []string `json:"deny_query_string_sequences,omitempty"`

	// Whole queries that may have them (alwaysAllowedQueryStrings).
	AlwaysAllowedQueryStrings []string `json:"always_allowed_query_strings,omitempty"`

	// Rules about texts in several places (filteringRules): 404.19.
	Rules []FilterRule `json:"rules,omitempty"`

	maxContentLength, maxURL, maxQueryString int64

	verbs      verbSet
	extensions extensionSet
	segments   wordSet
	headers    []headerLimit
	urlTexts   sequences
	queryTexts sequences
	rules      []filterRule
}

// FilterList allows and denies words by name.
type FilterList struct {
	// Words that are allowed.
	Allow []string `json:"allow,omitempty"`

	// Words that are denied.
	Deny []string `json:"deny,omitempty"`

	// Whether a word of neither list is denied (allowUnlisted="false").
	DenyUnlisted bool `json:"deny_unlisted,omitempty"`
}

// FilterRule is an entry of filteringRules: texts that may not be in some
// places of a request.
type FilterRule struct {
	// The name, for the log.
	Name string `json:"name,omitempty"`

	// Whether the path is searched, as it was sent and decoded (scanUrl).
	ScanURL bool `json:"scan_url,omitempty"`

	// Whether the query is searched (scanQueryString), decoded as well unless
	// KeepQueryStringEscaped is set.
	ScanQueryString bool `json:"scan_query_string,omitempty"`

	// Whether all headers are searched, each as "Name: value" (scanAllRaw).
	ScanAllRaw bool `json:"scan_all_raw,omitempty"`

	// The headers whose values are searched (scanHeaders).
	ScanHeaders []string `json:"scan_headers,omitempty"`

	// Whether the path or query that is searched may have a percent sign that
	// begins no escape (denyUnescapedPercent="false").
	AllowUnescapedPercent bool `json:"allow_unescaped_percent,omitempty"`

	// Extensions of the paths that the rule is for (appliesTo), as in
	// FileExtensions. Default: all paths.
	AppliesTo []string `json:"applies_to,omitempty"`

	// What may not be there (denyStrings).
	DenyStrings []string `json:"deny_strings,omitempty"`
}

// The limits of IIS, in bytes.
const (
	defaultMaxContentLength = 30_000_000
	defaultMaxURL           = 4096
	defaultMaxQueryString   = 2048
)

// CaddyModule returns the Caddy module information.
func (*Filter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_filter", New: func() caddy.Module { return new(Filter) }}
}

// Provision implements caddy.Provisioner.
func (f *Filter) Provision(caddy.Context) error {
	if err := f.compile(); err != nil {
		return fmt.Errorf("iis_filter: %w", err)
	}
	return nil
}

func (f *Filter) compile() (err error) {
	for _, limit := range []struct {
		name    string
		value   *int64
		initial int64
		into    *int64
	}{
		{"max_content_length", f.MaxContentLength, defaultMaxContentLength, &f.maxContentLength},
		{"max_url", f.MaxURL, defaultMaxURL, &f.maxURL},
		{"max_query_string", f.MaxQueryString, defaultMaxQueryString, &f.maxQueryString},
	} {
		*limit.into = limit.initial
		if limit.value != nil {
			*limit.into = *limit.value
		}
		if *limit.into < 0 {
			return fmt.Errorf("%s %d is negative", limit.name, *limit.into)
		}
	}
	if f.verbs, err = newVerbSet(f.Verbs); err != nil {
		return fmt.Errorf("verbs: %w", err)
	}
	if f.extensions, err = newExtensionSet(f.FileExtensions); err != nil {
		return fmt.Errorf("file_extensions: %w", err)
	}
	if f.segments, err = newSegments(f.HiddenSegments); err != nil {
		return fmt.Errorf("hidden_segments: %w", err)
	}
	if f.headers, err = newHeaderLimits(f.HeaderLimits); err != nil {
		return fmt.Errorf("header_limit: %w", err)
	}
	if f.urlTexts, err = newSequences(f.DenyURLSequences, f.AlwaysAllowedURLs); err != nil {
		return fmt.Errorf("deny_url_sequences: %w", err)
	}
	if f.queryTexts, err = newSequences(f.DenyQueryStringSequences, f.AlwaysAllowedQueryStrings); err != nil {
		return fmt.Errorf("deny_query_string_sequences: %w", err)
	}
	f.rules = nil
	for i, rule := range f.Rules {
		compiled, err := newFilterRule(rule)
		if err != nil {
			return fmt.Errorf("rule %d %q: %w", i+1, rule.Name, err)
		}
		f.rules = append(f.rules, compiled)
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (f *Filter) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if f.DocumentsOnly {
		caddyhttp.SetVar(r.Context(), filterVar, f)
		return next.ServeHTTP(w, r)
	}
	if err := f.test(r); err != nil {
		return err
	}
	caddyhttp.SetVar(r.Context(), filterVar, f)
	// The stream of an extended CONNECT (RFC 8441, RFC 9220) is no body.
	if r.Body != nil && r.Body != http.NoBody && r.Method != http.MethodConnect {
		// Before it is refused: error routes may read the body.
		length := r.ContentLength
		r.Body = &limitedBody{ReadCloser: http.MaxBytesReader(w, r.Body, f.maxContentLength), request: r}
		if length > f.maxContentLength {
			return refuseBody(r)
		}
	}
	return next.ServeHTTP(w, r)
}

// test applies all rules but those about the body, in the order in which
// section 4 of the semantics has them. The order shows only in sub-statuses.
func (f *Filter) test(r *http.Request) error {
	if r.URL.Opaque != "" {
		return refuse(r, http.StatusBadRequest, 0, "target without a path")
	}
	var views [2]urlView
	n := 0
	if client := clientURL(r); client != nil {
		if err := views[n].read(r, client); err != nil {
			return err
		}
		n++
	}
	if err := views[n].read(r, r.URL); err != nil {
		return err
	}
	n++
	if f.verbs.denies(r.Method) {
		return refuse(r, http.StatusNotFound, 6, "verb "+quote(r.Method))
	}
	for i := range views[:n] {
		if err := f.testLengths(r, &views[i]); err != nil {
			return err
		}
	}
	if err := f.testHeaders(r); err != nil {
		return err
	}
	for i := range views[:n] {
		if err := f.testPath(r, &views[i]); err != nil {
			return err
		}
	}
	for i := range views[:n] {
		if err := f.testTexts(r, &views[i]); err != nil {
			return err
		}
	}
	return nil
}

// limitedBody tells error routes and logs why a body could not be read.
type limitedBody struct {
	io.ReadCloser
	request *http.Request
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		err = refuseBody(b.request)
	}
	return n, err
}

func refuseBody(r *http.Request) error {
	return refuse(r, http.StatusRequestEntityTooLarge, 1, "body too large")
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Filter)(nil)
	_ caddyhttp.MiddlewareHandler = (*Filter)(nil)
)
