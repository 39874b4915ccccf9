package winstore

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
)

// Interval is how often stores are looked at: certificates begin and cease to be valid,
// rights to keys come, and not all stores tell of changes.
const Interval = 30 * time.Second

// Intermediates is the store with the certificates of authorities between a certificate
// and its root.
const Intermediates = "CA"

// DefaultStores are the stores with the certificates of servers.
var DefaultStores = []string{"My", "WebHosting"}

// Stores knows what the stores of a machine have. One is enough for everybody: a store
// is listed once, however many certificates are looked for in it.
type Stores struct {
	machine  Machine
	interval time.Duration
	wake     chan struct{}
	stop     chan struct{}
	done     chan struct{}

	mu       sync.Mutex
	listings map[string]*listing // by store, in lower case
	watches  map[*watch]struct{}
}

// watch is somebody who wants to know of changes.
type watch struct{ look func() }

// listing is a store at a moment.
type listing struct {
	at     time.Time
	byName map[string][]*Certificate
	parsed map[string]*x509.Certificate // by DER
	ders   [][]byte
	err    error
	stop   func() // ends being notified
}

// NewStores returns the stores of a machine. They must be closed.
func NewStores(machine Machine, interval time.Duration) *Stores {
	s := &Stores{
		machine: machine, interval: interval,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		listings: make(map[string]*listing), watches: make(map[*watch]struct{}),
	}
	go s.run()
	return s
}

// Close ends watching.
func (s *Stores) Close() {
	close(s.stop)
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listings {
		if l.stop != nil {
			l.stop()
		}
	}
}

// Watch has a function called whenever the stores were looked at again, until stop is
// called. It does not wait for a call that runs.
func (s *Stores) Watch(look func()) (stop func()) {
	w := &watch{look}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches[w] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches, w)
	}
}

func (s *Stores) run() {
	defer close(s.done)
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		case <-s.wake:
		}
		s.refresh()
	}
}

// refresh looks at the stores again, and has everybody look.
func (s *Stores) refresh() {
	now := time.Now()
	s.mu.Lock()
	for name := range s.listings {
		s.list(name, now)
	}
	watches := make([]*watch, 0, len(s.watches))
	for w := range s.watches {
		watches = append(watches, w)
	}
	s.mu.Unlock()
	for _, w := range watches {
		w.look()
	}
}

// list returns what a store has, as it is after a time. The caller holds s.mu.
func (s *Stores) list(name string, after time.Time) *listing {
	key := strings.ToLower(name)
	before := s.listings[key]
	if before != nil && before.at.After(after) { // the clock may stand still meanwhile
		return before
	}
	l := &listing{at: time.Now()}
	if before != nil {
		l.stop = before.stop
	}
	if l.stop == nil {
		// First, so that no change falls between. One that cannot tell is looked at
		// now and then; that it is not there is no reason to say so.
		l.stop, _ = s.machine.Notify(name, s.changed)
	}
	s.listings[key] = l
	items, err := s.machine.List(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l
	}
	l.err = err
	l.fill(name, items, before)
	return l
}

// changed is called when a store has changed.
func (s *Stores) changed() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// fill parses certificates, each once as long as it is there. What is no certificate
// that TLS can use is nobody's.
func (l *listing) fill(store string, items []Item, before *listing) {
	l.byName, l.parsed = make(map[string][]*Certificate), make(map[string]*x509.Certificate, len(items))
	for _, item := range items {
		l.ders = append(l.ders, item.DER)
		leaf := l.parsed[string(item.DER)]
		if leaf == nil && before != nil {
			leaf = before.parsed[string(item.DER)]
		}
		if leaf == nil {
			var err error
			if leaf, err = certfile.ParseCertificate(item.DER); err != nil {
				continue
			}
		}
		l.parsed[string(item.DER)] = leaf
		c := &Certificate{Item: item, Store: store, Thumbprint: certfile.Thumbprint(item.DER), Leaf: leaf}
		for _, name := range c.names() {
			l.byName[name] = append(l.byName[name], c)
		}
	}
}

// Find returns the best certificate that a query has in the stores, as they are after a
// time; the same one as before if nothing has changed. The error says why there is none,
// or why it is not a better one.
func (s *Stores) Find(q Query, after time.Time, before *Found) (*Found, error) {
	named, others, err := s.named(q, after)
	if err != nil {
		return nil, err
	}
	var candidates []*Certificate
	var unsuited, refused []string
	for _, c := range named {
		if problem := q.suits(c); problem != "" {
			unsuited = append(unsuited, fmt.Sprintf("%s: %s", c, problem))
		} else {
			candidates = append(candidates, c)
		}
	}
	now := time.Now()
	slices.SortStableFunc(candidates, func(a, b *Certificate) int { return compare(a, b, now) })
	for _, c := range candidates {
		found, err := s.open(c, others, before)
		if err == nil {
			if len(refused) > 0 {
				err = fmt.Errorf("a better certificate %s cannot be used: %s", q, list(refused))
			}
			return found, err
		}
		refused = append(refused, fmt.Sprintf("%s: its private key cannot be used: %v", c, err))
	}
	err = fmt.Errorf("no certificate %s is in %s of this machine", q, storeNames(q.Stores))
	if problems := append(refused, unsuited...); len(problems) > 0 {
		err = fmt.Errorf("%w that can be used: %s", err, list(problems))
	}
	return nil, err
}

// Found is a certificate that was found.
type Found struct {
	Certificate *Certificate
	TLS         *tls.Certificate
}

// named lists the certificates with the name of a query, and those that may be in their
// chains.
func (s *Stores) named(q Query, after time.Time) (found []*Certificate, others [][]byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, store := range q.Stores {
		l := s.list(store, after)
		if l.err != nil {
			return nil, nil, fmt.Errorf("reading the store %s of this machine: %w", store, l.err)
		}
		for _, name := range q.names() {
			for _, c := range l.byName[name] {
				if !slices.Contains(found, c) {
					found = append(found, c)
				}
			}
		}
	}
	// An error there leaves the chain as it is without: findings tell.
	return found, s.list(Intermediates, after).ders, nil
}

// open makes what serves of a certificate.
func (s *Stores) open(c *Certificate, others [][]byte, before *Found) (*Found, error) {
	chain := certfile.Chain(c.Leaf, others)
	if before != nil && before.Certificate.sameAs(c) {
		if slices.EqualFunc(before.TLS.Certificate, chain, bytes.Equal) {
			return before, nil
		}
		renewed := *before.TLS
		renewed.Certificate = chain
		return &Found{c, &renewed}, nil
	}
	key, err := s.machine.Key(c.Store, c.DER)
	if err != nil {
		return nil, err
	}
	private, schemes, err := newSigner(c.Leaf.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &Found{c, &tls.Certificate{Certificate: chain, PrivateKey: private, Leaf: c.Leaf, SupportedSignatureAlgorithms: schemes}}, nil
}

// list lists problems, up to a bound.
func list(problems []string) string {
	const most = 5
	if more := len(problems) - most; more > 0 {
		return fmt.Sprintf("%s; and %d more", strings.Join(problems[:most], "; "), more)
	}
	return strings.Join(problems, "; ")
}

func storeNames(stores []string) string {
	if len(stores) == 1 {
		return "the store " + stores[0]
	}
	return "the stores " + strings.Join(stores, ", ")
}
