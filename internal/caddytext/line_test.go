package caddytext_test

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

// hostile has what lexer and parser of Caddy give a meaning.
var hostile = rapid.OneOf(
	rapid.String(),
	rapid.StringMatching("[{}$\"`\\\\<#@*/ a-zA-Z:.?()|^+\\[\\]\n\r\té\u2028-]{0,16}"),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 12), func(b []byte) string { return string(b) }),
	rapid.SampledFrom([]string{
		"", "{", "}", "{}", "{$HOME}", "{$HOME:x}", "\\{$HOME}", "{env.HOME}", "{path}", "{args[0]}", "{block}", "{blocks.x}", "import", "(x)", "&(x)", "a{",
		"`", "\"", "\\", "\\\"", "`\\", "`\"", "`\\\"", "\"`\\", "a\\\nb", "<<EOF", "<<EOF\nx\nEOF", "#x", "a#b", "a b", "\ufeff", "\xff", "a\xc3", "\x00", "\u0085",
	}),
)

// TestQuoteIsReadBack: Caddy's parser reads the words that were meant, wherever they stand
// among others, or Quote refuses them.
func TestQuoteIsReadBack(t *testing.T) {
	t.Setenv("HOME", "not what was meant")
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(hostile, 1, 4).Draw(t, "words")
		line := caddytext.New("directive")
		for _, word := range words {
			if _, ok := caddytext.Quote(word); ok {
				line.Add(caddytext.New("inner", word, "behind"))
				line.Words = append(line.Words, word)
			} else if !strings.Contains(word, caddytext.EnvVariable) && !strings.Contains(word, "\r") && strings.ToValidUTF8(word, "") == word && !strings.Contains(word, "`") {
				t.Fatalf("%q is refused for nothing", word)
			}
		}
		text, err := caddytext.Text([]*caddytext.Line{line}, 1)
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := caddyfile.Parse("Caddyfile", []byte("a.test {\n"+text+"}\n"))
		if err != nil || len(blocks) != 1 || len(blocks[0].Segments) != 1 {
			t.Fatalf("%v %v\n%s", err, blocks, text)
		}
		var got []string
		for _, token := range blocks[0].Segments[0] {
			got = append(got, token.Text)
		}
		want := line.Words
		if len(line.Block) > 0 {
			want = append(want, "{")
			for _, inner := range line.Block {
				want = append(want, inner.Words...)
			}
			want = append(want, "}")
		}
		if strings.Join(got, "\x00|") != strings.Join(want, "\x00|") {
			t.Fatalf("%q was read back as %q\n%s", want, got, text)
		}
	})
}
