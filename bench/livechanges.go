package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
	"github.com/caddy-iis/caddy-iis/bench/internal/stats"
)

const (
	livePuts     = 100  // changes of one site in a repetition
	liveBulk     = 1000 // sites in one request
	liveSearches = 10   // of each kind in a repetition
)

// liveStart measures a start. It leaves Caddy running.
func (b *bench) liveStart(ctx context.Context, rec *report.Record, s *liveServer) error {
	if rec.Rep > 1 {
		if err := s.Stop(); err != nil {
			return err
		}
	}
	_, last := s.set.Last()
	took, err := s.start(ctx, b, last)
	if err != nil {
		return err
	}
	rec.Values[startSeconds] = took.Seconds()
	cpu, err := proc.CPU(s.Pid())
	if err != nil {
		return err
	}
	rec.Values[startCPU] = cpu.Seconds()
	time.Sleep(settle)
	memory, err := proc.MemoryOf(s.Pid())
	rec.Values[rssAfterStart] = float64(memory.RSS)
	fmt.Printf("start in %.2f s, %.0f MiB\n", took.Seconds(), float64(memory.RSS)/(1<<20))
	return err
}

// liveChanges measures changes of one site, of many, and searches.
func (b *bench) liveChanges(ctx context.Context, rec *report.Record, s *liveServer, c *commits) error {
	if err := b.livePutBesideCommit(ctx, rec, s, c); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(uint64(rec.Rep), 1)) //nolint:gosec // a load that can be repeated
	list := random.Perm(len(s.set.Sites))[:min(liveBulk, len(s.set.Sites))]
	for _, i := range list {
		s.rename(i)
	}
	took, err := s.putMany(ctx, list)
	if err != nil {
		return err
	}
	rec.Values[liveBulkMillis] = milliseconds(took)
	if err := s.search(ctx, rec, random); err != nil {
		return err
	}
	memory, err := proc.MemoryOf(s.Pid())
	rec.Values[rssAfterLoad] = float64(memory.RSS)
	return err
}

// livePutBesideCommit makes changes of one site and bare commits in turn.
func (b *bench) livePutBesideCommit(ctx context.Context, rec *report.Record, s *liveServer, c *commits) error {
	random := rand.New(rand.NewPCG(uint64(rec.Rep), 2)) //nolint:gosec // a load that can be repeated
	cpu, err := s.idle()
	if err != nil {
		return err
	}
	var puts, bare []float64
	for range livePuts {
		i := random.IntN(len(s.set.Sites))
		took, err := c.put(i, s.set.Sites[i].Document(s.place))
		if err != nil {
			return err
		}
		bare = append(bare, milliseconds(took))
		if took, err = s.put(ctx, i); err != nil {
			return err
		}
		puts = append(puts, milliseconds(took))
	}
	after, err := s.idle()
	if err != nil {
		return err
	}
	slices.Sort(puts)
	slices.Sort(bare)
	rec.Values[livePutP50], rec.Values[livePutP99] = stats.Quantile(puts, 0.5), stats.Quantile(puts, 0.99)
	rec.Values[liveCommitP50], rec.Values[liveCommitP99] = stats.Quantile(bare, 0.5), stats.Quantile(bare, 0.99)
	rec.Values[livePutCPU] = milliseconds(after-cpu) / livePuts
	fmt.Printf("PUT %.1f ms, a bare commit %.1f ms\n", rec.Values[livePutP50], rec.Values[liveCommitP50])
	return nil
}

// search looks for sites: for one, and for what an eighth of them has.
func (s *liveServer) search(ctx context.Context, rec *report.Record, random *rand.Rand) error {
	for metric, text := range map[string]func(i int) string{
		liveSearchOne:  sites.Host,
		liveSearchMany: func(i int) string { return fmt.Sprintf("example-%d.", i%sites.Zones) },
	} {
		var times []float64
		for range liveSearches {
			q := text(random.IntN(len(s.set.Sites)))
			start := time.Now()
			answer, err := s.admin.Ask(ctx, http.MethodGet, "sites?q="+url.QueryEscape(q), nil)
			if err != nil {
				return err
			}
			times = append(times, milliseconds(time.Since(start)))
			var page struct{ Total int }
			if err := json.Unmarshal(answer, &page); err != nil || page.Total == 0 {
				return fmt.Errorf("no site is found with %q: %.100s (%w)", q, answer, err)
			}
		}
		slices.Sort(times)
		rec.Values[metric] = stats.Quantile(times, 0.5)
	}
	return nil
}

// liveRatios compares handshakes and requests with those of a server with few sites,
// in short loads in turn.
func (b *bench) liveRatios(ctx context.Context, s *liveServer) error {
	chosen, err := b.chosen(peers.IIS)
	if err != nil {
		return err
	}
	small, err := b.newLive(few, "127.0.0.1:1") // no WebSockets there
	if err != nil {
		return err
	}
	defer func() { stop(small, "Caddy") }()
	if err := b.liveFill(ctx, small); err != nil {
		return err
	}
	_, last := small.set.Last()
	if _, err := small.start(ctx, b, last); err != nil {
		return err
	}
	var servers []ratioServer
	for _, server := range []*liveServer{small, s} {
		running, err := server.forClients()
		if err != nil {
			return err
		}
		key := report.Key{What: liveRatio, Peer: peers.IIS, Sites: len(server.set.Sites)}
		servers = append(servers, ratioServer{key, chosen[0], running})
	}
	for round := range b.reps * roundsPerRep {
		fmt.Printf("round %d/%d beside %d sites\n", round+1, b.reps*roundsPerRep, few)
		if err := b.ratioRound(ctx, round+1, servers); err != nil {
			return err
		}
		slices.Reverse(servers)
	}
	return nil
}

// forClients writes the file with which clients know the sites as they are now.
func (s *liveServer) forClients() (*peers.Running, error) {
	hosts := filepath.Join(s.place.Dir, "hosts.tsv")
	return &peers.Running{Process: s.Process, Place: s.place, Admin: s.admin, Hosts: hosts}, peers.WriteFile(hosts, s.set.WriteHosts)
}
