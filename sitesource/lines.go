package sitesource

import (
	"bytes"
	"errors"
	"hash/maphash"
	"slices"
)

var (
	errEmpty = errors.New("is empty: a program that is still writing it? to remove all sites, write a single line break")
	errUTF16 = errors.New("is UTF-16: save it as UTF-8")
)

// text returns what follows a byte order mark. It recognizes UTF-16 by its
// own, or by the zero byte that is half of its first character.
func text(data []byte) ([]byte, error) {
	if len(data) >= 2 {
		first, second := data[0], data[1]
		if first == 0 || second == 0 || first == 0xFF && second == 0xFE || first == 0xFE && second == 0xFF {
			return nil, errUTF16
		}
	}
	return bytes.TrimPrefix(data, []byte("\uFEFF")), nil
}

// span is where in the text a record stands. MaxSize fits.
type span struct{ start, end uint32 }

func (s span) of(body []byte) []byte { return body[s.start:s.end:s.end] }

// split finds the lines of the text that are not blank, and hashes what is on
// them. Their ids are left open. likely is how many there may be.
func (s *fileState) split(body []byte, likely int) []span {
	// There are not more than line breaks, but these may be all there is.
	likely = min(bytes.Count(body, []byte{'\n'})+1, max(likely, len(body)/64))
	s.lines = make([]line, 0, likely)
	spans := make([]span, 0, likely)
	for start, number := 0, uint32(1); start < len(body); number++ {
		end := len(body)
		if i := bytes.IndexByte(body[start:], '\n'); i >= 0 {
			end = start + i
		}
		if from, to := trim(body, start, end); from < to {
			s.lines = append(s.lines, line{hash: maphash.Bytes(s.seed, body[from:to]), number: number})
			spans = append(spans, span{uint32(from), uint32(to)})
		}
		start = end + 1
	}
	if spare := cap(s.lines) - len(s.lines); spare > 64+len(s.lines)/32 {
		s.lines = slices.Clone(s.lines) // it stays in memory
	}
	return spans
}

// trim takes white space off both ends of a line.
func trim(body []byte, start, end int) (from, to int) {
	for start < end && space(body[start]) {
		start++
	}
	for start < end && space(body[end-1]) {
		end--
	}
	return start, end
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
