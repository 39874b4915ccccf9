package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/plot"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
	"github.com/caddy-iis/caddy-iis/bench/internal/stats"
)

// modeTitles say what the modes are.
var modeTitles = map[load.Mode]string{
	load.Handshake: "Handshake and request, named",
	load.NoSNI:     "Handshake and request, no name",
	load.Unknown:   "Handshake, unknown name",
	load.KeepAlive: "Request on a kept connection",
}

// certsText says what the kinds of certificates are.
var certsText = map[sites.Kind]string{
	sites.One:    "one with all wildcards for all sites",
	sites.Shared: "8 wildcards, each for an eighth of the sites",
	sites.Each:   "one for each site",
}

// measureTitle is a metric, in which unit it is shown, and how.
type measureTitle struct {
	metric string
	unit   float64
	title  string
}

var otherMeasures = []measureTitle{
	{startSeconds, 1, "Start until the first right answer, seconds"},
	{startCPU, 1, "Processor time until then, seconds"},
	{rssAfterStart, 1 << 20, "Memory after the start, MiB (RSS)"},
	{rssAfterLoad, 1 << 20, "Memory after the load, MiB (RSS)"},
	{pssAfterLoad, 1 << 20, "Memory after the load, MiB, shared pages counted once (PSS)"},
	{changeMillis, 1, "One change, from the request to the first right answer, milliseconds"},
}

// plotted are those of which there is a plot, with shorter titles.
var plotted = []measureTitle{
	{startSeconds, 1, "Start, seconds"},
	{pssAfterLoad, 1 << 20, "Memory after the load, MiB (PSS)"},
	{startCPU, 1, "Start, seconds of processor time"},
	{changeMillis, 1, "One change, milliseconds"},
}

// reportCompare writes tables of medians and ratios, and plots.
func (b *bench) reportCompare(w io.Writer, sizes []int) error {
	chosen, err := b.chosen()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "Certificates: %s. Medians of %d repetitions (least–greatest).\n\n", certsText[b.certs], b.reps)
	for _, mode := range load.Modes {
		title := modeTitles[mode] + ", per second of the server's processor time"
		b.metricTable(w, sizes, chosen, measureTitle{string(mode) + perCPU, 1, title}, mode == load.Unknown)
	}
	for _, peer := range chosen {
		if peer.Name == peers.IIS || peer.Name == peers.IISSNI {
			if err := b.ratioTable(w, "compare", peer.Name, sizes); err != nil {
				return err
			}
		}
	}
	for _, mode := range load.Modes {
		title := modeTitles[mode] + ", 99 of 100 took less than, milliseconds"
		b.metricTable(w, sizes, chosen, measureTitle{string(mode) + p99Micros, 1e3, title}, mode == load.Unknown)
	}
	for _, m := range otherMeasures {
		b.metricTable(w, sizes, chosen, m, false)
	}
	fmt.Fprint(w, "![Cost of an operation](cost.svg)\n\n![Start, memory and change](resources.svg)\n")
	return errors.Join(b.plotCost(sizes, chosen), b.plotResources(sizes, chosen))
}

// metricTable has the sizes below each other and the peers side by side.
func (b *bench) metricTable(w io.Writer, sizes []int, chosen []peers.Peer, m measureTitle, unknown bool) {
	fmt.Fprintf(w, "### %s\n\n", m.title)
	table := report.Table{Head: []string{"sites"}}
	for _, peer := range chosen {
		head := peer.Name
		if unknown && peer.Unknown.Refused {
			head += " (refuses)"
		}
		table.Head = append(table.Head, head)
	}
	for _, n := range sizes {
		row := []string{report.Count(n)}
		for _, peer := range chosen {
			row = append(row, b.log.Cell(compareKey(peer.Name, n), m.metric, m.unit))
		}
		table.Add(row...)
	}
	_, _ = table.WriteTo(w) // closing the file tells of what went wrong
}

func compareKey(peer string, n int) report.Key {
	return report.Key{What: "compare", Peer: peer, Sites: n}
}

// plotCost draws the processor time of an operation over the number of sites.
func (b *bench) plotCost(sizes []int, chosen []peers.Peer) error {
	var charts []plot.Chart
	for _, mode := range load.Modes {
		charts = append(charts, b.chart(sizes, chosen, modeTitles[mode]+refusing(mode, chosen), "µs of processor time", func(key report.Key) float64 {
			return 1e6 / stats.Of(b.log.Values(key, string(mode)+perCPU)).Median
		}))
	}
	return b.plot("cost.svg", charts)
}

// refusing names those who refuse unknown server names, which costs little.
func refusing(mode load.Mode, chosen []peers.Peer) string {
	var names []string
	for _, peer := range chosen {
		if mode == load.Unknown && peer.Unknown.Refused {
			names = append(names, peer.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (refused by " + strings.Join(names, ", ") + ")"
}

// plotResources draws start, memory and change over the number of sites.
func (b *bench) plotResources(sizes []int, chosen []peers.Peer) error {
	var charts []plot.Chart
	for _, m := range plotted {
		title, label, _ := strings.Cut(m.title, ",")
		charts = append(charts, b.chart(sizes, chosen, title, strings.TrimSpace(label), func(key report.Key) float64 {
			return stats.Of(b.log.Values(key, m.metric)).Median / m.unit
		}))
	}
	return b.plot("resources.svg", charts)
}

func (b *bench) chart(sizes []int, chosen []peers.Peer, title, label string, value func(report.Key) float64) plot.Chart {
	chart := plot.Chart{Title: title, XLabel: "sites", YLabel: label}
	for _, peer := range chosen {
		series := plot.Series{Name: peer.Name}
		for _, n := range sizes {
			series.Points = append(series.Points, plot.Point{X: float64(n), Y: value(compareKey(peer.Name, n))})
		}
		chart.Series = append(chart.Series, series)
	}
	return chart
}

func (b *bench) plot(name string, charts []plot.Chart) error {
	return peers.WriteFile(filepath.Join(b.out, name), func(w io.Writer) error { return plot.Write(w, charts...) })
}
