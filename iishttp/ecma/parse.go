package ecma

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds nested groups, maxPattern the bytes of a pattern, and maxRepeat what Go's
// regexp takes as a bound of a quantifier.
const (
	maxDepth   = 200
	maxPattern = 16 << 10
	maxRepeat  = 1000
)

// SyntaxError says what in a pattern is not in the language.
type SyntaxError struct {
	Pattern  string
	Position int // in bytes
	Problem  string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("pattern %q: %s at position %d", e.Pattern, e.Problem, e.Position+1)
}

// parsed is a pattern in the forms of both engines.
type parsed struct {
	backtrack string
	linear    string // empty if Go's regexp may differ
	groups    int
}

// part is what a piece of a pattern can be.
type part struct {
	empty    bool // it can match the empty text
	captures bool
}

type parser struct {
	text    string
	at      int
	depth   int
	groups  int
	refs    []reference // to groups that may come later
	differs bool        // Go's regexp may differ
	back    strings.Builder
	lin     strings.Builder
}

type reference struct{ group, at int }

func parse(text string) (p *parsed, err error) {
	if len(text) > maxPattern {
		return nil, &SyntaxError{strings.ToValidUTF8(text[:40], "") + "...", maxPattern, "pattern too long"}
	}
	if !utf8.ValidString(text) {
		return nil, &SyntaxError{strings.ToValidUTF8(text, "?"), 0, "not in UTF-8"}
	}
	x := &parser{text: text}
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case *SyntaxError:
			p, err = nil, fault
		default:
			panic(fault)
		}
	}()
	x.disjunction()
	if x.at < len(text) {
		x.fail("a parenthesis that closes nothing")
	}
	for _, r := range x.refs {
		if r.group > x.groups {
			x.at = r.at
			x.fail("a reference to a group that is not there")
		}
	}
	p = &parsed{backtrack: x.back.String(), groups: x.groups}
	if !x.differs {
		p.linear = x.lin.String()
	}
	return p, nil
}

func (x *parser) fail(problem string) {
	panic(&SyntaxError{x.text, x.at, problem})
}

func (x *parser) more() bool { return x.at < len(x.text) }

func (x *parser) peek() byte {
	if x.more() {
		return x.text[x.at]
	}
	return 0
}

func (x *parser) both(s string) {
	x.back.WriteString(s)
	x.lin.WriteString(s)
}

// disjunction: alternatives with bars between them.
func (x *parser) disjunction() part {
	if x.depth++; x.depth > maxDepth {
		x.fail("too many parentheses in each other")
	}
	all := x.alternative()
	for x.more() && x.peek() == '|' {
		x.at++
		x.both("|")
		next := x.alternative()
		all.empty = all.empty || next.empty
		all.captures = all.captures || next.captures
	}
	x.depth--
	return all
}

func (x *parser) alternative() part {
	all := part{empty: true}
	for x.more() && x.peek() != '|' && x.peek() != ')' {
		term := x.term()
		all.empty = all.empty && term.empty
		all.captures = all.captures || term.captures
	}
	return all
}

// term: an assertion, or an atom with its quantifier.
func (x *parser) term() part {
	p, assertion := x.atom()
	if !x.quantified() {
		return p
	}
	if assertion {
		x.fail("a quantifier behind an assertion")
	}
	q := x.quantifier()
	if p.empty || p.captures && q.most != 1 && q.most != 0 || q.least > maxRepeat || q.most > maxRepeat {
		x.differs = true
	}
	x.both(q.text)
	if x.quantified() {
		x.fail("a quantifier behind a quantifier")
	}
	return part{p.empty || q.least == 0, p.captures}
}

func (x *parser) quantified() bool {
	c := x.peek()
	return x.more() && (c == '*' || c == '+' || c == '?' || c == '{')
}

type quantifier struct {
	text        string
	least, most int // most is -1 without a bound
}

func (x *parser) quantifier() quantifier {
	var q quantifier
	start := x.at
	c := x.peek()
	x.at++
	switch c {
	case '*':
		q = quantifier{"*", 0, -1}
	case '+':
		q = quantifier{"+", 1, -1}
	case '?':
		q = quantifier{"?", 0, 1}
	default:
		q.least = x.number(start)
		q.most = q.least
		if x.peek() == ',' {
			x.at++
			q.most = -1
			if x.peek() != '}' {
				q.most = x.number(start)
			}
		}
		if x.peek() != '}' || q.most >= 0 && q.most < q.least {
			x.at = start
			x.fail("a brace that is no quantifier")
		}
		x.at++
		q.text = x.text[start:x.at]
	}
	if x.more() && x.peek() == '?' {
		x.at++
		q.text += "?"
	}
	return q
}

func (x *parser) number(start int) int {
	begin := x.at
	for x.more() && x.peek() >= '0' && x.peek() <= '9' {
		x.at++
	}
	n, err := strconv.Atoi(x.text[begin:x.at])
	if err != nil || n > 1<<20 {
		x.at = start
		x.fail("a brace that is no quantifier")
	}
	return n
}

// atom reads one atom or assertion.
func (x *parser) atom() (p part, assertion bool) {
	switch c := x.peek(); c {
	case '^', '$':
		x.at++
		x.both(string(c))
		return part{empty: true}, true
	case '(':
		return x.group()
	case '.':
		x.at++
		x.set(anyCharacter)
	case '[':
		x.class()
	case '\\':
		return x.escape()
	case '*', '+', '?':
		x.fail("a quantifier with nothing in front")
	case '{':
		x.fail("a brace that is no quantifier")
	default:
		r, size := utf8.DecodeRuneInString(x.text[x.at:])
		x.at += size
		x.literal(r)
	}
	return part{}, false
}

func (x *parser) group() (p part, assertion bool) {
	open := x.at
	x.at++
	switch rest := x.text[x.at:]; {
	case strings.HasPrefix(rest, "?:"):
		x.at += 2
		x.both("(?:")
	case strings.HasPrefix(rest, "?="), strings.HasPrefix(rest, "?!"):
		x.both("(" + rest[:2])
		x.at += 2
		x.differs, assertion = true, true
	case strings.HasPrefix(rest, "?"):
		x.fail("a group of a kind that ECMAScript does not have")
	default:
		x.groups++
		p.captures = true
		x.both("(")
	}
	inner := x.disjunction()
	if x.peek() != ')' {
		x.at = open
		x.fail("a parenthesis that is not closed")
	}
	x.at++
	x.both(")")
	return part{inner.empty || assertion, p.captures || inner.captures}, assertion
}

// literal writes one character that means itself.
func (x *parser) literal(r rune) {
	if r < 0x20 || r == 0x7f {
		fmt.Fprintf(&x.back, `\u%04x`, r)
		fmt.Fprintf(&x.lin, `\x{%x}`, r)
		return
	}
	if r >= utf8.RuneSelf {
		x.back.WriteRune(r)
		x.lin.WriteString(nothing) // see ranges
		return
	}
	if strings.ContainsRune(`\.+*?()|[]{}^$`, r) {
		x.both(`\`)
	}
	x.both(string(r))
}
