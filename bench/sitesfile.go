package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// The metrics of a sites file.
const (
	fileMillis  = "rename_to_serving_ms"
	fileCPU     = "change_cpu_ms"
	fileIdleCPU = "idle_cpu_ms"
)

// fileChanges is how many changes are made under load.
const fileChanges = 100

// filePoll is how often the changed site is visited while it is waited for.
const filePoll = time.Millisecond

// sitesFile measures changes of a file with the sites, which Caddy watches.
func (b *bench) sitesFile(ctx context.Context, sizes []int) error {
	for _, n := range several(sizes) {
		set, err := b.set(sites.One, n)
		if err != nil {
			return err
		}
		fmt.Printf("sites file with %d sites\n", n)
		if err := b.sitesFileOf(ctx, set, n); err != nil {
			return err
		}
	}
	return nil
}

// fileServer is a Caddy with a sites file.
type fileServer struct {
	*caddy
	set  *sites.Set
	file string
	next string // the file that is renamed into its place
}

func (b *bench) startWithFile(ctx context.Context, set *sites.Set) (*fileServer, error) {
	place, err := peers.NewPlace(b.work)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(place.Dir, "sites") // nothing else is written there
	if err := os.Mkdir(dir, 0o750); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "sites.jsonl")
	s := &fileServer{set: set, file: file, next: file + ".new"}
	if err := peers.WriteFile(file, func(w io.Writer) error { return set.WriteSitesFile(w, place) }); err != nil {
		return nil, err
	}
	s.caddy, _, err = b.startCaddy(ctx, place, map[string]any{"iis": set.IISWithFile(file)})
	switch {
	case err != nil && strings.Contains(err.Error(), `unknown field \"sites_file\"`):
		return nil, errors.New("the app iis of this build has no sites_file")
	case err != nil:
		return nil, err
	}
	_, last := set.Last()
	if err := load.Probe(place.Addr(), last); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// write writes the file in which the last site has another name, beside its
// place, and returns that site.
func (s *fileServer) write(name string) (sites.Site, error) {
	i, _ := s.set.Last()
	changed := s.set.Renamed(i, name)
	return changed.Sites[i], peers.WriteFile(s.next, func(w io.Writer) error { return changed.WriteSitesFile(w, s.place) })
}

// change puts a changed file into place and returns how long it took until the
// changed site served.
func (s *fileServer) change(ctx context.Context, limit time.Duration, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	site, err := s.write(name)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := os.Rename(s.next, s.file); err != nil {
		return 0, err
	}
	ready, err := load.Await(ctx, s.place.Addr(), site, filePoll)
	return ready.Sub(start), err
}

func (b *bench) sitesFileOf(ctx context.Context, set *sites.Set, n int) error {
	s, err := b.startWithFile(ctx, set)
	if err != nil {
		return err
	}
	defer stop(s, "Caddy")
	key := report.Key{What: "sitesfile", Peer: peers.IIS, Sites: n}
	for rep := range b.reps {
		rec := report.NewRecord(key, string(sites.One), rep+1)
		if err := b.fileTime(ctx, rec, s); err != nil {
			return err
		}
		if err := b.fileCPU(ctx, rec, s); err != nil {
			return err
		}
		if err := b.log.Add(rec); err != nil {
			return err
		}
	}
	return b.fileUnderLoad(ctx, key, s)
}

// fileTime measures how long a change takes to serve.
func (b *bench) fileTime(ctx context.Context, rec *report.Record, s *fileServer) error {
	if _, err := s.idle(); err != nil {
		return err
	}
	took, err := s.change(ctx, b.limit, fmt.Sprintf("time-%d", rec.Rep))
	if err != nil {
		return b.late(ctx, rec, fileMillis, err)
	}
	rec.Values[fileMillis] = float64(took.Microseconds()) / 1e3
	return nil
}

// fileCPU measures the processor time of a change that nobody asks for
// meanwhile: of a window with a change, less one of the same length without.
func (b *bench) fileCPU(ctx context.Context, rec *report.Record, s *fileServer) error {
	window := max(3*time.Second, 3*time.Duration(rec.Values[fileMillis]*float64(time.Millisecond)))
	site, err := s.write(fmt.Sprintf("cpu-%d", rec.Rep))
	if err != nil {
		return err
	}
	if _, err := s.idle(); err != nil {
		return err
	}
	idle, err := s.during(ctx, window)
	if err != nil {
		return err
	}
	if err := os.Rename(s.next, s.file); err != nil {
		return err
	}
	busy, err := s.during(ctx, window)
	if err != nil {
		return err
	}
	if err := load.Probe(s.place.Addr(), site); err != nil {
		rec.Notes[fileCPU] = fmt.Sprintf("not live after %s", window)
		b.fail("sitesfile with %d sites: %v", rec.Sites, err)
		return nil
	}
	rec.Values[fileIdleCPU] = float64(idle.Microseconds()) / 1e3
	rec.Values[fileCPU] = float64((busy - idle).Microseconds()) / 1e3
	return nil
}

// during returns the processor time that Caddy needs in some time from now.
func (c *caddy) during(ctx context.Context, window time.Duration) (time.Duration, error) {
	before, err := proc.CPU(c.Pid())
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-time.After(window):
	}
	after, err := proc.CPU(c.Pid())
	return after - before, err
}

// changesOr is how many changes are asked for, or else made.
func (b *bench) changesOr(usual int) int {
	if b.changes > 0 {
		return b.changes
	}
	return usual
}

// fileUnderLoad makes changes while a client makes requests, none of which may
// fail, and looks at the heap.
func (b *bench) fileUnderLoad(ctx context.Context, key report.Key, s *fileServer) error {
	rec := report.NewRecord(key, string(sites.One), b.reps+1)
	chosen, err := b.chosen(peers.IIS)
	if err != nil {
		return err
	}
	bg := startBackground(ctx, s.place.Addr(), chosen[0].Unknown, s.set)
	err = b.changeAndWatch(ctx, rec, b.changesOr(fileChanges), s.admin.Heap, func(ctx context.Context, name string) (time.Duration, error) {
		return s.change(ctx, b.limit, name)
	})
	b.judge(rec, bg.stop())
	return errors.Join(err, b.log.Add(rec))
}

// reportSitesFile writes what a change takes, and what many do.
func (b *bench) reportSitesFile(w io.Writer, sizes []int) error {
	fmt.Fprintf(w, "A changed file with the sites is renamed into place. Medians of %d repetitions (least–greatest), milliseconds.\n\n", b.reps)
	table := report.Table{Head: []string{"sites", "until the changed site serves", "processor time of the change", "of an idle window as long"}}
	for _, n := range several(sizes) {
		key := report.Key{What: "sitesfile", Peer: peers.IIS, Sites: n}
		table.Add(report.Count(n), b.log.Cell(key, fileMillis, 1), b.log.Cell(key, fileCPU, 1), b.log.Cell(key, fileIdleCPU, 1))
	}
	if _, err := table.WriteTo(w); err != nil {
		return err
	}
	fmt.Fprint(w, "The same again and again, while a client makes requests on 8 kept and on new connections. The heap is in MiB.\n\n")
	return b.changesTable(w, "sitesfile", sizes, func(int) int { return b.changesOr(fileChanges) })
}
