package main

import (
	"fmt"
	"io"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/stats"
)

// The metrics of sites in a database, beside those of a start and of changes.
const (
	liveFillSeconds = "fill_s"
	liveStepMillis  = "fill_slowest_step_ms"
	livePutP50      = "put_p50_ms"
	livePutP99      = "put_p99_ms"
	livePutCPU      = "put_cpu_ms"
	liveCommitP50   = "commit_p50_ms"
	liveCommitP99   = "commit_p99_ms"
	liveBulkMillis  = "bulk_ms"
	liveSearchOne   = "search_one_ms"
	liveSearchMany  = "search_many_ms"

	liveGoroutinesBefore = "goroutines_before"
	liveGoroutinesAfter  = "goroutines_after"
	liveSocketsOpen      = "sockets"
	liveSocketsCut       = "sockets_cut"
)

// liveRatio is what the loads beside few sites are called.
const liveRatio = "live-ratios"

// liveLoadChanges is how many changes are made under load.
const liveLoadChanges = 1000

// The bars of sites in a database.
const (
	barPutFactor   = 2       // a change of one site takes so many bare commits,
	barPutMillis   = 5       // and so many milliseconds, with up to
	barPutSites    = 100_000 // so many sites;
	barPutMany     = 30      // with more, a bare commit and so many milliseconds
	barPutCPU      = 10      // milliseconds of processor time
	barBulkMillis  = 1000    //
	barSearch      = 50      // milliseconds, with up to barPutSites
	barStart       = 15      // seconds
	barStartMemory = 1.2e9   // bytes
)

// liveRow is a line of the report: what was measured, and what it should be.
type liveRow struct {
	title string
	cell  func(report.Key) string
	value func(report.Key) float64 // what is compared; nil: nothing
	bar   func(report.Key) float64 // 0: there is none at this number of sites
}

// reportLive writes a column for each number of sites, and what each should be.
func (b *bench) reportLive(w io.Writer, sizes []int) error {
	fmt.Fprintf(w, "Sites in a database (bolt) that share their defaults and have a variable each, changed through the API. Medians of %d\n"+
		"repetitions (least–greatest) of %d changes of one site, each beside a bare commit of the same document to a bbolt database\n"+
		"of its own with as many; one transaction of %d sites; %d searches.\n\n", b.reps, livePuts, liveBulk, liveSearches)
	table := report.Table{Head: []string{""}, Left: 1}
	sizes = several(sizes)
	for _, n := range sizes {
		table.Head = append(table.Head, report.Count(n)+" sites", "bar")
	}
	for _, row := range b.liveRows() {
		cells := []string{row.title}
		for _, n := range sizes {
			cells = append(cells, row.cell(liveKey(n)), row.verdict(liveKey(n)))
		}
		table.Add(cells...)
	}
	if _, err := table.WriteTo(w); err != nil {
		return err
	}
	if err := b.liveRatioTable(w, sizes); err != nil {
		return err
	}
	fmt.Fprintf(w, "Changes of %d sites in turn, while clients make requests to others over HTTP/1.1, HTTP/2 and HTTP/3, and have %d WebSockets\n"+
		"open to others again. The heap is in MiB.\n\n", liveChanging, liveSockets+liveSockets/2)
	return b.changesTable(w, "live", sizes, func(int) int { return b.changesOr(liveLoadChanges) })
}

// verdict says what the bar is, and whether it is reached.
func (r *liveRow) verdict(key report.Key) string {
	if r.bar == nil {
		return ""
	}
	bar, value := r.bar(key), r.value(key)
	switch {
	case bar == 0:
		return ""
	case value == 0:
		return report.Number(bar)
	case value > bar:
		return report.Number(bar) + " **missed**"
	}
	return report.Number(bar) + " holds"
}

func (b *bench) liveRows() []liveRow {
	median := func(metric string, unit float64) func(report.Key) float64 {
		return func(key report.Key) float64 { return stats.Of(b.log.Values(key, metric)).Median / unit }
	}
	row := func(title, metric string, unit float64, bar func(report.Key) float64) liveRow {
		cell := func(key report.Key) string { return b.log.Cell(key, metric, unit) }
		return liveRow{title, cell, median(metric, unit), bar}
	}
	always := func(bar float64) func(report.Key) float64 { return func(report.Key) float64 { return bar } }
	upTo := func(bar float64) func(report.Key) float64 {
		return func(key report.Key) float64 {
			if key.Sites > barPutSites {
				return 0
			}
			return bar
		}
	}
	commit := median(liveCommitP50, 1)
	put := func(key report.Key) float64 {
		switch {
		case commit(key) == 0:
			return 0
		case key.Sites > barPutSites:
			return commit(key) + barPutMany
		}
		return barPutFactor*commit(key) + barPutMillis
	}
	return []liveRow{
		row("one site by `PUT`, half took less than, ms", livePutP50, 1, put),
		row("99 of 100 took less than", livePutP99, 1, nil),
		row("a bare commit, half took less than, ms", liveCommitP50, 1, nil),
		row("99 of 100 took less than", liveCommitP99, 1, nil),
		row("processor time of a `PUT`, ms", livePutCPU, 1, upTo(barPutCPU)),
		row(fmt.Sprintf("%s sites in one request, ms", report.Count(liveBulk)), liveBulkMillis, 1, upTo(barBulkMillis)),
		row("search that finds one, ms", liveSearchOne, 1, upTo(barSearch)),
		row("search that finds an eighth of all, ms", liveSearchMany, 1, upTo(barSearch)),
		row("start until the first right answer, seconds", startSeconds, 1, always(barStart)),
		row("memory after the start (RSS), MB", rssAfterStart, 1e6, always(barStartMemory/1e6)),
		row("memory after changes and searches (RSS), MB", rssAfterLoad, 1e6, always(barStartMemory/1e6)),
		row("all sites put into an empty database, seconds", liveFillSeconds, 1, nil),
		row(fmt.Sprintf("the slowest %s of them, ms", report.Count(liveStep)), liveStepMillis, 1, nil),
		row("goroutines before the changes under load", liveGoroutinesBefore, 1, nil),
		row("goroutines after them", liveGoroutinesAfter, 1, func(key report.Key) float64 {
			return median(liveGoroutinesBefore, 1)(key) + goroutineSlack
		}),
		row("WebSockets meanwhile", liveSocketsOpen, 1, nil),
		row("of which were cut", liveSocketsCut, 1, nil),
	}
}

// liveRatioTable compares many sites with few.
func (b *bench) liveRatioTable(w io.Writer, sizes []int) error {
	fmt.Fprintf(w, "Operations per second of the server's processor time, beside a server with %s sites that ran at the same time: ratios of\n"+
		"the means (the middle half of the ratios within a round). The bar is %.2f.\n\n", report.Count(few), bar)
	table := report.Table{Head: []string{"sites"}}
	for _, mode := range load.Modes {
		table.Head = append(table.Head, modeTitles[mode])
	}
	key := func(n int) report.Key { return report.Key{What: liveRatio, Peer: peers.IIS, Sites: n} }
	for _, n := range sizes {
		row := []string{report.Count(n)}
		for _, mode := range load.Modes {
			row = append(row, b.ratioCell(string(mode)+perCPU, false, key(n), key(few)))
		}
		table.Add(row...)
	}
	_, err := table.WriteTo(w)
	return err
}
