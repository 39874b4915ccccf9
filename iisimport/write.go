package iisimport

import (
	"regexp"
	"strings"
	"unicode"
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

// envVariable starts what Caddy replaces in the text of a Caddyfile, quoted or
// not, before it is read.
const envVariable = "{$"

// literal makes text of the source mean itself where Caddy replaces placeholders:
// a hostile source could else read the environment of Caddy.
func literal(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, text)
	return strings.NewReplacer("{", `\{`, "}", `\}`).Replace(text)
}

var (
	reBare        = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=~*^&;!?()|\[\]-]+$`)
	rePlaceholder = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,=~*&?\[\]-]*(?:\{[$]?[a-z_A-Z0-9.?:/\[\]-]+\}[A-Za-z0-9_./:@%+,=~*&?\[\]-]*)+$`)
	// reShorthand is what the adapter replaces in any word of a site: {path},
	// {re.name.1}.
	reShorthand = regexp.MustCompile(`\{[a-z%?][a-zA-Z0-9_.?\[\]-]*\}`)
)

// expressible tells whether a Caddyfile can hold text exactly as it is, as a word of
// its own, for a directive that does not replace placeholders.
func expressible(text string) bool {
	switch {
	case strings.Contains(text, envVariable), reShorthand.MatchString(text), text == "{", text == "}":
		return false
	case strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar || r == '\ufeff'
	}):
		return false
	}
	// Within double quotes a backslash before a quote cannot be said.
	return !strings.Contains(text, "`") || !strings.Contains(text, `\"`) && !strings.HasSuffix(text, `\`)
}

// word writes one word of a Caddyfile. A variable of the environment that is none
// of ours is broken up; texts that must be exact are asked about by expressible.
func word(w string) string {
	switch {
	case reBare.MatchString(w), rePlaceholder.MatchString(w):
		return w
	}
	w = strings.ReplaceAll(w, envVariable, "{ $")
	if !strings.Contains(w, "`") {
		return "`" + w + "`"
	}
	w = strings.ReplaceAll(w, `"`, `\"`)
	if strings.HasSuffix(w, `\`) {
		w += " "
	}
	return `"` + w + `"`
}

// oneLine keeps text of the source in its line.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
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
	return strings.ReplaceAll(oneLine(text), envVariable, "{ $")
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
