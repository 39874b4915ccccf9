package iisimport

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

// Directive is a line of a Caddyfile with the block that follows it. Its words
// are as Caddy is to see them.
type Directive struct {
	Comments []string
	Words    []string // none: comments alone
	Block    []*Directive
	hasBlock bool
	slots    []slot
}

func directive(words ...string) *Directive { return &Directive{Words: words} }

func comment(text string) *Directive { return &Directive{Comments: []string{text}} }

func block(kids []*Directive, words ...string) *Directive {
	return &Directive{Words: words, Block: kids, hasBlock: true}
}

func (d *Directive) because(text string) *Directive {
	d.Comments = append(d.Comments, text)
	return d
}

// literal makes text of the source mean itself where Caddy replaces placeholders:
// a hostile source could else read the environment of Caddy.
func literal(text string) string {
	return strings.NewReplacer("{", `\{`, "}", `\}`).Replace(text)
}

var (
	// reOwnVariable are the variables of the environment that an import writes itself.
	reOwnVariable = regexp.MustCompile(`^\{\$IIS_(?:UPSTREAM|FASTCGI):([A-Za-z0-9_./:@%+,=~*&?\[\]-]+)\}$`)
	// rePlaceholder is what the adapter replaces in any word of a site, {path} or {re.name.1},
	// and what a directive may replace when it answers.
	rePlaceholder = regexp.MustCompile(`\{[a-z%?][a-zA-Z0-9_.?\[\]-]*\}`)
)

// expressible tells whether a Caddyfile can hold text exactly as it is, as a word of
// its own, for a directive that does not replace placeholders.
func expressible(text string) bool {
	if _, ok := caddytext.Quote(text); !ok {
		return false
	}
	return text != "{" && text != "}" && !rePlaceholder.MatchString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar || r == '\ufeff'
	})
}

// word writes one word of a Caddyfile. What no word can be is changed: texts that must be
// exact are asked about by expressible.
func word(w string) string {
	if reOwnVariable.MatchString(w) {
		return w
	}
	quoted, ok := caddytext.Quote(w)
	if !ok {
		quoted, _ = caddytext.Quote(prose(w))
	}
	return quoted
}

// prose makes text of the source a word that people read.
func prose(text string) string { return strings.ReplaceAll(commentText(text), "`", "'") }

// oneLine keeps text of the source in its line.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune { // also what is not UTF-8 becomes U+FFFD
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			return -1
		}
		return r
	}, text)
	const longest = 500
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "..."
	}
	return text
}

func commentText(text string) string {
	return strings.ReplaceAll(oneLine(text), caddytext.EnvVariable, "{ $")
}

// writeDirectives writes a list as it stands at a depth.
func writeDirectives(sb *strings.Builder, list []*Directive, depth int) {
	tabs := strings.Repeat("\t", depth)
	for _, d := range list {
		for _, c := range d.Comments {
			sb.WriteString(tabs + "# " + commentText(c) + "\n")
		}
		if len(d.Words) == 0 {
			continue
		}
		sb.WriteString(tabs)
		d.writeWords(sb)
		if d.hasBlock {
			sb.WriteString(" {\n")
			writeDirectives(sb, d.Block, depth+1)
			sb.WriteString(tabs + "}")
		}
		sb.WriteByte('\n')
	}
}

func (d *Directive) writeWords(sb *strings.Builder) {
	for i, w := range d.Words {
		if i > 0 {
			sb.WriteByte(' ')
		}
		sb.WriteString(word(w))
	}
}

// plainText is what directives do, without comments: equal texts do the same.
func plainText(list []*Directive) string {
	var sb strings.Builder
	writePlain(&sb, list)
	return sb.String()
}

func writePlain(sb *strings.Builder, list []*Directive) {
	for _, d := range list {
		if len(d.Words) == 0 {
			continue
		}
		d.writeWords(sb)
		if d.hasBlock {
			sb.WriteString(" {\n")
			writePlain(sb, d.Block)
			sb.WriteString("}")
		}
		sb.WriteByte('\n')
	}
}
