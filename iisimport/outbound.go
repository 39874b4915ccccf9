package iisimport

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
)

// outboundRules writes those that change headers of responses, and the pre-conditions that
// they name. One that is not executed protects nothing: somebody is to decide about it.
func (t *ruleWriter) outboundRules() []*Directive {
	var rules, pre []*Directive
	for _, r := range t.sec.OutboundRules {
		if !r.Enabled {
			continue
		}
		what := "outbound rule " + r.Name
		if r.Match.ServerVariable == "" {
			if r.Action.Type != "None" {
				t.w.report().decide(r.Source, what, "change links in the application, or see replace_response of others' plugins", "it is not executed: it changes bodies of answers%s", inBodies(r.Match))
			}
			continue
		}
		if r.Match.Occurrences > 0 {
			t.w.report().dropped(r.Source, fmt.Sprintf("%s occurrences %d", what, r.Match.Occurrences), "a header is matched as a whole, once")
		}
		kids, conditions, err := t.outbound(r)
		if err != nil {
			t.w.report().decide(r.Source, what, "write it with iis_rewrite, header, or header_down of the proxy", "it is not executed: %v", err)
			continue
		}
		t.w.report().translated(r.Source, what, "outbound_rule in iis_rewrite")
		rules = append(rules, block(kids, "outbound_rule", ruleName(r.Name)).because(r.Source.String()))
		if conditions != nil && !slices.ContainsFunc(pre, func(d *Directive) bool { return d.Words[1] == conditions.Words[1] }) {
			pre = append(pre, conditions)
		}
	}
	return append(pre, rules...)
}

// inBodies says where in a body a rule looks, and how often.
func inBodies(m iisconfig.RewriteMatch) (text string) {
	if m.FilterByTags != "" {
		text += ", filterByTags " + m.FilterByTags
	}
	if m.CustomTags != "" {
		text += ", customTags " + m.CustomTags
	}
	if m.Occurrences > 0 {
		text += fmt.Sprintf(", occurrences %d", m.Occurrences)
	}
	return text
}

var errFilters = errors.New("it changes headers and looks into bodies")

// outbound writes one rule and its pre-condition.
func (t *ruleWriter) outbound(r iisconfig.RewriteRule) (kids []*Directive, pre *Directive, err error) {
	if r.Match.FilterByTags != "" && !strings.EqualFold(r.Match.FilterByTags, "None") || r.Match.CustomTags != "" {
		return nil, nil, errFilters
	}
	if len(r.Unknown) > 0 {
		return nil, nil, fmt.Errorf("%s is not understood", r.Unknown[0].What)
	}
	config := t.config()
	if r.PreCondition != "" {
		i := slices.IndexFunc(t.sec.PreConditions, func(p iisconfig.PreCondition) bool { return strings.EqualFold(p.Name, r.PreCondition) })
		if i < 0 {
			return nil, nil, fmt.Errorf("there is no preCondition %s", oneLine(r.PreCondition))
		}
		p := t.sec.PreConditions[i]
		config.PreConditions = []rewrite.PreCondition{{Name: p.Name, Syntax: ecma.Syntax(p.PatternSyntax), AnyCondition: p.AnyCondition, Conditions: conditionsConfig(p.Conditions)}}
		pre = block(t.conditions(p.PatternSyntax, p.AnyCondition, false, p.Conditions), "pre_condition", p.Name)
		kids = append(kids, directive("pre_condition", p.Name))
	}
	variable := strings.ToUpper(r.Match.ServerVariable)
	kids = append(kids, pattern([]string{"match", variable}, r.Match.Pattern, r.Match.IgnoreCase, r.Match.Negate))
	kids = append(kids, t.conditions(r.PatternSyntax, r.AnyCondition, r.TrackAllCaptures, r.Conditions)...)
	action := directive("action", "none")
	if r.Action.Type == "Rewrite" {
		action = directive("action", "rewrite", t.template(r.Action.Value))
		if !r.Action.Replace {
			action.Words = append(action.Words, "keep")
		}
	}
	kids = append(kids, action)
	if r.StopProcessing {
		kids = append(kids, directive("stop"))
	}
	err = rewrite.CheckOutbound(config, rewrite.OutboundRule{
		Name: r.Name, PreCondition: r.PreCondition, Syntax: ecma.Syntax(r.PatternSyntax), Variable: variable,
		Match:        rewrite.Pattern{Pattern: r.Match.Pattern, CaseSensitive: !r.Match.IgnoreCase, Not: r.Match.Negate},
		AnyCondition: r.AnyCondition, TrackAllCaptures: r.TrackAllCaptures, Conditions: conditionsConfig(r.Conditions),
		Action: actionTypes[r.Action.Type], Value: r.Action.Value,
	})
	if err == nil {
		err = exact(kids)
	}
	if err == nil && pre != nil {
		err = exact([]*Directive{pre})
	}
	return kids, pre, err
}

// conditions writes conditions with their syntax and how they are counted.
func (t *ruleWriter) conditions(syntax string, anyOf, track bool, list []iisconfig.RewriteCondition) []*Directive {
	var kids []*Directive
	if word := syntaxWords[syntax]; word != "" {
		kids = append(kids, directive("syntax", word))
	}
	if anyOf && len(list) > 0 {
		kids = append(kids, directive("any_condition"))
	}
	if track {
		kids = append(kids, directive("track_all_captures"))
	}
	for _, c := range list {
		kids = append(kids, t.condition(c))
	}
	return kids
}

var syntaxWords = map[string]string{"Wildcard": "wildcard", "ExactMatch": "exact_match"}
