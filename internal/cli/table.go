package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// color is a colour of a terminal.
type color string

const (
	plain  color = ""
	red    color = "31"
	green  color = "32"
	yellow color = "33"
	bold   color = "1"
)

// paint colours a text, if the terminal shows colours.
func (e *Env) paint(c color, text string) string {
	if !e.Color || c == plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// cell is a text in a table.
type cell struct {
	text  string
	color color
}

func text(s string) cell { return cell{text: s} }

func number(n int) cell { return cell{text: fmt.Sprint(n)} }

// table is aligned text under headings. If it is wider than the terminal, the
// columns named in flex are shortened, the widest first.
type table struct {
	heads []string
	flex  []int
	rows  [][]cell
}

// add adds a row. What controls a terminal is shown as an escape: cells have texts of others
// in them, such as who made a change with SQL, and no row may look like two.
func (t *table) add(cells ...cell) {
	for i, c := range cells {
		if strings.ContainsFunc(c.text, unprintable) {
			cells[i].text = escape(c.text)
		}
	}
	t.rows = append(t.rows, cells)
}

// unprintable tells of characters that do something else than to stand there: controls, and
// formats such as those that turn the direction of a text around.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError
}

func escape(s string) string {
	var sb strings.Builder
	for _, r := range s {
		if unprintable(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			sb.WriteString(quoted[1 : len(quoted)-1])
			continue
		}
		sb.WriteRune(r)
	}
	return sb.String()
}

const (
	gap      = 2  // blanks between columns
	minWidth = 12 // of a column that is shortened
)

// widths returns the widths of the columns that fit the terminal.
func (t *table) widths(limit int) []int {
	widths := make([]int, len(t.heads))
	total := gap * (len(t.heads) - 1)
	for i, head := range t.heads {
		widths[i] = utf8.RuneCountInString(head)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
		total += widths[i]
	}
	for limit > 0 && total > limit {
		widest := -1
		for _, i := range t.flex {
			if widths[i] > minWidth && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	return widths
}

// write writes the table.
func (e *Env) write(t *table) error { return t.writeTo(e, e.Out) }

func (t *table) writeTo(e *Env, w io.Writer) error {
	widths := t.widths(e.Width)
	heads := make([]cell, len(t.heads))
	for i, head := range t.heads {
		heads[i] = cell{head, bold}
	}
	for _, row := range append([][]cell{heads}, t.rows...) {
		if _, err := fmt.Fprintln(w, t.line(e, row, widths)); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) line(e *Env, row []cell, widths []int) string {
	var sb strings.Builder
	pending := 0 // blanks before the next text, so that no line ends with any
	for i, c := range row {
		shown := shorten(c.text, widths[i])
		if shown != "" {
			sb.WriteString(strings.Repeat(" ", pending))
			sb.WriteString(e.paint(c.color, shown))
			pending = 0
		}
		pending += widths[i] - utf8.RuneCountInString(shown) + gap
	}
	return sb.String()
}

// shorten cuts a text to a width.
func shorten(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}
