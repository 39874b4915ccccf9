package iishttp

import (
	"cmp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

// unmarshalWords reads a block with a name, whose lines are read by a function that knows
// some words. Forms are those of words that have another one than in ruleForms.
func unmarshalWords(d *caddyfile.Dispenser, what string, words []string, forms map[string]string, read func(word string, args []string) bool) (name string, err error) {
	if !d.Args(&name) || d.NextArg() {
		return "", d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, args := d.Val(), d.RemainingArgs()
		if !read(word, args) {
			if !slices.Contains(words, word) {
				return "", d.Errf("%s %s: %s %s: not a word of a rule: %s%s", what, name, word, strings.Join(args, " "), near.Expected(words), near.Hint(word, words))
			}
			return "", d.Errf("%s %s: %s: wrong arguments: expected %s", what, name, strings.Join(append([]string{word}, args...), " "), cmp.Or(forms[word], ruleForms[word]))
		}
	}
	return name, nil
}

// The words of pre_condition and outbound_rule.
var (
	preConditionWords = []string{"condition", "any_condition", "syntax"}
	outboundWords     = []string{"match", "condition", "action", "pre_condition", "stop", "syntax", "any_condition", "track_all_captures", "file_condition"}
)

// outboundForms are those of the words of outbound_rule that a rule has otherwise or not.
var outboundForms = map[string]string{
	"pre_condition": "pre_condition <name>",
	"match":         "match <RESPONSE_NAME> [not] [case_sensitive] <pattern>",
	"action":        "action rewrite <value> [keep] or action none",
}

func (m *Rewrite) unmarshalPreCondition(d *caddyfile.Dispenser) error {
	var r rewrite.Rule
	name, err := unmarshalWords(d, "pre_condition", preConditionWords, nil, func(word string, args []string) bool {
		return slices.Contains(preConditionWords, word) && ruleWord(&r, word, args)
	})
	m.PreConditions = append(m.PreConditions, rewrite.PreCondition{Name: name, Syntax: r.Syntax, AnyCondition: r.AnyCondition, Conditions: r.Conditions})
	return err
}

func (m *Rewrite) unmarshalOutboundRule(d *caddyfile.Dispenser) error {
	var out rewrite.OutboundRule
	var r rewrite.Rule // what the two kinds have in common
	name, err := unmarshalWords(d, "outbound_rule", outboundWords, outboundForms, func(word string, args []string) bool {
		switch word {
		case "pre_condition":
			if len(args) == 1 {
				out.PreCondition = args[0]
			}
			return len(args) == 1
		case "match":
			if len(args) < 2 {
				return false
			}
			out.Variable = args[0]
			return patternWords(&out.Match, args[1:])
		case "action":
			return outboundAction(&out, args)
		case "syntax", "any_condition", "track_all_captures", "condition", "file_condition", "stop":
			return ruleWord(&r, word, args)
		}
		return false
	})
	out.Name, out.Syntax, out.AnyCondition, out.TrackAllCaptures, out.Conditions, out.Stop = name, r.Syntax, r.AnyCondition, r.TrackAllCaptures, r.Conditions, r.Stop
	m.Outbound = append(m.Outbound, out)
	return err
}

func outboundAction(out *rewrite.OutboundRule, args []string) bool {
	switch {
	case len(args) == 1 && args[0] == "none":
	case len(args) == 2 && args[0] == "rewrite", len(args) == 3 && args[0] == "rewrite" && args[2] == "keep":
		out.Value, out.Keep = args[1], len(args) == 3
	default:
		return false
	}
	out.Action = args[0]
	return true
}
