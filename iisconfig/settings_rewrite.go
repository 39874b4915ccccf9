package iisconfig

// Proxy is system.webServer/proxy of Application Request Routing.
type Proxy struct {
	Enabled            bool `json:"enabled"`
	PreserveHostHeader bool `json:"preserve_host_header,omitempty"`
	// ReverseRewriteHost turns the host in Location back to the client's
	// (reverseRewriteHostInResponseHeaders, default true).
	ReverseRewriteHost bool `json:"reverse_rewrite_host"`
	// ForwardedFor is the header with the client's address, X-Forwarded-For by default;
	// ForwardedForPort says that the port is in it too (default true).
	ForwardedFor     string `json:"forwarded_for"`
	ForwardedForPort bool   `json:"forwarded_for_port"`
	// ForwardedBy is the header with the address that the client has asked; empty for none.
	ForwardedBy string `json:"forwarded_by,omitempty"`
	Timeout     string `json:"timeout"`                // hh:mm:ss, 00:02:00 by default
	HTTPVersion string `json:"http_version,omitempty"` // PassThrough, Http10, Http11
	Source      Source `json:"source"`
}

// Rewrite is system.webServer/rewrite of the URL Rewrite module.
type Rewrite struct {
	// Rules are in the order in which they run. The URL that a rule of a web.config
	// sees has no leading slash and is relative to the path of that file, which is in
	// its Source.Scope.
	Rules []RewriteRule `json:"rules,omitempty"`
	// GlobalRules run before Rules; the server alone has them.
	GlobalRules   []RewriteRule `json:"global_rules,omitempty"`
	OutboundRules []RewriteRule `json:"outbound_rules,omitempty"`
	// PreConditions are those that outbound rules name.
	PreConditions          []PreCondition `json:"pre_conditions,omitempty"`
	Maps                   []RewriteMap   `json:"maps,omitempty"`
	AllowedServerVariables []Value        `json:"allowed_server_variables,omitempty"`
	// Providers are .NET code that rules call as {name:text}.
	Providers []Value `json:"providers,omitempty"`
	// CustomTags are HTML tags that outbound rules look into.
	CustomTags []Value `json:"custom_tags,omitempty"`
	// KeepEncoded and GlobalKeepEncoded are useOriginalURLEncoding="false" of Rules and of
	// GlobalRules: escapes that a Rewrite yields stay as they are.
	KeepEncoded       bool `json:"keep_encoded,omitempty"`
	GlobalKeepEncoded bool `json:"global_keep_encoded,omitempty"`
	// BeforeCache is rewriteBeforeCache of outbound rules.
	BeforeCache bool   `json:"before_cache,omitempty"`
	Source      Source `json:"source"`
}

// PreCondition decides whether outbound rules that name it look at a response.
type PreCondition struct {
	Name          string `json:"name"`
	PatternSyntax string `json:"pattern_syntax"` // ECMAScript, Wildcard, ExactMatch
	// AnyCondition is logicalGrouping="MatchAny".
	AnyCondition bool               `json:"any_condition,omitempty"`
	Conditions   []RewriteCondition `json:"conditions,omitempty"`
	Source       Source             `json:"source"`
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
	// Unknown is what is not understood in the rule. If there is any, nobody can tell
	// what the rule does.
	Unknown []UnknownPart `json:"unknown,omitempty"`
	Source  Source        `json:"source"`
}

// RewriteMatch is the element match of a rule.
type RewriteMatch struct {
	URL        string `json:"url,omitempty"`
	IgnoreCase bool   `json:"ignore_case"`
	Negate     bool   `json:"negate,omitempty"`
	// The others are those of outbound rules.
	ServerVariable string `json:"server_variable,omitempty"`
	FilterByTags   string `json:"filter_by_tags,omitempty"`
	CustomTags     string `json:"custom_tags,omitempty"`
	Occurrences    int    `json:"occurrences,omitempty"` // 0 for all
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
	LogRewrittenURL   bool   `json:"log_rewritten_url,omitempty"`
	Replace           bool   `json:"replace"`                 // of an outbound rule, default true
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
