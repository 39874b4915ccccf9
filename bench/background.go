package main

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// forever bounds a load that is ended otherwise.
const forever = 24 * time.Hour

// background is a load that goes on while something else is measured: on kept
// connections, and on new ones with, without, and with an unknown name. It leaves time for the
// server to do other work.
type background struct {
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	results []load.Result
	errs    []error
}

// startBackground loads all sites but the last, which is the one to be changed. More
// modes than those over HTTP/1.1 can be added.
func startBackground(ctx context.Context, addr string, unknown load.UnknownAnswer, set *sites.Set, more ...load.Mode) *background {
	ctx, cancel := context.WithCancel(ctx)
	target := load.Target{
		Addr: addr, Default: set.Default, Sites: set.Sites[:len(set.Sites)-1], Unknown: unknown,
	}
	parts := []load.Options{
		{Mode: load.KeepAlive, Conns: 8, Pause: 20 * time.Millisecond},
		{Mode: load.Handshake, Conns: 2, Pause: 20 * time.Millisecond},
		{Mode: load.NoSNI, Conns: 1, Pause: 20 * time.Millisecond},
		{Mode: load.Unknown, Conns: 1, Pause: 20 * time.Millisecond},
	}
	for _, mode := range more {
		parts = append(parts, load.Options{Mode: mode, Conns: 4, Pause: 20 * time.Millisecond})
	}
	bg := &background{cancel: cancel, results: make([]load.Result, len(parts)), errs: make([]error, len(parts))}
	for i, options := range parts {
		options.Count, options.Time, options.Seed = maxOperations, forever, uint64(i)
		bg.wg.Go(func() { bg.results[i], bg.errs[i] = load.Run(ctx, target, options) })
	}
	return bg
}

// outcome is what a background load came to.
type outcome struct {
	requests, failed, dialed int64
	errs                     []error
}

// stop ends the load.
func (bg *background) stop() outcome {
	bg.cancel()
	bg.wg.Wait()
	out := outcome{errs: bg.errs}
	for i := range bg.results {
		r := &bg.results[i]
		out.requests += r.Count
		out.failed += r.Count - r.OK
		if r.Mode == load.KeepAlive || r.Mode == load.HTTP2 || r.Mode == load.HTTP3 {
			out.dialed += r.Dialed
		}
		out.errs = append(out.errs, r.Err())
	}
	return out
}
