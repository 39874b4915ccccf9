package iishttp

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
	"github.com/caddy-iis/caddy-iis/internal/near"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("iis_rewrite", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		m := new(Rewrite)
		return m, m.UnmarshalCaddyfile(h.Dispenser)
	})
}

// UnmarshalCaddyfile reads:
//
//	iis_rewrite {
//		global
//		folder <path> <folder here> [<folder of IIS>]
//		allow_variables <name>...
//		constant <name> <value>
//		map <name> [default <value>] [case_sensitive] {
//			<key> <value>
//		}
//		proxy <origin>...
//		keep_original_url_encoding off
//		rule <name> {
//			base <path>
//			syntax ecmascript|wildcard|exact_match
//			match [not] [case_sensitive] <pattern>
//			any_condition
//			track_all_captures
//			condition <input> [not] [case_sensitive] <pattern>
//			file_condition <input> [not] file|directory
//			set <name> <value> [keep]
//			action rewrite <url>
//			action redirect <url> [permanent|found|see_other|temporary]
//			action respond <status>[.<sub-status>] [<reason> [<description>]]
//			action abort|none
//			append_query_string off
//			stop
//		}
//		pre_condition <name> {
//			<syntax, any_condition and condition as in a rule>
//		}
//		outbound_rule <name> {
//			pre_condition <name>
//			match <RESPONSE_NAME> [not] [case_sensitive] <pattern>
//			action rewrite <value> [keep]
//			action none
//			<syntax, any_condition, track_all_captures, condition, file_condition and stop as in a rule>
//		}
//	}
func (m *Rewrite) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		var err error
		switch word := d.Val(); word {
		case "rule":
			err = m.unmarshalRule(d)
		case "pre_condition":
			err = m.unmarshalPreCondition(d)
		case "outbound_rule":
			err = m.unmarshalOutboundRule(d)
		case "map":
			err = m.unmarshalMap(d)
		default:
			err = m.unmarshalWord(d, word, d.RemainingArgs())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var rewriteWords = []string{"rule", "outbound_rule", "pre_condition", "map", "folder", "proxy", "allow_variables", "constant", "global", "keep_original_url_encoding"}

// rewriteForms are how the words without a block are written.
var rewriteForms = map[string]string{
	"folder":                     "folder <path> <folder here> [<folder of IIS>]",
	"proxy":                      "proxy <origin>..., such as proxy http://10.0.0.1:8080",
	"allow_variables":            "allow_variables <name>...",
	"constant":                   "constant <name> <value>",
	"global":                     "global alone",
	"keep_original_url_encoding": "keep_original_url_encoding off, or no such line",
}

func (m *Rewrite) unmarshalWord(d *caddyfile.Dispenser, word string, args []string) error {
	switch {
	case word == "global" && len(args) == 0:
		m.Global = true
	case word == "folder" && (len(args) == 2 || len(args) == 3):
		f := Folder{URL: args[0], Local: args[1]}
		if len(args) == 3 {
			f.Windows = args[2]
		}
		m.Folders = append(m.Folders, f)
	case word == "allow_variables" && len(args) > 0:
		m.AllowVariables = append(m.AllowVariables, args...)
	case word == "constant" && len(args) == 2:
		if m.Constants == nil {
			m.Constants = make(map[string]string)
		}
		m.Constants[args[0]] = args[1]
	case word == "proxy" && len(args) > 0:
		m.Proxy = append(m.Proxy, args...)
	case word == "keep_original_url_encoding" && len(args) == 1 && args[0] == "off":
		m.KeepEscapes = true
	default:
		if form := rewriteForms[word]; form != "" {
			return d.Errf("%s: wrong arguments: expected %s", strings.Join(append([]string{word}, args...), " "), form)
		}
		return d.Errf("%s %s: not a word of iis_rewrite: %s%s", word, strings.Join(args, " "), near.Expected(rewriteWords), near.Hint(word, rewriteWords))
	}
	return nil
}

func (m *Rewrite) unmarshalMap(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	table := rewrite.Map{Name: args[0], Entries: make(map[string]string)}
	args = args[1:]
	if len(args) >= 2 && args[0] == "default" {
		table.Default, args = args[1], args[2:]
	}
	if len(args) == 1 && args[0] == "case_sensitive" {
		table.CaseSensitive, args = true, nil
	}
	if len(args) > 0 {
		return d.Errf("map %s: expected default <value>, case_sensitive", table.Name)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		key, value := d.Val(), d.RemainingArgs()
		if len(value) != 1 {
			return d.Errf("map %s: expected <key> <value>", table.Name)
		}
		if _, ok := table.Entries[key]; ok {
			return d.Errf("map %s: the key %q is there twice", table.Name, key)
		}
		table.Entries[key] = value[0]
	}
	m.Maps = append(m.Maps, table)
	return nil
}

func (m *Rewrite) unmarshalRule(d *caddyfile.Dispenser) error {
	var r rewrite.Rule
	name, err := unmarshalWords(d, "rule", ruleWords, nil, func(word string, args []string) bool { return ruleWord(&r, word, args) })
	r.Name = name
	m.Rules = append(m.Rules, r)
	return err
}

var syntaxes = map[string]ecma.Syntax{"ecmascript": ecma.ECMAScript, "wildcard": ecma.Wildcard, "exact_match": ecma.ExactMatch}

// ruleWords are those that a rule knows, the first ones those that most rules have.
var ruleWords = []string{"match", "condition", "action", "set", "stop", "append_query_string", "file_condition", "any_condition", "syntax", "base", "track_all_captures"}

// ruleForms are how the lines of a rule are written.
var ruleForms = map[string]string{
	"match":     "match [not] [case_sensitive] <pattern>, in quotes if it has blanks",
	"condition": "condition <input> [not] [case_sensitive] <pattern>, in quotes if they have blanks",
	"action": "action rewrite <url>, action redirect <url> [permanent|found|see_other|temporary], " +
		"action respond <status>[.<sub-status>] [<reason> [<description>]] with numbers such as 403.4, action abort or action none",
	"set":                 "set <name> <value> [keep]",
	"stop":                "stop alone",
	"append_query_string": "append_query_string off, or no such line",
	"file_condition":      "file_condition <input> [not] file|directory",
	"any_condition":       "any_condition alone",
	"syntax":              "syntax ecmascript|wildcard|exact_match",
	"base":                "base <path>",
	"track_all_captures":  "track_all_captures alone",
}

// ruleWord reads a line of a rule, and tells whether it is one.
func ruleWord(r *rewrite.Rule, word string, args []string) bool {
	switch {
	case word == "base" && len(args) == 1:
		r.Base = args[0]
	case word == "syntax" && len(args) == 1:
		r.Syntax = syntaxes[args[0]]
		return r.Syntax != ""
	case word == "match":
		return patternWords(&r.Match, args)
	case word == "any_condition" && len(args) == 0:
		r.AnyCondition = true
	case word == "track_all_captures" && len(args) == 0:
		r.TrackAllCaptures = true
	case word == "condition" && len(args) > 1:
		c := rewrite.Condition{Input: args[0]}
		if !patternWords(&c.Pattern, args[1:]) {
			return false
		}
		r.Conditions = append(r.Conditions, c)
	case word == "file_condition":
		return fileCondition(r, args)
	case word == "set" && (len(args) == 2 || len(args) == 3 && args[2] == "keep"):
		r.Set = append(r.Set, rewrite.Variable{Name: args[0], Value: args[1], Keep: len(args) == 3})
	case word == "action" && len(args) > 0:
		return actionWords(&r.Action, args[0], args[1:])
	case word == "append_query_string" && slices.Equal(args, []string{"off"}):
		r.Action.DropQueryString = true
	case word == "stop" && len(args) == 0:
		r.Stop = true
	default:
		return false
	}
	return true
}

// patternWords reads [not] [case_sensitive] <pattern>. Alone, these words are patterns.
func patternWords(p *rewrite.Pattern, args []string) bool {
	if len(args) > 1 && args[0] == "not" {
		p.Not, args = true, args[1:]
	}
	if len(args) > 1 && args[0] == "case_sensitive" {
		p.CaseSensitive, args = true, args[1:]
	}
	if len(args) != 1 {
		return false
	}
	p.Pattern = args[0]
	return true
}

func fileCondition(r *rewrite.Rule, args []string) bool {
	if len(args) < 2 {
		return false
	}
	c := rewrite.Condition{Input: args[0], Is: args[len(args)-1]}
	switch {
	case len(args) == 3 && args[1] == "not":
		c.Not = true
	case len(args) != 2:
		return false
	}
	r.Conditions = append(r.Conditions, c)
	return c.Is == "file" || c.Is == "directory"
}

var redirectStatus = map[string]int{"permanent": 301, "found": 302, "see_other": 303, "temporary": 307}

func actionWords(a *rewrite.Action, kind string, args []string) bool {
	a.Type = kind
	switch {
	case (kind == "abort" || kind == "none") && len(args) == 0:
		return true
	case kind == "rewrite" && len(args) == 1:
		a.URL = args[0]
		return true
	case kind == "redirect" && (len(args) == 1 || len(args) == 2):
		a.URL, a.Status = args[0], 301
		if len(args) == 2 {
			a.Status = redirectStatus[args[1]]
		}
		return a.Status != 0
	case kind == "respond" && len(args) >= 1 && len(args) <= 3:
		status, sub, hasSub := strings.Cut(args[0], ".")
		var err error
		if a.Status, err = strconv.Atoi(status); err != nil {
			return false
		}
		if hasSub {
			if a.SubStatus, err = strconv.Atoi(sub); err != nil {
				return false
			}
		}
		if len(args) > 1 {
			a.Reason = args[1]
		}
		if len(args) > 2 {
			a.Description = args[2]
		}
		return true
	}
	return false
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Rewrite)(nil)
