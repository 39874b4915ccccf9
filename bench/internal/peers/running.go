package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/admin"
	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

const (
	// startPoll is how often a server is visited that starts.
	startPoll = time.Millisecond

	// changePoll is how often a site is visited that is about to change: a visit
	// costs up to half a millisecond of the server's time.
	changePoll = 4 * time.Millisecond
)

// Running is a server that has started.
type Running struct {
	*proc.Process
	Place sites.Place
	Admin *admin.Client // only for Caddy
	Hosts string        // file with the sites, for clients

	set    *sites.Set
	launch launch
}

// NewPlace makes a directory below work, and finds free ports.
func NewPlace(work string) (sites.Place, error) {
	dir, err := os.MkdirTemp(work, "run-")
	if err != nil {
		return sites.Place{}, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return sites.Place{}, err
	}
	return sites.Place{Port: ports[0], Admin: ports[1], Dir: dir}, nil
}

// freePorts returns free TCP ports below those that systems give to outgoing
// connections: the load makes many of them.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range 1000 {
		port := 10_000 + rand.IntN(20_000) //nolint:gosec // any port will do
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		defer listener.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports")
}

// Start configures and starts a peer in a directory of its own below work, and
// returns after the first right answer, with the time that took.
func Start(ctx context.Context, peer Peer, programs Programs, set *sites.Set, work string) (*Running, time.Duration, error) {
	place, err := NewPlace(work)
	if err != nil {
		return nil, 0, err
	}
	launch, err := peer.configure(programs, set, place)
	if err != nil {
		return nil, 0, err
	}
	hosts := filepath.Join(place.Dir, "hosts.tsv")
	if err := WriteFile(hosts, set.WriteHosts); err != nil {
		return nil, 0, err
	}
	start := time.Now()
	process, err := proc.Start(ctx, place.Dir, launch.args...)
	if err != nil {
		return nil, 0, err
	}
	r := &Running{Process: process, Place: place, Admin: admin.New(place.Admin), Hosts: hosts, set: set, launch: launch}
	_, last := set.Last()
	ready, err := r.await(ctx, last, startPoll)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("start of %s with %d sites: %w", peer.Name, len(set.Sites), err), r.Close())
	}
	return r, ready.Sub(start), nil
}

// await waits for the right answer of a site, as long as the server lives.
func (r *Running) await(ctx context.Context, site sites.Site, every time.Duration) (time.Time, error) {
	ctx, cancel := r.Guard(ctx)
	defer cancel()
	ready, err := load.Await(ctx, r.Place.Addr(), site, every)
	if err != nil {
		return ready, fmt.Errorf("%w; output: %s", err, r.Tail())
	}
	return ready, nil
}

// Close stops the server and removes its files.
func (r *Running) Close() error {
	return errors.Join(r.Stop(), os.RemoveAll(r.Place.Dir))
}

// ErrNoChange tells of a peer that cannot change while it serves.
var ErrNoChange = errors.New("it has no way to change while it serves")

// Change renames the last site and returns how long it took from the request
// until the first right answer.
func (r *Running) Change(ctx context.Context, name string) (time.Duration, error) {
	if r.launch.change == nil {
		return 0, ErrNoChange
	}
	trigger, err := r.launch.change(name)
	if err != nil {
		return 0, err
	}
	_, site := r.set.Last()
	site.Name = name
	triggered := make(chan error, 1)
	start := time.Now()
	go func() { triggered <- trigger(ctx, r.Process) }()
	ready, err := r.await(ctx, site, changePoll)
	return ready.Sub(start), errors.Join(err, <-triggered)
}
