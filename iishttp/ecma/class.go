package ecma

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// runeRange is a range of characters, both ends included.
type runeRange struct{ low, high rune }

// lastRune ends the complements of classes.
const lastRune = 0x10ffff

// The classes of ECMA-262, 15.10.2.12 with 7.2 and 7.3.
var (
	digits       = []runeRange{{'0', '9'}}
	wordRunes    = []runeRange{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}
	spaces       = []runeRange{{'\t', '\r'}, {' ', ' '}, {0xa0, 0xa0}, {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}}
	lineEnds     = []runeRange{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}
	anyCharacter = complement(lineEnds)
)

// complement of sorted ranges.
func complement(ranges []runeRange) []runeRange {
	var out []runeRange
	next := rune(0)
	for _, r := range ranges {
		if r.low > next {
			out = append(out, runeRange{next, r.low - 1})
		}
		next = r.high + 1
	}
	if next <= lastRune {
		out = append(out, runeRange{next, lastRune})
	}
	return out
}

var classes = map[byte][]runeRange{
	'd': digits, 'D': complement(digits), 'w': wordRunes, 'W': complement(wordRunes), 's': spaces, 'S': complement(spaces),
}

// set writes a class. What reaches to the last character is written as what it leaves
// out, which both engines compile fastest.
func (x *parser) set(ranges []runeRange) {
	if len(ranges) > 0 && ranges[len(ranges)-1].high == lastRune {
		x.ranges(true, complement(ranges))
		return
	}
	x.ranges(false, ranges)
}

// ranges writes a class for both engines. Go's regexp gets the ASCII characters of it
// alone, for it sees no others, and without regard to case it would take U+017F for s and
// U+212A for k, which ECMAScript does not.
func (x *parser) ranges(negated bool, ranges []runeRange) {
	open := "["
	if negated {
		open = "[^"
	}
	x.back.WriteString(open)
	for _, r := range ranges {
		writeRange(&x.back, r, `\u%04x`)
	}
	x.back.WriteByte(']')
	if !slices.ContainsFunc(ranges, func(r runeRange) bool { return r.low < utf8.RuneSelf }) {
		x.lin.WriteString(map[bool]string{true: anything, false: nothing}[negated])
		return
	}
	x.lin.WriteString(open)
	for _, r := range ranges {
		if r.low < utf8.RuneSelf {
			writeRange(&x.lin, runeRange{r.low, min(r.high, utf8.RuneSelf-1)}, `\x{%x}`)
		}
	}
	x.lin.WriteByte(']')
}

// Classes of Go's regexp that all characters are in, and none.
const (
	anything = `[\x{0}-\x{10ffff}]`
	nothing  = `[^\x{0}-\x{10ffff}]`
)

func writeRange(sb *strings.Builder, r runeRange, escape string) {
	writeClassRune(sb, r.low, escape)
	if r.high > r.low {
		sb.WriteByte('-')
		writeClassRune(sb, r.high, escape)
	}
}

// writeClassRune writes one end of a range.
func writeClassRune(sb *strings.Builder, r rune, escape string) {
	if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 0xffff {
		sb.WriteRune(r)
		return
	}
	fmt.Fprintf(sb, escape, r)
}

// class reads what is in brackets.
func (x *parser) class() {
	open := x.at
	x.at++
	negated := x.peek() == '^'
	if negated {
		x.at++
	}
	if x.peek() == ']' {
		x.at = open
		x.fail("an empty class")
	}
	var all []runeRange
	for x.peek() != ']' {
		if !x.more() {
			x.at = open
			x.fail("a class that is not closed")
		}
		all = append(all, x.classRanges()...)
	}
	x.at++
	x.ranges(negated, all)
}

// classRanges reads one character, range or escape of a class.
func (x *parser) classRanges() []runeRange {
	start := x.at
	if rest := x.text[x.at:]; len(rest) > 1 && rest[0] == '[' && strings.ContainsAny(rest[1:2], ":.=") {
		x.fail("a named class")
	}
	low, set := x.classAtom()
	if x.peek() != '-' || x.at+1 >= len(x.text) || x.text[x.at+1] == ']' {
		if set != nil {
			return set
		}
		return []runeRange{{low, low}}
	}
	x.at++
	high, highSet := x.classAtom()
	if set != nil || highSet != nil || high < low {
		x.at = start
		x.fail("a range that is none")
	}
	return []runeRange{{low, high}}
}

func (x *parser) classAtom() (rune, []runeRange) {
	if x.peek() != '\\' {
		r, size := utf8.DecodeRuneInString(x.text[x.at:])
		x.at += size
		return r, nil
	}
	x.at++
	if set := classes[x.peek()]; set != nil && x.more() {
		x.at++
		return 0, set
	}
	if x.peek() == 'b' {
		x.at++
		return '\b', nil
	}
	return x.escaped(), nil
}

// escape reads an escape outside of a class.
func (x *parser) escape() (p part, assertion bool) {
	x.at++
	c := x.peek()
	switch {
	case !x.more():
		x.at--
		x.fail("a backslash at the end")
	case c == 'b', c == 'B':
		x.at++
		x.both(`\` + string(c))
		return part{empty: true}, true
	case classes[c] != nil:
		x.at++
		x.set(classes[c])
		return part{}, false
	case c >= '1' && c <= '9':
		return x.backReference(), false
	}
	x.literal(x.escaped())
	return part{}, false
}

// backReference may be to a group that comes later, which is empty then.
func (x *parser) backReference() part {
	start := x.at - 1
	begin := x.at
	for x.more() && x.peek() >= '0' && x.peek() <= '9' {
		x.at++
	}
	n, err := strconv.Atoi(x.text[begin:x.at])
	if err != nil || n > maxPattern {
		x.at = start
		x.fail("a reference to a group that is not there")
	}
	x.refs = append(x.refs, reference{n, start})
	x.differs = true
	x.back.WriteString("(?:\\" + strconv.Itoa(n) + ")")
	return part{empty: true}
}

var controls = map[byte]rune{'t': '\t', 'n': '\n', 'v': '\v', 'f': '\f', 'r': '\r'}

// escaped reads the character of an escape, behind the backslash.
func (x *parser) escaped() rune {
	if !x.more() {
		x.at--
		x.fail("a backslash at the end")
	}
	r, size := utf8.DecodeRuneInString(x.text[x.at:])
	c := x.text[x.at]
	switch {
	case controls[c] != 0:
		x.at++
		return controls[c]
	case c == 'c' && x.at+1 < len(x.text) && isLetter(x.text[x.at+1]):
		x.at += 2
		return rune(x.text[x.at-1] & 31)
	case c == 'x':
		return x.hex(2)
	case c == 'u':
		return x.hex(4)
	case c == '0' && (x.at+1 >= len(x.text) || x.text[x.at+1] < '0' || x.text[x.at+1] > '9'):
		x.at++
		return 0
	case isLetter(c), c >= '0' && c <= '9', r >= utf8.RuneSelf:
		x.fail(fmt.Sprintf(`the escape \%c, which ECMAScript does not have`, r))
	}
	x.at += size
	return r
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func (x *parser) hex(digits int) rune {
	end := x.at + 1 + digits
	if end <= len(x.text) {
		if n, err := strconv.ParseUint(x.text[x.at+1:end], 16, 32); err == nil && (n < 0xd800 || n > 0xdfff) {
			x.at = end
			return rune(n)
		}
	}
	x.fail("an escape without its hexadecimal digits")
	return 0
}
