// Package plot draws charts with logarithmic axes as SVG. They have a white
// background, so that they are readable on dark pages too.
package plot

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Point is a point of a series. Both coordinates must be above 0.
type Point struct{ X, Y float64 }

// Series is a line with a name.
type Series struct {
	Name   string
	Points []Point
}

// Chart is one chart.
type Chart struct {
	Title  string
	XLabel string
	YLabel string
	Series []Series
}

// Sizes in pixels.
const (
	width, height             = 440, 300 // of one chart
	left, right, top, bottom  = 74, 28, 34, 44
	legendLine, legendPadding = 24, 16
	columns                   = 2
)

// colors are told apart by people with the usual colour blindness (Okabe, Ito);
// dashes help on paper.
var (
	colors = []string{"#d55e00", "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#000000", "#e69f00", "#999999"}
	dashes = []string{"", "6 3", "2 3", "8 3 2 3", "4 2", "1 2", "10 3", "3 6"}
)

// Write draws charts side by side, with one legend for all of them.
func Write(w io.Writer, charts ...Chart) error {
	rows := (len(charts) + columns - 1) / columns
	names := seriesNames(charts)
	total := rows*height + legendLine + legendPadding
	var b strings.Builder
	wide := width * min(columns, max(1, len(charts)))
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12" fill="#222">`+"\n",
		wide, total, wide, total)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", wide, total)
	for i, chart := range charts {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%columns*width, i/columns*height)
		chart.draw(&b, names)
		b.WriteString("</g>\n")
	}
	drawLegend(&b, names, rows*height+legendPadding)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// seriesNames lists the names of all series in the order of their appearance.
func seriesNames(charts []Chart) []string {
	var names []string
	seen := make(map[string]bool)
	for _, chart := range charts {
		for _, s := range chart.Series {
			if !seen[s.Name] {
				seen[s.Name] = true
				names = append(names, s.Name)
			}
		}
	}
	return names
}

func drawLegend(b *strings.Builder, names []string, y int) {
	x := left
	for i, name := range names {
		fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" %s/>`, x, y, x+26, y, stroke(i))
		fmt.Fprintf(b, `<text x="%d" y="%d">%s</text>`+"\n", x+32, y+4, html.EscapeString(name))
		x += 50 + 8*len(name)
	}
}

func stroke(i int) string {
	return fmt.Sprintf(`fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"`, colors[i%len(colors)], dashes[i%len(dashes)])
}

func (c *Chart) draw(b *strings.Builder, names []string) {
	xs, ys := c.axes()
	fmt.Fprintf(b, `<text x="%d" y="20" font-weight="bold">%s</text>`+"\n", left, html.EscapeString(c.Title))
	xs.draw(b, c.XLabel, true)
	ys.draw(b, c.YLabel, false)
	for i, name := range names {
		for _, s := range c.Series {
			if s.Name == name {
				s.draw(b, i, xs, ys)
			}
		}
	}
}

func (s *Series) draw(b *strings.Builder, color int, xs, ys axis) {
	var path []string
	for _, p := range s.Points {
		if drawable(p) {
			path = append(path, fmt.Sprintf("%.1f,%.1f", xs.at(p.X), ys.at(p.Y)))
		}
	}
	fmt.Fprintf(b, `<polyline points="%s" %s/>`+"\n", strings.Join(path, " "), stroke(color))
	for _, p := range path {
		x, y, _ := strings.Cut(p, ",")
		fmt.Fprintf(b, `<circle cx="%s" cy="%s" r="3" fill="%s"/>`, x, y, colors[color%len(colors)])
	}
	b.WriteString("\n")
}

func drawable(p Point) bool {
	return p.X > 0 && p.Y > 0 && !math.IsInf(p.X, 0) && !math.IsInf(p.Y, 0)
}
