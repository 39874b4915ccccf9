package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"slices"
	"sync"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// run makes the connections of a verification.
type run struct {
	env  *Env
	v    Verification
	list []*Comparison

	byOrigin map[string][]Comparison // where redirects lead

	progress    *progress
	interrupted bool

	mu        sync.Mutex // of what follows
	addresses map[string]*contact
	made      []*Comparison // as they came
	writing   error
}

// contact is how it stands with an address.
type contact struct {
	dead     string // why it is not tried any more
	answered bool   // there was a connection
	failed   int    // in a row
	why      string
}

func (e *Env) newRun(v Verification, list []*Comparison) *run {
	return &run{env: e, v: v, list: list, byOrigin: byOrigin(list), addresses: make(map[string]*contact)}
}

// errInterrupted ends a run when somebody presses Ctrl-C.
var errInterrupted = errors.New("interrupted")

// all makes the comparisons, several at a time: at first one for each address, so
// that a wrong address is found out before it is tried a thousand times.
func (r *run) all(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	defer signal.Stop(signals)
	go func() {
		select {
		case <-signals:
			signal.Stop(signals) // a second one ends the process
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	if err := r.contactOthers(ctx); err != nil && !errors.Is(context.Cause(ctx), errInterrupted) {
		return err
	}
	r.progress = r.env.startProgress(len(r.list))
	first, rest := r.firsts()
	r.compareAll(ctx, cancel, first)
	r.compareAll(ctx, cancel, rest)
	r.progress.stop()
	err := context.Cause(ctx)
	if r.interrupted = errors.Is(err, errInterrupted); r.interrupted {
		err = nil
	}
	if tried, ok := r.reached(); err == nil && r.writing == nil && !r.interrupted && !ok {
		return errors.New("nothing could be found out, since no connection could be made: " + tried.Address + ": " + tried.Got.Error + " (--server says where this server is reached)")
	}
	return errors.Join(err, r.writing)
}

// firsts parts the comparisons into one for each address, and the others. The last
// of an address asks for a name that nobody has, which no slow application answers.
func (r *run) firsts() (first, rest []*Comparison) {
	last := make(map[string]*Comparison)
	for _, c := range r.list {
		last[c.Address] = c
	}
	for _, c := range r.list {
		if last[c.Address] == c && !c.settled {
			first = append(first, c)
		} else {
			rest = append(rest, c)
		}
	}
	return first, rest
}

// contactOthers looks whether the other server can be reached at all.
func (r *run) contactOthers(ctx context.Context) error {
	var firstErr error
	tried := make(map[string]bool)
	for _, c := range r.list {
		if c.other == "" || tried[c.other] {
			continue
		}
		tried[c.other] = true
		err := r.v.dial(ctx, c.other)
		if err == nil {
			return nil
		}
		if firstErr == nil {
			text, _ := failure(r.v, err)
			firstErr = errors.New("the other server cannot be reached at " + c.other + ": " + text + " (--against says where it is)")
		}
	}
	return firstErr
}

// compareAll makes some of the comparisons.
func (r *run) compareAll(ctx context.Context, cancel context.CancelCauseFunc, list []*Comparison) {
	work := make(chan *Comparison)
	var wg sync.WaitGroup
	for range min(r.v.Parallel, len(list)) {
		wg.Go(func() {
			for c := range work {
				switch err := r.compare(ctx, c); {
				case ctx.Err() != nil: // what came of it tells nothing
				case err != nil:
					cancel(err)
				default:
					r.done(c)
				}
			}
		})
	}
feed:
	for _, c := range list {
		select {
		case work <- c:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
}

// compare makes one comparison. Should the configuration change between asking
// and connecting, it is made once more.
func (r *run) compare(ctx context.Context, c *Comparison) error {
	if c.settled {
		c.Got = Answer{NotTried: true, Error: c.faults[0].Message}
		c.judge(c.faults)
		return nil
	}
	want, err := r.ask(ctx, c)
	if err != nil {
		return err
	}
	var reasons []Reason
	for range 3 {
		c.Expected, c.Got = want, r.try(ctx, c, c.Address, c.Protocol)
		if reasons = append(r.v.own(c), r.loop(ctx, c)...); len(reasons) == 0 {
			break
		}
		if want, err = r.ask(ctx, c); err != nil {
			return err
		}
		if want == c.Expected {
			break
		}
	}
	if c.other != "" {
		answer := r.try(ctx, c, c.other, protocolH1)
		c.Against = &answer
		reasons = slices.Concat(confirmed(reasons, answer, c.Got), c.between(), r.pages(ctx, c))
	}
	c.judge(append(slices.Clone(c.faults), reasons...))
	return nil
}

// ask asks the server what is to be expected.
func (r *run) ask(ctx context.Context, c *Comparison) (Expectation, error) {
	x, err := r.env.Client.Explain(ctx, adminapi.Question{Local: c.local, SNI: c.SNI, Host: c.Host, Scheme: c.Scheme})
	if err != nil {
		return Expectation{}, err
	}
	return expect(x, c.Protocol), nil
}

// try makes a connection, unless too many to its address have failed.
func (r *run) try(ctx context.Context, c *Comparison, address, protocol string) Answer {
	key := address
	if protocol == protocolH3 {
		key = "udp/" + address // another socket
	}
	r.mu.Lock()
	at := r.addresses[key]
	if at == nil {
		at = new(contact)
		r.addresses[key] = at
	}
	dead, never := at.dead, !at.answered
	r.mu.Unlock()
	if dead != "" {
		return Answer{NotTried: true, Unreachable: never, Error: dead}
	}
	a := r.v.probe(ctx, c, address, protocol)
	r.mu.Lock()
	defer r.mu.Unlock()
	at.add(a, r.v.GiveUp)
	return a
}

// add notes what came of a connection to an address.
func (at *contact) add(a Answer, giveUp int) {
	at.answered = at.answered || !a.Unreachable
	switch {
	case !a.Unreachable && !a.silent:
		at.failed = 0
		return
	case a.Error != at.why:
		at.failed, at.why = 0, a.Error
	}
	at.failed++
	if giveUp > 0 && (at.failed >= giveUp || a.Unreachable && !at.answered) {
		at.dead = a.Error
	}
}

// done counts a comparison, and writes it for programs.
func (r *run) done(c *Comparison) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made = append(r.made, c)
	r.progress.done(c.Class)
	if r.env.JSON {
		r.writing = errors.Join(r.writing, r.env.line(map[string]any{"comparison": c}))
	}
}

// line writes a value as one line of JSON.
func (e *Env) line(value any) error {
	enc := json.NewEncoder(e.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// reached tells whether there was any connection to this server, if one was to be made;
// else the first that was tried.
func (r *run) reached() (tried *Comparison, ok bool) {
	for _, c := range r.made {
		switch {
		case c.settled:
		case !c.Got.Unreachable && !c.Got.NotTried:
			return nil, true
		case tried == nil:
			tried = c
		}
	}
	return tried, tried == nil
}
