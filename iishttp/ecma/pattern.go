package ecma

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// Syntax is the language of a pattern.
type Syntax string

// The languages of the URL Rewrite module, by the words of its attribute patternSyntax.
const (
	ECMAScript Syntax = "ECMAScript"
	Wildcard   Syntax = "Wildcard"
	ExactMatch Syntax = "ExactMatch"
)

// MatchTimeout bounds one match of the engine that goes back. The engine looks at its
// clock every 100 ms, so that it may take a little more than twice as long.
const MatchTimeout = 100 * time.Millisecond

// MaxInput is the longest input in bytes.
const MaxInput = 64 << 10

// Errors of Match. None of them has the input in it.
var (
	ErrTimeout = errors.New("a pattern took too long")
	ErrInput   = errors.New("the text is too long, not in UTF-8 or has line breaks")
)

// Pattern is a compiled pattern. It may be used by many goroutines.
type Pattern struct {
	syntax Syntax
	exact  string // folded if case does not count
	fold   bool
	linear *regexp.Regexp
	groups int

	// The engine that goes back takes long to compile and needs much memory. Where the
	// linear one does, it is made for the first text that is not printable ASCII.
	source    string
	once      sync.Once
	backtrack *regexp2.Regexp
	fault     error
}

type key struct {
	pattern string
	syntax  Syntax
	fold    bool
}

// cache has the patterns that were compiled last: servers with many sites have the
// same rules in many of them.
var cache = struct {
	sync.Mutex
	patterns map[key]*Pattern
}{patterns: make(map[key]*Pattern)}

const maxCached = 10_000

// Compile compiles a pattern. An error is a *SyntaxError for ECMAScript.
func Compile(pattern string, syntax Syntax, ignoreCase bool) (*Pattern, error) {
	k := key{pattern, syntax, ignoreCase}
	cache.Lock()
	p := cache.patterns[k]
	cache.Unlock()
	if p != nil {
		return p, nil
	}
	p, err := compile(pattern, syntax, ignoreCase)
	if err != nil {
		return nil, err
	}
	cache.Lock()
	defer cache.Unlock()
	if len(cache.patterns) >= maxCached {
		clear(cache.patterns)
	}
	cache.patterns[k] = p
	return p, nil
}

func compile(pattern string, syntax Syntax, ignoreCase bool) (*Pattern, error) {
	p := &Pattern{syntax: syntax, fold: ignoreCase}
	switch syntax {
	case ExactMatch:
		p.exact = pattern
		if ignoreCase {
			p.exact = foldString(pattern)
		}
		return p, nil
	case Wildcard:
		pattern = wildcard(pattern)
	case ECMAScript:
	default:
		return nil, fmt.Errorf("pattern syntax %q: expected ECMAScript, Wildcard or ExactMatch", syntax)
	}
	x, err := parse(pattern)
	if err != nil {
		return nil, err
	}
	return p, p.engines(x)
}

// engines makes what runs a parsed pattern.
func (p *Pattern) engines(x *parsed) error {
	p.groups, p.source = x.groups, x.backtrack
	if x.linear != "" {
		flags := ""
		if p.fold {
			flags = "(?i)"
		}
		// An error here (a class too large for it) leaves the other engine.
		if p.linear, _ = regexp.Compile(flags + x.linear); p.linear != nil {
			return nil
		}
	}
	_, err := p.back()
	return err
}

// back is the engine that goes back.
func (p *Pattern) back() (*regexp2.Regexp, error) {
	p.once.Do(func() {
		options := regexp2.ECMAScript
		if p.fold {
			options |= regexp2.IgnoreCase
		}
		re, err := regexp2.Compile(p.source, options)
		if err != nil {
			p.fault = fmt.Errorf("compiling the pattern: %w", err)
			return
		}
		re.MatchTimeout = MatchTimeout
		p.backtrack = re
	})
	return p.backtrack, p.fault
}

// wildcard writes a wildcard pattern as a regular expression for the whole text.
func wildcard(pattern string) string {
	var sb strings.Builder
	sb.WriteByte('^')
	for _, r := range pattern {
		switch {
		case r == '*':
			sb.WriteString(`([^\n]*?)`) // no text has line breaks, see Match
		case r == '?':
			sb.WriteString(`[^\n]`)
		case r < utf8.RuneSelf && !unicode.IsLetter(r) && !unicode.IsDigit(r) && r > ' ':
			sb.WriteString(`\` + string(r))
		default:
			sb.WriteRune(r)
		}
	}
	sb.WriteByte('$')
	return sb.String()
}

// foldString is the form in which texts are compared without regard to case: rune by
// rune, in no culture, as the other languages do it.
func foldString(s string) string {
	return strings.Map(func(r rune) rune {
		u := unicode.ToUpper(r)
		if r >= utf8.RuneSelf && u < utf8.RuneSelf {
			return r
		}
		return u
	}, s)
}

// Groups is the number of groups that capture, without the whole match.
func (p *Pattern) Groups() int { return p.groups }

// Match tries the pattern on a text. The captures begin with the whole match; a group
// that took no part is empty. An error is no answer.
func (p *Pattern) Match(text string) (captures []string, ok bool, err error) {
	loc, err := p.MatchIndex(text)
	if err != nil || loc == nil {
		return nil, false, err
	}
	captures = make([]string, len(loc)/2)
	for i := range captures {
		if loc[2*i] >= 0 {
			captures[i] = text[loc[2*i]:loc[2*i+1]]
		}
	}
	return captures, true, nil
}

// Fits tells whether the pattern fits a text. An error is no answer.
func (p *Pattern) Fits(text string) (bool, error) {
	if !readable(text) {
		return false, ErrInput
	}
	switch {
	case p.syntax == ExactMatch:
		return p.equal(text), nil
	case p.linear != nil && printable(text):
		return p.linear.MatchString(text), nil
	}
	re, err := p.back()
	if err != nil {
		return false, err
	}
	ok, err := re.MatchString(text)
	if err != nil {
		return false, ErrTimeout // the engine's own has the text in it
	}
	return ok, nil
}

// MatchIndex is Match with the places of the captures in bytes, two for each, which are
// negative if a group took no part; nil if the pattern does not fit.
func (p *Pattern) MatchIndex(text string) (loc []int, err error) {
	if !readable(text) {
		return nil, ErrInput
	}
	switch {
	case p.syntax == ExactMatch:
		if p.equal(text) {
			loc = []int{0, len(text)}
		}
		return loc, nil
	case p.linear != nil && printable(text):
		return p.linear.FindStringSubmatchIndex(text), nil
	}
	re, err := p.back()
	if err != nil {
		return nil, err
	}
	m, err := re.FindStringMatch(text)
	switch {
	case err != nil:
		return nil, ErrTimeout
	case m == nil:
		return nil, nil
	}
	for i := range p.groups + 1 {
		g := m.GroupByNumber(i)
		if g == nil || len(g.Captures) == 0 {
			loc = append(loc, -1, -1)
			continue
		}
		from := bytesOf(text, g.RuneIndex)
		loc = append(loc, from, from+bytesOf(text[from:], g.RuneLength))
	}
	return loc, nil
}

// bytesOf is the length of the first n runes of a text.
func bytesOf(text string, n int) int {
	for i := range text {
		if n == 0 {
			return i
		}
		n--
	}
	return len(text)
}

func (p *Pattern) equal(text string) bool {
	return text == p.exact || p.fold && foldString(text) == p.exact
}

func readable(text string) bool {
	return len(text) <= MaxInput && !strings.ContainsAny(text, "\r\n") && utf8.ValidString(text)
}

func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
