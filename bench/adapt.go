package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// caddyfile is a kind of Caddyfile.
type caddyfile struct {
	name    string
	about   string
	most    int // sites; 0 for any number
	written func(*sites.Set, io.Writer, sites.Place) error
}

// stockMost bounds stock Caddy, whose adapter is quadratic.
const stockMost = 1000

func caddyfiles() []caddyfile {
	return []caddyfile{
		{"iis-bodies", "one iis block, directives in every site", 0, func(s *sites.Set, w io.Writer, p sites.Place) error {
			return s.WriteIISCaddyfile(w, p, true)
		}},
		{"iis-defaults", "one iis block, sites with defaults", 0, func(s *sites.Set, w io.Writer, p sites.Place) error {
			return s.WriteIISCaddyfile(w, p, false)
		}},
		{"stock", "a site block for every site", stockMost, (*sites.Set).WriteStockCaddyfile},
	}
}

// adapt measures "caddy adapt".
func (b *bench) adapt(ctx context.Context, sizes []int) error {
	for rep := range b.reps {
		for _, n := range sizes {
			set, err := b.set(sites.Shared, n)
			if err != nil {
				return err
			}
			for _, c := range caddyfiles() {
				if c.most > 0 && n > c.most {
					continue
				}
				fmt.Printf("%d/%d: adapt of %s with %d sites\n", rep+1, b.reps, c.name, n)
				if err := b.adaptOne(ctx, rep+1, c, set); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (b *bench) adaptOne(ctx context.Context, rep int, c caddyfile, set *sites.Set) (err error) {
	rec := report.NewRecord(report.Key{What: "adapt", Peer: c.name, Sites: len(set.Sites)}, string(sites.Shared), rep)
	if b.log.Note(rec.Key, "wall_s") != "" {
		return nil // it took too long, and will again
	}
	place, err := peers.NewPlace(b.work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(place.Dir)) }()
	file := filepath.Join(place.Dir, "Caddyfile")
	if err := peers.WriteFile(file, func(w io.Writer) error { return c.written(set, w, place) }); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	cmd := proc.ServerCommand(limited, place.Dir, b.programs.Caddy, "adapt", "--config", file)
	start := time.Now()
	if _, err := cmd.Output(); err != nil {
		err = fmt.Errorf("adapt: %w%s", errors.Join(err, limited.Err()), stderrOf(err))
		return errors.Join(b.late(ctx, rec, "wall_s", err), b.log.Add(rec))
	}
	rec.Values["wall_s"] = time.Since(start).Seconds()
	rec.Values["cpu_s"] = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return b.log.Add(rec)
}

// reportAdapt writes one line for each kind of Caddyfile and number of sites.
func (b *bench) reportAdapt(w io.Writer, sizes []int) error {
	fmt.Fprintf(w, "`caddy adapt`. Medians of %d repetitions (least–greatest). Stock Caddy is measured up to %s sites.\n\n", b.reps, report.Count(stockMost))
	table := report.Table{Head: []string{"Caddyfile", "sites", "seconds", "seconds of processor time"}, Left: 1}
	for _, c := range caddyfiles() {
		for _, n := range sizes {
			if c.most == 0 || n <= c.most {
				key := report.Key{What: "adapt", Peer: c.name, Sites: n}
				table.Add(c.about, report.Count(n), b.log.Cell(key, "wall_s", 1), b.log.Cell(key, "cpu_s", 1))
			}
		}
	}
	_, err := table.WriteTo(w)
	return err
}

// stderrOf returns what a failed command has written.
func stderrOf(err error) string {
	if exit := new(exec.ExitError); errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Sprintf(": %.500s", exit.Stderr)
	}
	return ""
}
