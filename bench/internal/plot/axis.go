package plot

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// axis is a logarithmic axis from one power of ten to another, drawn from one
// pixel to another.
type axis struct {
	low, high int // exponents
	from, to  float64
}

// axes returns axes that hold all points.
func (c *Chart) axes() (xs, ys axis) {
	xs = axis{low: math.MaxInt, high: math.MinInt, from: left, to: width - right}
	ys = axis{low: math.MaxInt, high: math.MinInt, from: height - bottom, to: top}
	for _, s := range c.Series {
		for _, p := range s.Points {
			if drawable(p) {
				xs.include(p.X)
				ys.include(p.Y)
			}
		}
	}
	xs.settle()
	ys.settle()
	return xs, ys
}

func (a *axis) include(v float64) {
	const slack = 1e-9 // for 1000 to be 10 to the power of 3
	exponent := math.Log10(v)
	a.low = min(a.low, int(math.Floor(exponent+slack)))
	a.high = max(a.high, int(math.Ceil(exponent-slack)))
}

// settle makes an axis of one power of ten at least.
func (a *axis) settle() {
	if a.low > a.high {
		a.low, a.high = 0, 1
	}
	if a.low == a.high {
		a.high++
	}
}

func (a *axis) at(v float64) float64 {
	share := (math.Log10(v) - float64(a.low)) / float64(a.high-a.low)
	return a.from + share*(a.to-a.from)
}

// draw draws the axis with a line across the chart at each power of ten.
func (a *axis) draw(b *strings.Builder, label string, horizontal bool) {
	for e := a.low; e <= a.high; e++ {
		at := a.at(math.Pow10(e))
		if horizontal {
			fmt.Fprintf(b, `<path d="M%.1f %d V%d" stroke="#ddd"/>`, at, height-bottom, top)
			fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", at, height-bottom+16, tick(e))
		} else {
			fmt.Fprintf(b, `<path d="M%d %.1f H%d" stroke="#ddd"/>`, left, at, width-right)
			fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left-6, at+4, tick(e))
		}
	}
	label = html.EscapeString(label)
	if horizontal {
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-8, label)
		return
	}
	fmt.Fprintf(b, `<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, label)
}

// tick is a power of ten in figures: 0.01, 1, 10,000.
func tick(exponent int) string {
	if exponent < 0 {
		return fmt.Sprintf("%.*f", -exponent, math.Pow10(exponent))
	}
	digits := "1" + strings.Repeat("0", exponent)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
