package rewrite

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
)

// Set is a compiled Config. It may be used by many goroutines.
type Set struct {
	rules     []rule
	outbound  []outbound
	global    bool
	allowed   map[string]bool
	constants map[string]string
	proxy     map[string]bool
	keep      bool // valid escapes
	scope     scope
}

type rule struct {
	name       string
	base       string // without the slash at its end: "" or "/blog"
	match      test
	conditions []condition
	any, track bool
	set        []variable
	action     action
	stop       bool
}

type test struct {
	pattern *ecma.Pattern
	not     bool
}

type condition struct {
	input template
	is    string
	test
}

type variable struct {
	name  string
	node  node // that reads it
	value template
	keep  bool
}

type action struct {
	kind                string
	url                 template
	drop                bool
	status, sub         int
	reason, description template
}

// Compile checks a Config and makes it ready. The errors of all rules are joined; each
// is a *RuleError.
func Compile(c Config) (*Set, error) {
	s := &Set{global: c.Global, allowed: make(map[string]bool), constants: make(map[string]string), proxy: make(map[string]bool), keep: c.KeepEscapes}
	for _, name := range c.AllowVariables {
		s.allowed[variableName(name)] = true
	}
	for name, v := range c.Constants {
		s.constants[variableName(name)] = v
	}
	for _, origin := range c.Proxy {
		o, err := Origin(origin)
		if err != nil {
			return nil, err
		}
		s.proxy[o] = true
	}
	s.scope = scope{tables: make(map[string]*table), custom: customVariables(c.Rules), constants: s.constants}
	for _, m := range c.Maps {
		t, err := newTable(m)
		if err != nil {
			return nil, err
		}
		name := strings.ToLower(m.Name)
		if s.scope.tables[name] != nil {
			return nil, fmt.Errorf("map %s is there twice", m.Name)
		}
		s.scope.tables[name] = t
	}
	var errs []error
	for i := range c.Rules {
		r, err := s.compileRule(&c.Rules[i])
		if err != nil {
			errs = append(errs, &RuleError{c.Rules[i].Name, err})
		}
		s.rules = append(s.rules, r)
	}
	return s, errors.Join(append(errs, s.compileOutbound(&c)...)...)
}

// CheckOutbound tells whether Compile takes an outbound rule among the others of a Config.
func CheckOutbound(c Config, r OutboundRule) error {
	c.Outbound = []OutboundRule{r}
	s, err := Compile(Config{Maps: c.Maps, Constants: c.Constants, PreConditions: c.PreConditions})
	if err != nil {
		return err
	}
	s.scope.custom = customVariables(c.Rules)
	return errors.Join(s.compileOutbound(&c)...)
}

// CheckRule tells whether Compile takes a rule among the others of a Config.
func CheckRule(c Config, r Rule) error {
	if !slices.ContainsFunc(c.Rules, func(other Rule) bool { return other.Name == r.Name }) {
		c.Rules = append(slices.Clip(c.Rules), r)
	}
	all := c.Rules
	c.Rules = nil
	s, err := Compile(c)
	if err != nil {
		return err
	}
	s.scope.custom = customVariables(all)
	_, err = s.compileRule(&r)
	return err
}

// RuleError is what is wrong with a rule.
type RuleError struct {
	Rule string
	Err  error
}

// Error implements error.
func (e *RuleError) Error() string { return fmt.Sprintf("rule %q: %v", e.Rule, e.Err) }

// Unwrap returns the fault without the name of the rule.
func (e *RuleError) Unwrap() error { return e.Err }

// Origin is the normal form of the scheme and host of a URL: lower case, and without the
// port if it is the scheme's.
func Origin(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("%q is no origin, such as http://10.0.0.1:8080", text)
	}
	host := strings.ToLower(u.Host)
	return u.Scheme + "://" + strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[u.Scheme]), nil
}

func customVariables(rules []Rule) map[string]bool {
	out := make(map[string]bool)
	for _, r := range rules {
		for _, v := range r.Set {
			if name := variableName(v.Name); !isVariable(name) {
				out[name] = true
			}
		}
	}
	return out
}

func (s *Set) compileRule(c *Rule) (r rule, err error) {
	r = rule{name: c.Name, base: strings.TrimRight("/"+strings.Trim(c.Base, "/"), "/"), any: c.AnyCondition, track: c.TrackAllCaptures, stop: c.Stop}
	syntax := orECMAScript(c.Syntax)
	if c.Match.Pattern == "" {
		return r, errors.New("match has no pattern")
	}
	if r.match, err = compileTest(c.Match, syntax); err != nil {
		return r, err
	}
	scope := s.scope
	scope.captures = 9
	if c.TrackAllCaptures {
		scope.captures = 999
	}
	if err = s.compileConditions(&r, &scope, c.Conditions, syntax); err != nil {
		return r, err
	}
	for _, v := range c.Set {
		set, err := s.compileVariable(&scope, v)
		if err != nil {
			return r, err
		}
		r.set = append(r.set, set)
	}
	if r.action, err = s.compileAction(&scope, &c.Action); err != nil {
		return r, err
	}
	results := []template{r.action.url, r.action.reason, r.action.description}
	for _, v := range r.set {
		results = append(results, v.value)
	}
	return r, r.references(results)
}

func orECMAScript(syntax ecma.Syntax) ecma.Syntax {
	if syntax == "" {
		return ecma.ECMAScript
	}
	return syntax
}

func (s *Set) compileConditions(r *rule, scope *scope, list []Condition, syntax ecma.Syntax) error {
	for i := range list {
		cond, err := s.compileCondition(scope, &list[i], orECMAScript(syntax))
		if err != nil {
			return fmt.Errorf("condition %d: %w", i+1, err)
		}
		r.conditions = append(r.conditions, cond)
	}
	return nil
}

func compileTest(p Pattern, syntax ecma.Syntax) (test, error) {
	pattern, err := ecma.Compile(p.Pattern, syntax, !p.CaseSensitive)
	return test{pattern, p.Not}, err
}

func (s *Set) compileCondition(scope *scope, c *Condition, syntax ecma.Syntax) (cond condition, err error) {
	cond.is = c.Is
	if cond.input, err = scope.compileTemplate(c.Input); err != nil {
		return cond, err
	}
	switch c.Is {
	case "file", "directory":
		if s.global {
			return cond, errors.New("rules of the whole server cannot ask for files")
		}
		cond.not = c.Not
		return cond, nil
	case "":
	default:
		return cond, fmt.Errorf("is %q: expected file or directory", c.Is)
	}
	if c.Input == "" {
		return cond, errors.New("it has no input")
	}
	cond.test, err = compileTest(c.Pattern, syntax)
	return cond, err
}

// ofConnection are headers that no rule may change: they are about the connection, or
// about where a body ends (RFC 9110, 7.6.1).
var ofConnection = map[string]bool{
	"Connection": true, "Transfer-Encoding": true, "Content-Length": true, "Upgrade": true, "Te": true,
	"Trailer": true, "Keep-Alive": true, "Proxy-Connection": true,
}

// ours are headers of requests that no rule may set: the handler sets X-Original-URL, and
// HTTP_URL is no header.
var ours = map[string]bool{"X-Original-Url": true, "Url": true}

// variableRunes are those of the name of a variable that can be set.
const variableRunes = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

func (s *Set) compileVariable(scope *scope, v Variable) (variable, error) {
	name := variableName(v.Name)
	_, constant := s.constants[name]
	switch {
	case name == "" || strings.Trim(name, variableRunes) != "":
		return variable{}, fmt.Errorf("%q is no name of a variable", v.Name)
	case isHeader(name) && (ofConnection[headerName(name)] || ours[headerName(name)]),
		isVariable(name) && !isHeader(name), unknownYet(name), constant:
		return variable{}, fmt.Errorf("the variable %s cannot be set", name)
	}
	value, err := scope.compileTemplate(v.Value)
	out := variable{name, node{kind: variableNode, text: name}, value, v.Keep}
	if isHeader(name) {
		out.node.from = headerName(name)
	}
	return out, err
}

func (s *Set) compileAction(scope *scope, a *Action) (out action, err error) {
	out = action{kind: a.Type, drop: a.DropQueryString, status: a.Status, sub: a.SubStatus}
	switch a.Type {
	case "", "none":
		out.kind = "none"
		return out, nil
	case "abort":
		return out, nil
	case "respond":
		if a.Status < 100 || a.Status > 999 || a.Status >= 300 && a.Status <= 307 || a.SubStatus < 0 || a.SubStatus > 999 {
			return out, fmt.Errorf("a rule cannot answer with the status %d.%d", a.Status, a.SubStatus)
		}
		if a.Status < 200 || a.Status > 599 {
			return out, fmt.Errorf("the status %d cannot be sent by Go's server", a.Status)
		}
		if out.reason, err = scope.compileTemplate(a.Reason); err == nil {
			out.description, err = scope.compileTemplate(a.Description)
		}
		return out, err
	case "redirect":
		switch a.Status {
		case 0:
			out.status = 301
		case 301, 302, 303, 307:
		default:
			return out, fmt.Errorf("a rule cannot redirect with the status %d", a.Status)
		}
	case "rewrite":
		if strings.Contains(a.URL, "#") {
			return out, errors.New("a fragment in the target of a rewrite")
		}
	default:
		return out, fmt.Errorf("action %q: expected rewrite, redirect, respond, abort or none", a.Type)
	}
	text := strings.TrimSpace(a.URL)
	if text == "" {
		return out, errors.New("the action has no url")
	}
	if out.url, err = scope.compileTemplate(text); err == nil && a.Type == "rewrite" {
		err = fixedOrigin(out.url)
	}
	return out, err
}

// fixedOrigin refuses a rewrite to a server that the client could choose.
func fixedOrigin(t template) error {
	first := t[0]
	if first.kind != literalNode {
		return nil // an origin in it counts only if a map has put it there
	}
	lower := strings.ToLower(first.text)
	if !strings.HasPrefix(lower, "http://") && !strings.HasPrefix(lower, "https://") {
		if i := strings.Index(lower, "://"); i >= 0 && !strings.ContainsAny(lower[:i], "/?") {
			return fmt.Errorf("a rewrite to the scheme %q", first.text[:i])
		}
		return nil
	}
	_, rest, _ := strings.Cut(lower, "://")
	for _, n := range t[1:] {
		if strings.ContainsAny(rest, "/?") {
			return nil
		}
		if n.kind == variableNode && n.text == "UNENCODED_URL" {
			return nil // it begins with a slash
		}
		if n.kind != literalNode && n.kind != mapNode {
			return errors.New("the client could choose the server that it rewrites to")
		}
		rest += n.text
	}
	return nil
}

// references refuses captures that are not there. It also refuses a rule that blocks by
// what is not known yet.
func (r *rule) references(results []template) error {
	var all []template
	positive := false
	for _, cond := range r.conditions {
		all = append(all, cond.input)
		positive = positive || !cond.not && cond.is == ""
	}
	for _, t := range slices.Concat(all, results) {
		if r.match.not && t.uses(func(n node) bool { return n.kind == ruleGroup && n.index > 0 }) {
			return errors.New("{R:1} of a pattern that must not fit")
		}
	}
	for _, t := range results {
		if !positive && len(r.conditions) > 0 && t.uses(func(n node) bool { return n.kind == conditionGroup }) {
			return errors.New("{C:0} without a condition that must fit a pattern")
		}
	}
	if r.action.kind == "respond" || r.action.kind == "abort" {
		for _, t := range all {
			if t.uses(func(n node) bool { return n.kind == variableNode && unknownYet(n.text) }) {
				return errors.New("it blocks by the user, who is not known when rules run")
			}
		}
	}
	return nil
}
