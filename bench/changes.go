package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
	"github.com/caddy-iis/caddy-iis/bench/internal/stats"
)

// The heap may be larger after all changes than before them by this factor, or
// by this many bytes if that is more.
const (
	heapBar   = 1.05
	heapSlack = 1 << 20
)

// How many changes are made of few and of many sites.
const (
	changesOfFew  = 1000
	manySites     = 50_000
	changesOfMany = 100
)

func (b *bench) changesAt(n int) int {
	switch {
	case b.changes > 0:
		return b.changes
	case n >= manySites:
		return changesOfMany
	}
	return changesOfFew
}

// manyChanges makes changes while a client makes requests, and looks at the
// heap after 1, 10, 100 and so on. It is long, so there is one repetition.
func (b *bench) manyChanges(ctx context.Context, sizes []int) error {
	chosen, err := b.chosen(peers.IIS)
	if err != nil {
		return err
	}
	for _, n := range several(sizes) {
		set, err := b.set(sites.Shared, n)
		if err != nil {
			return err
		}
		fmt.Printf("%d changes of %d sites\n", b.changesAt(n), n)
		if err := b.manyChangesOf(ctx, chosen[0], set, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) manyChangesOf(ctx context.Context, peer peers.Peer, set *sites.Set, n int) error {
	running, _, err := b.start(ctx, peer, set)
	if err != nil {
		return err
	}
	defer stop(running, peer.Name)
	bg := startBackground(ctx, running.Place.Addr(), peer.Unknown, set)
	rec := report.NewRecord(report.Key{What: "changes", Peer: peer.Name, Sites: n}, string(sites.Shared), 1)
	err = b.changeAndWatch(ctx, rec, b.changesAt(n), running.Admin.Heap, func(ctx context.Context, name string) (time.Duration, error) {
		return b.rename(ctx, running, set, name)
	})
	b.judge(rec, bg.stop())
	return errors.Join(err, b.log.Add(rec))
}

// several leaves one site out: one is changed, and the others are under load.
func several(sizes []int) []int {
	return slices.DeleteFunc(slices.Clone(sizes), func(n int) bool { return n < 2 })
}

// rename changes the name of the last site, and checks that this serves.
func (b *bench) rename(ctx context.Context, running *peers.Running, set *sites.Set, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	i, site := set.Last()
	site.Name = name
	path := fmt.Sprintf("/apps/iis/sites/%d/name", sites.SiteID(i))
	start := time.Now()
	if err := running.Admin.Patch(ctx, path, name); err != nil {
		return 0, err
	}
	return time.Since(start), load.Probe(running.Place.Addr(), site)
}

// changeAndWatch makes changes and notes the heap before them and after powers
// of ten of them.
func (b *bench) changeAndWatch(ctx context.Context, rec *report.Record, changes int,
	heap func(context.Context) (uint64, error), change func(context.Context, string) (time.Duration, error),
) error {
	if err := noteHeap(ctx, rec, 0, heap); err != nil {
		return err
	}
	var took []float64
	next := 1
	for i := 1; i <= changes; i++ {
		one, err := change(ctx, fmt.Sprintf("change-%d", i))
		if err != nil {
			return fmt.Errorf("change %d: %w", i, err)
		}
		took = append(took, float64(one.Microseconds())/1e3)
		if i == next || i == changes {
			if err := noteHeap(ctx, rec, i, heap); err != nil {
				return err
			}
			next *= 10
		}
	}
	sum := stats.Of(took)
	rec.Values["changes"] = float64(changes)
	rec.Values["change_median_ms"], rec.Values["change_max_ms"] = sum.Median, sum.Max
	b.judgeHeap(rec, changes)
	return nil
}

// judgeHeap compares the heap after all changes with the one before them.
func (b *bench) judgeHeap(rec *report.Record, changes int) {
	before, after := rec.Values[heapMetric(0)], rec.Values[heapMetric(changes)]
	if after > max(before*heapBar, before+heapSlack) {
		rec.Notes[heapMetric(changes)] = "**GREW**"
		b.fail("%s with %d sites: the heap grew from %.1f to %.1f MiB with %d changes", rec.What, rec.Sites, before/(1<<20), after/(1<<20), changes)
	}
}

const (
	heapLooks = 4
	heapPause = time.Second
)

// noteHeap notes the least of several looks at the heap: requests in flight
// hold what was replaced for a moment.
func noteHeap(ctx context.Context, rec *report.Record, changes int, look func(context.Context) (uint64, error)) error {
	var least uint64
	for i := range heapLooks {
		if i > 0 {
			time.Sleep(heapPause)
		}
		heap, err := look(ctx)
		if err != nil {
			return err
		}
		if i == 0 || heap < least {
			least = heap
		}
	}
	fmt.Printf("after %d changes: heap of %.1f MiB\n", changes, float64(least)/(1<<20))
	rec.Values[heapMetric(changes)] = float64(least)
	return nil
}

func heapMetric(changes int) string { return fmt.Sprintf("heap_after_%d_bytes", changes) }

// judge notes what came of the requests meanwhile, of which none may fail.
func (b *bench) judge(rec *report.Record, out outcome) {
	rec.Values["requests"], rec.Values["requests_failed"] = float64(out.requests), float64(out.failed)
	rec.Values["kept_connections"] = float64(out.dialed)
	if err := errors.Join(out.errs...); err != nil {
		rec.Notes["requests_failed"] = "**FAILED**"
		b.fail("%s with %d sites, requests meanwhile: %v", rec.What, rec.Sites, err)
	}
}

// reportManyChanges writes one line for each number of sites.
func (b *bench) reportManyChanges(w io.Writer, sizes []int) error {
	fmt.Fprintf(w, "Changes of one site's name by PATCH, while a client makes requests on 8 kept and on new connections. No request may\n"+
		"fail, and the heap (after garbage collection, MiB) must come back to what it was, but for %.0f %% or 1 MiB.\n\n", (heapBar-1)*100)
	return b.changesTable(w, "changes", sizes, b.changesAt)
}

func (b *bench) changesTable(w io.Writer, what string, sizes []int, changesAt func(int) int) error {
	table := report.Table{Head: []string{
		"sites", "changes", "heap before", "after 1", "after 10", "after 100", "after 1,000", "after all", "after / before",
		"one change, ms", "slowest", "requests", "failed", "kept connections opened",
	}}
	for _, n := range several(sizes) {
		key := report.Key{What: what, Peer: peers.IIS, Sites: n}
		row := []string{report.Count(n), b.log.Cell(key, "changes", 1)}
		for _, i := range []int{0, 1, 10, 100, 1000, changesAt(n)} {
			row = append(row, b.log.Cell(key, heapMetric(i), 1<<20))
		}
		ratio := stats.Ratios(b.log.ByRep(key, heapMetric(changesAt(n))), b.log.ByRep(key, heapMetric(0)))
		row = append(row, report.Spread(stats.Of(ratio)))
		for _, metric := range []string{"change_median_ms", "change_max_ms", "requests", "requests_failed", "kept_connections"} {
			row = append(row, b.log.Cell(key, metric, 1))
		}
		table.Add(row...)
	}
	_, err := table.WriteTo(w)
	return err
}
