// Package rewrite runs the rules of the URL Rewrite module of IIS. It knows nothing of
// Caddy: Compile checks a set of rules, and Set.Run says what becomes of a request.
//
// What IIS refuses when it loads rules is refused by Compile. What has no answer while
// a request is served (a pattern that takes too long, a file that cannot be asked for) is
// an error of Run, never "does not match".
package rewrite

import "github.com/caddy-iis/caddy-iis/iishttp/ecma"

// Config is a set of rules with what they refer to.
type Config struct {
	// Whether these are globalRules, which may set any variable and may not ask for files.
	Global bool `json:"global,omitempty"`

	// Names of variables that rules may set: allowedServerVariables. A rule that sets
	// another one answers 500.50 when it is used.
	AllowVariables []string `json:"allow_variables,omitempty"`

	// Values of variables that are the same for all requests, such as APP_POOL_ID.
	Constants map[string]string `json:"constants,omitempty"`

	// Tables that templates name: {name:key}.
	Maps []Map `json:"maps,omitempty"`

	// Servers that the action rewrite may lead to, such as http://10.0.0.1:8080. Any
	// other URL with a scheme is answered with 404, as by IIS without a proxy.
	Proxy []string `json:"proxy,omitempty"`

	// Whether valid escapes in the result of a template stay as they are:
	// useOriginalURLEncoding="false". Else a percent sign is one.
	KeepEscapes bool `json:"keep_escapes,omitempty"`

	// The rules in their order, those of places above first.
	Rules []Rule `json:"rules,omitempty"`

	// What outbound rules name.
	PreConditions []PreCondition `json:"pre_conditions,omitempty"`

	// Rules for headers of responses, in their order.
	Outbound []OutboundRule `json:"outbound,omitempty"`
}

// Map is a rewriteMap.
type Map struct {
	// The name that templates have: {Name:key}.
	Name string `json:"name"`
	// What a key that is not there has. Default: empty.
	Default string `json:"default,omitempty"`
	// Whether keys are compared with regard to case.
	CaseSensitive bool `json:"case_sensitive,omitempty"`
	// The values by their keys.
	Entries map[string]string `json:"entries,omitempty"`
}

// Rule is a rule: if the pattern fits the URL and the conditions hold, the variables are
// set, and the action is taken.
type Rule struct {
	// The name, for messages.
	Name string `json:"name"`

	// The path of the place that the rule was written for. The pattern sees what is behind
	// it, without a slash in front, decoded. Default: /.
	Base string `json:"base,omitempty"`

	// The language of all patterns: ECMAScript (default), Wildcard or ExactMatch.
	Syntax ecma.Syntax `json:"syntax,omitempty"`

	// What the URL must be like.
	Match Pattern `json:"match"`

	// Whether one condition is enough: logicalGrouping="MatchAny".
	AnyCondition bool `json:"any_condition,omitempty"`

	// Whether {C:n} counts the groups of all conditions that matched, and not only those of
	// the last one.
	TrackAllCaptures bool `json:"track_all_captures,omitempty"`

	// The conditions, in the order in which they are asked. Default: none, and the pattern
	// decides alone.
	Conditions []Condition `json:"conditions,omitempty"`

	// Variables that are set before the action.
	Set []Variable `json:"set,omitempty"`

	// What is done then.
	Action Action `json:"action,omitzero"`

	// Whether no further rule is tried: stopProcessing.
	Stop bool `json:"stop,omitempty"`
}

// Pattern is a pattern with its attributes.
type Pattern struct {
	// The pattern, in the language of its rule.
	Pattern string `json:"pattern"`
	// Whether case matters: ignoreCase="false".
	CaseSensitive bool `json:"case_sensitive,omitempty"`
	// Whether the pattern must not fit: negate.
	Not bool `json:"not,omitempty"`
}

// Condition is a condition of a rule.
type Condition struct {
	// A template.
	Input string `json:"input"`
	// What is asked: "" whether the pattern fits, "file" or "directory" whether the input is
	// the path of one.
	Is string `json:"is,omitempty"`
	Pattern
}

// Variable is a server variable that a rule sets. HTTP_X_Y is the request header X-Y.
type Variable struct {
	// The name, in which case does not matter.
	Name string `json:"name"`
	// A template. An empty value takes a header away.
	Value string `json:"value"`
	// Whether a value that is there stays: replace="false".
	Keep bool `json:"keep,omitempty"`
}

// Action is what a rule does.
type Action struct {
	// none (default), rewrite, redirect, respond or abort.
	Type string `json:"type,omitempty"`
	// A template, of rewrite and redirect: a path from the root with a slash in front, else
	// one below Base, or a URL.
	URL string `json:"url,omitempty"`
	// Whether the query of the request is not appended: appendQueryString="false".
	DropQueryString bool `json:"drop_query_string,omitempty"`
	// The status of redirect (301, the default, 302, 303 or 307) and of respond.
	Status int `json:"status,omitempty"`
	// The sub-status of respond, for logs. Default: 0.
	SubStatus int `json:"sub_status,omitempty"`
	// A template: the reason phrase of respond, which HTTP/1.1 alone has. Default: that of
	// the status.
	Reason string `json:"reason,omitempty"`
	// A template: the body of respond. Default: none, and a status from 400 on is an error
	// for handle_errors.
	Description string `json:"description,omitempty"`
}
