package iisimport

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// rewriteRules translates the rules of a node. A rule without an exact form leaves
// out those after it as well, because they depend on what it does.
func (w *siteWriter) rewriteRules(n *node, prefix string) []*Directive {
	sec := n.settings.Rewrite
	if sec == nil {
		return nil
	}
	for _, r := range sec.OutboundRules {
		if w.ownRule(n, r) {
			w.report().decide(r.Source, "outbound rule "+r.Name, "", "responses are not rewritten")
		}
	}
	var rules []iisconfig.RewriteRule
	if n == w.root {
		rules = append(rules, sec.GlobalRules...)
	}
	rules = slices.DeleteFunc(append(rules, sec.Rules...), func(r iisconfig.RewriteRule) bool { return !r.Enabled || !w.ownRule(n, r) })
	if len(rules) == 0 {
		return nil
	}
	t := &ruleTranslator{w: w, settings: n.settings, prefix: prefix}
	list := t.all(rules)
	if n != w.root {
		return list
	}
	return w.notBelow(list)
}

// ownRule tells whether a rule was written at a node, and not inherited by it.
func (w *siteWriter) ownRule(n *node, r iisconfig.RewriteRule) bool {
	scope := strings.TrimSuffix(strings.ToLower(r.Source.Scope), "/")
	if n == w.root {
		return scope == "" || scope == strings.ToLower(w.site.source.Name)
	}
	return scope == strings.ToLower(w.site.source.Name+n.path)
}

// notBelow keeps the rules of the root away from paths that do not inherit them.
func (w *siteWriter) notBelow(list []*Directive) []*Directive {
	var paths []string
	for _, n := range w.nodes {
		if !w.inheritsRules(n) && safePath(n.path) {
			paths = append(paths, n.path, n.path+"/*")
		}
	}
	if paths == nil {
		return list
	}
	m := w.matcher("rules")
	return []*Directive{directive(append([]string{m, "not", "path"}, paths...)...), block(list, "route", m)}
}

func (w *siteWriter) inheritsRules(n *node) bool {
	if n.settings.Rewrite == nil {
		return false
	}
	for _, r := range w.root.settings.Rewrite.Rules {
		if !slices.ContainsFunc(n.settings.Rewrite.Rules, func(o iisconfig.RewriteRule) bool { return o.Name == r.Name && o.Source == r.Source }) {
			return false
		}
	}
	return true
}

type ruleTranslator struct {
	w        *siteWriter
	settings *iisconfig.Settings
	prefix   string // before the part of the path that rules see
}

// all translates rules in order. Rules that stop the others are handle blocks, of
// which one is entered; what follows a rule that does not stop sees its result.
func (t *ruleTranslator) all(rules []iisconfig.RewriteRule) []*Directive {
	var out []*Directive
	for i, r := range rules {
		matchers, words, body, err := t.rule(r, i == len(rules)-1)
		if err != nil {
			for j, left := range rules[i:] {
				why := err.Error()
				if j > 0 {
					why = "the rule " + r.Name + " before it is not translated"
				}
				t.w.report().decide(left.Source, "rewrite rule "+left.Name, "write it with rewrite, redir or respond", "%s", why)
				out = append(out, comment(fmt.Sprintf("Left out: the rewrite rule %s (%s): %s", left.Name, left.Source, why)))
			}
			return out
		}
		t.w.report().translated(r.Source, "rewrite rule "+r.Name, "%s with a matcher", strings.ToLower(r.Action.Type))
		matchers[0].because(fmt.Sprintf("Rewrite rule %s (%s)", r.Name, r.Source))
		stops := r.StopProcessing || r.Action.Type != "Rewrite"
		if stops {
			out = append(append(out, matchers...), block(body, append([]string{"handle"}, words...)...))
			continue
		}
		rest := append(matchers, block(body, append([]string{"route"}, words...)...))
		rest = append(rest, t.all(rules[i+1:])...)
		if i > 0 {
			rest = []*Directive{block(rest, "handle")}
		}
		return t.own(append(out, rest...))
	}
	return t.own(out)
}

// own keeps the handle blocks of rules apart from those that follow.
func (t *ruleTranslator) own(list []*Directive) []*Directive {
	if slices.ContainsFunc(list, func(d *Directive) bool { return len(d.Words) > 0 && d.Words[0] == "handle" }) {
		return []*Directive{block(list, "route")}
	}
	return list
}

// rule translates one rule: the definition of its matcher, the word for it, and what
// it does.
func (t *ruleTranslator) rule(r iisconfig.RewriteRule, last bool) (matchers []*Directive, words []string, body []*Directive, err error) {
	switch {
	case len(r.ServerVariables) > 0:
		return nil, nil, nil, errors.New("server variables have no exact form")
	case r.AnyCondition && len(r.Conditions) > 1:
		return nil, nil, nil, errors.New("conditions of which any is enough have no exact form")
	case r.TrackAllCaptures:
		return nil, nil, nil, errors.New("trackAllCaptures has no exact form")
	case !r.StopProcessing && !last && r.Action.Type != "Rewrite":
		return nil, nil, nil, errors.New("rules after it go on after this action, which has no exact form")
	}
	name := t.w.matcher("rule")
	u := &ruleUse{name: strings.TrimPrefix(name, "@"), prefix: t.prefix, whole: usesWhole(r)}
	kids, err := u.match(r)
	if err != nil {
		return nil, nil, nil, err
	}
	if kids, err = u.conditions(r.Conditions, kids, t.w); err != nil {
		return nil, nil, nil, err
	}
	body, err = t.action(r, u)
	if err != nil {
		return nil, nil, nil, err
	}
	return []*Directive{block(kids, name)}, []string{name}, body, nil
}

var reReference = regexp.MustCompile(`\{[^{}]*\}`)

func usesWhole(r iisconfig.RewriteRule) bool { return strings.Contains(r.Action.URL, "{R:0}") }

// ruleUse is what a rule's action can refer to.
type ruleUse struct {
	name      string
	prefix    string
	whole     bool // {R:0} is used
	all       bool // {R:1} or {R:0} is the whole path
	condition string
	negated   bool
}

// match writes the pattern for the URL.
func (u *ruleUse) match(r iisconfig.RewriteRule) ([]*Directive, error) {
	p, err := compilePattern(r.Match.URL, r.PatternSyntax)
	if err != nil {
		return nil, err
	}
	u.all = p.all
	pattern := p.afterSlash(u.prefix, u.whole)
	if r.Match.IgnoreCase {
		pattern = "(?i)" + pattern
	}
	if r.Match.Negate {
		u.negated = true
		return []*Directive{directive("not", "path_regexp", pattern)}, nil
	}
	return []*Directive{directive("path_regexp", u.name, pattern)}, nil
}

// inputs are the server variables that have an exact form.
var inputs = map[string]string{
	"{HTTP_HOST}":      "{http.request.hostport}",
	"{QUERY_STRING}":   "{http.request.uri.query}",
	"{REQUEST_METHOD}": "{http.request.method}",
	"{REMOTE_ADDR}":    "{http.request.remote.host}",
	"{REMOTE_HOST}":    "{http.request.remote.host}",
	"{SERVER_PORT}":    "{http.request.local.port}",
}

var reHTTPVariable = regexp.MustCompile(`^\{HTTP_([A-Z0-9_]+)\}$`)

func input(name string) (string, bool) {
	name = strings.ToUpper(name)
	if v, ok := inputs[name]; ok {
		return v, true
	}
	if m := reHTTPVariable.FindStringSubmatch(name); m != nil {
		return "{http.request.header." + strings.ReplaceAll(m[1], "_", "-") + "}", true
	}
	return "", false
}

// conditions adds the conditions to the matcher. All of them must hold.
func (u *ruleUse) conditions(list []iisconfig.RewriteCondition, kids []*Directive, w *siteWriter) ([]*Directive, error) {
	files := 0
	positive := false
	for i, c := range list {
		in := strings.ToUpper(c.Input)
		switch {
		case c.MatchType == "IsFile" || c.MatchType == "IsDirectory":
			if !c.Negate || in != "{REQUEST_FILENAME}" {
				return nil, errors.New("a condition on files other than that there is none has no exact form")
			}
			files |= map[string]int{"IsFile": 1, "IsDirectory": 2}[c.MatchType]
		case in == "{HTTPS}":
			d, err := httpsCondition(c)
			if err != nil {
				return nil, err
			}
			kids = append(kids, d)
		default:
			d, err := u.variable(c, i == len(list)-1, &positive)
			if err != nil {
				return nil, err
			}
			kids = append(kids, d)
		}
	}
	switch {
	case files == 3 && u.prefix == "" && !w.hasFolders():
		kids = append(kids, directive("not", "file", "{http.request.uri.path}", "{http.request.uri.path}/"))
	case files != 0:
		return nil, errors.New("its condition on files has no exact form here")
	}
	return kids, nil
}

// hasFolders tells whether paths of the site are in other folders.
func (w *siteWriter) hasFolders() bool {
	return slices.ContainsFunc(w.nodes, func(n *node) bool { return n.physical != "" })
}

// httpsCondition: {HTTPS} is "on" or "off".
func httpsCondition(c iisconfig.RewriteCondition) (*Directive, error) {
	p, err := compilePattern(c.Pattern, "ECMAScript")
	if err != nil {
		return nil, err
	}
	text := p.text
	if c.IgnoreCase {
		text = "(?i)" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, errors.New("its condition on {HTTPS} is not understood")
	}
	on := (re.MatchString("on") || re.MatchString("ON") && c.IgnoreCase) != c.Negate
	off := (re.MatchString("off") || re.MatchString("OFF") && c.IgnoreCase) != c.Negate
	switch {
	case on == off:
		return nil, errors.New("its condition on {HTTPS} does not tell http from https")
	case on:
		return directive("protocol", "https"), nil
	}
	return directive("protocol", "http"), nil
}

func (u *ruleUse) variable(c iisconfig.RewriteCondition, last bool, positive *bool) (*Directive, error) {
	v, ok := input(c.Input)
	if !ok {
		return nil, fmt.Errorf("a condition on %s has no exact form", c.Input)
	}
	p, err := compilePattern(c.Pattern, "ECMAScript")
	if err != nil {
		return nil, err
	}
	pattern := p.text
	if c.IgnoreCase {
		pattern = "(?i)" + pattern
	}
	if c.Negate {
		return directive("not", "vars_regexp", v, pattern), nil
	}
	if *positive {
		return nil, errors.New("several conditions on variables have no exact form")
	}
	*positive = true
	if last {
		u.condition = u.name + "c" // references are to the last condition that matched
	}
	return directive("vars_regexp", u.name+"c", v, pattern), nil
}

// action translates what a rule does.
func (t *ruleTranslator) action(r iisconfig.RewriteRule, u *ruleUse) ([]*Directive, error) {
	switch a := r.Action; a.Type {
	case "Redirect":
		return u.redirect(a)
	case "Rewrite":
		return t.rewrite(a, u)
	case "CustomResponse":
		if a.StatusCode < 400 || a.StatusCode > 599 {
			return nil, errors.New("a custom response that is no error has no exact form")
		}
		return []*Directive{directive("error", strconv.Itoa(a.StatusCode))}, nil
	case "AbortRequest":
		return []*Directive{directive("abort")}, nil
	default:
		return nil, errors.New("an action of the type " + a.Type + " has no exact form")
	}
}

var redirectCodes = map[string]string{"": "301", "Permanent": "301", "Found": "302", "SeeOther": "303", "Temporary": "307"}

func (u *ruleUse) redirect(a iisconfig.RewriteAction) ([]*Directive, error) {
	code := redirectCodes[a.RedirectType]
	origin, rest, err := u.split(a)
	if err != nil {
		return nil, err
	}
	if u.all && u.prefix == "" && a.AppendQueryString && (rest == "/{R:1}" || rest == "/{R:0}") {
		return []*Directive{directive("redir", origin+restOfURI, code)}, nil // keeps escapes as they are
	}
	rewrite, err := u.path(rest, a.AppendQueryString)
	if err != nil {
		return nil, err
	}
	// Caddy escapes what it rewrites, and so what it redirects to.
	return []*Directive{block([]*Directive{directive("rewrite", "*", rewrite), directive("redir", origin+restOfURI, code)}, "route")}, nil
}

var reOrigin = regexp.MustCompile(`^(?i:https?)://[^/?#]+`)

// split parts the target into its origin and the rest, from the slash on.
func (u *ruleUse) split(a iisconfig.RewriteAction) (origin, rest string, err error) {
	rest = a.URL
	if origin = reOrigin.FindString(rest); origin != "" {
		rest = rest[len(origin):]
		if origin, err = u.replace(origin, true); err != nil {
			return "", "", err
		}
	} else if strings.Contains(rest, "://") {
		return "", "", errors.New("the scheme of its target has no exact form")
	}
	if strings.Contains(rest, "#") {
		return "", "", errors.New("a fragment in its target has no exact form")
	}
	if !strings.HasPrefix(rest, "/") {
		if origin == "" && u.prefix != "" {
			return "", "", errors.New("a relative target in a folder has no exact form")
		}
		rest = "/" + rest
	}
	return origin, rest, nil
}

// path writes the target as rewrite takes it, which keeps the query unless the target
// has one.
func (u *ruleUse) path(rest string, appendQuery bool) (string, error) {
	p, q, hasQuery := strings.Cut(rest, "?")
	out, err := u.replace(p, false)
	if err != nil {
		return "", err
	}
	if !hasQuery {
		if !appendQuery {
			out += "?"
		}
		return out, nil
	}
	if q, err = u.replace(q, false); err != nil {
		return "", err
	}
	out += "?" + q
	if appendQuery {
		out += "&{http.request.uri.query}"
	}
	return out, nil
}

// replace writes references with Caddy's placeholders.
func (u *ruleUse) replace(text string, host bool) (string, error) {
	var failed error
	var sb strings.Builder
	at := 0
	for _, span := range reReference.FindAllStringIndex(text, -1) {
		sb.WriteString(literal(text[at:span[0]]))
		at = span[1]
		v, err := u.reference(text[span[0]:span[1]], host)
		if err != nil {
			failed = err
		}
		sb.WriteString(v)
	}
	if strings.ContainsAny(text[at:], "{}") {
		return "", errors.New("its target has references that are not understood")
	}
	sb.WriteString(literal(text[at:]))
	return sb.String(), failed
}

func (u *ruleUse) reference(ref string, host bool) (string, error) {
	kind, number, _ := strings.Cut(strings.Trim(ref, "{}"), ":")
	n, err := strconv.Atoi(number)
	switch {
	case kind == "R" && err == nil && !u.negated:
		if u.whole {
			n++
		}
		return fmt.Sprintf("{re.%s.%d}", u.name, n), nil
	case kind == "C" && err == nil && u.condition != "":
		return fmt.Sprintf("{re.%s.%d}", u.condition, n), nil
	case host && strings.EqualFold(ref, "{HTTP_HOST}"):
		return "{http.request.hostport}", nil
	}
	return "", fmt.Errorf("the reference %s in its target has no exact form", ref)
}

// rewrite changes the path, or sends the request to another server.
func (t *ruleTranslator) rewrite(a iisconfig.RewriteAction, u *ruleUse) ([]*Directive, error) {
	origin, rest, err := u.split(a)
	if err != nil {
		return nil, err
	}
	target, err := u.path(rest, a.AppendQueryString)
	if err != nil {
		return nil, err
	}
	if origin == "" {
		if !path.IsAbs(rest) {
			return nil, errors.New("its target is not understood")
		}
		return []*Directive{directive("rewrite", "*", target)}, nil
	}
	proxy, err := t.proxy(origin)
	if err != nil {
		return nil, err
	}
	return []*Directive{directive("rewrite", "*", target), proxy}, nil
}

// proxy is what Application Request Routing does.
func (t *ruleTranslator) proxy(origin string) (*Directive, error) {
	p := t.settings.Proxy
	if p == nil || !p.Enabled {
		return nil, errors.New("it goes to another server, but the proxy of IIS is not on")
	}
	u, err := url.Parse(origin)
	if err != nil || strings.ContainsAny(origin, "{}") {
		return nil, errors.New("the server that it goes to is not fixed")
	}
	upstreams := []string{strings.ToLower(u.Scheme) + "://" + u.Host}
	for _, farm := range t.w.b.server.WebFarms {
		if !strings.EqualFold(farm.Name, u.Host) {
			continue
		}
		upstreams = nil
		for _, s := range farm.Servers {
			port := s.HTTPPort
			if u.Scheme == "https" {
				port = s.HTTPSPort
			}
			if s.Enabled && farm.Enabled {
				upstreams = append(upstreams, fmt.Sprintf("%s://%s:%d", u.Scheme, literal(s.Address), port))
			}
		}
		if upstreams == nil {
			return nil, errors.New("the web farm " + farm.Name + " has no server")
		}
	}
	d := directive(append([]string{"reverse_proxy"}, upstreams...)...)
	if !p.PreserveHostHeader {
		d.Block, d.hasBlock = []*Directive{directive("header_up", "Host", "{http.reverse_proxy.upstream.hostport}")}, true
	}
	return d, nil
}
