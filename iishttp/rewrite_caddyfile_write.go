package iishttp

import (
	"strconv"

	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

// MarshalCaddyfile implements caddytext.Marshaler.
func (m *Rewrite) MarshalCaddyfile() *caddytext.Line {
	l := new(caddytext.Line).Add(caddytext.FieldsOf(m, []caddytext.Field{{Word: "global", Path: "global", Kind: caddytext.Flag}})...)
	for _, f := range m.Folders {
		folder := caddytext.New("folder", f.URL, f.Local)
		if f.Windows != "" {
			folder.Words = append(folder.Words, f.Windows)
		}
		l.Add(folder)
	}
	l.Add(caddytext.FieldsOf(m, []caddytext.Field{
		{Word: "allow_variables", Path: "allow_variables", Kind: caddytext.List},
		{Word: "constant", Path: "constants", Kind: caddytext.Pairs},
	})...)
	for _, table := range m.Maps {
		l.Add(mapLine(table))
	}
	l.Add(caddytext.FieldsOf(m, []caddytext.Field{{Word: "proxy", Path: "proxy", Kind: caddytext.List}})...)
	if m.KeepEscapes {
		l.Add(caddytext.New("keep_original_url_encoding", "off"))
	}
	for _, r := range m.Rules {
		l.Add(ruleLine(r))
	}
	for _, p := range m.PreConditions {
		pre := &caddytext.Line{Words: []string{"pre_condition", p.Name}, Open: true}
		l.Add(pre.Add(conditionLines(p.Syntax, p.AnyCondition, false, p.Conditions)...))
	}
	for _, out := range m.Outbound {
		l.Add(outboundLine(out))
	}
	return l
}

func mapLine(table rewrite.Map) *caddytext.Line {
	l := &caddytext.Line{Words: []string{"map", table.Name}, Open: true}
	if table.Default != "" {
		l.Words = append(l.Words, "default", table.Default)
	}
	if table.CaseSensitive {
		l.Words = append(l.Words, "case_sensitive")
	}
	return l.Add(caddytext.FieldsOf(table, []caddytext.Field{{Path: "entries", Kind: caddytext.Entries}})...)
}

func ruleLine(r rewrite.Rule) *caddytext.Line {
	l := &caddytext.Line{Words: []string{"rule", r.Name}, Open: true}
	if r.Base != "" {
		l.Add(caddytext.New("base", r.Base))
	}
	l.Add(caddytext.New(append([]string{"match"}, patternText(r.Match)...)...))
	l.Add(conditionLines(r.Syntax, r.AnyCondition, r.TrackAllCaptures, r.Conditions)...)
	for _, v := range r.Set {
		set := caddytext.New("set", v.Name, v.Value)
		if v.Keep {
			set.Words = append(set.Words, "keep")
		}
		l.Add(set)
	}
	l.Add(actionLines(r.Action)...)
	if r.Stop {
		l.Add(caddytext.New("stop"))
	}
	return l
}

// conditionLines writes what rules of all kinds have in common.
func conditionLines(syntax ecma.Syntax, anyCondition, trackAll bool, conditions []rewrite.Condition) (lines []*caddytext.Line) {
	for word, named := range syntaxes {
		if named == syntax {
			lines = append(lines, caddytext.New("syntax", word))
		}
	}
	if anyCondition {
		lines = append(lines, caddytext.New("any_condition"))
	}
	if trackAll {
		lines = append(lines, caddytext.New("track_all_captures"))
	}
	for _, c := range conditions {
		switch {
		case c.Is == "":
			lines = append(lines, caddytext.New(append([]string{"condition", c.Input}, patternText(c.Pattern)...)...))
		case c.Not:
			lines = append(lines, caddytext.New("file_condition", c.Input, "not", c.Is))
		default:
			lines = append(lines, caddytext.New("file_condition", c.Input, c.Is))
		}
	}
	return lines
}

// patternText is what patternWords reads.
func patternText(p rewrite.Pattern) (words []string) {
	if p.Not {
		words = append(words, "not")
	}
	if p.CaseSensitive {
		words = append(words, "case_sensitive")
	}
	return append(words, p.Pattern)
}

// actionLines writes an action, and what becomes of the query.
func actionLines(a rewrite.Action) (lines []*caddytext.Line) {
	switch l := caddytext.New("action", a.Type); a.Type {
	case "":
	case "redirect":
		l.Words = append(l.Words, a.URL)
		for word, status := range redirectStatus {
			if status == a.Status && word != "permanent" {
				l.Words = append(l.Words, word)
			}
		}
		lines = append(lines, l)
	case "respond":
		status := strconv.Itoa(a.Status)
		if a.SubStatus != 0 {
			status += "." + strconv.Itoa(a.SubStatus)
		}
		l.Words = append(l.Words, status)
		if a.Reason != "" || a.Description != "" {
			l.Words = append(l.Words, a.Reason)
		}
		if a.Description != "" {
			l.Words = append(l.Words, a.Description)
		}
		lines = append(lines, l)
	case "rewrite":
		l.Words = append(l.Words, a.URL)
		lines = append(lines, l)
	default:
		lines = append(lines, l)
	}
	if a.DropQueryString {
		lines = append(lines, caddytext.New("append_query_string", "off"))
	}
	return lines
}

func outboundLine(out rewrite.OutboundRule) *caddytext.Line {
	l := &caddytext.Line{Words: []string{"outbound_rule", out.Name}, Open: true}
	if out.PreCondition != "" {
		l.Add(caddytext.New("pre_condition", out.PreCondition))
	}
	l.Add(caddytext.New(append([]string{"match", out.Variable}, patternText(out.Match)...)...))
	l.Add(conditionLines(out.Syntax, out.AnyCondition, out.TrackAllCaptures, out.Conditions)...)
	if out.Action != "" {
		action := caddytext.New("action", out.Action)
		if out.Action == "rewrite" {
			action.Words = append(action.Words, out.Value)
		}
		if out.Keep {
			action.Words = append(action.Words, "keep")
		}
		l.Add(action)
	}
	if out.Stop {
		l.Add(caddytext.New("stop"))
	}
	return l
}

// Interface guard
var _ caddytext.Marshaler = (*Rewrite)(nil)
