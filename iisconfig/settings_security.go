package iisconfig

import "strings"

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
	// Explicit says that Enabled was written, at Source, and is not the default of IIS.
	Explicit bool   `json:"explicit,omitempty"`
	Realm    string `json:"realm,omitempty"`
	// Providers are those of "windows", such as Negotiate and NTLM.
	Providers []Value `json:"providers,omitempty"`
	Source    Source  `json:"source"`
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
	DenyUnlisted bool `json:"deny_unlisted,omitempty"`
	// DenyAction is Forbidden, Unauthorized, NotFound or AbortRequest; empty means
	// Forbidden.
	DenyAction string `json:"deny_action,omitempty"`
	// ProxyMode is enableProxyMode: the addresses in X-Forwarded-For must pass as well
	// as that of the connection.
	ProxyMode bool `json:"proxy_mode,omitempty"`
	// ReverseDNS is enableReverseDns, which entries with a Domain need.
	ReverseDNS bool `json:"reverse_dns,omitempty"`
	// Entries are in the order in which they are tried; the first that fits decides.
	Entries []IPEntry `json:"entries,omitempty"`
	Source  Source    `json:"source"`
}

// IPEntry is an address, a network or a domain name of IPSecurity.
type IPEntry struct {
	Allow   bool   `json:"allow"` // false if the entry does not say it
	Address string `json:"address,omitempty"`
	// Mask is 255.255.255.255 if the entry does not say it, for IPv6 as well: the
	// address alone. It may be the length of a prefix.
	Mask string `json:"mask,omitempty"`
	// Domain is a name, or one behind "*.", that the client's address must have.
	Domain string `json:"domain,omitempty"`
	Source Source `json:"source"`
}

// DynamicIPSecurity is system.webServer/security/dynamicIpSecurity. Without one of
// the first two it does nothing.
type DynamicIPSecurity struct {
	// MaxConcurrent is the number of requests at a time that a client may have; 0 if
	// denyByConcurrentRequests is off.
	MaxConcurrent uint32 `json:"max_concurrent,omitempty"`
	// MaxRequests is the number of requests that a client may make in Interval; 0 if
	// denyByRequestRate is off.
	MaxRequests uint32 `json:"max_requests,omitempty"`
	Interval    uint32 `json:"interval,omitempty"` // milliseconds
	// DenyAction is as in IPSecurity.
	DenyAction  string `json:"deny_action,omitempty"`
	LoggingOnly bool   `json:"logging_only,omitempty"`
	ProxyMode   bool   `json:"proxy_mode,omitempty"`
	Source      Source `json:"source"`

	concurrent, rate dynamicLimit
}

// dynamicLimit is one of the two limits of dynamicIpSecurity, of which a level may switch on
// what another one sets.
type dynamicLimit struct {
	enabled            bool
	requests, interval uint32
}

// RequestFiltering is system.webServer/security/requestFiltering. IIS answers 404
// for what it denies: 404.8 for a hidden segment, 404.7 for an extension. Fields that
// no input sets have the defaults of IIS.
type RequestFiltering struct {
	// DoubleEscaping allows paths that change when they are decoded once more
	// (allowDoubleEscaping, default false; 404.11).
	DoubleEscaping bool `json:"double_escaping,omitempty"`
	// HighBit allows characters above 127 (allowHighBitCharacters, default true; 404.12).
	HighBit bool `json:"high_bit"`
	// UnescapeQueryString has queries tested in both forms, raw and decoded
	// (default true).
	UnescapeQueryString bool `json:"unescape_query_string"`
	RemoveServerHeader  bool `json:"remove_server_header,omitempty"`
	// URLScan says that this is what UrlScan does in IIS 6, which has no lists of its own
	// beside it.
	URLScan bool `json:"url_scan,omitempty"`
	// DenySeveralDots refuses paths with more than one dot (AllowDotInPath=0 of UrlScan).
	DenySeveralDots bool `json:"deny_several_dots,omitempty"`

	HiddenSegments []Value `json:"hidden_segments,omitempty"`
	SegmentsGone   Gone    `json:"segments_gone,omitzero"`
	// Extensions begin with a dot; "." alone is a name without one.
	AllowedExtensions  []Value `json:"allowed_extensions,omitempty"`
	DeniedExtensions   []Value `json:"denied_extensions,omitempty"`
	UnlistedExtensions bool    `json:"unlisted_extensions"` // those are allowed
	ExtensionsGone     Gone    `json:"extensions_gone,omitzero"`
	// Verbs are compared with regard to case.
	AllowedVerbs  []Value `json:"allowed_verbs,omitempty"`
	DeniedVerbs   []Value `json:"denied_verbs,omitempty"`
	UnlistedVerbs bool    `json:"unlisted_verbs"` // those are allowed

	DeniedURLSequences []Value `json:"denied_url_sequences,omitempty"` // 404.5
	// AlwaysAllowedURLs are paths that DeniedURLSequences do not deny.
	AlwaysAllowedURLs    []Value `json:"always_allowed_urls,omitempty"`
	DeniedQuerySequences []Value `json:"denied_query_sequences,omitempty"` // 404.18
	// AlwaysAllowedQueries are queries that DeniedQuerySequences do not deny.
	AlwaysAllowedQueries []Value         `json:"always_allowed_queries,omitempty"`
	HeaderLimits         []HeaderLimit   `json:"header_limits,omitempty"`
	Rules                []FilteringRule `json:"rules,omitempty"`
	// MaxContentLength is the largest request body in bytes, 30,000,000 by default.
	MaxContentLength uint64 `json:"max_content_length"`
	MaxURL           uint32 `json:"max_url"`          // bytes of the path, 4096 by default; 404.14
	MaxQueryString   uint32 `json:"max_query_string"` // bytes, 2048 by default; 404.15
	Source           Source `json:"source"`

	extensions, verbs []filterEntry
}

// filterEntry is an entry of fileExtensions or verbs.
type filterEntry struct {
	value   Value
	allowed bool
}

// HeaderLimit is an entry of requestLimits headerLimits: IIS answers 431 if the
// value of the header is longer.
type HeaderLimit struct {
	Header string `json:"header"`
	Size   uint32 `json:"size"` // bytes; with 0, the header may not be sent
	Source Source `json:"source"`
}

// FilteringRule is an entry of filteringRules: IIS answers 404.19 if what it looks
// at has one of DenyStrings.
type FilteringRule struct {
	Name                 string  `json:"name"`
	ScanURL              bool    `json:"scan_url,omitempty"`
	ScanQueryString      bool    `json:"scan_query_string,omitempty"`
	ScanAllRaw           bool    `json:"scan_all_raw,omitempty"` // all headers
	DenyUnescapedPercent bool    `json:"deny_unescaped_percent"` // default true
	ScanHeaders          []Value `json:"scan_headers,omitempty"` // names
	AppliesTo            []Value `json:"applies_to,omitempty"`   // extensions; all if empty
	DenyStrings          []Value `json:"deny_strings,omitempty"`
	Source               Source  `json:"source"`
}
