package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/admin"
	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
	livesites "github.com/caddy-iis/caddy-iis/sites"
)

// liveStep is how many sites are put in one request at most: as many as the API takes.
const liveStep = 10_000

// few is the number of sites that many are compared with.
const few = 1000

// live measures sites in a database that are changed through the API.
func (b *bench) live(ctx context.Context, sizes []int) error {
	for _, n := range several(sizes) {
		if err := b.liveOf(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func liveKey(n int) report.Key { return report.Key{What: "live", Peer: peers.IIS, Sites: n} }

func (b *bench) liveOf(ctx context.Context, n int) error {
	echo := load.EchoServer()
	defer echo.Close()
	s, err := b.newLive(n, echo.Listener.Addr().String())
	if err != nil {
		return err
	}
	defer func() { stop(s, "Caddy") }()
	fmt.Printf("database with %d sites\n", n)
	if err := b.liveFill(ctx, s); err != nil {
		return err
	}
	commits, err := newCommits(filepath.Join(s.place.Dir, "bare.db"), s.set, s.place)
	if err != nil {
		return err
	}
	defer commits.Close()
	for rep := range b.reps {
		rec := report.NewRecord(liveKey(n), string(sites.One), rep+1)
		if err := errors.Join(b.liveStart(ctx, rec, s), b.liveChanges(ctx, rec, s, commits)); err != nil {
			return err
		}
		if err := b.log.Add(rec); err != nil {
			return err
		}
	}
	if n > few {
		if err := b.liveRatios(ctx, s); err != nil {
			return err
		}
	}
	return b.liveUnderLoad(ctx, s)
}

// liveServer is a Caddy with sites in a database.
type liveServer struct {
	*caddy
	set   *sites.Set // as it is in the database
	file  string     // the database
	apps  map[string]any
	tries int // changes so far, so that each is another one
}

// newLive prepares a server. It is not started yet.
func (b *bench) newLive(n int, sockets string) (*liveServer, error) {
	made, err := b.set(sites.One, n)
	if err != nil {
		return nil, err
	}
	set := *made
	set.Sites = slices.Clone(made.Sites) // their names change
	place, err := peers.NewPlace(b.work)
	if err != nil {
		return nil, err
	}
	s := &liveServer{caddy: &caddy{place: place, admin: admin.New(place.Admin)}, set: &set, file: filepath.Join(place.Dir, "sites.db")}
	s.apps = map[string]any{"iis": set.IISWithBolt(place, s.file, sockets)}
	return s, nil
}

// Close stops Caddy, if it runs, and removes its files.
func (s *liveServer) Close() error {
	if s.Process == nil {
		return nil
	}
	return s.caddy.Close()
}

// start starts Caddy and returns how long it took until a site gave the right answer.
func (s *liveServer) start(ctx context.Context, b *bench, site sites.Site) (time.Duration, error) {
	args, err := peers.CaddyArgs(b.programs, s.place, s.apps)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	start := time.Now()
	if s.Process, err = proc.Start(ctx, s.place.Dir, args...); err != nil {
		return 0, err
	}
	guarded, release := s.Guard(ctx)
	defer release()
	ready, err := load.Await(guarded, s.place.Addr(), site, time.Millisecond)
	if err != nil {
		return 0, fmt.Errorf("start of Caddy: %w; output: %s", err, s.Tail())
	}
	return ready.Sub(start), s.admin.AwaitLoaded(guarded)
}

// fillByAPI is up to how many sites the API is asked to put: it judges each step beside
// all sites that there are, so that ten times as many take a hundred times as long.
const fillByAPI = 100_000

// liveFill puts all sites into an empty database, in steps. It leaves Caddy stopped.
func (b *bench) liveFill(ctx context.Context, s *liveServer) error {
	if len(s.set.Sites) > fillByAPI {
		fmt.Println("writing the database without the API")
		return s.write()
	}
	if _, err := s.start(ctx, b, s.set.Default); err != nil {
		return err
	}
	rec := report.NewRecord(liveKey(len(s.set.Sites)), string(sites.One), 0)
	start, slowest := time.Now(), time.Duration(0)
	for first := 0; first < len(s.set.Sites); first += liveStep {
		var list []int
		for i := range min(liveStep, len(s.set.Sites)-first) {
			list = append(list, first+i)
		}
		took, err := s.putMany(ctx, list)
		if err != nil {
			return err
		}
		slowest = max(slowest, took)
	}
	rec.Values[liveFillSeconds] = time.Since(start).Seconds()
	rec.Values[liveStepMillis] = milliseconds(slowest)
	fmt.Printf("filled in %.1f s\n", rec.Values[liveFillSeconds])
	return errors.Join(s.Stop(), b.log.Add(rec))
}

// write makes the database as the source does.
func (s *liveServer) write() error {
	table, err := livesites.OpenBolt(s.file, time.Second)
	if err != nil {
		return err
	}
	for first := 0; first < len(s.set.Sites) && err == nil; first += liveStep {
		all := livesites.Transaction{By: "bench"}
		for i := first; i < min(first+liveStep, len(s.set.Sites)); i++ {
			all.Changes = append(all.Changes, livesites.Change{ID: uint32(sites.SiteID(i)), Document: s.set.Sites[i].Document(s.place)})
		}
		_, err = table.Write(all)
	}
	return errors.Join(err, table.Close())
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// put writes a site, which gets another name, and checks that it serves.
func (s *liveServer) put(ctx context.Context, i int) (time.Duration, error) {
	s.rename(i)
	path, document := fmt.Sprint("sites/", sites.SiteID(i)), s.set.Sites[i].Document(s.place)
	start := time.Now()
	if _, err := s.admin.Ask(ctx, http.MethodPut, path, document); err != nil {
		return 0, err
	}
	return time.Since(start), load.Probe(s.place.Addr(), s.set.Sites[i])
}

func (s *liveServer) rename(i int) {
	s.tries++
	s.set.Sites[i].Name = fmt.Sprintf("%s-%d", sites.Host(i), s.tries)
}

// putMany writes sites in one transaction, and checks that the last of them serves.
func (s *liveServer) putMany(ctx context.Context, list []int) (time.Duration, error) {
	var lines strings.Builder
	for _, i := range list {
		fmt.Fprintf(&lines, `{"op":"put","id":%d,"site":%s}`+"\n", sites.SiteID(i), s.set.Sites[i].Document(s.place))
	}
	start := time.Now()
	if _, err := s.admin.Ask(ctx, http.MethodPost, "changes", []byte(lines.String())); err != nil {
		return 0, err
	}
	return time.Since(start), load.Probe(s.place.Addr(), s.set.Sites[list[len(list)-1]])
}
