// Package ownroutes keeps the routes that rows bring with them: equal ones are provisioned
// once, in a context of their own, which ends when the last site and the last request have
// left it.
package ownroutes

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/upgrades"
)

// Pool are the routes of rows that are provisioned, with what they have become.
//
// They are provisioned before a change is decided, and never in a request. What a change
// has asked for is kept until it is over: see [Pool.Settle].
type Pool[T any] struct {
	provisioner func(routes json.RawMessage, group *upgrades.Group, own *Content[T]) (T, error)
	newGroup    func() *upgrades.Group
	keep        time.Duration // connections that handlers have taken over
	logger      *zap.Logger

	mu       sync.Mutex
	contents map[key]*Content[T]
	of       map[uint32]use[T]   // what sites have that are served, by id
	counts   map[string]int      // of those sites, by the names of their sources
	touched  map[uint32]struct{} // sites that are perhaps different since the last Settle
	asked    []*Content[T]       // each has a pin until then
	refused  map[key]error       // what could not be provisioned
	late     map[key]bool        // what is still being provisioned, though its time is over
	ended    bool
}

type key [sha256.Size]byte

// use is that a site has routes of its own.
type use[T any] struct {
	*Content[T]
	source string
}

// Content are the routes of some rows.
type Content[T any] struct {
	key      key
	ready    chan struct{} // closed when it is provisioned, or err is set
	err      error
	group    *upgrades.Group
	handlers T

	// Under the lock of the pool.
	sites int // that serve it
	pins  int // changes that need it

	mu       sync.Mutex
	requests int
	left     bool // no site has it any more, and so no new request
	keep     time.Duration
}

// The bounds of what is provisioned for rows.
const (
	maxProvisioning = 5 * time.Second
	maxRefused      = 10_000 // are remembered
)

// NewPool returns a pool without routes. The function makes handlers out of some, in the
// context of a new group, whose connections are kept for some time when nobody has the
// routes any more.
func NewPool[T any](provision func(routes json.RawMessage, group *upgrades.Group, own *Content[T]) (T, error), newGroup func() *upgrades.Group, keep time.Duration, logger *zap.Logger) *Pool[T] {
	return &Pool[T]{
		provisioner: provision, newGroup: newGroup, keep: keep, logger: logger,
		contents: make(map[key]*Content[T]), of: make(map[uint32]use[T]), counts: make(map[string]int),
		touched: make(map[uint32]struct{}), refused: make(map[key]error), late: make(map[key]bool),
	}
}

// Pin returns the routes of a row, which are provisioned if need be, and keeps them until
// Unpin.
func (p *Pool[T]) Pin(routes json.RawMessage) (*Content[T], error) {
	k := key(sha256.Sum256(routes))
	p.mu.Lock()
	if err := p.refusal(k); err != nil {
		p.mu.Unlock()
		return nil, err
	}
	c := p.contents[k]
	first := c == nil
	if first {
		c = &Content[T]{key: k, ready: make(chan struct{})}
		p.contents[k] = c
	}
	c.pins++
	p.mu.Unlock()
	if first {
		p.provision(c, routes)
	}
	<-c.ready
	if c.err != nil {
		return nil, c.err
	}
	return c, nil
}

// refusal returns why nothing is to be tried with routes now. The caller holds the lock.
func (p *Pool[T]) refusal(k key) error {
	switch {
	case p.refused[k] != nil:
		return p.refused[k]
	case p.ended:
		return errors.New("the configuration has ended")
	case p.late[k]:
		return errNotInTime // one attempt at a time: a module may never come back
	}
	return nil
}

// Unpin lets go of routes.
func (p *Pool[T]) Unpin(list ...*Content[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range list {
		c.pins--
		p.dropUnused(c)
	}
}

// Ask is Pin until the next Settle.
func (p *Pool[T]) Ask(routes json.RawMessage) (*Content[T], error) {
	c, err := p.Pin(routes)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, c)
	return c, nil
}

// AskReady is Ask for routes that are provisioned already, where others would wait until they
// are. Of those that are not, the error is ErrNotProvisioned, if nothing worse is known.
func (p *Pool[T]) AskReady(routes json.RawMessage) (*Content[T], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := key(sha256.Sum256(routes))
	if err := p.refusal(k); err != nil {
		return nil, err
	}
	c := p.contents[k]
	if !c.isReady() {
		return nil, ErrNotProvisioned
	}
	c.pins++
	p.asked = append(p.asked, c)
	return c, nil
}

// Lacks reports whether routes are to be provisioned before they can be had from AskReady.
func (p *Pool[T]) Lacks(routes json.RawMessage) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := key(sha256.Sum256(routes))
	return p.refusal(k) == nil && !p.contents[k].isReady()
}

// isReady reports whether there are routes, and they are provisioned. The caller holds the
// lock of the pool, below which those leave it that cannot be.
func (c *Content[T]) isReady() bool {
	if c == nil {
		return false
	}
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// dropUnused ends routes that nobody has. The caller holds the lock.
func (p *Pool[T]) dropUnused(c *Content[T]) {
	if c.sites > 0 || c.pins > 0 || p.contents[c.key] != c {
		return
	}
	delete(p.contents, c.key)
	c.leave(p.keep)
}

// Touch notes sites that a change is about, and whether they get routes of their own.
func (p *Pool[T]) Touch(own bool, ids ...uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if _, had := p.of[id]; own || had {
			p.touched[id] = struct{}{}
		}
	}
}

// Settle is the end of a change, made or not: routes that no site has end. What a site has
// now, and the name of its source, the function tells.
func (p *Pool[T]) Settle(now func(id uint32) (*Content[T], string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	for id := range p.touched {
		before, had := p.of[id]
		if own, source := now(id); own != nil {
			p.of[id] = use[T]{own, source}
			p.counts[source]++
			own.sites++
		} else {
			delete(p.of, id)
		}
		if had {
			p.counts[before.source]--
			before.sites--
			p.dropUnused(before.Content)
		}
	}
	clear(p.touched)
	for _, c := range p.asked {
		c.pins--
		p.dropUnused(c)
	}
	p.asked = nil
}

// Settled reports whether nothing waits for settle.
func (p *Pool[T]) Settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)+len(p.touched) == 0
}

// End cleans all up, since the configuration has ended: requests have done so, or have
// had their time.
func (p *Pool[T]) End(keep time.Duration) {
	p.mu.Lock()
	all := p.contents
	p.contents, p.of, p.asked, p.ended = nil, nil, nil, true
	p.mu.Unlock()
	for _, c := range all {
		if c.isReady() { // else who provisions them finds that all has ended
			c.group.Retire(keep)
		}
	}
}

// maxRefusal bounds what is kept of the reason why routes cannot be provisioned.
const maxRefusal = 500

// ErrNotReady is in the error of routes that were not ready in time: another time they may
// be.
var ErrNotReady = errors.New("its routes are not ready")

// ErrNotProvisioned is the error of routes that nobody has provisioned yet.
var ErrNotProvisioned = fmt.Errorf("%w yet", ErrNotReady)

var errNotInTime = fmt.Errorf("%w after %s", ErrNotReady, maxProvisioning)

// provisioned is what came of provisioning.
type provisioned[T any] struct {
	group    *upgrades.Group
	handlers T
	err      error
}

// provisioning is held while routes are provisioned: modules expect that this is done
// for one after the other, as Caddy does.
var provisioning sync.Mutex

// provision makes handlers out of routes. Whatever a module does then, it takes its time
// and no more.
func (p *Pool[T]) provision(c *Content[T], routes json.RawMessage) {
	provisioning.Lock()
	defer provisioning.Unlock()
	done := make(chan provisioned[T], 1)
	go func() { done <- p.attempt(c, routes) }()
	timer := time.NewTimer(maxProvisioning)
	defer timer.Stop()
	select {
	case made := <-done:
		c.group, c.handlers, c.err = made.group, made.handlers, made.err
	case <-timer.C:
		c.err = errNotInTime
		p.mu.Lock()
		p.late[c.key] = true
		p.mu.Unlock()
		go func() {
			if made := <-done; made.err == nil {
				made.group.End()
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.late, c.key)
		}()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(c.ready) // under the lock: end finds what is ready
	if p.ended && c.err == nil {
		c.err = errors.New("the configuration has ended")
		go c.group.End()
	}
	if c.err == nil {
		return
	}
	if p.contents[c.key] == c {
		delete(p.contents, c.key)
	}
	if errors.Is(c.err, ErrNotReady) {
		return // the machine may have been busy: it is tried again
	}
	if len(p.refused) >= maxRefused {
		clear(p.refused)
	}
	if text := c.err.Error(); len(text) > maxRefusal { // it may quote the row
		c.err = errors.New(strings.ToValidUTF8(text[:maxRefusal], "") + " ...")
	}
	p.refused[c.key] = c.err
}

// attempt makes handlers out of routes. A module that panics is an error.
func (p *Pool[T]) attempt(c *Content[T], routes json.RawMessage) (made provisioned[T]) {
	group := p.newGroup()
	defer func() {
		if cause := recover(); cause != nil {
			p.logger.Error("a module panics when routes of a row are provisioned", zap.Any("cause", cause), zap.ByteString("stack", debug.Stack()))
			made.err = errors.New("its routes cannot be provisioned: a module fails with them in a way that it should not")
		}
		if made.err != nil {
			group.End()
		}
	}()
	handlers, err := p.provisioner(routes, group, c)
	return provisioned[T]{group, handlers, err}
}

// Handlers are what the routes have become.
func (c *Content[T]) Handlers() T { return c.handlers }

// Enter counts a request. It reports false if no site has the routes any more: what is
// served is another snapshot than the one that had them.
func (c *Content[T]) Enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return false
	}
	c.requests++
	return true
}

// Exit is the end of a request.
func (c *Content[T]) Exit() {
	c.mu.Lock()
	c.requests--
	last := c.left && c.requests == 0
	keep := c.keep
	c.mu.Unlock()
	if last {
		go c.group.Retire(keep)
	}
}

// leave is the end of the last site. Requests end first, and connections that they have
// handed over may last for some time.
func (c *Content[T]) leave(keep time.Duration) {
	c.mu.Lock()
	c.left, c.keep = true, keep
	last := c.requests == 0
	c.mu.Unlock()
	if last {
		go c.group.Retire(keep)
	}
}

// Count counts the routes that are provisioned, and the sites that are served with them.
func (p *Pool[T]) Count() (contents, sites int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.contents), len(p.of)
}

// Try tells whether routes can be provisioned as those of a row are, whatever modules they
// have. Nothing of them stays.
func (p *Pool[T]) Try(routes json.RawMessage) error {
	c, err := p.Pin(routes)
	if err == nil {
		p.Unpin(c)
	}
	return err
}
