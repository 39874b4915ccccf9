package rewrite

import (
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

func writeEscape(sb *strings.Builder, c byte) {
	sb.WriteByte('%')
	sb.WriteByte(hexDigits[c>>4])
	sb.WriteByte(hexDigits[c&15])
}

func isUnreserved(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// encodeAll is UrlEncode: all but unreserved characters (RFC 3986, 2.3).
func encodeAll(s string) string {
	var sb strings.Builder
	sb.Grow(len(s))
	for i := range len(s) {
		if isUnreserved(s[i]) {
			sb.WriteByte(s[i])
		} else {
			writeEscape(&sb, s[i])
		}
	}
	return sb.String()
}

func validEscape(s string, i int) bool {
	return i+2 < len(s) && s[i] == '%' && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}

// decodeValid is UrlDecode: what is no escape stays, and so does text whose bytes would
// not be UTF-8.
func decodeValid(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if validEscape(s, i) {
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	if !utf8.Valid(out) {
		return s
	}
	return string(out)
}

// pathCharacters may stand in a path as they are (RFC 3986, 3.3).
func pathCharacter(c byte) bool {
	return isUnreserved(c) || strings.IndexByte("/!$&'()*+,;=:@", c) >= 0
}

// encodePath encodes a decoded path. With keep, valid escapes stay.
func encodePath(s string, keep bool) string {
	var sb strings.Builder
	sb.Grow(len(s))
	for i := range len(s) {
		switch {
		case pathCharacter(s[i]), keep && validEscape(s, i):
			sb.WriteByte(s[i])
		default:
			writeEscape(&sb, s[i])
		}
	}
	return sb.String()
}

// encodeQuery encodes what cannot stand in a query.
func encodeQuery(s string) string {
	var sb strings.Builder
	sb.Grow(len(s))
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>#`\\^{|}", c) >= 0 {
			writeEscape(&sb, c)
			continue
		}
		sb.WriteByte(s[i])
	}
	return sb.String()
}
