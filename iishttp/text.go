package iishttp

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// foldLoosely returns a form of a text in which all spellings are equal that
// any table takes for the same without regard to case: K (U+212A) is k, and ſ
// (U+017F) s. Lists that refuse compare by it. Lists that let something through
// compare by winpath.Fold, to which these are different.
func foldLoosely(s string) string {
	i := 0
	for i < len(s) && s[i] < utf8.RuneSelf && (s[i] < 'A' || s[i] > 'Z') {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:i])
	for _, r := range s[i:] {
		b.WriteRune(foldRuneLoosely(r))
	}
	return b.String()
}

func foldRuneLoosely(r rune) rune {
	if r < utf8.RuneSelf {
		return asciiLower(r)
	}
	if upper := unicode.ToUpper(r); upper < utf8.RuneSelf {
		return asciiLower(upper)
	}
	if lower := unicode.ToLower(r); lower < utf8.RuneSelf {
		return lower
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return least
}

func asciiLower(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

// unescapeLoosely decodes the escapes of a text that are escapes, %XX and
// %uXXXX, and leaves all else.
func unescapeLoosely(s string) string {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s
	}
	out := append(make([]byte, 0, len(s)), s[:i]...)
	for i < len(s) {
		switch n := escapeLen(s[i:]); n {
		case 3:
			out = append(out, hexValue(s[i+1])<<4|hexValue(s[i+2]))
			i += n
		case 6:
			var r rune
			for j := 2; j < n; j++ {
				r = r<<4 | rune(hexValue(s[i+j]))
			}
			out = utf8.AppendRune(out, r)
			i += n
		default:
			out = append(out, s[i])
			i++
		}
	}
	return string(out)
}

// escapeLen is the length of the escape that a text begins with, %XX or %uXXXX,
// or 0.
func escapeLen(s string) int {
	if len(s) >= 3 && s[0] == '%' && isHex(s[1]) && isHex(s[2]) {
		return 3
	}
	if len(s) >= 6 && s[0] == '%' && (s[1] == 'u' || s[1] == 'U') && isHex(s[2]) && isHex(s[3]) && isHex(s[4]) && isHex(s[5]) {
		return 6
	}
	return 0
}

// hasEscape tells whether something in a text can be decoded.
func hasEscape(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0 && i < len(s); i++ {
		if escapeLen(s[i:]) > 0 {
			return true
		}
	}
	return false
}

// hasUnescapedPercent tells whether a text has a percent sign that begins no
// escape.
func hasUnescapedPercent(s string) bool {
	for i := range len(s) {
		if s[i] == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])) {
			return true
		}
	}
	return false
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// isASCII tells whether a text has no character above U+007F.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
