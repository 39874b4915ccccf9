package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
)

func draw(t *testing.T, charts ...Chart) string {
	t.Helper()
	var svg strings.Builder
	if err := Write(&svg, charts...); err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(strings.NewReader(svg.String()))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg.String())
		}
	}
	if strings.Contains(svg.String(), "NaN") || strings.Contains(svg.String(), "Inf") {
		t.Errorf("numbers that are none:\n%s", svg.String())
	}
	return svg.String()
}

func TestLine(t *testing.T) {
	svg := draw(t, Chart{
		Title: "Cost <of> it", XLabel: "sites", YLabel: "µs",
		Series: []Series{{Name: "a & b", Points: []Point{{1, 1}, {100, 10}, {10_000, 100}}}},
	})
	// Points one above the other by powers of ten are on a straight line from
	// corner to corner.
	if !strings.Contains(svg, `points="74.0,256.0 243.0,145.0 412.0,34.0"`) {
		t.Errorf("the line is elsewhere:\n%s", svg)
	}
	for _, text := range []string{">a &amp; b<", ">Cost &lt;of&gt; it<", ">10,000<", ">sites<", ">µs<", `fill="#fff"`} {
		if !strings.Contains(svg, text) {
			t.Errorf("%s is missing", text)
		}
	}
}

func TestPointsThatCannotBeDrawn(t *testing.T) {
	svg := draw(t, Chart{Series: []Series{
		{Name: "a", Points: []Point{{1, 0}, {0, 1}, {10, math.Inf(1)}, {10, math.NaN()}, {100, 5}}},
		{Name: "none"},
	}})
	if n := strings.Count(svg, "<circle"); n != 1 {
		t.Errorf("%d points", n)
	}
}

func TestNothing(t *testing.T) {
	draw(t)
	draw(t, Chart{Title: "empty"})
}

func TestSeriesKeepTheirColors(t *testing.T) {
	points := []Point{{1, 1}}
	svg := draw(t,
		Chart{Series: []Series{{"a", points}, {"b", points}}},
		Chart{Series: []Series{{"b", points}}})
	fills := regexp.MustCompile(`<circle[^>]*fill="([^"]*)"`).FindAllStringSubmatch(svg, -1)
	if len(fills) != 3 || fills[1][1] != fills[2][1] || fills[0][1] == fills[1][1] {
		t.Errorf("colors %v", fills)
	}
}

func TestTicks(t *testing.T) {
	for exponent, want := range map[int]string{-2: "0.01", 0: "1", 3: "1,000", 6: "1,000,000"} {
		if got := tick(exponent); got != want {
			t.Errorf("10 to the power of %d is %s", exponent, got)
		}
	}
}
