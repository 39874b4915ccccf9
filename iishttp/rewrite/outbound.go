package rewrite

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
)

// PreCondition decides whether outbound rules that name it look at a response.
type PreCondition struct {
	// The name that rules have in pre_condition.
	Name string `json:"name"`

	// The language of its patterns: ECMAScript (default), Wildcard or ExactMatch.
	Syntax ecma.Syntax `json:"syntax,omitempty"`

	// Whether one condition is enough: logicalGrouping="MatchAny".
	AnyCondition bool `json:"any_condition,omitempty"`

	// The conditions, in the order in which they are asked.
	Conditions []Condition `json:"conditions,omitempty"`
}

// OutboundRule changes a header of responses: if the pattern fits its value and the
// conditions hold, it gets another one.
type OutboundRule struct {
	// The name, for messages.
	Name string `json:"name"`

	// The name of a pre-condition. Default: none, and all responses are looked at.
	PreCondition string `json:"pre_condition,omitempty"`

	// The language of all patterns: ECMAScript (default), Wildcard or ExactMatch.
	Syntax ecma.Syntax `json:"syntax,omitempty"`

	// The header as a server variable: RESPONSE_X_Y is X-Y. One that is not there is
	// empty; of Set-Cookie, each value is looked at on its own.
	Variable string `json:"variable"`

	// What the value of the header must be like.
	Match Pattern `json:"match"`

	// Whether one condition is enough: logicalGrouping="MatchAny".
	AnyCondition bool `json:"any_condition,omitempty"`

	// Whether {C:n} counts the groups of all conditions that matched. In IIS it does unless
	// an outbound rule says otherwise.
	TrackAllCaptures bool `json:"track_all_captures,omitempty"`

	// The conditions, in the order in which they are asked. Default: none, and the pattern
	// decides alone.
	Conditions []Condition `json:"conditions,omitempty"`

	// rewrite or none (default).
	Action string `json:"action,omitempty"`

	// A template: the value that the header gets. An empty one takes the header away.
	Value string `json:"value,omitempty"`

	// Whether a header that is there stays: replace="false".
	Keep bool `json:"keep,omitempty"`

	// Whether no further rule is tried: stopProcessing.
	Stop bool `json:"stop,omitempty"`
}

// outbound is a compiled OutboundRule: a rule without a URL.
type outbound struct {
	rule
	pre    *rule // only its conditions
	header string
	value  template
	keep   bool
}

// comesBack are headers that net/http makes by itself where they are not set. No values
// at all say that there shall be none.
var comesBack = map[string]bool{"Content-Type": true, "Date": true}

// errHeader says that a header cannot be changed.
var errHeader = errors.New("it changes no header of responses that may be changed: expected a variable such as RESPONSE_LOCATION")

func (s *Set) compileOutbound(c *Config) (errs []error) {
	scope := s.scope
	scope.outbound = true
	pre := make(map[string]*rule)
	for i := range c.PreConditions {
		p := &c.PreConditions[i]
		r := &rule{any: p.AnyCondition}
		if err := s.compileConditions(r, &scope, p.Conditions, p.Syntax); err != nil {
			errs = append(errs, fmt.Errorf("pre-condition %q: %w", p.Name, err))
		}
		name := strings.ToLower(p.Name)
		if pre[name] != nil {
			errs = append(errs, fmt.Errorf("pre-condition %q is there twice", p.Name))
		}
		pre[name] = r
	}
	for i := range c.Outbound {
		o := &c.Outbound[i]
		r, err := s.compileOutboundRule(o, scope, pre)
		if err != nil {
			errs = append(errs, &RuleError{o.Name, err})
		}
		s.outbound = append(s.outbound, r)
	}
	return errs
}

func (s *Set) compileOutboundRule(c *OutboundRule, scope scope, pre map[string]*rule) (r outbound, err error) {
	r = outbound{rule: rule{name: c.Name, any: c.AnyCondition, track: c.TrackAllCaptures, stop: c.Stop}, keep: c.Keep}
	if r.header, err = responseHeader(c.Variable); err != nil {
		return r, err
	}
	if c.PreCondition != "" {
		if r.pre = pre[strings.ToLower(c.PreCondition)]; r.pre == nil {
			return r, fmt.Errorf("there is no pre-condition %q", c.PreCondition)
		}
	}
	syntax := orECMAScript(c.Syntax)
	if r.match, err = compileTest(c.Match, syntax); err != nil {
		return r, err
	}
	scope.captures = 9
	if c.TrackAllCaptures {
		scope.captures = 999
	}
	if err = s.compileConditions(&r.rule, &scope, c.Conditions, syntax); err != nil {
		return r, err
	}
	switch r.action.kind = c.Action; c.Action {
	case "rewrite":
		r.value, err = scope.compileTemplate(c.Value)
	case "", "none":
		r.action.kind = "none"
	default:
		err = fmt.Errorf("action %q: expected rewrite or none", c.Action)
	}
	if err != nil {
		return r, err
	}
	return r, r.references([]template{r.value})
}

// responseHeader is the name of the header of a variable that a rule may change.
func responseHeader(variable string) (string, error) {
	name, ok := strings.CutPrefix(strings.ToUpper(variable), "RESPONSE_")
	if !ok || name == "" || name == "STATUS" || strings.Trim(name, variableRunes) != "" {
		return "", fmt.Errorf("%q: %w", variable, errHeader)
	}
	header := headerName("HTTP_" + name)
	if ofConnection[header] {
		return "", fmt.Errorf("%q: %w", variable, errHeader)
	}
	return header, nil
}

// HasOutbound tells whether there are rules for responses.
func (s *Set) HasOutbound() bool { return len(s.outbound) > 0 }

// Outbound runs the outbound rules on the headers of a response. They see the URL and the
// variables as the rules for the request have left them. What is wrong with a rule while
// it runs is an error: the response is not sent then, but 500.52.
func (s *Set) Outbound(r *Request, of *Result, status int, header http.Header) (rule string, err error) {
	c := &call{
		set: s, request: r, path: of.Path, query: of.Query, originalURL: of.OriginalURL, custom: of.Variables,
		response: header, status: status, started: time.Now(),
	}
	for i := range s.outbound {
		o := &s.outbound[i]
		fired, err := c.answer(o)
		if err != nil {
			return o.name, fmt.Errorf("outbound rule %q: %w", o.name, err)
		}
		if fired && o.stop {
			break
		}
	}
	return "", nil
}

// answer runs one rule on a response and tells whether it has fired.
func (c *call) answer(o *outbound) (fired bool, err error) {
	c.conditions, c.rule = c.conditions[:0], match{}
	if o.pre != nil {
		if holds, err := c.holds(o.pre); err != nil || !holds {
			return false, err
		}
	}
	have := c.values(o.header)
	if o.header != "Set-Cookie" || len(have) == 0 {
		have = []string{strings.Join(have, ", ")}
	}
	changed := false
	var values []string
	for _, value := range have {
		if c.overdue() {
			return false, errBudget
		}
		result, fires, err := c.change(o, value)
		if err != nil {
			return false, err
		}
		fired, changed = fired || fires, changed || result != value
		if result != "" {
			values = append(values, result)
		}
	}
	if changed {
		c.setValues(o.header, values)
	}
	return fired, nil
}

// spellings are the keys of a header of the response. Handlers may have written it in
// others than the canonical one.
func (c *call) spellings(header string) (keys []string) {
	for key := range c.response {
		if len(key) == len(header) && strings.EqualFold(key, header) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (c *call) values(header string) []string {
	keys := c.spellings(header)
	if len(keys) == 1 {
		return c.response[keys[0]]
	}
	var values []string
	for _, key := range keys {
		values = append(values, c.response[key]...)
	}
	return values
}

func (c *call) setValues(header string, values []string) {
	for _, key := range c.spellings(header) {
		delete(c.response, key)
	}
	if values != nil || comesBack[header] {
		c.response[header] = values
	}
}

// change is what a rule makes of the value of a header.
func (c *call) change(o *outbound, value string) (_ string, fired bool, err error) {
	fits, err := o.match.pattern.Fits(value)
	if err != nil || fits == o.match.not {
		return value, false, err
	}
	c.conditions = c.conditions[:0]
	c.ruleInput[0] = piece{value, false, true}
	c.rule = match{text: value, pieces: c.ruleInput[:]}
	if fits {
		c.rule.pattern = o.match.pattern
	}
	if holds, err := c.holds(&o.rule); err != nil || !holds {
		return value, false, err
	}
	if o.action.kind == "none" || o.keep && value != "" {
		return value, true, nil
	}
	changed, err := o.value.text(c)
	if err == nil && strings.ContainsFunc(changed, isControl) {
		err = errControl
	}
	return changed, true, err
}

// responseVariable is the value of RESPONSE_X.
func (c *call) responseVariable(n *node) string {
	if n.text == "RESPONSE_STATUS" {
		return strconv.Itoa(c.status)
	}
	return strings.Join(c.values(n.from), ", ")
}
