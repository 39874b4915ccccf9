package serve

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

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/upgrades"
)

// ownRoutes are the routes that rows bring with them. Equal ones are provisioned once, in
// a context of their own, which ends when the last site and the last request have left it.
//
// They are provisioned before a change is decided, and never in a request. What a change
// has asked for is kept until it is over: see settle.
type ownRoutes struct {
	app *Instance

	mu       sync.Mutex
	contents map[ownKey]*ownContent
	of       map[uint32]ownUse   // what sites have that are served, by id
	counts   map[string]int      // of those sites, by the names of their sources
	touched  map[uint32]struct{} // sites that are perhaps different since the last settle
	asked    []*ownContent       // each has a pin until then
	refused  map[ownKey]error    // what could not be provisioned
	ended    bool
}

type ownKey [sha256.Size]byte

// ownUse is that a site has routes of its own.
type ownUse struct {
	*ownContent
	source string
}

// ownContent are the routes of some rows.
type ownContent struct {
	key   ownKey
	ready chan struct{} // closed when it is provisioned, or err is set
	err   error
	group *upgrades.Group
	logs  [2]*content // without and with access log

	// Under the lock of ownRoutes.
	sites int // that serve it
	pins  int // changes that need it

	mu       sync.Mutex
	requests int
	left     bool // no site has it any more, and so no new request
	keep     time.Duration
}

// The bounds of what is provisioned for rows.
const (
	maxOwnProvisioning = 5 * time.Second
	maxOwnRefused      = 10_000 // are remembered
)

func newOwnRoutes(app *Instance) *ownRoutes {
	return &ownRoutes{
		app: app, contents: make(map[ownKey]*ownContent), of: make(map[uint32]ownUse), counts: make(map[string]int),
		touched: make(map[uint32]struct{}), refused: make(map[ownKey]error),
	}
}

// pin returns the routes of a row, which are provisioned if need be, and keeps them until
// unpin.
func (p *ownRoutes) pin(routes json.RawMessage) (*ownContent, error) {
	key := ownKey(sha256.Sum256(routes))
	p.mu.Lock()
	if err := p.refused[key]; err != nil || p.ended {
		p.mu.Unlock()
		if err == nil {
			err = errors.New("the configuration has ended")
		}
		return nil, err
	}
	c := p.contents[key]
	first := c == nil
	if first {
		c = &ownContent{key: key, ready: make(chan struct{})}
		p.contents[key] = c
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

// unpin lets go of routes.
func (p *ownRoutes) unpin(list ...*ownContent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range list {
		c.pins--
		p.dropUnused(c)
	}
}

// ask is pin until the next settle.
func (p *ownRoutes) ask(routes json.RawMessage) (*ownContent, error) {
	c, err := p.pin(routes)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, c)
	return c, nil
}

// dropUnused ends routes that nobody has. The caller holds the lock.
func (p *ownRoutes) dropUnused(c *ownContent) {
	if c.sites > 0 || c.pins > 0 || p.contents[c.key] != c {
		return
	}
	delete(p.contents, c.key)
	c.leave(p.app.Options.DrainUpgraded)
}

// touch notes sites that a change is about, and whether they get routes of their own.
func (p *ownRoutes) touch(own bool, ids ...uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if _, had := p.of[id]; own || had {
			p.touched[id] = struct{}{}
		}
	}
}

// settle is the end of a change, made or not: routes that no site has end.
func (p *ownRoutes) settle(now *Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	for id := range p.touched {
		before, had := p.of[id]
		if entry := now.Tables.SiteByID(id); entry != nil && now.Sites.At(entry.Index).Content.own != nil {
			site := now.Sites.At(entry.Index)
			p.of[id] = ownUse{site.Content.own, site.Source}
			p.counts[site.Source]++
			site.Content.own.sites++
		} else {
			delete(p.of, id)
		}
		if had {
			p.counts[before.source]--
			before.sites--
			p.dropUnused(before.ownContent)
		}
	}
	clear(p.touched)
	for _, c := range p.asked {
		c.pins--
		p.dropUnused(c)
	}
	p.asked = nil
}

// settled reports whether nothing waits for settle.
func (p *ownRoutes) settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)+len(p.touched) == 0
}

// end cleans all up, since the configuration has ended: requests have done so, or have
// had their time.
func (p *ownRoutes) end(keep time.Duration) {
	p.mu.Lock()
	all := p.contents
	p.contents, p.of, p.asked, p.ended = nil, nil, nil, true
	p.mu.Unlock()
	for _, c := range all {
		select {
		case <-c.ready:
			c.group.Retire(keep)
		default: // who provisions them finds that all has ended
		}
	}
}

// maxOwnRefusal bounds what is kept of the reason why routes cannot be provisioned.
const maxOwnRefusal = 500

var errNotInTime = fmt.Errorf("its routes are not ready after %s", maxOwnProvisioning)

// provisioned is what came of provisioning.
type provisioned struct {
	group *upgrades.Group
	logs  [2]*content
	err   error
}

// ownProvisioning is held while routes are provisioned: modules expect that this is done
// for one after the other, as Caddy does.
var ownProvisioning sync.Mutex

// provision makes handlers out of routes. Whatever a module does then, it takes its time
// and no more.
func (p *ownRoutes) provision(c *ownContent, routes json.RawMessage) {
	ownProvisioning.Lock()
	defer ownProvisioning.Unlock()
	done := make(chan provisioned, 1)
	go func() { done <- p.app.provisionOwn(c, routes) }()
	timer := time.NewTimer(maxOwnProvisioning)
	defer timer.Stop()
	select {
	case made := <-done:
		c.group, c.logs, c.err = made.group, made.logs, made.err
	case <-timer.C:
		c.err = errNotInTime
		go func() {
			if made := <-done; made.err == nil {
				made.group.End()
			}
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
	if errors.Is(c.err, errNotInTime) {
		return // the machine may have been busy: it is tried again
	}
	if len(p.refused) >= maxOwnRefused {
		clear(p.refused)
	}
	if text := c.err.Error(); len(text) > maxOwnRefusal { // it may quote the row
		c.err = errors.New(strings.ToValidUTF8(text[:maxOwnRefusal], "") + " ...")
	}
	p.refused[c.key] = c.err
}

// provisionOwn makes handlers out of routes.
func (a *Instance) provisionOwn(own *ownContent, routes json.RawMessage) (made provisioned) {
	group := a.http.newOwnGroup()
	defer func() {
		if cause := recover(); cause != nil {
			a.logger.Error("a module panics when routes of a row are provisioned", zap.Any("cause", cause), zap.ByteString("stack", debug.Stack()))
			made.err = errors.New("its routes cannot be provisioned: a module fails with them in a way that it should not")
		}
		if made.err != nil {
			group.End()
		}
	}()
	cfg := new(config.Site)
	if err := json.Unmarshal(routes, &cfg.Content); err != nil {
		return provisioned{err: err}
	}
	may := deedsOf(&cfg.Content)
	first := &content{http: a.http, group: group, own: own, May: may}
	first.server = a.http.app.Servers[a.classOf(cfg, &cfg.Content).String()]
	if err := a.http.compile(first, &cfg.Content); err != nil {
		return provisioned{err: err}
	}
	logged := *first
	logged.server = a.http.app.Servers[a.classOf(&config.Site{AccessLog: true}, &cfg.Content).String()]
	return provisioned{group: group, logs: [2]*content{first, &logged}}
}

// contentFor returns what serves a site.
func (c *ownContent) contentFor(cfg *config.Site) *content {
	if cfg.AccessLog {
		return c.logs[1]
	}
	return c.logs[0]
}

// newOwnGroup makes a group for routes of rows. What its modules count is not shown: its
// labels would be what rows say.
func (h *httpServers) newOwnGroup() *upgrades.Group {
	g := upgrades.NewGroup(h.parent, h.logger)
	h.metrics.Leave(g.Context())
	return g
}

// enter counts a request. It reports false if no site has the routes any more: what is
// served is another snapshot than the one that had them.
func (c *ownContent) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return false
	}
	c.requests++
	return true
}

// exit is the end of a request.
func (c *ownContent) exit() {
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
func (c *ownContent) leave(keep time.Duration) {
	c.mu.Lock()
	c.left, c.keep = true, keep
	last := c.requests == 0
	c.mu.Unlock()
	if last {
		go c.group.Retire(keep)
	}
}

// CountOwnRoutes counts the routes of rows that are provisioned, and the sites that are
// served with them.
func (a *Instance) CountOwnRoutes() (contents, sites int) {
	a.own.mu.Lock()
	defer a.own.mu.Unlock()
	return len(a.own.contents), len(a.own.of)
}

// TryOwnRoutes tells whether routes can be provisioned as those of a row are, whatever
// modules they have. Nothing of them stays.
func (a *Instance) TryOwnRoutes(routes json.RawMessage) error {
	c, err := a.own.pin(routes)
	if err == nil {
		a.own.unpin(c)
	}
	return err
}
