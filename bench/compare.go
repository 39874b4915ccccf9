package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
)

// The metrics of the comparison, beside those of each mode.
const (
	startSeconds  = "start_s"
	startCPU      = "start_cpu_s"
	rssAfterStart = "rss_after_start_bytes"
	rssAfterLoad  = "rss_after_load_bytes"
	pssAfterLoad  = "pss_after_load_bytes"
	changeMillis  = "change_ms"
	perCPU        = "_per_cpu_s"
	p99Micros     = "_p99_us"
)

const (
	// settle is how long a server gets to finish what it does behind its start.
	settle = 500 * time.Millisecond

	// maxOperations bounds one load in number.
	maxOperations = 5_000_000

	connsKept, connsNew = 8, 16
)

// compare measures all peers at all sizes, in turn, and all of it again.
func (b *bench) compare(ctx context.Context, sizes []int) error {
	chosen, err := b.chosen()
	if err != nil {
		return err
	}
	for rep := range b.reps {
		for _, n := range sizes {
			for _, peer := range chosen {
				if err := b.compareOne(ctx, rep+1, n, peer); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// compareOne measures one peer at one size, once.
func (b *bench) compareOne(ctx context.Context, rep, n int, peer peers.Peer) error {
	key := report.Key{What: "compare", Peer: peer.Name, Sites: n}
	if b.log.Note(key, startSeconds) != "" {
		return nil // it did not start in time, and will not now
	}
	set, err := b.set(b.certs, n)
	if err != nil {
		return err
	}
	fmt.Printf("%d/%d: %s with %d sites\n", rep, b.reps, peer.Name, n)
	rec := report.NewRecord(key, string(b.certs), rep)
	running, took, err := b.start(ctx, peer, set)
	if err != nil {
		if err := b.late(ctx, rec, startSeconds, err); err != nil {
			return err
		}
		return b.log.Add(rec)
	}
	defer stop(running, peer.Name)
	rec.Values[startSeconds] = took
	if err := b.measure(ctx, rec, running, peer); err != nil {
		return err
	}
	return b.log.Add(rec)
}

// late notes that something took too long, which is a result like others. Any
// other error is a failure.
func (b *bench) late(ctx context.Context, rec *report.Record, metric string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	rec.Notes[metric] = "failed"
	if errors.Is(err, context.DeadlineExceeded) {
		rec.Notes[metric] = fmt.Sprintf("> %s", b.limit)
		fmt.Println(err)
		return nil
	}
	b.fail("%s with %d sites: %v", rec.Peer, rec.Sites, err)
	return nil
}

// measureStart notes what a start has cost.
func measureStart(rec *report.Record, running *peers.Running) error {
	cpu, err := proc.CPU(running.Pid())
	if err != nil {
		return err
	}
	rec.Values[startCPU] = cpu.Seconds()
	time.Sleep(settle)
	memory, err := proc.MemoryOf(running.Pid())
	if err != nil {
		return err
	}
	rec.Values[rssAfterStart] = float64(memory.RSS)
	return nil
}

// measure takes all measures of a server that has started.
func (b *bench) measure(ctx context.Context, rec *report.Record, running *peers.Running, peer peers.Peer) error {
	if err := measureStart(rec, running); err != nil {
		return err
	}
	if err := b.loads(ctx, rec, running, peer); err != nil {
		return err
	}
	memory, err := proc.MemoryOf(running.Pid())
	if err != nil {
		return err
	}
	rec.Values[rssAfterLoad] = float64(memory.RSS)
	rec.Values[pssAfterLoad] = float64(memory.PSS)
	return b.change(ctx, rec, running, memory)
}

// loads puts the server under load in all modes.
func (b *bench) loads(ctx context.Context, rec *report.Record, running *peers.Running, peer peers.Peer) error {
	for _, mode := range load.Modes {
		if err := b.loadMode(ctx, rec, running, peer, mode, b.time); err != nil {
			return err
		}
	}
	return nil
}

// loadMode puts the server under load in one mode.
func (b *bench) loadMode(ctx context.Context, rec *report.Record, running *peers.Running, peer peers.Peer, mode load.Mode, length time.Duration) error {
	options := load.Options{
		Mode: mode, Conns: connsNew, Count: maxOperations,
		Warm: length / 4, Time: length, Seed: uint64(rec.Rep),
	}
	if mode == load.KeepAlive {
		options.Conns = connsKept
	}
	result, err := client(ctx, running, peer, options)
	if err != nil {
		return err
	}
	rec.Values[string(mode)+perCPU] = result.PerCPU
	rec.Values[string(mode)+p99Micros] = result.P99
	rec.Detail = append(rec.Detail, result)
	if err := result.Err(); err != nil {
		rec.Notes[string(mode)+perCPU] = "WRONG ANSWERS"
		b.fail("%s with %d sites, %s: %v", rec.Peer, rec.Sites, mode, err)
	}
	return nil
}

// change measures one change, if the machine has memory for it: some servers
// need twice theirs.
func (b *bench) change(ctx context.Context, rec *report.Record, running *peers.Running, memory proc.Memory) error {
	available, err := proc.Available()
	if err != nil {
		return err
	}
	if available < memory.RSS*3/2 {
		rec.Notes[changeMillis] = "not enough memory"
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	took, err := running.Change(limited, "changed")
	switch {
	case errors.Is(err, peers.ErrNoChange):
		return nil
	case err != nil:
		return b.late(ctx, rec, changeMillis, err)
	}
	rec.Values[changeMillis] = float64(took.Microseconds()) / 1e3
	return nil
}
