package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/sites"
)

// Node is the configuration that a source belongs to, as far as a source needs it.
type Node interface {
	// Show serves rows that are different, and no longer those that are gone, and returns
	// how many can be served as far as it is up to them. The caller holds the lock of the
	// source.
	Show(s *Source, changed, gone []uint32) int

	// Bench returns beside what the rows of a source are judged at this moment.
	Bench(s *Source) Bench

	// Ahead returns what provisions the routes of their own that documents of rows bring with
	// them, and those of rows that are held back, and keeps them until its result is called.
	// It returns nil if none are to be provisioned. Who shows rows, or judges them, does not
	// provision: the table may be locked.
	Ahead(s *Source, documents []json.RawMessage) (provision func() (over func()))

	// Again has rows tried again, after a while, whose own routes were not ready in time.
	Again(s *Source)

	// Settle is called when rows have been looked at: what only those need that are not
	// accepted can go.
	Settle()
}

// Source is a source of sites that are changed while they serve, as this
// configuration has it.
type Source struct {
	*sites.CommonSettings
	Node   Node
	Routes *config.RouteRules // for routes of rows; nil: they have none

	// Follower is the table, nil until it is opened.
	Follower *Follower

	module sites.Source
	claims claimed
	from   uint64 // the step of the follower that this configuration began with
	sealer *sites.Sealer
	logger *zap.Logger

	// The rows that are not served, and why.
	mu    sync.Mutex
	held  map[uint32]HeldBack
	order []uint32 // their ids, sorted, for whoever reads on; nil: see heldOrder
	holds uint64   // counts what was held back
	tried uint32   // the last one that was tried again

	retry   *time.Timer // of the next attempt, nil if none is to come: see RetryLater
	retried int         // attempts since a row began to wait for one

	later atomic.Bool // they are tried as soon as the lock is free

	failed map[string]string // certificates that are not served, and why; replaced as a whole
	stale  map[string]bool   // those that serve and are not encrypted with the first key; likewise
}

// Sources are those of a configuration, in its order.
type Sources []*Source

// Add adds the source of a module.
func (l *Sources) Add(module sites.Source, node Node, logger *zap.Logger) error {
	s := &Source{CommonSettings: module.Settings(), Node: node, module: module, logger: logger}
	for _, other := range *l {
		if other.Name == s.Name {
			return fmt.Errorf("sites_from: two sources are called %q: give one of them another name", s.Name)
		}
	}
	for _, other := range *l {
		if other.module.Address() == module.Address() {
			return fmt.Errorf("sites_from: %s and %s are the same table: remove one of them", other.Name, s.Name)
		}
	}
	var err error
	if s.sealer, err = sites.NewSealer(s.CommonSettings); err != nil {
		return fmt.Errorf("sites_from %s: %w", s.Name, err)
	}
	if s.Routes, err = config.NewRouteRules(s.AllowRoutes); err != nil {
		return fmt.Errorf("sites_from %s: %w", s.Name, err)
	}
	*l = append(*l, s)
	return nil
}

// AllowRoutes reports whether rows of one of them may have routes of their own.
func (l Sources) AllowRoutes() bool {
	return slices.ContainsFunc(l, func(s *Source) bool { return s.Routes != nil })
}

// Open opens the table of a source, or takes the one that this process has open already. If
// only that may be, and there is none, the error is ErrNotOpen.
func (l Sources) Open(ctx context.Context, s *Source, onlyOpen bool) error {
	f, err := openFollower(ctx, s.module, onlyOpen)
	if errors.Is(err, ErrNotOpen) {
		return err
	}
	if err != nil {
		return fmt.Errorf("sites_from %s: %w", s.Name, err)
	}
	s.Follower = f
	return l.refuseTwice(s)
}

// refuseTwice refuses a shared table that another source has under another address: each
// would refuse what the other has.
func (l Sources) refuseTwice(source *Source) error {
	head, err := source.Follower.Head()
	if err != nil || source.Follower.Shared == nil {
		return nil // nothing is known of it yet
	}
	for _, other := range l {
		if other == source || other.Follower == nil {
			continue
		}
		if same, err := other.Follower.Head(); err == nil && same.Source == head.Source {
			return fmt.Errorf("sites_from: %s and %s are the same database, or one is a copy of the other: remove one of them, or give the copy an identity of its own (update iis.head set source = gen_random_uuid())", other.Name, source.Name)
		}
	}
	return nil
}

// Close lets go of the table, if it is open.
func (s *Source) Close() error {
	f := s.Follower
	if f == nil {
		return nil
	}
	f.mu.Lock()
	if f.owner == s {
		f.owner = nil
	}
	f.mu.Unlock()
	_, err := followers.Delete(s.module.Address())
	return err
}
