package iisconfig

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// The encodings that decode tells apart.
const (
	encodingUTF8    = "utf-8"
	encodingUTF8BOM = "utf-8 with byte order mark"
	encodingUTF16LE = "utf-16le"
	encodingUTF16BE = "utf-16be"
	encodingLegacy  = "legacy code page"
)

// decode returns data as UTF-8 with plain line feeds, and the encoding it was in.
// The bytes decide, not an XML declaration: PowerShell's > and Export-Clixml write
// UTF-16LE below a declaration that says UTF-8.
func decode(data []byte) ([]byte, string) {
	switch {
	case bytes.HasPrefix(data, []byte{0xEF, 0xBB, 0xBF}):
		return newlines(data[3:]), encodingUTF8BOM
	case bytes.HasPrefix(data, []byte{0xFF, 0xFE}):
		return newlines(fromUTF16(data[2:], binary.LittleEndian)), encodingUTF16LE
	case bytes.HasPrefix(data, []byte{0xFE, 0xFF}):
		return newlines(fromUTF16(data[2:], binary.BigEndian)), encodingUTF16BE
	}
	if order := guessUTF16(data); order != nil {
		name := encodingUTF16LE
		if order == binary.BigEndian {
			name = encodingUTF16BE
		}
		return newlines(fromUTF16(data, order)), name
	}
	if utf8.Valid(data) {
		return newlines(data), encodingUTF8
	}
	return newlines(fromLegacy(data)), encodingLegacy
}

// guessUTF16 recognises UTF-16 without a byte order mark by the zero bytes that
// ASCII characters have in it.
func guessUTF16(data []byte) binary.ByteOrder {
	head := data[:min(len(data), 512)&^1]
	var even, odd int
	for i := 0; i < len(head); i += 2 {
		if head[i] == 0 {
			even++
		}
		if head[i+1] == 0 {
			odd++
		}
	}
	switch pairs := len(head) / 2; {
	case pairs == 0:
		return nil
	case even == 0 && odd*4 >= pairs*3:
		return binary.LittleEndian
	case odd == 0 && even*4 >= pairs*3:
		return binary.BigEndian
	}
	return nil
}

func fromUTF16(data []byte, order binary.ByteOrder) []byte {
	out := make([]byte, 0, len(data)/2+len(data)/8)
	for i := 0; i+1 < len(data); i += 2 {
		r := rune(order.Uint16(data[i:]))
		if utf16.IsSurrogate(r) && i+3 < len(data) {
			if pair := utf16.DecodeRune(r, rune(order.Uint16(data[i+2:]))); pair != utf8.RuneError {
				r, i = pair, i+2
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// windows1252 is where that code page differs from Latin-1.
var windows1252 = [32]rune{
	'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8D, 'Ž', 0x8F,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9D, 'ž', 'Ÿ',
}

// fromLegacy reads data as Windows-1252, so that every ASCII part is right. A
// full-width colon is kept in the three East Asian code pages, because localised
// netsh output has it between label and value.
func fromLegacy(data []byte) []byte {
	out := make([]byte, 0, len(data)+len(data)/4)
	for i := 0; i < len(data); i++ {
		c := data[i]
		if c < utf8.RuneSelf {
			out = append(out, c)
			continue
		}
		if i+1 < len(data) && wideColon(c, data[i+1]) {
			out = append(out, "："...)
			i++
			continue
		}
		r := rune(c)
		if c < 0xA0 {
			r = windows1252[c-0x80]
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// wideColon knows the full-width colon of GBK and EUC-KR, Shift-JIS, and Big5.
func wideColon(a, b byte) bool {
	return a == 0xA3 && b == 0xBA || a == 0x81 && b == 0x46 || a == 0xA1 && b == 0x47
}

// newlines makes LF of CR LF, of CR twice and LF (a text file that was converted twice)
// and, in a file without any LF, of CR.
func newlines(data []byte) []byte {
	if bytes.IndexByte(data, '\r') < 0 {
		return data
	}
	lone := bytes.IndexByte(data, '\n') < 0
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		c := data[i]
		if c != '\r' {
			out = append(out, c)
			continue
		}
		j := i
		for j < len(data) && data[j] == '\r' {
			j++
		}
		if j < len(data) && data[j] == '\n' {
			i = j - 1 // the loop goes on with the line feed
			continue
		}
		if lone {
			c = '\n'
		}
		out = append(out, c)
	}
	return out
}
