package certsel

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
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
// Exact hosts of started sites have one and, with a permission module, names below
// wildcard hosts. A client whose server name is no such host, or who sends none, gets
// the certificate of default, if there is one.
type Auto struct {
	// If true, certificates are obtained when the first client asks for a host, who
	// waits for it, and not before. Default: false, in the background as soon as there
	// is a binding; whoever comes earlier waits as well.
	OnDemand bool `json:"on_demand,omitempty"`

	// A name whose certificate clients without a server name of a binding get.
	// Default: none, they are served by the endpoint or refused.
	Default string `json:"default,omitempty"`

	// Who issues the certificates, tried in order. Default: those of the automation
	// policy of Caddy's tls app that has the host as subject, or that for all names,
	// where the global options email, acme_ca and so on are; without one, Caddy's
	// default issuers (ACME). Hosts that cannot have a public certificate get one of
	// Caddy's internal authority then.
	IssuersRaw []json.RawMessage `json:"issuers,omitempty" caddy:"namespace=tls.issuance inline_key=module"`

	// The kind of private key: ed25519, p256, p384, rsa2048 or rsa4096.
	// Default: that of the automation policy, else p256.
	KeyType string `json:"key_type,omitempty"`

	// Decides about names below wildcard hosts, such as a.example.com for a binding of
	// *.example.com, when the first client asks for them, and again when they are to be
	// renewed. Default: they have none.
	PermissionRaw json.RawMessage `json:"permission,omitempty" caddy:"namespace=tls.permission inline_key=module"`

	// How many certificates are ordered at most for hosts that no client waits for:
	// ahead, and renewals. Default: 10 in 10s, as certmagic asks an authority; no limit
	// for Caddy's internal authority.
	Rate *Rate `json:"rate,omitempty"`

	// If set, nothing is ordered or renewed unless a client waits for it for a host
	// that does not lead to this machine in DNS. Default: DNS is not looked at.
	CheckDNS *DNSCheck `json:"check_dns,omitempty"`

	// How many certificates are in memory; others are read from storage when a
	// client asks for them. Default: 10000; at most 10000000.
	Capacity int `json:"capacity,omitempty"`

	// How long a client waits for a certificate that is obtained or read for it.
	// Then it is served as if there were none. Default: 20s.
	MaxWait caddy.Duration `json:"max_wait,omitempty"`

	managed    *Managed        // for hosts that no other is for
	private    *Managed        // for those that cannot have a public certificate; nil: as all others
	policies   []policyManaged // for those that a policy has as subjects
	fallback   *Managed        // with the default as subject; nil without one
	permission caddytls.OnDemandPermission

	ctx      context.Context
	logger   *zap.Logger
	capacity int
	maxWait  time.Duration

	bindings atomic.Pointer[Bindings]
	entries  *hostTable
	counts   *autoCounts

	mu      sync.Mutex
	flights map[string]*flight // under way, by host
	asking  int                // flights that have to ask for permission
	ended   bool
	orders  chan struct{} // has an element for each order under way

	ahead ahead
}

// policyManaged are the certificates of the subjects of an automation policy.
type policyManaged struct {
	policy  *automation
	managed *Managed
}

// Rate bounds how often something happens.
type Rate struct {
	// How many times, up to 100000. Required.
	Orders int `json:"orders,omitempty"`

	// In which time, above 0. Required.
	Window caddy.Duration `json:"window,omitempty"`
}

// Bindings tell an [Auto] which hosts have bindings that use it.
type Bindings struct {
	// Bound tells what makes a host one of these, at the address that a client came
	// to or, if the ClientHello is nil, at any. It is called in handshakes.
	Bound func(host string, hello *tls.ClientHelloInfo) BoundBy

	// Hosts lists the exact hosts.
	Hosts func() []string
}

// BoundBy is the kind of binding that a host has.
type BoundBy uint8

// The kinds. A name below a wildcard host is one that the client has chosen.
const (
	NotBound BoundBy = iota
	BoundByHost
	BoundByWildcard
)

// The defaults of Auto, and the bounds of what memory is taken for at once.
const (
	defaultAutoCapacity = 10_000
	defaultAutoWait     = 20 * time.Second
	maxAutoCapacity     = 10_000_000
	maxRateOrders       = 100_000
)

// autoEntry is the certificate of a host that is in memory.
type autoEntry struct {
	host  string
	slot  *slot
	group *group
	used  atomic.Int64 // when a client asked for it, in Unix seconds
	next  atomic.Pointer[autoEntry]
}

// CaddyModule returns the Caddy module information.
func (*Auto) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "iis.certificates.auto", New: func() caddy.Module { return new(Auto) }}
}

// Provision loads the issuers and the permission module.
func (a *Auto) Provision(ctx caddy.Context) error {
	a.ctx = ctx.Context
	a.logger = ctx.Logger()
	a.capacity = cmp.Or(a.Capacity, defaultAutoCapacity)
	a.maxWait = cmp.Or(time.Duration(a.MaxWait), defaultAutoWait)
	switch {
	case a.capacity < 1 || a.capacity > maxAutoCapacity:
		return fmt.Errorf("capacity is from 1 to %d", maxAutoCapacity)
	case a.maxWait < 0:
		return errors.New("max_wait is above 0")
	case a.Rate != nil && (a.Rate.Orders < 1 || a.Rate.Orders > maxRateOrders || a.Rate.Window <= 0):
		return fmt.Errorf("rate: orders are from 1 to %d, window is above 0", maxRateOrders)
	}
	if a.CheckDNS != nil {
		if err := a.CheckDNS.provision(); err != nil {
			return err
		}
	}
	a.entries = newHostTable(a.capacity)
	a.counts = new(autoCounts)
	a.flights = make(map[string]*flight)
	a.orders = make(chan struct{}, maxOrders)
	if a.PermissionRaw != nil {
		val, err := ctx.LoadModule(a, "PermissionRaw")
		if err != nil {
			return fmt.Errorf("loading permission module: %w", err)
		}
		a.permission = val.(caddytls.OnDemandPermission)
	}
	if err := a.provisionManaged(ctx); err != nil {
		return err
	}
	a.ahead.init(a)
	return nil
}

// provisionManaged makes what manages the certificates, for each kind of host.
func (a *Auto) provisionManaged(ctx caddy.Context) error {
	if a.Default != "" {
		a.fallback = &Managed{Subjects: []string{a.Default}, IssuersRaw: slices.Clone(a.IssuersRaw), KeyType: a.KeyType, observe: a.count}
		if err := a.fallback.Provision(ctx); err != nil {
			return err
		}
	}
	if len(a.IssuersRaw) > 0 {
		a.managed = &Managed{IssuersRaw: slices.Clone(a.IssuersRaw), KeyType: a.KeyType, observe: a.observe, open: true}
		return a.managed.Provision(ctx)
	}
	list, err := automations(ctx)
	if err != nil {
		return err
	}
	last := list[len(list)-1]
	for _, policy := range list[:len(list)-1] {
		m := &Managed{KeyType: a.KeyType, observe: a.observe, open: true, global: policy}
		a.policies = append(a.policies, policyManaged{policy, m})
		if err := m.Provision(ctx); err != nil {
			return err
		}
	}
	a.managed = &Managed{KeyType: a.KeyType, observe: a.observe, open: true, global: last}
	if err := a.managed.Provision(ctx); err != nil || a.managed.internal {
		return err
	}
	a.private = &Managed{KeyType: a.KeyType, observe: a.observe, open: true, private: true, global: last.withoutPublic()}
	return a.private.Provision(ctx)
}

// observe sees what certmagic does for hosts of bindings.
func (a *Auto) observe(ctx context.Context, name string, data map[string]any) error {
	if name == "cert_obtaining" && ctx.Value(attemptKey{}) == nil {
		if err := a.renewable(ctx, data); err != nil {
			return err
		}
	}
	return a.count(ctx, name, data)
}

// count counts orders, also those of certmagic's own renewals. Failures of attempts
// are counted where the attempts are made.
func (a *Auto) count(ctx context.Context, name string, data map[string]any) error {
	switch name {
	case "cert_obtaining":
		a.counts.orders.Add(1)
	case "cert_failed":
		if ctx.Value(attemptKey{}) == nil {
			a.counts.failed(reasonOf(failureOf(data)))
		}
	}
	return nil
}

// managers lists what manages certificates.
func (a *Auto) managers() []*Managed {
	list := make([]*Managed, 0, len(a.policies)+3)
	for _, p := range a.policies {
		list = append(list, p.managed)
	}
	for _, m := range []*Managed{a.managed, a.private, a.fallback} {
		if m != nil {
			list = append(list, m)
		}
	}
	return list
}

// managedFor returns what manages the certificate of a host.
func (a *Auto) managedFor(host string) *Managed {
	for _, p := range a.policies {
		if p.policy.has(host) {
			return p.managed
		}
	}
	if a.private != nil && !certmagic.SubjectQualifiesForPublicCert(host) {
		return a.private
	}
	return a.managed
}

// Start makes the default ready, as managed certificates are.
func (a *Auto) Start() error {
	if a.fallback == nil {
		return nil
	}
	return a.fallback.Start()
}

// Commit begins to obtain and to renew certificates.
func (a *Auto) Commit() {
	if a.fallback != nil {
		a.fallback.Commit()
	}
	a.adopt()
	a.counts.serving.Store(a)
	a.Changed()
	go a.sweepRegularly()
	if !a.OnDemand {
		go a.follow()
	}
	go a.renewRegularly()
}

// adoptTime bounds how long a load is held up by what is in memory.
const adoptTime = 50 * time.Millisecond

// adopt keeps in memory what the configuration before has there, for hosts that have
// bindings still: nothing needs to be read again.
func (a *Auto) adopt() {
	start := time.Now()
	for _, m := range a.managers() {
		for _, host := range m.group.serving() {
			if int(a.entries.count.Load()) >= a.capacity || time.Since(start) > adoptTime {
				return
			}
			if m == a.fallback || a.managedFor(host) != m || a.boundBy(host, nil) != BoundByHost {
				continue
			}
			e := &autoEntry{host: host, slot: m.group.acquire(host), group: m.group}
			e.used.Store(start.Unix())
			if e.slot.cert.Load() == nil || !a.entries.add(e) {
				m.group.release([]string{host})
			}
		}
	}
}

// Cleanup lets go of all certificates.
func (a *Auto) Cleanup() error {
	a.mu.Lock()
	again := a.ended
	a.ended = true
	a.mu.Unlock()
	if again {
		return nil
	}
	if a.entries != nil {
		for e := range a.entries.all() {
			a.drop(e)
		}
	}
	if a.counts != nil {
		a.counts.leave()
	}
	if a.ahead.limiter != nil {
		a.ahead.limiter.Stop()
	}
	var errs []error
	for _, m := range a.managers() {
		errs = append(errs, m.Cleanup())
	}
	return errors.Join(errs...)
}

// Bind tells under which name the certificate is configured, and which hosts have
// bindings that use it.
func (a *Auto) Bind(name string, bindings Bindings) {
	a.counts = joinCounts(name)
	a.ahead.name = name
	a.bindings.Store(&bindings)
}

// Bound reports whether a host has a binding that uses this source, or is below a
// wildcard host that has one and for which others decide.
func (a *Auto) Bound(host string) bool {
	switch a.boundBy(host, nil) {
	case BoundByHost:
		return true
	case BoundByWildcard:
		return a.permission != nil
	}
	return false
}

func (a *Auto) boundBy(host string, hello *tls.ClientHelloInfo) BoundBy {
	bindings := a.bindings.Load()
	if bindings == nil {
		return NotBound
	}
	return bindings.Bound(host, hello)
}

// drop takes a certificate out of memory.
func (a *Auto) drop(e *autoEntry) {
	if a.entries.remove(e) {
		e.group.release([]string{e.host})
	}
}

// Current implements Source: the default, and what is in memory of the rest, up to a
// bound.
func (a *Auto) Current() []*tls.Certificate {
	const most = 100
	var certs []*tls.Certificate
	if a.fallback != nil {
		certs = a.fallback.Current()
	}
	for e := range a.entries.all() {
		if cert := e.slot.cert.Load(); cert != nil {
			certs = append(certs, cert)
		}
		if len(certs) >= most {
			break
		}
	}
	return certs
}

// HostsOf lists the hosts among bindings whose clients are served by a certificate:
// the exact ones of started sites, once each, in order.
func HostsOf(bindings []*binding.BindingEntry, certificate string) []string {
	var hosts []string
	for _, b := range bindings {
		if BindsHost(b, certificate) == BoundByHost {
			hosts = append(hosts, b.Host)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// BindsHost tells whether a binding gives its host, or names below it, a certificate of
// a source that is for bindings.
func BindsHost(b *binding.BindingEntry, certificate string) BoundBy {
	switch {
	case b.Protocol != binding.HTTPS || b.Host == "" || !b.Site.State.Started,
		b.Record == nil || b.Record.Certificate != certificate:
		return NotBound
	case b.Host[0] == '*':
		return BoundByWildcard
	}
	return BoundByHost
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Auto)(nil)
	_ caddy.CleanerUpper = (*Auto)(nil)
	_ Source             = (*Auto)(nil)
	_ Starter            = (*Auto)(nil)
)
