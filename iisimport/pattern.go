package iisimport

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// pattern is a pattern of a rewrite rule as a regular expression of Go.
type pattern struct {
	text     string
	anchored bool   // every alternative begins with ^
	rest     string // then, the alternatives without it
	all      bool   // the first group, or the whole, is any path
}

// notGo is what regular expressions of JavaScript and of Go have different meanings
// for: Go's own escapes and groups, and JavaScript's empty class.
var notGo = regexp.MustCompile(`\\[aACEQGKNpPzZX1-9]|\(\?[^:]|\[\]|\[\^\]|\[\[:|\\[xu]\{`)

// compilePattern reads a pattern.
func compilePattern(text, kind string) (*pattern, error) {
	switch kind {
	case "ExactMatch":
		text = "^" + regexp.QuoteMeta(text) + "$"
	case "Wildcard":
		if strings.Count(text, "*") > 1 {
			return nil, errors.New("a pattern with several wildcards has no exact form")
		}
		text = "^" + strings.Replace(regexp.QuoteMeta(text), `\*`, "(.*)", 1) + "$"
	}
	if notGo.MatchString(text) {
		return nil, errors.New("its pattern has what regular expressions here do not know")
	}
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, errors.New("its pattern has what regular expressions here do not know")
	}
	if nestedCaptures(re, false) {
		return nil, errors.New("its pattern has groups within repeated groups, which have no exact form")
	}
	p := &pattern{text: text}
	switch text {
	case "(.*)", "^(.*)$", "^(.*)", "(.*)$", ".*", "^.*$", "":
		p.all = text != ""
	}
	alternatives := topLevel(text)
	first := 0
	for _, a := range alternatives {
		if strings.HasPrefix(a, "^") {
			first++
		}
	}
	switch {
	case first == len(alternatives):
		for i := range alternatives {
			alternatives[i] = alternatives[i][1:]
		}
		p.anchored, p.rest = true, strings.Join(alternatives, "|")
		inner, err := syntax.Parse(p.rest, syntax.Perl)
		if err != nil || begins(inner) {
			return nil, errors.New("its pattern has more than one beginning, which has no exact form")
		}
	case begins(re):
		return nil, errors.New("its pattern begins in some alternatives only, which has no exact form")
	}
	return p, nil
}

// afterSlash writes the pattern for a path with its slash and what is before the part
// that the pattern sees. The first group is the whole match, if it is wanted.
func (p *pattern) afterSlash(prefix string, whole bool) string {
	open := "(?:"
	if whole {
		open = "("
	}
	start := "^" + regexp.QuoteMeta(prefix) + "/"
	if p.anchored {
		return start + open + p.rest + ")"
	}
	return start + "(?s:.*?)" + open + p.text + ")"
}

// nestedCaptures tells whether a repeated group has groups within: JavaScript forgets
// them at each turn, and Go does not.
func nestedCaptures(re *syntax.Regexp, repeated bool) bool {
	if re.Op == syntax.OpCapture && repeated {
		return slices.ContainsFunc(re.Sub, captures)
	}
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus, syntax.OpRepeat:
		repeated = true
		if sub := re.Sub[0]; sub.Op != syntax.OpCapture && captures(sub) {
			return true
		}
	}
	for _, sub := range re.Sub {
		if nestedCaptures(sub, repeated) {
			return true
		}
	}
	return false
}

func captures(re *syntax.Regexp) bool {
	if re.Op == syntax.OpCapture {
		return true
	}
	return slices.ContainsFunc(re.Sub, captures)
}

// begins tells whether ^ is anywhere in an expression.
func begins(re *syntax.Regexp) bool {
	if re.Op == syntax.OpBeginText || re.Op == syntax.OpBeginLine {
		return true
	}
	return slices.ContainsFunc(re.Sub, begins)
}

// topLevel splits an expression at those of its bars that are in no group.
func topLevel(text string) []string {
	var out []string
	depth, class, start := 0, false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			out = append(out, text[start:i])
			start = i + 1
		}
	}
	return append(out, text[start:])
}
