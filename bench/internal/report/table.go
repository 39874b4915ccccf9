package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/caddy-iis/caddy-iis/bench/internal/stats"
)

// Table is a table in Markdown, with numbers to the right of the first columns.
type Table struct {
	Head []string
	Left int // how many columns are text
	Rows [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// WriteTo writes the table, and an empty line behind it.
func (t *Table) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	row := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	row(t.Head)
	for i := range t.Head {
		if i < t.Left {
			b.WriteString("|---")
		} else {
			b.WriteString("|---:")
		}
	}
	b.WriteString("|\n")
	for _, cells := range t.Rows {
		row(cells)
	}
	b.WriteString("\n")
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// Cell is the median of a metric, with the extremes, divided by a unit; or why
// there is none.
func (l *Log) Cell(key Key, metric string, unit float64) string {
	values := l.Values(key, metric)
	note := l.Note(key, metric)
	if len(values) == 0 {
		if note == "" {
			return "-"
		}
		return note
	}
	for i := range values {
		values[i] /= unit
	}
	text := Spread(stats.Of(values))
	if note != "" {
		text += "; " + note
	}
	return text
}

// Spread is a summary as text: 1,234 (1,200–1,300).
func Spread(s stats.Summary) string {
	if s.N == 0 {
		return "-"
	}
	if s.N == 1 {
		return Number(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", Number(s.Median), Number(s.Min), Number(s.Max))
}

// Number is a number with three digits that count, or all digits of its whole
// part.
func Number(v float64) string {
	if v == math.Trunc(v) {
		return thousands(fmt.Sprintf("%.0f", v))
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	if decimals > 0 {
		return fmt.Sprintf("%.*f", decimals, v)
	}
	return thousands(fmt.Sprintf("%.0f", v))
}

// Count is a whole number with separators.
func Count(n int) string { return thousands(fmt.Sprint(n)) }

func thousands(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
