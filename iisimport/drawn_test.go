package iisimport_test

import (
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
)

var reAhead = regexp.MustCompile(`\(\?[!=][^)]*\)`)

// some makes a text that often fits a pattern, of plain letters.
func some(draw *rand.Rand, pattern string) string {
	re, err := syntax.Parse(reAhead.ReplaceAllString(pattern, ""), syntax.Perl)
	if err != nil || draw.IntN(5) == 0 {
		return []string{"", "a", "css/a.css", "sub/", "Other-1", "x/y/z.txt", "index.html"}[draw.IntN(7)]
	}
	var sb strings.Builder
	drawText(draw, &sb, re)
	text := sb.String()
	if draw.IntN(4) == 0 {
		text = "a" + text // few patterns begin at the beginning
	}
	if draw.IntN(6) == 0 {
		text += "/x"
	}
	return text
}

func drawText(draw *rand.Rand, sb *strings.Builder, re *syntax.Regexp) {
	repeat := func(from, to int) {
		for range from + draw.IntN(to-from+1) {
			drawText(draw, sb, re.Sub[0])
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		sb.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		drawRune(draw, sb, re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		sb.WriteByte("ab1-/."[draw.IntN(6)])
	case syntax.OpStar:
		repeat(0, 3)
	case syntax.OpPlus:
		repeat(1, 3)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		repeat(re.Min, max(re.Max, re.Min))
	case syntax.OpCapture:
		drawText(draw, sb, re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			drawText(draw, sb, sub)
		}
	case syntax.OpAlternate:
		drawText(draw, sb, re.Sub[draw.IntN(len(re.Sub))])
	}
}

// drawRune takes a letter of a class, a plain one if there is one.
func drawRune(draw *rand.Rand, sb *strings.Builder, ranges []rune) {
	var plain []byte
	for c := byte('!'); c <= '~'; c++ {
		for i := 0; i < len(ranges); i += 2 {
			if rune(c) >= ranges[i] && rune(c) <= ranges[i+1] && strings.IndexByte(`"%<>\^{|}#`+"`", c) < 0 {
				plain = append(plain, c)
			}
		}
	}
	if len(plain) == 0 {
		sb.WriteRune(ranges[0])
		return
	}
	sb.WriteByte(plain[draw.IntN(len(plain))])
}
