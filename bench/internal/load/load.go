// Package load is a client that makes requests to a server with many sites,
// bounded in number and time, and checks the certificate and the body of every
// answer.
package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// Mode says what one operation is.
type Mode string

// The modes.
const (
	// Handshake is a new connection with the name of a random site, and one
	// request for that site.
	Handshake Mode = "handshake"
	// NoSNI is a new connection without server name, and one request for a
	// random site. The certificate must be the default site's.
	NoSNI Mode = "nosni"
	// Unknown is a new connection with a server name that no site has.
	Unknown Mode = "unknown"
	// KeepAlive is a request for a random site on a connection that stays.
	KeepAlive Mode = "keepalive"
	// HTTP2 and HTTP3 are the same over these protocols.
	HTTP2 Mode = "h2"
	HTTP3 Mode = "h3"
)

// Modes are those that are measured, in their order: all servers have them.
var Modes = []Mode{Handshake, NoSNI, Unknown, KeepAlive}

// Target is what is under load, and what it must answer.
type Target struct {
	Addr    string
	Default sites.Site
	Sites   []sites.Site
	Unknown UnknownAnswer
}

// UnknownAnswer is what a server does with a server name and a Host that it
// does not know: it refuses the handshake, or it makes it with the default
// site's certificate and answers.
type UnknownAnswer struct {
	Refused bool
	Status  int
	Body    string // a part of it
}

// Options bound a load.
type Options struct {
	Mode  Mode
	Conns int           // connections at a time
	Count int64         // operations at most
	Warm  time.Duration // how long to make operations that are checked, but not counted
	Time  time.Duration // how long to make operations that are counted
	Pause time.Duration // between two operations of a connection
	Seed  uint64

	// CPU returns the processor time of the server so far. It may be nil.
	CPU func() (time.Duration, error) `json:"-"`
}

// opTimeout bounds one operation.
const opTimeout = 30 * time.Second

// Run loads a target until a bound is reached or the context ends.
func Run(ctx context.Context, target Target, o Options) (Result, error) {
	if len(target.Sites) == 0 || o.Conns < 1 || !slices.Contains(append(Modes, HTTP2, HTTP3), o.Mode) {
		return Result{}, fmt.Errorf("load of %d sites in mode %q on %d connections", len(target.Sites), o.Mode, o.Conns)
	}
	workers := make([]*worker, o.Conns)
	for i := range workers {
		workers[i] = newWorker(target, o, rand.NewPCG(o.Seed, uint64(i)))
	}
	defer func() {
		for _, w := range workers {
			w.drop()
		}
	}()
	if o.Warm > 0 {
		everyone(ctx, workers, o.Count, o.Warm)
		for _, w := range workers {
			w.forget()
		}
	}
	return measure(ctx, workers, o)
}

func measure(ctx context.Context, workers []*worker, o Options) (Result, error) {
	cpu, err := o.serverCPU()
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	everyone(ctx, workers, o.Count, o.Time)
	elapsed := time.Since(start)
	after, err := o.serverCPU()
	if err != nil {
		return Result{}, err
	}
	return newResult(o.Mode, workers, elapsed, after-cpu), nil
}

func (o Options) serverCPU() (time.Duration, error) {
	if o.CPU == nil {
		return 0, nil
	}
	return o.CPU()
}

// everyone has all workers make operations until there were enough of them,
// the time is over, or the context is.
func everyone(ctx context.Context, workers []*worker, count int64, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var issued atomic.Int64
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			for ctx.Err() == nil && issued.Add(1) <= count {
				w.operate()
				w.pause(ctx)
			}
		})
	}
	wg.Wait()
}
