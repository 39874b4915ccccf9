package iisimport

import (
	"fmt"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
)

// check tells whether iis_rewrite takes a rule.
func (t *ruleWriter) check(r iisconfig.RewriteRule) error {
	if len(r.Unknown) > 0 {
		return fmt.Errorf("%s is not understood", r.Unknown[0].What)
	}
	return rewrite.CheckRule(t.config(), ruleConfig(r))
}

// config is what a rule can refer to.
func (t *ruleWriter) config() rewrite.Config {
	c := rewrite.Config{Global: t.global}
	for _, m := range t.sec.Maps {
		if exact(mapDirective(m)) == nil {
			c.Maps = append(c.Maps, mapConfig(m))
		}
	}
	for _, r := range t.rules {
		c.Rules = append(c.Rules, ruleConfig(r))
	}
	return c
}

func mapConfig(m iisconfig.RewriteMap) rewrite.Map {
	table := rewrite.Map{Name: m.Name, Default: m.Default, CaseSensitive: !m.IgnoreCase, Entries: make(map[string]string, len(m.Entries))}
	for _, e := range m.Entries {
		table.Entries[e.Name] = e.Value
	}
	return table
}

// badMap returns a map that iis_rewrite refuses.
func (t *ruleWriter) badMap() (iisconfig.RewriteMap, error) {
	for _, m := range t.sec.Maps {
		if _, err := rewrite.Compile(rewrite.Config{Maps: []rewrite.Map{mapConfig(m)}}); err != nil {
			return m, err
		}
	}
	return iisconfig.RewriteMap{}, nil
}

var actionTypes = map[string]string{"Rewrite": "rewrite", "Redirect": "redirect", "CustomResponse": "respond", "AbortRequest": "abort", "None": "none"}

var redirectCodes = map[string]int{"": 301, "Permanent": 301, "Found": 302, "SeeOther": 303, "Temporary": 307}

// ruleConfig is a rule as iis_rewrite has it.
func ruleConfig(r iisconfig.RewriteRule) rewrite.Rule {
	out := rewrite.Rule{
		Name: r.Name, Syntax: ecma.Syntax(r.PatternSyntax),
		Match:        rewrite.Pattern{Pattern: r.Match.URL, CaseSensitive: !r.Match.IgnoreCase, Not: r.Match.Negate},
		AnyCondition: r.AnyCondition, TrackAllCaptures: r.TrackAllCaptures, Stop: r.StopProcessing,
		Action: rewrite.Action{
			Type: actionTypes[r.Action.Type], URL: r.Action.URL, DropQueryString: !r.Action.AppendQueryString, Status: r.Action.StatusCode,
			SubStatus: r.Action.SubStatusCode, Reason: r.Action.StatusReason, Description: r.Action.StatusDescription,
		},
	}
	if out.Action.Type == "" {
		out.Action.Type = r.Action.Type
	}
	if r.Action.Type == "Redirect" {
		out.Action.Status = redirectCodes[r.Action.RedirectType]
	}
	out.Conditions = conditionsConfig(r.Conditions)
	for _, v := range r.ServerVariables {
		out.Set = append(out.Set, rewrite.Variable{Name: v.Name, Value: v.Value, Keep: !v.Replace})
	}
	return out
}

func conditionsConfig(list []iisconfig.RewriteCondition) (out []rewrite.Condition) {
	for _, c := range list {
		cond := rewrite.Condition{Input: c.Input, Pattern: rewrite.Pattern{Pattern: c.Pattern, CaseSensitive: !c.IgnoreCase, Not: c.Negate}}
		switch c.MatchType {
		case "IsFile":
			cond.Is = "file"
		case "IsDirectory":
			cond.Is = "directory"
		}
		if cond.Is != "" {
			cond.Input = orFilename(c.Input)
		}
		out = append(out, cond)
	}
	return out
}
