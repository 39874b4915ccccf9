package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/admin"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

// caddy is a running Caddy whose admin endpoint is what is measured.
type caddy struct {
	*proc.Process
	place sites.Place
	admin *admin.Client
}

// startCaddy starts a Caddy with some apps and returns when it has loaded them.
func (b *bench) startCaddy(ctx context.Context, place sites.Place, apps map[string]any) (*caddy, spent, error) {
	args, err := peers.CaddyArgs(b.programs, place, apps)
	if err != nil {
		return nil, spent{}, err
	}
	start := time.Now()
	process, err := proc.Start(ctx, place.Dir, args...)
	if err != nil {
		return nil, spent{}, err
	}
	c := &caddy{process, place, admin.New(place.Admin)}
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	guarded, release := process.Guard(ctx)
	defer release()
	if err := c.admin.AwaitLoaded(guarded); err != nil {
		return nil, spent{}, errors.Join(fmt.Errorf("start of Caddy: %w; output: %s", err, c.Tail()), c.Close())
	}
	s, err := c.since(start, 0)
	return c, s, err
}

// Close stops Caddy and removes its files.
func (c *caddy) Close() error { return errors.Join(c.Stop(), os.RemoveAll(c.place.Dir)) }

// spent is what something took.
type spent struct {
	wall time.Duration
	cpu  time.Duration // until then
	all  time.Duration // processor time, with what went on behind it
}

// since returns what was spent since a moment, and since a processor time that
// the process had then.
func (c *caddy) since(start time.Time, cpu time.Duration) (spent, error) {
	s := spent{wall: time.Since(start)}
	now, err := proc.CPU(c.Pid())
	if err != nil {
		return s, err
	}
	idle, err := c.idle()
	s.cpu, s.all = now-cpu, idle-cpu
	return s, err
}

// spend measures what a request to the admin endpoint takes.
func (c *caddy) spend(ctx context.Context, limit time.Duration, request func(context.Context) error) (spent, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cpu, err := c.idle()
	if err != nil {
		return spent{}, err
	}
	start := time.Now()
	if err := request(ctx); err != nil {
		return spent{}, err
	}
	return c.since(start, cpu)
}

const (
	idleStep  = 100 * time.Millisecond
	idleShare = 50 // a process is idle that needs less than a 50th of a step
	idleSteps = 3  // in so many steps
	idleLimit = 30 * time.Second
)

// idle waits until the process does nothing any more, and returns its processor
// time.
func (c *caddy) idle() (time.Duration, error) {
	cpu, err := proc.CPU(c.Pid())
	quiet := 0
	for start := time.Now(); err == nil && quiet < idleSteps && time.Since(start) < idleLimit; {
		time.Sleep(idleStep)
		var now time.Duration
		if now, err = proc.CPU(c.Pid()); now-cpu < idleStep/idleShare {
			quiet++
		} else {
			quiet = 0
		}
		cpu = now
	}
	return cpu, err
}
