package main

import (
	"context"
	"fmt"
	"io"

	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// certificatePeers are those that are compared with a certificate per site.
var certificatePeers = []string{peers.IIS, peers.StockFlat, peers.Nginx, peers.Baseline}

// certificates measures starts with a certificate, in two files, for each site.
func (b *bench) certificates(ctx context.Context, sizes []int) error {
	chosen, err := b.chosen(certificatePeers...)
	if err != nil {
		return err
	}
	for rep := range b.reps {
		for _, n := range sizes {
			set, err := b.set(sites.Each, n)
			if err != nil {
				return err
			}
			for _, peer := range chosen {
				fmt.Printf("%d/%d: start of %s with %d certificates\n", rep+1, b.reps, peer.Name, n)
				if err := b.certificatesOf(ctx, rep+1, peer, set); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (b *bench) certificatesOf(ctx context.Context, rep int, peer peers.Peer, set *sites.Set) error {
	rec := report.NewRecord(report.Key{What: "certificates", Peer: peer.Name, Sites: len(set.Sites)}, string(sites.Each), rep)
	if b.log.Note(rec.Key, startSeconds) != "" {
		return nil
	}
	running, took, err := b.start(ctx, peer, set)
	if err != nil {
		if err := b.late(ctx, rec, startSeconds, err); err != nil {
			return err
		}
		return b.log.Add(rec)
	}
	defer stop(running, peer.Name)
	rec.Values[startSeconds] = took
	if err := measureStart(rec, running); err != nil {
		return err
	}
	return b.log.Add(rec)
}

// reportCertificates writes one line for each peer and number of sites.
func (b *bench) reportCertificates(w io.Writer, sizes []int) error {
	chosen, err := b.chosen(certificatePeers...)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "Start with a certificate, in two PEM files, for each site, until the first right answer. Medians of %d repetitions\n(least–greatest).\n\n", b.reps)
	table := report.Table{Head: []string{"server", "sites", "seconds", "seconds of processor time", "memory, MiB (RSS)"}, Left: 1}
	for _, n := range sizes {
		for _, peer := range chosen {
			key := report.Key{What: "certificates", Peer: peer.Name, Sites: n}
			table.Add(peer.Name, report.Count(n), b.log.Cell(key, startSeconds, 1), b.log.Cell(key, startCPU, 1), b.log.Cell(key, rssAfterStart, 1<<20))
		}
	}
	_, err = table.WriteTo(w)
	return err
}
