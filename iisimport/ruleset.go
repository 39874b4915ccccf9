package iisimport

import (
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/internal/places"
)

// ruleSet writes one iis_rewrite.
func (w *siteWriter) ruleSet(n *node, sec *iisconfig.Rewrite, rules []iisconfig.RewriteRule, global bool) []*Directive {
	rules = slices.DeleteFunc(slices.Clone(rules), func(r iisconfig.RewriteRule) bool { return !r.Enabled })
	t := &ruleWriter{w: w, n: n, sec: sec, rules: rules, global: global}
	if m, err := t.badMap(); err != nil && len(rules) > 0 {
		return t.refuse(w.closed(500, m.Source, "rewrite map "+m.Name, "mend the map and import again", err.Error()))
	}
	kids := t.all()
	if !global {
		kids = append(kids, t.outboundRules()...)
	}
	if kids == nil {
		for _, v := range sec.AllowedServerVariables {
			w.report().dropped(v.Source, "allowedServerVariables "+v.Value, "there is no rule that could set it")
		}
		return nil
	}
	src := n.source
	if len(rules) > 0 {
		src = rules[0].Source
	}
	if t.files && slices.ContainsFunc(slices.Concat(w.nodes, []*node{w.root}), func(n *node) bool { return !w.nameable(n) }) {
		return t.refuse(w.closed(500, src, "rewrite rules of "+n.path, "give the folder here another name, with --map", "they ask for files, and a folder of the site has no form in a Caddyfile"))
	}
	set := block(append(t.settings(), kids...), "iis_rewrite")
	if err := accepted(set); err != nil {
		return t.refuse(w.mistyped(set, 500, src, err))
	}
	if t.shut && !t.passes {
		n.close(t.step() + 1) // rules in front of the closing one answer
	}
	return []*Directive{set}
}

// all writes the rules. Those behind one that closes all are reached by nobody.
func (t *ruleWriter) all() (kids []*Directive) {
	for _, r := range t.rules {
		from, shut := len(t.w.report().Lines), t.shut
		kids = append(kids, t.rule(r))
		if app := t.w.appOf(t.n); !t.global && blocks(r) && !within(t.w.place(r.Source), app) {
			// Nobody documents what an inherited rule's URL is relative to in a
			// sub-application: a rule that blocks is tried both ways.
			t.base = app
			kids = append(kids, t.rule(r))
			t.base = ""
		}
		for i := range t.w.report().Lines[from:] {
			if shut {
				t.w.report().Lines[from+i].takeBack()
			}
		}
	}
	return kids
}

// step is the one that the rules are.
func (t *ruleWriter) step() step {
	if t.global {
		return stepGlobal
	}
	return stepRules
}

// refuse closes the place in place of all rules.
func (t *ruleWriter) refuse(closed *Directive) []*Directive {
	t.n.close(t.step())
	return []*Directive{closed}
}

// mayFit tells whether a rule may fit a URL of the place: an inherited one, whose pattern
// begins with a text, often fits others only.
func (t *ruleWriter) mayFit(r iisconfig.RewriteRule) bool {
	text, ok := strings.CutPrefix(r.Match.URL, "^")
	if !ok || r.PatternSyntax != "ECMAScript" || r.Match.Negate || strings.Contains(text, "|") {
		return true
	}
	literal := reLiteral.FindString(text)
	if rest := text[len(literal):]; rest != "" && strings.ContainsAny(rest[:1], "*?{") { // the last letter need not be there
		literal = literal[:max(len(literal)-1, 0)]
	}
	text = strings.ToLower(strings.ReplaceAll(literal, `\`, ""))
	below := strings.ToLower(strings.Trim(strings.TrimPrefix(t.n.path, t.baseOf(r)), "/"))
	return strings.HasPrefix(below+"/", text) || strings.HasPrefix(text, below)
}

// reLiteral is what a pattern begins with that means itself, but for what the rest counts.
var reLiteral = regexp.MustCompile(`^(?:[A-Za-z0-9_/-]|\\[./-])*`)

var reAll = regexp.MustCompile(`^\^?(?:\.\*\??|\(\.\*\??\))\$?$`)

// fitsAll tells whether the pattern of a rule fits every URL.
func fitsAll(r iisconfig.RewriteRule) bool {
	return !r.Match.Negate && (r.PatternSyntax == "ECMAScript" && reAll.MatchString(r.Match.URL) || r.PatternSyntax == "Wildcard" && r.Match.URL == "*")
}

// closing writes what stands in for a rule that is not executed: its pattern is closed,
// without conditions; if it has no readable one, its place is.
func (t *ruleWriter) closing(r iisconfig.RewriteRule, why error) *Directive {
	t.w.report().closed(r.Source, "rewrite rule "+r.Name, "write it with iis_rewrite, or take it out",
		"%v; what its pattern matches answers 403", why)
	answer := []*Directive{directive("action", "respond", "403")}
	kids, err := t.match(r)
	if err == nil {
		bare := r
		bare.Conditions, bare.ServerVariables = nil, nil
		bare.Action = iisconfig.RewriteAction{Type: "CustomResponse", StatusCode: 403}
		err = t.check(bare)
	}
	if err != nil {
		kids = nil
		if base := t.baseOf(r); base != "/" && expressible(base) {
			kids = append(kids, directive("base", base))
		}
		kids = append(kids, directive("match", ".*"))
	}
	t.shut = t.shut || err != nil || fitsAll(r)
	return block(append(kids, answer...), "rule", places.ClosedRule+ruleName(r.Name))
}
