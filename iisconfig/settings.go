package iisconfig

import (
	"slices"
	"strings"
)

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
	Authorization    []Authorization   `json:"authorization,omitempty"` // nil: all are allowed; empty: nobody is
	IPSecurity       *IPSecurity       `json:"ip_security,omitempty"`
	RequestFiltering *RequestFiltering `json:"request_filtering,omitempty"`
	// DynamicIPSecurity limits clients by how many requests they make.
	DynamicIPSecurity *DynamicIPSecurity `json:"dynamic_ip_security,omitempty"`
	Handlers          *Handlers          `json:"handlers,omitempty"`
	Restriction       *Restriction       `json:"restriction,omitempty"`
	AspNetCore        *AspNetCore        `json:"asp_net_core,omitempty"`
	WebSocket         *Toggle            `json:"web_socket,omitempty"`
	ServerRuntime     *ServerRuntime     `json:"server_runtime,omitempty"`
	// Managed are sections that only .NET reads, such as system.web: signs that the
	// path is an application that needs a worker process.
	Managed []Section `json:"managed,omitempty"`
	// Findings are what merging showed: entries that a deeper level adds again, for
	// which IIS answers 500.19.
	Findings []Finding `json:"findings,omitempty"`
	// Faults are why IIS answers 500.19 here, whatever is asked for. Paths below inherit
	// them. What a faulty section says is not in force.
	Faults []Fault `json:"faults,omitempty"`
	// Unknown is what sections that protect something say and nobody here understands.
	// Paths below inherit it. A place that has any must not be opened.
	Unknown []UnknownPart `json:"unknown,omitempty"`

	installed []string // globalModules; nil if no file has them
	listed    bool     // whether a file has modules

	modulesCleared bool     // some level begins with none
	modulesOut     []string // those that some level takes out, in lower case
	modules        []module // see Managed
	allManaged     bool     // runAllManagedModulesForAllRequests
	allSource      Source   // where it stands
}

// Fault is a reason for IIS to answer 500.19 at a path and below it.
type Fault struct {
	// Code is CodeLocked, CodeRefused, CodeMalformed, CodeDuplicate, CodeBadValue or CodeUnknown.
	Code string `json:"code"`
	// Section is such as "system.webServer/handlers", or "web.config" for the whole file.
	Section string `json:"section"`
	Message string `json:"message"`
	Source  Source `json:"source"`
}

// UnknownPart is an element or attribute that is not understood where it may protect
// something.
type UnknownPart struct {
	Section string `json:"section"` // such as "system.webServer/security/access"
	What    string `json:"what"`    // such as "the attribute x of add"
	Source  Source `json:"source"`
	// Fix is the way out; empty: write what it does in its place.
	Fix string `json:"fix,omitempty"`
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

// ServerRuntime is system.webServer/serverRuntime.
type ServerRuntime struct {
	// Enabled is true unless a level says that IIS serves nothing there.
	Enabled bool `json:"enabled"`
	// MaxRequestEntity is maxRequestEntityAllowed, the largest request body in bytes,
	// beside that of request filtering: 4294967295 by default.
	MaxRequestEntity uint64 `json:"max_request_entity"`
	// MaxConcurrent is appConcurrentRequestLimit, the requests at a time that an application
	// may have before others get 503.2: 5000 by default.
	MaxConcurrent uint32 `json:"max_concurrent"`
	Source        Source `json:"source"`
}

// DefaultDocument is system.webServer/defaultDocument, DefaultDoc in IIS 6.
// Entries of a deeper level come before inherited ones.
type DefaultDocument struct {
	Enabled bool    `json:"enabled"`
	Files   []Value `json:"files,omitempty"`
	Gone    Gone    `json:"gone,omitzero"` // of Files
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
	// IIS6 says that Wildcards are of IIS 6, of which nobody says whether they are for the whole
	// path or for what is behind the folder, and what is appended to their destinations.
	IIS6   bool   `json:"iis6,omitempty"`
	Source Source `json:"source"`
}

// WildcardRedirect is an entry of httpRedirect.
type WildcardRedirect struct {
	Wildcard    string `json:"wildcard"`
	Destination string `json:"destination"`
	Source      Source `json:"source"`
}

// HTTPErrors is system.webServer/httpErrors, HttpErrors in IIS 6.
type HTTPErrors struct {
	Mode                string `json:"mode,omitempty"`              // Custom, Detailed, DetailedLocalOnly
	ExistingResponse    string `json:"existing_response,omitempty"` // Auto, Replace, PassThrough
	DefaultPath         string `json:"default_path,omitempty"`
	DefaultResponseMode string `json:"default_response_mode,omitempty"`
	// AbsolutePaths says that a web.config may name absolute files
	// (allowAbsolutePathsWhenDelegated).
	AbsolutePaths bool        `json:"absolute_paths,omitempty"`
	Errors        []ErrorPage `json:"errors,omitempty"`
	Source        Source      `json:"source"`
}

// ErrorPage is an entry of httpErrors.
type ErrorPage struct {
	Status    int `json:"status"`
	SubStatus int `json:"sub_status"` // -1 for every one
	// Prefix is prefixLanguageFilePath: Path is in the folder of the language in it.
	Prefix string `json:"prefix,omitempty"`
	Path   string `json:"path"`
	Mode   string `json:"mode"` // File, ExecuteURL, Redirect
	Source Source `json:"source"`
}

// StaticContent is system.webServer/staticContent, MimeMap in IIS 6. IIS answers
// 404.3 for a file whose extension is not in MIMEMaps.
type StaticContent struct {
	MIMEMaps []MIMEMap `json:"mime_maps,omitempty"`
	Gone     Gone      `json:"gone,omitzero"` // of MIMEMaps, by extension
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

// Handlers is system.webServer/handlers, ScriptMaps and AccessFlags in IIS 6.
// Entries of a deeper level come before inherited ones.
type Handlers struct {
	AccessPolicy string    `json:"access_policy,omitempty"`
	Entries      []Handler `json:"entries,omitempty"`
	// Cleared says that a level has dropped the inherited entries, or the one that sends
	// files: what no entry fits is 404.4.
	Cleared bool   `json:"cleared,omitempty"`
	Gone    Gone   `json:"gone,omitzero"` // of Entries, by name
	Source  Source `json:"source"`
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
	// RequireAccess is what AccessPolicy must have: None, Read, Write, Script or Execute.
	RequireAccess string `json:"require_access,omitempty"`
	// AllowPathInfo passes the whole URL as PATH_INFO to a script.
	AllowPathInfo bool   `json:"allow_path_info,omitempty"`
	Source        Source `json:"source"`
}

// nativeModules answer without a worker process of an application.
var nativeModules = map[string]bool{
	"staticfilemodule": true, "defaultdocumentmodule": true, "directorylistingmodule": true,
	"protocolsupportmodule": true, "httpredirectionmodule": true, "customerrormodule": true,
}

// NeedsWorker reports whether the handler runs code: .NET, ISAPI, CGI, FastCGI,
// ASP.NET Core and the like, as opposed to serving files.
func (h Handler) NeedsWorker() bool {
	if h.FilesOfNET() {
		return false
	}
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

// FilesOfNET reports whether the handler is one of System.Web that sends files.
func (h Handler) FilesOfNET() bool {
	kind := h.kind()
	return h.ScriptProcessor == "" && (kind == "system.web.staticfilehandler" || kind == "system.web.defaulthttphandler")
}

// kind is the name of the type of a handler of .NET, in lower case.
func (h Handler) kind() string {
	name, _, _ := strings.Cut(h.Type, ",")
	return strings.ToLower(strings.TrimSpace(name))
}

// refusers are types of System.Web that do nothing but refuse.
var refusers = map[string]int{
	"system.web.httpforbiddenhandler": 403, "system.web.httpnotfoundhandler": 404,
	"system.web.httpmethodnotallowedhandler": 405, "system.web.httpnotimplementedhandler": 501,
}

// Refuses returns the status that all requests get which the handler has; 0 if it does
// anything else.
func (h Handler) Refuses() int { return refusers[h.kind()] }

// Verbs lists the verbs of a handler; nil: all. IIS compares them with regard to case, and who
// reads the list may not: those in small letters, which no client sends, are none.
func (h Handler) Verbs() []string {
	if strings.TrimSpace(h.Verb) == "" {
		return nil
	}
	verbs := []string{}
	for verb := range strings.SplitSeq(h.Verb, ",") {
		switch verb = strings.TrimSpace(verb); {
		case verb == "*":
			return nil
		case verb != "" && verb == strings.ToUpper(verb):
			verbs = append(verbs, verb)
		}
	}
	return verbs
}

// AnswersGET tells whether GET is among a handler's verbs: those for OPTIONS, TRACE, PROPFIND and
// the like say nothing about who serves contents.
func (h Handler) AnswersGET() bool {
	verbs := h.Verbs()
	return verbs == nil || slices.Contains(verbs, "GET")
}

// AspNetCore is system.webServer/aspNetCore, or httpPlatform, its predecessor.
type AspNetCore struct {
	ProcessPath  string `json:"process_path,omitempty"`
	Arguments    string `json:"arguments,omitempty"`
	HostingModel string `json:"hosting_model,omitempty"`
	// Environment is what the program gets beside the environment of its pool. Its values
	// may be secrets.
	Environment []Pair `json:"environment,omitempty"`
	// Platform says that it is httpPlatform: nobody tells the program where in the site it is.
	Platform bool `json:"platform,omitempty"`
	// StdoutLog says that what the program prints is kept, in a file that begins as
	// StdoutFile says.
	StdoutLog  bool   `json:"stdout_log,omitempty"`
	StdoutFile string `json:"stdout_file,omitempty"`
	// RequestTimeout is how long an answer may take to begin, as hh:mm:ss. A program that runs
	// in the process of its pool has none.
	RequestTimeout string `json:"request_timeout,omitempty"`
	// StartupTimeLimit and ShutdownTimeLimit are how many seconds it may take to start and
	// to end, RapidFails how often it may fail in a minute. 0: nothing says it.
	StartupTimeLimit  int    `json:"startup_time_limit,omitempty"`
	ShutdownTimeLimit int    `json:"shutdown_time_limit,omitempty"`
	RapidFails        int    `json:"rapid_fails,omitempty"`
	Source            Source `json:"source"`
}
