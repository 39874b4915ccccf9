package certsel

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
)

func init() {
	caddy.RegisterModule(new(Auto))
}

// Auto provides a certificate for each host of the https bindings that use it, as
// they come and go: the bindings are the permission, and no other name is ever asked
// for. A certificate is obtained in the background when its binding comes or, on
// demand, in the first handshake for its host.
//
// Only exact hosts of started sites have one. A client whose server name is no such
// host, or who sends none, gets the certificate of default, if there is one.
type Auto struct {
	// If true, certificates are obtained when the first client asks for a host, who
	// waits for it, and not before. Default: false, in the background as soon as there
	// is a binding; whoever comes earlier waits as well.
	OnDemand bool `json:"on_demand,omitempty"`

	// A name whose certificate clients without a server name of a binding get.
	// Default: none, they are served by the endpoint or refused.
	Default string `json:"default,omitempty"`

	// Who issues the certificates, tried in order. Default: those of the automation
	// policy of Caddy's tls app for all names, where the global options email, acme_ca
	// and so on are; without one, Caddy's default issuers (ACME).
	IssuersRaw []json.RawMessage `json:"issuers,omitempty" caddy:"namespace=tls.issuance inline_key=module"`

	// The kind of private key: ed25519, p256, p384, rsa2048 or rsa4096.
	// Default: p256.
	KeyType string `json:"key_type,omitempty"`

	// How many certificates are in memory; others are read from storage when a
	// client asks for them. Default: 10000.
	Capacity int `json:"capacity,omitempty"`

	// How long a client waits for a certificate that is obtained or read for it.
	// Then it is served as if there were none. Default: 20s.
	MaxWait caddy.Duration `json:"max_wait,omitempty"`

	managed  *Managed // with the default as subject, if there is one
	ctx      context.Context
	logger   *zap.Logger
	capacity int
	maxWait  time.Duration

	bound   atomic.Pointer[func(host string) bool]
	entries sync.Map // of *autoEntry, by host
	count   atomic.Int64
}

// The defaults of Auto.
const (
	defaultAutoCapacity = 10_000
	defaultAutoWait     = 20 * time.Second
)

// The pause after a failure, for one name.
const (
	firstAutoPause = 30 * time.Second
	lastAutoPause  = time.Hour
)

// autoEntry is the certificate of a host that is in memory, or on its way there.
type autoEntry struct {
	slot *slot
	used atomic.Int64 // when a client asked for it, in Unix seconds

	mu       sync.Mutex
	loading  chan struct{} // while there is an attempt; closed when waiting has no point any more
	failures int
	again    time.Time // of the next attempt after a failure
	err      error
}

// CaddyModule returns the Caddy module information.
func (*Auto) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "iis.certificates.auto", New: func() caddy.Module { return new(Auto) }}
}

// Provision loads the issuers.
func (a *Auto) Provision(ctx caddy.Context) error {
	a.ctx = ctx.Context
	a.logger = ctx.Logger()
	a.capacity = cmp.Or(a.Capacity, defaultAutoCapacity)
	a.maxWait = cmp.Or(time.Duration(a.MaxWait), defaultAutoWait)
	if a.capacity < 1 || a.maxWait < 0 {
		return errors.New("capacity and max_wait are above 0")
	}
	a.managed = &Managed{IssuersRaw: a.IssuersRaw, KeyType: a.KeyType, open: true}
	if a.Default != "" {
		a.managed.Subjects = []string{a.Default}
	}
	return a.managed.Provision(ctx)
}

// Start makes the default ready, as managed certificates are.
func (a *Auto) Start() error { return a.managed.Start() }

// Commit begins to obtain the default.
func (a *Auto) Commit() { a.managed.Commit() }

// Cleanup lets go of all certificates.
func (a *Auto) Cleanup() error {
	if a.managed == nil {
		return nil
	}
	a.entries.Range(func(key, value any) bool {
		a.drop(key.(string), value.(*autoEntry))
		return true
	})
	return a.managed.Cleanup()
}

// Bind tells which hosts have bindings, by a function that is called in handshakes.
func (a *Auto) Bind(bound func(host string) bool) { a.bound.Store(&bound) }

// Bound reports whether a host has a binding that uses this source.
func (a *Auto) Bound(host string) bool {
	bound := a.bound.Load()
	return bound != nil && (*bound)(host)
}

// Follow takes the hosts that have bindings now. Without on_demand, what is missing
// is obtained in the background.
func (a *Auto) Follow(hosts []string) {
	known := make(map[string]bool, len(hosts))
	var missing []string
	for _, host := range hosts {
		known[host] = true
		if a.OnDemand || !certmagic.SubjectQualifiesForCert(host) || len(known) > a.capacity {
			continue
		}
		if entry, added := a.entry(host); added || entry.slot.cert.Load() == nil {
			missing = append(missing, host)
		}
	}
	a.entries.Range(func(key, value any) bool {
		if !known[key.(string)] {
			a.drop(key.(string), value.(*autoEntry))
		}
		return true
	})
	if len(missing) > 0 {
		if err := a.managed.magic.ManageAsync(a.ctx, missing); err != nil {
			a.logger.Error("managing certificates", zap.Int("names", len(missing)), zap.Error(err))
		}
	}
}

// Select implements Source. A client whose host has a binding waits for its
// certificate, if that is not in memory.
func (a *Auto) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	if cert := a.forHost(hello); cert != nil {
		return cert
	}
	if len(a.managed.slots) == 0 {
		return nil
	}
	return a.managed.Select(hello)
}

func (a *Auto) forHost(hello *tls.ClientHelloInfo) *tls.Certificate {
	var buf [253]byte
	lower := lowerASCII(buf[:0], hello.ServerName)
	if len(lower) == 0 || len(hello.ServerName) > len(buf) {
		return nil
	}
	host := string(lower)
	value, known := a.entries.Load(host)
	if known {
		entry := value.(*autoEntry)
		if cert := entry.slot.cert.Load(); cert != nil {
			if now := time.Now().Unix(); entry.used.Load() != now {
				entry.used.Store(now)
			}
			return cert
		}
	}
	if !a.Bound(host) || !certmagic.SubjectQualifiesForCert(host) {
		return nil
	}
	entry, _ := a.entry(host)
	ctx := hello.Context()
	if ctx == nil {
		// Nobody has sent it: somebody asks what would be. That is no reason to
		// obtain one.
		_, _ = a.managed.magic.CacheManagedCertificate(a.ctx, host)
		return entry.slot.cert.Load()
	}
	select {
	case <-a.load(host, entry):
	case <-ctx.Done():
	case <-a.ctx.Done():
	}
	return entry.slot.cert.Load()
}

// entry returns the entry of a host, and whether it is new.
func (a *Auto) entry(host string) (*autoEntry, bool) {
	if value, ok := a.entries.Load(host); ok {
		return value.(*autoEntry), false
	}
	fresh := &autoEntry{slot: a.managed.group.acquire(host)}
	fresh.used.Store(time.Now().Unix())
	value, loaded := a.entries.LoadOrStore(host, fresh)
	if loaded {
		a.managed.group.release([]string{host})
		return value.(*autoEntry), false
	}
	if int(a.count.Add(1)) > a.capacity {
		a.evict(host)
	}
	return fresh, true
}

// evictFrom is among how many entries one is looked for that nobody has used for
// long.
const evictFrom = 16

// evict drops another entry than that of a host.
func (a *Auto) evict(host string) {
	var oldest string
	var found *autoEntry
	seen := 0
	a.entries.Range(func(key, value any) bool {
		entry := value.(*autoEntry)
		if key.(string) != host && (found == nil || entry.used.Load() < found.used.Load()) {
			oldest, found = key.(string), entry
		}
		seen++
		return seen < evictFrom
	})
	if found != nil {
		a.drop(oldest, found)
	}
}

func (a *Auto) drop(host string, entry *autoEntry) {
	if a.entries.CompareAndDelete(host, entry) {
		a.count.Add(-1)
		a.managed.group.release([]string{host})
	}
}

// load has the certificate of a host read or obtained, once for all who wait for it.
// The channel is closed when there is no point in waiting any longer.
func (a *Auto) load(host string, entry *autoEntry) <-chan struct{} {
	entry.mu.Lock()
	defer entry.mu.Unlock()
	if entry.loading != nil {
		return entry.loading
	}
	over := make(chan struct{})
	if time.Now().Before(entry.again) {
		close(over)
		return over
	}
	entry.loading = over
	waited := sync.OnceFunc(func() { close(over) })
	patience := time.AfterFunc(a.maxWait, waited)
	go func() {
		err := a.provide(host, waited)
		patience.Stop()
		entry.mu.Lock()
		entry.loading = nil
		if entry.err = err; err == nil {
			entry.failures, entry.again = 0, time.Time{}
		} else {
			entry.again = time.Now().Add(min(firstAutoPause<<min(entry.failures, 20), lastAutoPause))
			entry.failures++
		}
		entry.mu.Unlock()
		if err != nil && a.ctx.Err() == nil {
			a.logger.Error("no certificate for a host of a binding", zap.String("host", host), zap.Error(err))
		}
		waited()
	}()
	return over
}

// attempt is one attempt to obtain a certificate. certmagic would repeat it for days;
// here the next client is the reason for the next one.
type attempt struct {
	cancel context.CancelFunc

	mu  sync.Mutex
	err error
}

type attemptKey struct{}

// maxAttempt bounds an attempt.
const maxAttempt = 3 * time.Minute

func (a *Auto) attempt(do func(ctx context.Context) error) error {
	at := new(attempt)
	ctx, cancel := context.WithTimeout(a.ctx, maxAttempt)
	defer cancel()
	at.cancel = cancel
	err := do(context.WithValue(ctx, attemptKey{}, at))
	at.mu.Lock()
	defer at.mu.Unlock()
	if err != nil && at.err != nil {
		return at.err
	}
	return err
}

// fail ends an attempt whose issuers have refused.
func (at *attempt) fail(data map[string]any) {
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.err, _ = data["error"].(error); at.err == nil {
		at.err = errors.New("it could not be obtained")
	}
	at.cancel()
}

// provide brings the certificate of a host into memory: from storage or, on demand,
// from an issuer. It calls ready as soon as there is one that can serve.
func (a *Auto) provide(host string, ready func()) error {
	magic := a.managed.magic
	cert, err := magic.CacheManagedCertificate(a.ctx, host)
	if errors.Is(err, fs.ErrNotExist) {
		// Not ObtainCertSync, which asks the terminal for an e-mail address.
		if err := a.attempt(func(ctx context.Context) error { return magic.ObtainCertAsync(ctx, host) }); err != nil {
			return err
		}
		cert, err = magic.CacheManagedCertificate(a.ctx, host)
	}
	if err != nil {
		return err
	}
	if !cert.Expired() {
		ready()
	}
	if cert.NeedsRenewal(magic) {
		// An expired one is waited for; another one serves meanwhile.
		if err := a.attempt(func(ctx context.Context) error { return magic.RenewCertAsync(ctx, host, false) }); err != nil {
			return err
		}
		_, err = magic.CacheManagedCertificate(a.ctx, host)
	}
	return err
}

// Current implements Source: the default, and what is in memory of the rest, up to a
// bound.
func (a *Auto) Current() []*tls.Certificate {
	const most = 100
	certs := a.managed.Current()
	a.entries.Range(func(_, value any) bool {
		if cert := value.(*autoEntry).slot.cert.Load(); cert != nil {
			certs = append(certs, cert)
		}
		return len(certs) < most
	})
	return certs
}

// Failures returns why the last attempt failed for hosts in memory, up to a bound.
func (a *Auto) Failures() map[string]error {
	const most = 20
	failures := make(map[string]error)
	a.entries.Range(func(key, value any) bool {
		entry := value.(*autoEntry)
		entry.mu.Lock()
		defer entry.mu.Unlock()
		if entry.err != nil {
			failures[key.(string)] = entry.err
		}
		return len(failures) < most
	})
	return failures
}

// UnmarshalCaddyfile sets up the source from a certificate option. Syntax:
//
//	certificate <name> {
//		for_bindings
//		on_demand
//		default  <name>
//		issuer   <module> [...]
//		key_type ed25519|p256|p384|rsa2048|rsa4096
//		capacity <number>
//		max_wait <duration>
//	}
func (a *Auto) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the source
	if d.NextArg() {
		return d.Errf("a certificate for bindings takes no arguments, such as %q: expected a block with for_bindings", d.Val())
	}
	shared := new(Managed)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := a.unmarshalOption(d, shared); err != nil {
			return err
		}
	}
	a.IssuersRaw, a.KeyType = shared.IssuersRaw, shared.KeyType
	return nil
}

func (a *Auto) unmarshalOption(d *caddyfile.Dispenser, shared *Managed) error {
	switch option := d.Val(); option {
	case "for_bindings", "on_demand":
		if d.NextArg() {
			return d.Errf("%s takes no arguments, such as %q", option, d.Val())
		}
		a.OnDemand = a.OnDemand || option == "on_demand"
		return noBlock(d, option)
	case "default":
		if !d.AllArgs(&a.Default) {
			return d.Errf("default expects one name, such as www.example.com")
		}
		return noBlock(d, option)
	case "capacity":
		var text string
		if !d.AllArgs(&text) {
			return d.ArgErr()
		}
		if _, err := fmt.Sscan(text, &a.Capacity); err != nil || a.Capacity < 1 {
			return d.Errf("capacity: %q is not a number from 1", text)
		}
		return noBlock(d, option)
	case "max_wait":
		var text string
		if !d.AllArgs(&text) {
			return d.ArgErr()
		}
		wait, err := caddy.ParseDuration(text)
		if err != nil || wait <= 0 {
			return d.Errf("max_wait: %q is not a duration, such as 20s", text)
		}
		a.MaxWait = caddy.Duration(wait)
		return noBlock(d, option)
	case "issuer":
		return shared.unmarshalIssuer(d)
	case "key_type":
		return shared.unmarshalKeyType(d)
	default:
		return d.Errf("unknown word %q in a certificate for bindings: expected for_bindings, on_demand, default, issuer, key_type, capacity or max_wait", option)
	}
}

// HostsOf lists the hosts among bindings whose clients are served by a certificate:
// the exact ones of started sites, once each, in order.
func HostsOf(bindings []*binding.BindingEntry, certificate string) []string {
	var hosts []string
	for _, b := range bindings {
		if BindsHost(b, certificate) {
			hosts = append(hosts, b.Host)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// BindsHost reports whether a binding gives its host a certificate of a source that is
// for bindings.
func BindsHost(b *binding.BindingEntry, certificate string) bool {
	return b.Protocol == binding.HTTPS && b.Host != "" && b.Host[0] != '*' && b.Site.State.Started &&
		b.Record != nil && b.Record.Certificate == certificate
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Auto)(nil)
	_ caddy.CleanerUpper    = (*Auto)(nil)
	_ caddyfile.Unmarshaler = (*Auto)(nil)
	_ Source                = (*Auto)(nil)
	_ Starter               = (*Auto)(nil)
)
