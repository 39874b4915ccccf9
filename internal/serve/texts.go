package serve

import "strings"

// texts keeps texts of very many rows in few pieces of memory: a garbage collection goes
// through all that there are. A piece stays as long as one of its texts.
type texts struct {
	piece strings.Builder
	begun int // where the texts of a row begin
	often map[string]string
}

// pieceSize is how long a piece is.
const pieceSize = 4096

// row begins a row.
func (t *texts) row() { t.begun = t.piece.Len() }

// keep returns a text in a piece. One that is part of another one of the row, as a host is
// of a folder, is there once.
func (t *texts) keep(text string) string {
	if text == "" {
		return ""
	}
	of := t.piece.String()[t.begun:]
	if at := strings.Index(of, text); at >= 0 {
		return of[at : at+len(text)]
	}
	if len(text) > t.piece.Cap()-t.piece.Len() {
		t.piece = strings.Builder{}
		t.piece.Grow(max(pieceSize, len(text)))
		t.begun = 0
	}
	t.piece.WriteString(text)
	return t.piece.String()[t.piece.Len()-len(text):]
}

// same returns a text that many rows have.
func (t *texts) same(text string) string {
	if text == "" {
		return ""
	}
	one, known := t.often[text]
	if !known {
		if t.often == nil {
			t.often = make(map[string]string)
		}
		one = strings.Clone(text)
		t.often[one] = one
	}
	return one
}
