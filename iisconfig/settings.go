package iisconfig

import "strings"

// Settings are the sections of system.webServer that are in force at one path. A
// section that no input has is nil: IIS then uses its schema's defaults. The
// sections of several Settings may be shared and must not be changed.
type Settings struct {
	DefaultDocument  *DefaultDocument  `json:"default_document,omitempty"`
	DirectoryBrowse  *DirectoryBrowse  `json:"directory_browse,omitempty"`
	HTTPRedirect     *HTTPRedirect     `json:"http_redirect,omitempty"`
	HTTPErrors       *HTTPErrors       `json:"http_errors,omitempty"`
	StaticContent    *StaticContent    `json:"static_content,omitempty"`
	HTTPProtocol     *HTTPProtocol     `json:"http_protocol,omitempty"`
	URLCompression   *URLCompression   `json:"url_compression,omitempty"`
	Rewrite          *Rewrite          `json:"rewrite,omitempty"`
	Proxy            *Proxy            `json:"proxy,omitempty"`
	Access           *Access           `json:"access,omitempty"`
	Authentication   []Authentication  `json:"authentication,omitempty"`
	Authorization    []Authorization   `json:"authorization,omitempty"`
	IPSecurity       *IPSecurity       `json:"ip_security,omitempty"`
	RequestFiltering *RequestFiltering `json:"request_filtering,omitempty"`
	Handlers         *Handlers         `json:"handlers,omitempty"`
	AspNetCore       *AspNetCore       `json:"asp_net_core,omitempty"`
	WebSocket        *Toggle           `json:"web_socket,omitempty"`
	// Managed are sections that only .NET reads, such as system.web: signs that the
	// path is an application that needs a worker process.
	Managed []Section `json:"managed,omitempty"`
	// Findings are what merging showed: entries that a deeper level adds again, for
	// which IIS answers 500.19.
	Findings []Finding `json:"findings,omitempty"`
}

// Section is a section of a configuration file that sets something.
type Section struct {
	Name   string `json:"name"` // such as "system.webServer/defaultDocument"
	Source Source `json:"source"`
}

// ConfiguredPath is a path of a site with settings of its own.
type ConfiguredPath struct {
	Path     string    `json:"path"`
	Sections []Section `json:"sections"`
}

// Value is an entry of a list of words.
type Value struct {
	Value  string `json:"value"`
	Source Source `json:"source"`
}

// Toggle is a section of which only enabled matters.
type Toggle struct {
	Enabled bool   `json:"enabled"`
	Source  Source `json:"source"`
}

// DefaultDocument is system.webServer/defaultDocument, DefaultDoc in IIS 6.
// Entries of a deeper level come before inherited ones.
type DefaultDocument struct {
	Enabled bool    `json:"enabled"`
	Files   []Value `json:"files,omitempty"`
	Source  Source  `json:"source"`
}

// DirectoryBrowse is system.webServer/directoryBrowse, DirBrowseFlags in IIS 6.
type DirectoryBrowse struct {
	Enabled   bool   `json:"enabled"`
	ShowFlags string `json:"show_flags,omitempty"`
	Source    Source `json:"source"`
}

// HTTPRedirect is system.webServer/httpRedirect, HttpRedirect in IIS 6.
type HTTPRedirect struct {
	Enabled bool `json:"enabled"`
	// Destination may have IIS's variables $S (the path below), $Q (the query with
	// its question mark), $P (both), $V (the path asked for).
	Destination string `json:"destination,omitempty"`
	// Exact says that nothing is appended to Destination.
	Exact bool `json:"exact,omitempty"`
	// ChildOnly leaves folders below alone.
	ChildOnly bool `json:"child_only,omitempty"`
	Status    int  `json:"status"` // 301, 302, 307 or 308
	// Wildcards are redirects of their own by pattern.
	Wildcards []WildcardRedirect `json:"wildcards,omitempty"`
	Source    Source             `json:"source"`
}

// WildcardRedirect is an entry of httpRedirect.
type WildcardRedirect struct {
	Wildcard    string `json:"wildcard"`
	Destination string `json:"destination"`
	Source      Source `json:"source"`
}

// HTTPErrors is system.webServer/httpErrors, HttpErrors in IIS 6.
type HTTPErrors struct {
	Mode                string      `json:"mode,omitempty"`              // Custom, Detailed, DetailedLocalOnly
	ExistingResponse    string      `json:"existing_response,omitempty"` // Auto, Replace, PassThrough
	DefaultPath         string      `json:"default_path,omitempty"`
	DefaultResponseMode string      `json:"default_response_mode,omitempty"`
	Errors              []ErrorPage `json:"errors,omitempty"`
	Source              Source      `json:"source"`
}

// ErrorPage is an entry of httpErrors.
type ErrorPage struct {
	Status    int    `json:"status"`
	SubStatus int    `json:"sub_status"` // -1 for every one
	Prefix    string `json:"prefix,omitempty"`
	Path      string `json:"path"`
	Mode      string `json:"mode"` // File, ExecuteURL, Redirect
	Source    Source `json:"source"`
}

// StaticContent is system.webServer/staticContent, MimeMap in IIS 6. IIS answers
// 404.3 for a file whose extension is not in MIMEMaps.
type StaticContent struct {
	MIMEMaps []MIMEMap `json:"mime_maps,omitempty"`
	// CacheMode is NoControl, DisableCache, UseMaxAge or UseExpires.
	CacheMode    string `json:"cache_mode,omitempty"`
	CacheMaxAge  string `json:"cache_max_age,omitempty"` // d.hh:mm:ss
	CacheExpires string `json:"cache_expires,omitempty"`
	CacheCustom  string `json:"cache_custom,omitempty"`
	Source       Source `json:"source"`
}

// MIMEMap gives an extension (with its dot) a type.
type MIMEMap struct {
	Extension string `json:"extension"`
	Type      string `json:"type"`
	Source    Source `json:"source"`
}

// HTTPProtocol is system.webServer/httpProtocol, HttpCustomHeaders in IIS 6.
type HTTPProtocol struct {
	CustomHeaders   []Header `json:"custom_headers,omitempty"`
	RedirectHeaders []Header `json:"redirect_headers,omitempty"`
	// NoKeepAlive is allowKeepAlive="false".
	NoKeepAlive bool   `json:"no_keep_alive,omitempty"`
	Source      Source `json:"source"`
}

// Header is a header that IIS adds to responses.
type Header struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source Source `json:"source"`
}

// URLCompression is system.webServer/urlCompression.
type URLCompression struct {
	Static  bool   `json:"static"`
	Dynamic bool   `json:"dynamic"`
	Source  Source `json:"source"`
}

// Access is system.webServer/security/access, AccessSSLFlags in IIS 6.
type Access struct {
	SSLFlags AccessFlags `json:"ssl_flags"`
	Source   Source      `json:"source"`
}

// AccessFlags are what a path demands of a connection.
type AccessFlags uint32

// The bits of security/access sslFlags, with the numbers that IIS gives them.
const (
	AccessSSL           AccessFlags = 0x8   // https is required: 403.4
	AccessNegotiateCert AccessFlags = 0x20  // a client certificate is asked for
	AccessRequireCert   AccessFlags = 0x40  // a client certificate is required: 403.7
	AccessMapCert       AccessFlags = 0x80  // client certificates are mapped to accounts
	AccessSSL128        AccessFlags = 0x100 // 128 bits are required: 403.5
)

var accessNames = []struct {
	flag AccessFlags
	name string
}{
	{AccessSSL, "Ssl"},
	{AccessNegotiateCert, "SslNegotiateCert"},
	{AccessRequireCert, "SslRequireCert"},
	{AccessMapCert, "SslMapCert"},
	{AccessSSL128, "Ssl128"},
}

// String lists the flags as applicationHost.config has them; "None" for 0.
func (f AccessFlags) String() string {
	var words []string
	for _, n := range accessNames {
		if f&n.flag != 0 {
			words = append(words, n.name)
		}
	}
	if words == nil {
		return "None"
	}
	return strings.Join(words, ", ")
}

// MarshalText writes what String returns.
func (f AccessFlags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// Authentication is one method below system.webServer/security/authentication,
// or a bit of AuthFlags in IIS 6.
type Authentication struct {
	Method  string `json:"method"` // such as "anonymous", "basic", "windows"
	Enabled bool   `json:"enabled"`
	Realm   string `json:"realm,omitempty"`
	Source  Source `json:"source"`
}

// Authorization is an entry of system.webServer/security/authorization.
type Authorization struct {
	Allow  bool   `json:"allow"`
	Users  string `json:"users,omitempty"` // "*" for all, "?" for anonymous
	Roles  string `json:"roles,omitempty"`
	Verbs  string `json:"verbs,omitempty"`
	Source Source `json:"source"`
}

// IPSecurity is system.webServer/security/ipSecurity.
type IPSecurity struct {
	// DenyUnlisted is allowUnlisted="false".
	DenyUnlisted bool      `json:"deny_unlisted,omitempty"`
	DenyAction   string    `json:"deny_action,omitempty"`
	Entries      []IPEntry `json:"entries,omitempty"`
	Source       Source    `json:"source"`
}

// IPEntry is an address, a network or a domain name of IPSecurity.
type IPEntry struct {
	Allow   bool   `json:"allow"`
	Address string `json:"address,omitempty"`
	Mask    string `json:"mask,omitempty"`
	Domain  string `json:"domain,omitempty"`
	Source  Source `json:"source"`
}

// RequestFiltering is system.webServer/security/requestFiltering. IIS answers 404
// for what it denies: 404.8 for a hidden segment, 404.7 for an extension.
type RequestFiltering struct {
	HiddenSegments     []Value `json:"hidden_segments,omitempty"`
	AllowedExtensions  []Value `json:"allowed_extensions,omitempty"`
	DeniedExtensions   []Value `json:"denied_extensions,omitempty"`
	UnlistedExtensions bool    `json:"unlisted_extensions"` // those are allowed
	AllowedVerbs       []Value `json:"allowed_verbs,omitempty"`
	DeniedVerbs        []Value `json:"denied_verbs,omitempty"`
	UnlistedVerbs      bool    `json:"unlisted_verbs"` // those are allowed
	DeniedURLSequences []Value `json:"denied_url_sequences,omitempty"`
	// MaxContentLength is the largest request body in bytes; 0 if it is not set, which
	// means 30,000,000.
	MaxContentLength uint64 `json:"max_content_length,omitempty"`
	Source           Source `json:"source"`
}

// Handlers is system.webServer/handlers, ScriptMaps and AccessFlags in IIS 6.
// Entries of a deeper level come before inherited ones.
type Handlers struct {
	AccessPolicy string    `json:"access_policy,omitempty"`
	Entries      []Handler `json:"entries,omitempty"`
	Source       Source    `json:"source"`
}

// Handler says who answers for a path and verb.
type Handler struct {
	Name            string `json:"name"`
	Path            string `json:"path"`
	Verb            string `json:"verb"`
	Type            string `json:"type,omitempty"` // of .NET
	Modules         string `json:"modules,omitempty"`
	ScriptProcessor string `json:"script_processor,omitempty"`
	PreCondition    string `json:"pre_condition,omitempty"`
	ResourceType    string `json:"resource_type,omitempty"`
	Source          Source `json:"source"`
}

// nativeModules answer without a worker process of an application.
var nativeModules = map[string]bool{
	"staticfilemodule": true, "defaultdocumentmodule": true, "directorylistingmodule": true,
	"protocolsupportmodule": true, "httpredirectionmodule": true, "customerrormodule": true,
}

// NeedsWorker reports whether the handler runs code: .NET, ISAPI, CGI, FastCGI,
// ASP.NET Core and the like, as opposed to serving files.
func (h Handler) NeedsWorker() bool {
	if h.Type != "" || h.ScriptProcessor != "" {
		return true
	}
	for m := range strings.SplitSeq(h.Modules, ",") {
		if !nativeModules[strings.ToLower(strings.TrimSpace(m))] {
			return true
		}
	}
	return false
}

// AspNetCore is system.webServer/aspNetCore, or httpPlatform, its predecessor.
type AspNetCore struct {
	ProcessPath  string `json:"process_path,omitempty"`
	Arguments    string `json:"arguments,omitempty"`
	HostingModel string `json:"hosting_model,omitempty"`
	Source       Source `json:"source"`
}

// Proxy is system.webServer/proxy of Application Request Routing.
type Proxy struct {
	Enabled            bool   `json:"enabled"`
	PreserveHostHeader bool   `json:"preserve_host_header,omitempty"`
	Source             Source `json:"source"`
}

// Rewrite is system.webServer/rewrite of the URL Rewrite module.
type Rewrite struct {
	// Rules are in the order in which they run. The URL that a rule of a web.config
	// sees has no leading slash and is relative to the path of that file, which is in
	// its Source.Scope.
	Rules []RewriteRule `json:"rules,omitempty"`
	// GlobalRules run before Rules; the server alone has them.
	GlobalRules            []RewriteRule `json:"global_rules,omitempty"`
	OutboundRules          []RewriteRule `json:"outbound_rules,omitempty"`
	Maps                   []RewriteMap  `json:"maps,omitempty"`
	AllowedServerVariables []Value       `json:"allowed_server_variables,omitempty"`
	Source                 Source        `json:"source"`
}

// RewriteRule is one rule with its parts as they were written.
type RewriteRule struct {
	Name           string `json:"name"`
	Enabled        bool   `json:"enabled"`
	PatternSyntax  string `json:"pattern_syntax"` // ECMAScript, Wildcard, ExactMatch
	StopProcessing bool   `json:"stop_processing,omitempty"`
	// PreCondition is that of an outbound rule.
	PreCondition string       `json:"pre_condition,omitempty"`
	Match        RewriteMatch `json:"match"`
	// AnyCondition is logicalGrouping="MatchAny".
	AnyCondition     bool               `json:"any_condition,omitempty"`
	TrackAllCaptures bool               `json:"track_all_captures,omitempty"`
	Conditions       []RewriteCondition `json:"conditions,omitempty"`
	ServerVariables  []RewriteVariable  `json:"server_variables,omitempty"`
	Action           RewriteAction      `json:"action"`
	Source           Source             `json:"source"`
}

// RewriteMatch is the element match of a rule.
type RewriteMatch struct {
	URL        string `json:"url,omitempty"`
	IgnoreCase bool   `json:"ignore_case"`
	Negate     bool   `json:"negate,omitempty"`
	// The others are those of outbound rules.
	ServerVariable string `json:"server_variable,omitempty"`
	FilterByTags   string `json:"filter_by_tags,omitempty"`
	Pattern        string `json:"pattern,omitempty"`
}

// RewriteCondition is an entry of conditions.
type RewriteCondition struct {
	Input      string `json:"input"`
	MatchType  string `json:"match_type"` // Pattern, IsFile, IsDirectory
	Pattern    string `json:"pattern,omitempty"`
	IgnoreCase bool   `json:"ignore_case"`
	Negate     bool   `json:"negate,omitempty"`
	Source     Source `json:"source"`
}

// RewriteVariable is an entry of serverVariables.
type RewriteVariable struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Replace bool   `json:"replace"`
	Source  Source `json:"source"`
}

// RewriteAction is the element action of a rule.
type RewriteAction struct {
	Type              string `json:"type"` // None, Rewrite, Redirect, CustomResponse, AbortRequest
	URL               string `json:"url,omitempty"`
	Value             string `json:"value,omitempty"` // of an outbound rule
	AppendQueryString bool   `json:"append_query_string"`
	RedirectType      string `json:"redirect_type,omitempty"` // Permanent, Found, SeeOther, Temporary
	StatusCode        int    `json:"status_code,omitempty"`
	SubStatusCode     int    `json:"sub_status_code,omitempty"`
	StatusReason      string `json:"status_reason,omitempty"`
	StatusDescription string `json:"status_description,omitempty"`
	Source            Source `json:"source"`
}

// RewriteMap is a table that rules read as {name:key}.
type RewriteMap struct {
	Name       string `json:"name"`
	Default    string `json:"default,omitempty"`
	IgnoreCase bool   `json:"ignore_case"`
	Entries    []Pair `json:"entries,omitempty"`
	Source     Source `json:"source"`
}
