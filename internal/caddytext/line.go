// Package caddytext writes texts as words, lines and blocks of a Caddyfile, so that Caddy
// reads exactly them.
package caddytext

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Line is a line of a Caddyfile, with the block that it opens.
type Line struct {
	Words []string
	Block []*Line
	Open  bool // a block is opened, even if nothing is in it
	JSON  any  // what is written as JSON behind the words, unless it is nil
}

// New returns a line without a block.
func New(words ...string) *Line { return &Line{Words: words} }

// Add adds lines to the block of a line.
func (l *Line) Add(lines ...*Line) *Line {
	l.Block = append(l.Block, lines...)
	return l
}

// Marshaler is implemented by modules that can say what their UnmarshalCaddyfile reads: the
// words behind their name, and their block. What they cannot say they leave out.
type Marshaler interface {
	MarshalCaddyfile() *Line
}

// Behind returns a line that begins with words before those of another one.
func (l *Line) Behind(words ...string) *Line {
	return &Line{Words: append(words, l.Words...), Block: l.Block, Open: l.Open, JSON: l.JSON}
}

// InexpressibleError is the error about a text that no word of a Caddyfile can be.
type InexpressibleError struct{ Text string }

// Error implements error.
func (e InexpressibleError) Error() string {
	return fmt.Sprintf("no word of a Caddyfile can be %q", e.Text)
}

// Text writes lines at a depth, as caddy fmt indents them.
func Text(lines []*Line, depth int) (string, error) {
	var b strings.Builder
	err := write(&b, lines, depth)
	return b.String(), err
}

func write(b *strings.Builder, lines []*Line, depth int) error {
	tabs := strings.Repeat("\t", depth)
	for _, l := range lines {
		b.WriteString(tabs)
		for i, word := range l.Words {
			if i > 0 {
				b.WriteByte(' ')
			}
			quoted, ok := Quote(word)
			if !ok || i == 0 && word == "import" { // Caddy imports by it, even in quotes
				return InexpressibleError{word}
			}
			b.WriteString(quoted)
		}
		if l.JSON != nil {
			b.WriteByte(' ')
			if err := quoteJSON(b, l.JSON, depth); err != nil {
				return err
			}
		}
		if l.Open || len(l.Block) > 0 {
			b.WriteString(" {\n")
			if err := write(b, l.Block, depth+1); err != nil {
				return err
			}
			b.WriteString(tabs + "}")
		}
		b.WriteByte('\n')
	}
	return nil
}

var (
	reBare        = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=~*^&;!?()|\[\]-]+$`)
	rePlaceholder = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=~*&?\[\]-]*(?:\{[$]?[a-z_A-Z0-9.?:/\[\]-]+\}[A-Za-z0-9_./:@%+,=~*&?\[\]-]*)+$`)
)

// Bare tells whether a word needs no quotes.
func Bare(word string) bool { return reBare.MatchString(word) || rePlaceholder.MatchString(word) }

// EnvVariable starts what Caddy replaces in the text of a Caddyfile, quoted or not.
const EnvVariable = "{$"

// Quote writes a word so that Caddy reads exactly it. Some texts no word can be: what Caddy
// replaces before it reads words, line ends of Windows, which editors and caddy fmt do not keep,
// and what is not UTF-8, which it reads as U+FFFD.
func Quote(word string) (quoted string, ok bool) {
	if strings.Contains(word, EnvVariable) || strings.Contains(word, "\r") || !utf8.ValidString(word) {
		return "", false
	}
	switch {
	case Bare(word):
		return word, true
	case !strings.ContainsAny(word, "\"\\"):
		return `"` + word + `"`, true
	case !strings.Contains(word, "`"):
		return "`" + word + "`", true
	case strings.Contains(word, `\"`) || strings.HasSuffix(word, `\`):
		return "", false // within double quotes a backslash before a quote cannot be said
	}
	return `"` + strings.ReplaceAll(word, `"`, `\"`) + `"`, true
}
