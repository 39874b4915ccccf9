package certsel

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/certsel/certfile"
)

// refreshInterval is how often certificates in use are compared with
// certmagic's cache, whose maintenance renews certificates that another
// instance has renewed in a shared storage, and OCSP staples, without saying
// so by an event.
const refreshInterval = time.Minute

// groups holds the managed certificates of all loaded configurations, by
// settings, so that a configuration load obtains and reads nothing again.
var groups = caddy.NewUsagePool()

// group is a set of managed certificates with the same issuers, kind of key
// and storage. It has a certmagic cache of its own: there, a certificate is
// found by its subject alone, so certificates for one subject from different
// issuers must not share a cache, and neither must other apps' certificates.
type group struct {
	cache *certmagic.Cache
	stop  chan struct{}

	mu    sync.Mutex
	slots map[string]*slot

	// The configurations that use the group, newest last. They have a lock of their
	// own: the cache asks for them while it holds its own, which it also takes while mu
	// is held.
	configsMu sync.Mutex
	configs   []*certmagic.Config

	failures failures

	alone chan struct{} // has an element while the first order is under way
	begun atomic.Bool   // there has been one
}

// slot holds the certificate that serves a subject, nil while there is none.
type slot struct {
	cert atomic.Pointer[tls.Certificate]
	uses int // guarded by group.mu
}

func newGroup(opts certmagic.CacheOptions) *group {
	g := &group{slots: make(map[string]*slot), stop: make(chan struct{}), alone: make(chan struct{}, 1)}
	opts.GetConfigForCert = func(certmagic.Certificate) (*certmagic.Config, error) { return g.current() }
	opts.Logger = caddy.Log().Named("iis.certificates")
	g.cache = certmagic.NewCache(opts)
	go g.refreshRegularly()
	return g
}

// Destruct ends the maintenance of the group's certificates.
func (g *group) Destruct() error {
	close(g.stop)
	g.cache.Stop()
	return nil
}

func (g *group) current() (*certmagic.Config, error) {
	g.configsMu.Lock()
	defer g.configsMu.Unlock()
	if len(g.configs) == 0 {
		return nil, errors.New("no configuration manages this certificate any more")
	}
	return g.configs[len(g.configs)-1], nil
}

// observer sees events of certmagic. An error ends what they are about.
type observer func(ctx context.Context, name string, data map[string]any) error

// join makes a certmagic configuration for a load that uses the group.
// observe, if there is one, sees its events.
func (g *group) join(cfg certmagic.Config, ctx caddy.Context, events *caddyevents.App, observe observer) *certmagic.Config {
	var magic *certmagic.Config
	cfg.OnEvent = func(evCtx context.Context, name string, data map[string]any) error {
		g.onEvent(magic, name, data)
		if observe != nil {
			if err := observe(evCtx, name, data); err != nil {
				return err
			}
		}
		if attempt, ok := evCtx.Value(attemptKey{}).(*attempt); ok && name == "cert_failed" {
			attempt.fail(failureOf(data))
		}
		if !events.ShouldEmit(name) {
			return nil
		}
		evCaddyCtx := ctx
		evCaddyCtx.Context = evCtx
		return events.Emit(evCaddyCtx, name, data).Aborted
	}
	magic = certmagic.New(g.cache, cfg)
	g.configsMu.Lock()
	g.configs = append(g.configs, magic)
	g.configsMu.Unlock()
	return magic
}

func (g *group) leave(magic *certmagic.Config) {
	g.configsMu.Lock()
	defer g.configsMu.Unlock()
	g.configs = slices.DeleteFunc(g.configs, func(c *certmagic.Config) bool { return c == magic })
}

// first lets the first order go alone: it registers the account with the authority.
// Several at once without an e-mail address would make certmagic register one under
// the address "default", which authorities refuse, for as long as the process lives.
func (g *group) first(ctx context.Context) (done func(), err error) {
	if g.begun.Load() {
		return func() {}, nil
	}
	select {
	case g.alone <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if g.begun.Load() {
		<-g.alone
		return func() {}, nil
	}
	return func() { g.begun.Store(true); <-g.alone }, nil
}

func (g *group) acquire(subject string) *slot {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.slots[subject]
	if s == nil {
		s = new(slot)
		g.slots[subject] = s
	}
	s.uses++
	return s
}

// release gives slots back. Certificates that nobody has a slot for leave the cache
// at once, before somebody else can take the slot again: certmagic would go on to
// renew them.
func (g *group) release(subjects []string) {
	var unused []certmagic.SubjectIssuer
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, subject := range subjects {
		s := g.slots[subject]
		if s.uses--; s.uses == 0 {
			delete(g.slots, subject)
			unused = append(unused, certmagic.SubjectIssuer{Subject: subject})
		}
	}
	g.cache.RemoveManaged(unused)
}

// onEvent takes over certificates as certmagic loads them.
func (g *group) onEvent(magic *certmagic.Config, name string, data map[string]any) {
	switch name {
	case "cached_managed_cert":
		if names, ok := data["sans"].([]string); ok {
			for _, subject := range names {
				g.refresh(subject)
			}
		}
	case "cert_failed":
		if subject, _ := data["identifier"].(string); subject != "" {
			g.failures.note(subject, failureOf(data))
		}
	case "cert_obtained":
		// A renewed certificate goes from storage into the cache without
		// another event, after this one: load it here.
		subject, _ := data["identifier"].(string)
		g.failures.clear(subject)
		if renewal, _ := data["renewal"].(bool); renewal && g.serves(subject) {
			go func() {
				if _, err := magic.CacheManagedCertificate(context.Background(), subject); err != nil {
					magic.Logger.Error("loading the renewed certificate; it will be tried again",
						zap.String("subject", subject), zap.Duration("after", refreshInterval), zap.Error(err))
				}
			}()
		}
	}
}

// failureOf is the error of an event cert_failed.
func failureOf(data map[string]any) error {
	if err, ok := data["error"].(error); ok {
		return err
	}
	return errors.New("it could not be obtained")
}

// serves reports whether there is a slot for a subject.
func (g *group) serves(subject string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.slots[subject] != nil
}

// serving lists the subjects that have a certificate.
func (g *group) serving() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	subjects := make([]string, 0, len(g.slots))
	for subject, s := range g.slots {
		if s.cert.Load() != nil {
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

// refresh puts the best certificate that the cache has for exactly this
// subject into its slot: the one of those valid now that is valid longest. One
// that is not valid yet has its turn when it is. Without a slot, the subject has left
// while its certificate was read, which leaves the cache again.
func (g *group) refresh(subject string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.slots[subject]
	if s == nil {
		g.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: subject}})
		return
	}
	var best *certmagic.Certificate
	now := time.Now()
	for _, cert := range g.cache.AllMatchingCertificates(subject) {
		if !slices.Contains(cert.Names, subject) {
			continue // a wildcard that covers the subject is another certificate
		}
		if best == nil || certfile.Compare(cert.Leaf, best.Leaf, now) > 0 {
			best = &cert
		}
	}
	if best != nil {
		s.cert.Store(&best.Certificate)
	}
}

func (g *group) refreshRegularly() {
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-ticker.C:
		}
		g.mu.Lock()
		subjects := make([]string, 0, len(g.slots))
		for subject := range g.slots {
			subjects = append(subjects, subject)
		}
		g.mu.Unlock()
		for _, subject := range subjects {
			g.refresh(subject)
		}
		g.failures.forget(time.Now().Add(-keepFailures))
	}
}

// loadStored loads a certificate that is in storage. One that must be renewed
// is left to certmagic's management, which renews what it loads itself.
func (g *group) loadStored(ctx context.Context, magic *certmagic.Config, subject string) error {
	cert, err := magic.CacheManagedCertificate(ctx, subject)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // to be obtained when the configuration serves
	}
	if err != nil {
		return err
	}
	if cert.NeedsRenewal(magic) {
		g.refresh(subject)
		g.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: subject}})
	}
	return nil
}
