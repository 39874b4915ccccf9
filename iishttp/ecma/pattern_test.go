package ecma_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/iishttp/ecma"
)

// TestMatch: the answers of ECMA-262 3rd edition, of the examples in Microsoft's reference
// of the module, and of defects that engines had.
func TestMatch(t *testing.T) {
	for _, c := range []struct {
		syntax  ecma.Syntax
		pattern string
		fold    bool
		text    string
		want    []string // nil: no match
	}{
		{"ECMAScript", `blog`, true, "demo/Blogger", []string{"Blog"}},
		{"ECMAScript", `^Case$`, false, "case", nil},
		{"ECMAScript", `^article/([0-9]+)/([_0-9a-z-]+)`, true, "article/234/some-title", []string{"article/234/some-title", "234", "some-title"}},
		{"ECMAScript", `^(www\.)?(.+)$`, true, "x.org", []string{"x.org", "", "x.org"}},
		{"ECMAScript", `index\.php|[^/]+`, true, "images", []string{"images"}},
		{"ECMAScript", `a|[^/]`, true, "a", []string{"a"}},
		{"ECMAScript", `(?:(a)|b)*`, true, "ab", []string{"ab", ""}},
		{"ECMAScript", `\d`, true, "\u0661", nil},
		{"ECMAScript", `^\w$`, true, "ä", nil},
		{"ECMAScript", `k`, true, "\u212a", nil},
		{"ECMAScript", `[a-z]`, true, "\u017f", nil},
		{"ECMAScript", `^ß$`, true, "ẞ", nil},
		{"ECMAScript", `^[^\W]$`, true, "s", []string{"s"}},
		{"ECMAScript", `^[\W_]$`, true, "k", nil},
		{"ECMAScript", "\u017f|[\u212a]", true, "sk", nil},
		{"ECMAScript", "[^\u017f]", true, "s", []string{"s"}},
		{"ECMAScript", `^ä$`, true, "Ä", []string{"Ä"}},
		{"ECMAScript", `^.$`, true, "\u2028", nil},
		{"ECMAScript", `(a)|b\1c`, true, "bc", []string{"bc", ""}},
		{"ECMAScript", `\_\-\/\%\.`, true, "_-/%.", []string{"_-/%."}},
		{"ECMAScript", `]}`, true, "]}", []string{"]}"}},
		{"ECMAScript", `(?!css/)^.*$`, true, "css/a", nil},
		{"ECMAScript", `^(?=a)(.)`, true, "ab", []string{"a", "a"}},
		{"ECMAScript", `\x41\u0042`, false, "AB", []string{"AB"}},
		{"ECMAScript", `a{2,3}?`, true, "aaaa", []string{"aa"}},
		{"ECMAScript", `[\b]`, true, "\b", []string{"\b"}},
		{"ECMAScript", `[-a]+[a-]`, true, "a-a", []string{"a-a"}},
		{"ECMAScript", `^[^\W_]+$`, true, "ab_", nil},
		{"ECMAScript", ``, true, "x", []string{""}},
		{"ECMAScript", `\bfoo\b`, true, "a foo b", []string{"foo"}},
		{"Wildcard", `blog/*`, true, "blog/a/b", []string{"blog/a/b", "a/b"}},
		{"Wildcard", `blog/*`, true, "x/blog/a", nil},
		{"Wildcard", `blog/*`, true, "blog/", []string{"blog/", ""}},
		{"Wildcard", `*/*.html`, true, "contoso/test.html", []string{"contoso/test.html", "contoso", "test"}},
		{"Wildcard", `/Scripts/*_in.???`, true, "/scripts/a_in.asp", []string{"/scripts/a_in.asp", "a"}},
		{"Wildcard", `/Scripts/*_in.???`, true, "/scripts/a_in.aspx", nil},
		{"Wildcard", `a.b`, true, "aXb", nil},
		{"Wildcard", `a+(b){2}[c]$^|\`, true, `a+(b){2}[c]$^|\`, []string{`a+(b){2}[c]$^|\`}},
		{"Wildcard", `é*`, true, "Éa", []string{"Éa", "a"}},
		{"ExactMatch", `a.example.com`, true, "A.example.com", []string{"A.example.com"}},
		{"ExactMatch", `a.example.com`, true, "evil-a.example.com.org", nil},
		{"ExactMatch", `a.b`, false, "A.b", nil},
		{"ExactMatch", `k`, true, "\u212a", nil},
	} {
		p, err := ecma.Compile(c.pattern, c.syntax, c.fold)
		if err != nil {
			t.Errorf("%s %q: %v", c.syntax, c.pattern, err)
			continue
		}
		got, ok, err := p.Match(c.text)
		if err != nil || ok != (c.want != nil) || !slices.Equal(got, c.want) {
			t.Errorf("%s %q on %q: %q %v %v, want %q", c.syntax, c.pattern, c.text, got, ok, err, c.want)
		}
	}
}

// TestRefused: what the grammar of the third edition does not have.
func TestRefused(t *testing.T) {
	for _, pattern := range []string{
		`^/{C:1}`, `a{`, `a{,2}`, `{`, `a{3,2}`, `a++`, `a**`, `*.htm`, `(a`, `a)`, `a\`, `[z-a]`, `[a`, `[]`, `[^]`, `[[:alpha:]]`, `(?<=a)b`, `(?<!a)b`,
		`(?<x>a)`, `(?P<x>a)`, `(?i)abc`, `(?>a)`, `(?#c)`, `(?(a)b)`, `\A`, `\Z`, `\p{L}`, `\e`, `\1`, `(a)\2`, `\x4`, `\u00`, `\uD800`, `^*`, `(?=a)*`, `\b+`, `\01`,
		`[\d-z]`, `[a-\w]`, `\é`, "\xff", strings.Repeat("(", 300) + strings.Repeat(")", 300), strings.Repeat("a", 20000),
	} {
		_, err := ecma.Compile(pattern, ecma.ECMAScript, true)
		if _, ok := errors.AsType[*ecma.SyntaxError](err); !ok {
			t.Errorf("%.40q: %v, want a syntax error", pattern, err)
		}
	}
	if _, err := ecma.Compile("a", "ecmascript", true); err == nil {
		t.Error("an unknown syntax is not refused")
	}
}

// TestNoAnswer: a match that takes too long, and text that no rule may see.
func TestNoAnswer(t *testing.T) {
	slow, err := ecma.Compile(`^(a+)+\1?$`, ecma.ECMAScript, true)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, _, err = slow.Match(strings.Repeat("a", 200) + "!")
	if !errors.Is(err, ecma.ErrTimeout) || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	for _, text := range []string{"a\nb", "a\r", "\xff", strings.Repeat("a", ecma.MaxInput+1)} {
		if _, ok, err := slow.Match(text); ok || !errors.Is(err, ecma.ErrInput) {
			t.Errorf("%.10q: %v %v", text, ok, err)
		}
	}
	fast, err := ecma.Compile(`^(?:a+)+$`, ecma.ECMAScript, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := fast.Match(strings.Repeat("a", 20000) + "!"); ok || err != nil {
		t.Errorf("the linear engine: %v %v", ok, err)
	}
}

// piece generates patterns of the grammar.
func piece(depth int) *rapid.Generator[string] {
	leaf := rapid.SampledFrom([]string{"a", "b", "/", "k", "s", ".", `\.`, `\d`, `\w`, `\S`, `[\W_]`, `[^\W]`, "\u017f", "[\u212a1]", "[^\u017f]", "[\u0100-\u3000]", "[ab]", "[^a]", "[a-k]", `\b`, "^", "$", "1"})
	if depth == 0 {
		return leaf
	}
	return rapid.Custom(func(t *rapid.T) string {
		inner := piece(depth - 1)
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return "(" + inner.Draw(t, "group") + ")"
		case 1:
			return "(?:" + inner.Draw(t, "left") + "|" + inner.Draw(t, "right") + ")"
		case 2:
			return "(?:" + inner.Draw(t, "repeated") + ")" + rapid.SampledFrom([]string{"*", "+", "?", "{1,2}", "*?", "+?"}).Draw(t, "quantifier")
		case 3, 4:
			return inner.Draw(t, "first") + inner.Draw(t, "second")
		}
		return leaf.Draw(t, "leaf")
	})
}

// TestEnginesAgree: where both engines may run a pattern, they give the same captures. A
// character outside of ASCII behind the end of what matters sends the text to the other
// engine.
func TestEnginesAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := piece(3).Draw(t, "pattern")
		fold := rapid.Bool().Draw(t, "fold")
		text := rapid.StringMatching(`[abkKsS/.1 ]{0,10}`).Draw(t, "text")
		p, err := ecma.Compile(pattern, ecma.ECMAScript, fold)
		if err != nil {
			t.Fatalf("%q: %v", pattern, err)
		}
		got, ok, err := p.Match(text)
		slow, slowOK, slowErr := ecma.MatchSlowly(p, text)
		if err != nil || slowErr != nil || ok != slowOK || !slices.Equal(got, slow) {
			t.Fatalf("%q on %q: %q %v %v, and %q %v %v", pattern, text, got, ok, err, slow, slowOK, slowErr)
		}
	})
}

// FuzzCompile: any text is compiled or refused, and a compiled pattern gives an answer.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`^(a|b)+[^\d]{2,}\1(?!x)$`, `a{1}`, `[\b-\xff]`, `\u0041`, `(?:)*`, `[]`, `*`} {
		f.Add(s, "aab/1")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		for _, syntax := range []ecma.Syntax{ecma.ECMAScript, ecma.Wildcard, ecma.ExactMatch} {
			p, err := ecma.Compile(pattern, syntax, true)
			if err != nil {
				if syntax == ecma.ExactMatch {
					t.Error(err)
				}
				continue
			}
			captures, ok, err := p.Match(text)
			if ok != (captures != nil) || ok && err != nil || ok && len(captures) != p.Groups()+1 {
				t.Errorf("%q on %q: %q %v %v", pattern, text, captures, ok, err)
			}
		}
	})
}

var typical = []string{
	`^article/([0-9]+)/([_0-9a-z-]+)`, `(.*)`, `^(.*[^/])$`, `\.(gif|jpg|png|css|js)$`, `^blog/([_0-9a-z-]+)/([0-9]+)`, `^(www\.)?example\.com$`, `^$`,
	`(?:^|&)id=([0-9]+)(?:&|$)`,
}

// BenchmarkCompile compiles typical patterns that the cache does not have.
func BenchmarkCompile(b *testing.B) {
	n := 0
	for b.Loop() {
		for _, p := range typical {
			n++
			if _, err := ecma.Compile(p+strings.Repeat("x", n%100)+regexp.QuoteMeta(strings.Repeat("y", n/100%100)), ecma.ECMAScript, true); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkMatch tries typical patterns on a text.
func BenchmarkMatch(b *testing.B) {
	b.ReportAllocs()
	var patterns []*ecma.Pattern
	for _, text := range typical {
		p, err := ecma.Compile(text, ecma.ECMAScript, true)
		if err != nil {
			b.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	for b.Loop() {
		for _, p := range patterns {
			if _, _, err := p.Match("article/234/some-title"); err != nil {
				b.Fatal(err)
			}
		}
	}
}
