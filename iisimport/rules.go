package iisimport

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/internal/places"
)

// globalRules writes those of the whole server, which run before everything else.
func (w *siteWriter) globalRules() []*Directive {
	sec := w.root.settings.Rewrite
	if sec == nil {
		return nil
	}
	return w.ruleSet(w.root, sec, sec.GlobalRules, true)
}

// rules writes the rules in force at a node: inherited ones first.
func (w *siteWriter) rules(n *node) []*Directive {
	sec := n.settings.Rewrite
	if sec == nil {
		return nil
	}
	if n.settings.TakesOut("RewriteModule") {
		w.report().dropped(w.sectionSource(n, "system.webServer/modules"), "rewrite rules of "+n.path, "RewriteModule is taken out there: no rule runs")
		return nil
	}
	out := w.ruleSet(n, sec, sec.Rules, false)
	if !slices.ContainsFunc(sec.Rules, func(r iisconfig.RewriteRule) bool { return r.Enabled }) {
		return out
	}
	return append(out, w.otherPools(n)...)
}

// otherPools refuses what rules lead into an application of another pool, or out of their
// own: IIS answers 403.18.
func (w *siteWriter) otherPools(n *node) []*Directive {
	own, top := w.appOf(n), w.poolOf("/")
	var others []string
	for _, app := range w.site.source.Applications {
		if !within(n.path, app.Path) && w.poolOf(app.Path) != n.pool {
			others = append(others, app.Path)
		}
	}
	const why = "403.18: a rule leads into an application of another pool."
	var out []*Directive
	if own != "/" && top != n.pool {
		out = append(out,
			block([]*Directive{directive(append([]string{"not"}, pathMatcher(own)...)...)}, "@pool"),
			directive("error", "@pool", "403").because(why))
	}
	for i, p := range others {
		m := "@pool" + strconv.Itoa(i+1)
		out = append(out, directive(append([]string{m}, pathMatcher(p)...)...), directive("error", m, "403").because(why))
	}
	return out
}

// ruleWriter writes rules and finds out what they need.
type ruleWriter struct {
	w       *siteWriter
	n       *node
	sec     *iisconfig.Rewrite
	rules   []iisconfig.RewriteRule
	global  bool
	origins []string
	base    string // instead of the place of the rule
	files   bool   // a rule asks for files or for names of files
	text    string // of all templates, for the maps that they name

	shut   bool // a rule closes all that comes to it
	passes bool // one in front of that may end the rules, and what is there answers
}

var (
	reFileVariable = regexp.MustCompile(`(?i)\{(?:REQUEST_FILENAME|SCRIPT_FILENAME|PATH_TRANSLATED|APPL_PHYSICAL_PATH|DOCUMENT_ROOT)\}`)
	reVariable     = regexp.MustCompile(`\{[A-Za-z][A-Za-z0-9_]*\}`)
)

// template writes names of variables as Caddy's shorthands are not.
func (t *ruleWriter) template(text string) string {
	text = reVariable.ReplaceAllStringFunc(text, strings.ToUpper)
	t.files = t.files || reFileVariable.MatchString(text)
	t.text += strings.ToLower(text) + "\n"
	return text
}

// rule writes one rule, or closes what it might have protected.
func (t *ruleWriter) rule(r iisconfig.RewriteRule) *Directive {
	past := t.past(r)
	if past != "" {
		r.ServerVariables, r.Action = nil, iisconfig.RewriteAction{Type: "CustomResponse", StatusCode: 403}
	}
	kids, err := t.words(r)
	if err == nil {
		err = t.check(r)
	}
	name := ruleName(r.Name)
	switch {
	case past != "" && err == nil:
		t.shut = t.shut || fitsAll(r) && len(r.Conditions) == 0
		t.w.report().closed(r.Source, "rewrite rule "+r.Name, "write what it does in front of iis_proxy, and the rule with iis_rewrite",
			"it leads to another server, and in IIS %s sees the requests first; they get 403", past)
		return block(kids, "rule", places.ClosedRule+name).because("Rewrite rule " + r.Name + " (" + r.Source.String() + ") leads past " + past + ".")
	case err != nil:
		return t.closing(r, err).because("Rewrite rule " + r.Name + " (" + r.Source.String() + ") is not executed: " + err.Error())
	}
	answers := blocks(r) || r.Action.Type == "Redirect" || t.leadsOut(r) || r.Action.Type == "Rewrite" && reOrigin.MatchString(strings.TrimSpace(r.Action.URL))
	t.w.report().translated(r.Source, "rewrite rule "+r.Name, "rule in iis_rewrite")
	t.w.report().last().answers = answers
	if r.Action.Type == "Rewrite" && r.Action.LogRewrittenURL {
		t.w.report().dropped(r.Source, "rewrite rule "+r.Name+" logRewrittenUrl", "logs have the URL that the client has asked for")
	}
	t.passes = t.passes || !t.shut && !answers && r.StopProcessing && t.mayFit(r)
	return block(kids, "rule", name).because(r.Source.String())
}

// leadsOut tells whether a rule leads to what is not at its place: what comes behind it there
// does not see the request.
func (t *ruleWriter) leadsOut(r iisconfig.RewriteRule) bool {
	to, base := strings.ToLower(strings.TrimSpace(r.Action.URL)), strings.ToLower(t.baseOf(r))
	if r.Action.Type != "Rewrite" || !strings.HasPrefix(to, "/") {
		return false
	}
	literal, _, template := strings.Cut(to, "{")
	literal, _, query := strings.Cut(literal, "?")
	if template && !query && strings.HasPrefix(base, literal) {
		return false // it depends on the request
	}
	return !within(path.Clean(literal), base)
}

// ruleName is for logs and messages only.
func ruleName(name string) string {
	if name = oneLine(name); name == "" || !expressible(name) {
		return "rule"
	}
	return name
}

// words writes the parts of a rule.
func (t *ruleWriter) words(r iisconfig.RewriteRule) ([]*Directive, error) {
	kids, err := t.match(r)
	if err != nil {
		return nil, err
	}
	if r.AnyCondition && len(r.Conditions) > 0 {
		kids = append(kids, directive("any_condition"))
	}
	if r.TrackAllCaptures {
		kids = append(kids, directive("track_all_captures"))
	}
	for _, c := range r.Conditions {
		kids = append(kids, t.condition(c))
	}
	for _, v := range r.ServerVariables {
		d := directive("set", strings.ToUpper(v.Name), t.template(v.Value))
		if !v.Replace {
			d.Words = append(d.Words, "keep")
		}
		kids = append(kids, d)
	}
	action := r.Action
	if t.replaced(r) {
		action.StatusReason, action.StatusDescription = "", ""
	}
	kids = append(kids, t.action(action)...)
	if r.StopProcessing {
		kids = append(kids, directive("stop"))
	}
	return kids, exact(kids)
}

// exact tells whether the words mean what they should.
func exact(list []*Directive) error {
	for _, d := range list {
		if len(d.Words) > 0 && d.Words[0] == "import" {
			return errors.New("a line that begins with import has another meaning in a Caddyfile")
		}
		for _, word := range d.Words {
			if !expressible(word) {
				return fmt.Errorf("%q has no form in a Caddyfile", word)
			}
		}
		if err := exact(d.Block); err != nil {
			return err
		}
	}
	return nil
}

// blocks tells whether a rule refuses requests.
func blocks(r iisconfig.RewriteRule) bool {
	return r.Action.Type == "CustomResponse" || r.Action.Type == "AbortRequest"
}

func (t *ruleWriter) baseOf(r iisconfig.RewriteRule) string {
	if t.base != "" {
		return t.base
	}
	return t.w.place(r.Source)
}

// match writes the place, syntax and pattern of a rule.
func (t *ruleWriter) match(r iisconfig.RewriteRule) ([]*Directive, error) {
	var kids []*Directive
	if base := t.baseOf(r); base != "/" {
		kids = append(kids, directive("base", base))
	}
	switch r.PatternSyntax {
	case "ECMAScript":
	case "Wildcard":
		kids = append(kids, directive("syntax", "wildcard"))
	case "ExactMatch":
		kids = append(kids, directive("syntax", "exact_match"))
	default:
		return nil, fmt.Errorf("the pattern syntax %q is not known", r.PatternSyntax)
	}
	d := pattern([]string{"match"}, r.Match.URL, r.Match.IgnoreCase, r.Match.Negate)
	return append(kids, d), exact(append(kids, d))
}

// pattern adds a pattern with the words before it.
func pattern(words []string, text string, ignoreCase, negate bool) *Directive {
	if negate {
		words = append(words, "not")
	}
	if !ignoreCase {
		words = append(words, "case_sensitive")
	}
	return directive(append(words, text)...)
}

func (t *ruleWriter) condition(c iisconfig.RewriteCondition) *Directive {
	if c.MatchType == "Pattern" {
		return pattern([]string{"condition", t.template(c.Input)}, c.Pattern, c.IgnoreCase, c.Negate)
	}
	t.files = true
	words := []string{"file_condition", t.template(orFilename(c.Input))}
	if c.Negate {
		words = append(words, "not")
	}
	if c.MatchType == "IsDirectory" {
		return directive(append(words, "directory")...)
	}
	return directive(append(words, "file")...)
}

func orFilename(input string) string {
	if input == "" {
		return "{REQUEST_FILENAME}"
	}
	return input
}

// replaced tells whether a page of httpErrors comes in the place of the text of a rule: existingResponse
// says it, or the web.config of the rule has a page for its status.
func (t *ruleWriter) replaced(r iisconfig.RewriteRule) bool {
	h := t.n.settings.HTTPErrors
	if h == nil || r.Action.Type != "CustomResponse" || r.Action.StatusCode < 400 {
		return false
	}
	return replaces(t.n) || r.Source.Scope != "" && slices.ContainsFunc(h.Errors, func(p iisconfig.ErrorPage) bool {
		return p.Status == r.Action.StatusCode && p.Source.File == r.Source.File && p.Source.Scope == r.Source.Scope
	})
}

var redirectWords = map[string]string{"": "permanent", "Permanent": "permanent", "Found": "found", "SeeOther": "see_other", "Temporary": "temporary"}

func (t *ruleWriter) action(a iisconfig.RewriteAction) []*Directive {
	var d *Directive
	switch a.Type {
	case "Rewrite":
		d = directive("action", "rewrite", t.template(strings.TrimSpace(a.URL)))
		t.origin(a.URL)
	case "Redirect":
		d = directive("action", "redirect", t.template(strings.TrimSpace(a.URL)), redirectWords[a.RedirectType])
	case "CustomResponse":
		status := strconv.Itoa(a.StatusCode)
		if a.SubStatusCode != 0 {
			status += "." + strconv.Itoa(a.SubStatusCode)
		}
		d = directive("action", "respond", status)
		if a.StatusReason != "" || a.StatusDescription != "" {
			d.Words = append(d.Words, t.template(a.StatusReason))
		}
		if a.StatusDescription != "" {
			d.Words = append(d.Words, t.template(a.StatusDescription))
		}
	case "AbortRequest":
		return []*Directive{directive("action", "abort")}
	case "None":
		return []*Directive{directive("action", "none")}
	default:
		return []*Directive{directive("action", a.Type)} // check refuses it
	}
	if !a.AppendQueryString && a.Type != "CustomResponse" {
		return []*Directive{d, directive("append_query_string", "off")}
	}
	return []*Directive{d}
}

var reOrigin = regexp.MustCompile(`^(?i:https?)://[^/?#{}]+`)

// origin notes the server that a rule leads to. Without the proxy of IIS, it leads
// nowhere: 404.
func (t *ruleWriter) origin(url string) {
	o := t.originOf(url)
	if o == "" {
		return
	}
	for _, list := range []*[]string{&t.origins, &t.w.origins} {
		if !slices.Contains(*list, o) {
			*list = append(*list, o)
		}
	}
}

// originOf is the server that a URL leads to; empty: none.
func (t *ruleWriter) originOf(url string) string {
	o := strings.ToLower(reOrigin.FindString(strings.TrimSpace(url)))
	if p := t.n.settings.Proxy; p == nil || !p.Enabled || t.n.settings.TakesOut("ApplicationRequestRouting") || t.w.deadFarm(o) {
		return ""
	}
	return o
}

// past tells what of .NET a rule leads past: in IIS, it sees also the requests that another
// server answers, and may refuse them. Empty: nothing. Global rules are of all places.
func (t *ruleWriter) past(r iisconfig.RewriteRule) string {
	if r.Action.Type != "Rewrite" || t.originOf(r.Action.URL) == "" {
		return ""
	}
	nodes := []*node{t.n}
	if t.global {
		nodes = append(nodes, t.w.nodes...)
	}
	for _, n := range nodes {
		if sec := n.settings.SeesAll(); sec != nil {
			return fmt.Sprintf("%s (%s)", sec.Name, sec.Source)
		}
	}
	return ""
}

// settings writes what the rules need.
func (t *ruleWriter) settings() []*Directive {
	var out []*Directive
	if t.global {
		out = append(out, directive("global"))
	} else if t.files {
		out = append(out, t.w.folders()...)
	}
	var allowed []string
	for _, v := range t.sec.AllowedServerVariables {
		if expressible(v.Value) && v.Value != "" {
			allowed = append(allowed, strings.ToUpper(v.Value))
		}
	}
	if allowed != nil {
		out = append(out, directive(append([]string{"allow_variables"}, allowed...)...))
	}
	if t.global && t.sec.GlobalKeepEncoded || !t.global && t.sec.KeepEncoded {
		out = append(out, directive("keep_original_url_encoding", "off"))
	}
	out = append(out, t.maps()...)
	for _, o := range t.origins {
		out = append(out, directive("proxy", o))
	}
	return out
}

// folders tells where the files of the site are, for rules that ask.
func (w *siteWriter) folders() []*Directive {
	out := []*Directive{w.ruleFolder("/", w.root)}
	for _, n := range w.nodes {
		if n.physical != "" && expressible(n.path) {
			out = append(out, w.ruleFolder(n.path, n))
		}
	}
	return out
}

func (w *siteWriter) ruleFolder(at string, n *node) *Directive {
	d := w.folderAt(directive("folder", at), n)
	windows := windowsFolder(n.physical)
	d.slots = append(d.slots, slot{word: len(d.Words), name: w.variable("windows", n), value: windows})
	d.Words = append(d.Words, windows)
	return d
}

// windowsFolder is the text that {REQUEST_FILENAME} begins with.
func windowsFolder(physical string) string { return strings.TrimRight(oneLine(physical), `\/`) }

// maps writes the rewrite maps that a rule names.
func (t *ruleWriter) maps() []*Directive {
	var out []*Directive
	for _, m := range t.sec.Maps {
		if m.Name == "" || !strings.Contains(t.text, "{"+strings.ToLower(m.Name)+":") {
			continue
		}
		list := mapDirective(m)
		if exact(list) != nil {
			continue // rules that name it are closed
		}
		t.w.report().translated(m.Source, "rewrite map "+m.Name, "map in iis_rewrite")
		out = append(out, list...)
	}
	return out
}

// mapDirective writes a rewrite map.
func mapDirective(m iisconfig.RewriteMap) []*Directive {
	d := directive("map", m.Name)
	if m.Default != "" {
		d.Words = append(d.Words, "default", m.Default)
	}
	if !m.IgnoreCase {
		d.Words = append(d.Words, "case_sensitive")
	}
	for _, e := range m.Entries {
		d.Block = append(d.Block, directive(e.Name, e.Value))
	}
	d.hasBlock = true
	return []*Directive{d}
}
