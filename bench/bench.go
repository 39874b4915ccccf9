package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// bench is one run of the command.
type bench struct {
	*config

	programs peers.Programs
	machine  string      // what it runs on, in Markdown
	log      *report.Log // of the experiment under way
	work     string      // for generated files
	sets     map[setKey]*sites.Set
	missing  map[string]bool // servers that were said to be missing
	failures []string        // what must not happen, and did
}

type setKey struct {
	kind sites.Kind
	n    int
}

// run makes the chosen experiments.
func run(ctx context.Context, cfg *config) (err error) {
	if err := proc.Supported(); err != nil {
		return err
	}
	b := &bench{config: cfg, sets: make(map[setKey]*sites.Set), missing: make(map[string]bool)}
	if b.work, err = os.MkdirTemp("", "caddy-iis-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.work)) }()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	var errs []error
	for _, e := range b.experiments {
		if err := b.experiment(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(errs, b.verdict())...)
}

// experiment runs one of them and writes its results and its report, as far as
// it came.
func (b *bench) experiment(ctx context.Context, e experiment) (err error) {
	sizes := e.sizes
	if len(b.sizes) > 0 {
		sizes = b.sizes
	}
	raw, err := os.Create(filepath.Join(b.out, e.name+".jsonl"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	b.log = report.NewLog(raw)
	failed := len(b.failures)
	runErr := e.run(b, ctx, sizes)
	file := filepath.Join(b.out, e.name+".md")
	err = peers.WriteFile(file, func(w io.Writer) error {
		fmt.Fprintf(w, "## %s\n\n%s\n\n", e.name, b.machine)
		if runErr != nil {
			fmt.Fprintf(w, "**Broken off**: %v\n\n", runErr)
		}
		for _, failure := range b.failures[failed:] {
			fmt.Fprintf(w, "**Failed**: %s\n\n", failure)
		}
		return e.report(b, w, sizes)
	})
	fmt.Println("wrote", file)
	return errors.Join(runErr, err)
}

// fail remembers what must not happen. The run goes on, and fails at its end.
func (b *bench) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Println("FAILED:", text)
	b.failures = append(b.failures, text)
}

// verdict is an error if anything went wrong.
func (b *bench) verdict() error {
	if len(b.failures) == 0 {
		return nil
	}
	return fmt.Errorf("%d failures, the first: %s", len(b.failures), b.failures[0])
}

// set returns n sites. It makes them once.
func (b *bench) set(kind sites.Kind, n int) (*sites.Set, error) {
	key := setKey{kind, n}
	if b.sets[key] == nil {
		fmt.Printf("generating %d sites\n", n)
		set, err := sites.Generate(filepath.Join(b.work, fmt.Sprintf("%s-%d", kind, n)), kind, n)
		if err != nil {
			return nil, err
		}
		b.sets[key] = set
	}
	return b.sets[key], nil
}

// start starts a peer within the limit.
func (b *bench) start(ctx context.Context, peer peers.Peer, set *sites.Set) (*peers.Running, float64, error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	running, took, err := peers.Start(ctx, peer, b.programs, set, b.work)
	return running, took.Seconds(), err
}

// stop stops a server. One that has to be killed, because it was too slow for a
// change, is no failure.
func stop(running io.Closer, name string) {
	if err := running.Close(); err != nil {
		fmt.Printf("stopping %s: %v\n", name, err)
	}
}

// chosen returns those of the peers that take part and can.
func (b *bench) chosen(names ...string) ([]peers.Peer, error) {
	all := b.peers
	if len(names) > 0 {
		var err error
		if all, err = peers.Choose(names); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(p peers.Peer) bool {
		if b.programs.Has(p) {
			return false
		}
		if !b.missing[p.Name] {
			fmt.Printf("%s is not on this machine and is left out\n", p.Name)
			b.missing[p.Name] = true
		}
		return true
	}), nil
}
