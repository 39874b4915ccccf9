package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
	"github.com/caddy-iis/caddy-iis/bench/internal/stats"
)

// bar is what this module must reach of what it is compared to.
const bar = 0.95

// A repetition of ratios is several rounds of short loads.
const (
	roundsPerRep = 4
	modeShare    = 4 // of the time of a load in the comparison
)

// ratios measures what the ratios of the comparison are made of, with less
// noise: all servers run at the same time, and have short loads in turn.
func (b *bench) ratios(ctx context.Context, sizes []int) error {
	servers, err := b.startAll(ctx, sizes)
	defer func() {
		for _, s := range servers {
			stop(s.running, s.key.Peer)
		}
	}()
	if err != nil {
		return err
	}
	for round := range b.reps * roundsPerRep {
		fmt.Printf("round %d/%d with %d servers\n", round+1, b.reps*roundsPerRep, len(servers))
		order := slices.Clone(servers)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		if err := b.ratioRound(ctx, round+1, order); err != nil {
			return err
		}
	}
	return nil
}

// ratioServer is one of the servers that run at the same time.
type ratioServer struct {
	key     report.Key
	peer    peers.Peer
	running *peers.Running
}

// startAll starts this module and the bare server at all sizes, and stock Caddy
// at one site. It returns those that have started also with an error.
func (b *bench) startAll(ctx context.Context, sizes []int) ([]ratioServer, error) {
	var servers []ratioServer
	for _, name := range []string{peers.IIS, peers.Stock, peers.Baseline} {
		chosen, err := b.chosen(name)
		if err != nil {
			return servers, err
		}
		for _, n := range slices.Compact(append([]int{1}, sizes...)) {
			if name == peers.Stock && n > 1 {
				continue
			}
			set, err := b.set(b.certs, n)
			if err != nil {
				return servers, err
			}
			running, _, err := b.start(ctx, chosen[0], set)
			if err != nil {
				return servers, err
			}
			key := report.Key{What: "ratios", Peer: name, Sites: n}
			servers = append(servers, ratioServer{key, chosen[0], running})
			if err := b.useKeys(ctx, running, chosen[0], n); err != nil {
				return servers, err
			}
		}
	}
	return servers, nil
}

// useKeys makes handshakes with about all certificates if each site has its own:
// the first signature with a key takes twice as long as those that follow.
func (b *bench) useKeys(ctx context.Context, running *peers.Running, peer peers.Peer, n int) error {
	if b.certs != sites.Each {
		return nil
	}
	result, err := client(ctx, running, peer, load.Options{Mode: load.Handshake, Conns: connsNew, Count: 3 * int64(n), Time: b.limit})
	if err != nil {
		return err
	}
	return result.Err()
}

// ratioRound gives each server a short load in each mode.
func (b *bench) ratioRound(ctx context.Context, round int, servers []ratioServer) error {
	records := make([]*report.Record, len(servers))
	for i, s := range servers {
		records[i] = report.NewRecord(s.key, string(b.certs), round)
	}
	for _, mode := range load.Modes {
		for i, s := range servers {
			if err := b.loadMode(ctx, records[i], s.running, s.peer, mode, b.time/modeShare); err != nil {
				return err
			}
		}
	}
	var errs []error
	for _, rec := range records {
		errs = append(errs, b.log.Add(rec))
	}
	return errors.Join(errs...)
}

func (b *bench) reportRatios(w io.Writer, sizes []int) error {
	fmt.Fprintf(w, "Certificates: %s. All of these servers ran at the same time and were under load in turn, in %d rounds. Operations per\n"+
		"second of the server's processor time: medians (least–greatest).\n\n", certsText[b.certs], b.reps*roundsPerRep)
	sizes = slices.Compact(append([]int{1}, sizes...))
	table := report.Table{Head: []string{"server", "sites"}, Left: 1}
	for _, mode := range load.Modes {
		table.Head = append(table.Head, modeTitles[mode])
	}
	for _, name := range []string{peers.IIS, peers.Stock, peers.Baseline} {
		for _, n := range sizes {
			if name == peers.Stock && n > 1 {
				continue
			}
			row := []string{name, report.Count(n)}
			for _, mode := range load.Modes {
				row = append(row, b.log.Cell(report.Key{What: "ratios", Peer: name, Sites: n}, string(mode)+perCPU, 1))
			}
			table.Add(row...)
		}
	}
	if _, err := table.WriteTo(w); err != nil {
		return err
	}
	return b.ratioTable(w, "ratios", peers.IIS, sizes)
}

// ratioTable compares this module with itself at one site, with stock Caddy at
// one site, and with the bare server at the same number of sites.
func (b *bench) ratioTable(w io.Writer, what, name string, sizes []int) error {
	fmt.Fprintf(w, "### Ratios of %s\n\nOf the means over all repetitions (the middle half of the ratios within one). The bar is %.2f.\n\n", name, bar)
	table := report.Table{Head: []string{"ratio", "sites"}, Left: 1}
	for _, mode := range load.Modes {
		table.Head = append(table.Head, modeTitles[mode])
	}
	key := func(peer string, n int) report.Key { return report.Key{What: what, Peer: peer, Sites: n} }
	for _, n := range sizes {
		b.ratioRow(&table, name+" at N / "+name+" at 1", key(name, n), key(name, 1))
	}
	for _, n := range sizes {
		b.ratioRow(&table, name+" at N / stock at 1", key(name, n), key(peers.Stock, 1))
	}
	for _, n := range sizes {
		b.ratioRow(&table, name+" at N / baseline at N", key(name, n), key(peers.Baseline, n))
	}
	_, err := table.WriteTo(w)
	return err
}

func (b *bench) ratioRow(table *report.Table, title string, of, to report.Key) {
	row := []string{title, report.Count(of.Sites)}
	for _, mode := range load.Modes {
		row = append(row, b.ratioCell(string(mode)+perCPU, mode == load.Unknown && to.Peer == peers.Stock, of, to))
	}
	table.Add(row...)
}

func (b *bench) ratioCell(metric string, refuses bool, of, to report.Key) string {
	if refuses {
		return "- (refuses)"
	}
	values, base := b.log.ByRep(of, metric), b.log.ByRep(to, metric)
	ratios := stats.Ratios(values, base)
	switch {
	case len(ratios) == 0:
		return "-"
	case of == to:
		return "1"
	}
	mean, verdict := stats.RatioOfMeans(values, base), "holds"
	if mean < bar {
		verdict = "**below**"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f) %s", mean, stats.Quantile(ratios, 0.25), stats.Quantile(ratios, 0.75), verdict)
}
