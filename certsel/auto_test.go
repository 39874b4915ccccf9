package certsel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// TestHostTable: what is added is found until it is removed, whoever else writes, and
// room is made by what was not used for long, wherever it is.
func TestHostTable(t *testing.T) {
	table := newHostTable(64)
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := range 500 {
				e := &autoEntry{host: fmt.Sprintf("h%d-%d.test", w, i)}
				if !table.add(e) || table.add(&autoEntry{host: e.host}) || table.get(e.host) != e {
					t.Errorf("%s is not there once", e.host)
				}
				if i%2 == 1 && (!table.remove(e) || table.remove(e) || table.get(e.host) != nil) {
					t.Errorf("%s is not gone", e.host)
				}
			}
		})
	}
	group.Wait()
	left := 0
	for e := range table.all() {
		if left++; table.get(e.host) != e {
			t.Errorf("%s is not found", e.host)
		}
	}
	if left != 8*250 || table.count.Load() != 8*250 {
		t.Errorf("%d are left, %d counted", left, table.count.Load())
	}

	// 100 hot hosts stay, whatever number of cold ones passes through.
	table = newHostTable(200)
	hot := make([]*autoEntry, 100)
	for i := range hot {
		hot[i] = &autoEntry{host: fmt.Sprintf("hot%d.test", i)}
		hot[i].used.Store(1 << 40)
		table.add(hot[i])
	}
	for i := range 5000 {
		e := &autoEntry{host: fmt.Sprintf("cold%d.test", i)}
		e.used.Store(int64(i))
		table.add(e)
		if table.count.Load() > 200 {
			table.remove(table.victim(e))
		}
	}
	stayed := 0
	for _, e := range hot {
		if table.get(e.host) == e {
			stayed++
		}
	}
	if stayed < 98 {
		t.Errorf("of 100 hosts in use, %d are left in memory", stayed)
	}
}

// TestFailures: each order that fails doubles the pause of its name, storage is looked
// at meanwhile, and in the end it is forgotten.
func TestFailures(t *testing.T) {
	var f failures
	if f.rests("a.test") {
		t.Error("a name rests that has not failed")
	}
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute} {
		f.pause("a.test", errors.New("refused"))
		if got := time.Until(f.get("a.test").again); got > want || got < want-time.Second {
			t.Errorf("after failure %d: a pause of %v, want %v", i+1, got, want)
		}
	}
	for range 30 {
		f.pause("a.test", errors.New("refused"))
	}
	if got := time.Until(f.get("a.test").again); got > time.Hour || got < 59*time.Minute {
		t.Errorf("the longest pause is %v", got)
	}
	if !f.rests("a.test") || f.rests("b.test") {
		t.Error("the one does not rest, or the other does")
	}
	f.bySubject["a.test"].looked = time.Now().Add(-time.Minute)
	if f.rests("a.test") || !f.rests("a.test") {
		t.Error("storage is not looked at once in a while")
	}
	f.forget(time.Now())
	if f.get("a.test").err == nil {
		t.Error("a pause is forgotten before it is over")
	}
	f.forget(time.Now().Add(2 * time.Hour))
	if f.get("a.test").err != nil {
		t.Error("a failure is never forgotten")
	}
	f.pause("a.test", errors.New("refused"))
	f.clear("a.test")
	if f.rests("a.test") {
		t.Error("success does not end the pause")
	}
}

// selfSigned is an issuer for tests of what happens around issuing.
type selfSigned struct{ life time.Duration }

func (selfSigned) IssuerKey() string { return "self" }

func (s selfSigned) Issue(_ context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	pem, err := signSelf(csr, s.life)
	return &certmagic.IssuedCertificate{Certificate: pem}, err
}

// TestLeftWhileRead: a certificate whose host has left while it was read, or obtained,
// is not in memory afterwards; certmagic would renew it for ever.
func TestLeftWhileRead(t *testing.T) {
	g := newGroup(certmagic.CacheOptions{})
	t.Cleanup(func() { _ = g.Destruct() })
	magic := newMagic(t, g, selfSigned{time.Hour}, func(context.Context, string, map[string]any) error { return nil })
	g.configs = append(g.configs, magic)
	if err := magic.ObtainCertAsync(t.Context(), "left.test"); err != nil {
		t.Fatal(err)
	}
	cached := func() int { return len(g.cache.AllMatchingCertificates("left.test")) }
	if _, err := magic.CacheManagedCertificate(t.Context(), "left.test"); err != nil || cached() != 0 {
		t.Errorf("%d in memory without a slot, %v", cached(), err)
	}
	slot := g.acquire("left.test")
	if _, err := magic.CacheManagedCertificate(t.Context(), "left.test"); err != nil || cached() != 1 || slot.cert.Load() == nil {
		t.Errorf("%d in memory with a slot, %v", cached(), err)
	}
	g.release([]string{"left.test"})
	if cached() != 0 {
		t.Error("it is in memory when its last slot is gone")
	}
	// A renewal that ends when nobody serves the name.
	if err := magic.RenewCertAsync(t.Context(), "left.test", true); err != nil || cached() != 0 {
		t.Errorf("%d in memory after a renewal, %v", cached(), err)
	}
}

func newMagic(t testing.TB, g *group, issuer certmagic.Issuer, observe observer) *certmagic.Config {
	t.Helper()
	var magic *certmagic.Config
	magic = certmagic.New(g.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: t.TempDir()}, Issuers: []certmagic.Issuer{issuer}, Logger: certLog(),
		OnEvent: func(ctx context.Context, name string, data map[string]any) error {
			g.onEvent(magic, name, data)
			return observe(ctx, name, data)
		},
	})
	return magic
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// newAuto makes an Auto around an issuer, for the given hosts.
func newAuto(t testing.TB, capacity int, issuer certmagic.Issuer, hosts ...string) *Auto {
	t.Helper()
	g := newGroup(certmagic.CacheOptions{})
	t.Cleanup(func() { _ = g.Destruct() })
	a := &Auto{
		ctx: t.Context(), logger: certLog(), capacity: capacity, maxWait: time.Minute,
		entries: newHostTable(capacity), counts: new(autoCounts), flights: make(map[string]*flight), orders: make(chan struct{}, maxOrders),
	}
	magic := newMagic(t, g, issuer, a.observe)
	g.configs = append(g.configs, magic)
	a.managed = &Managed{group: g, magic: magic, internal: true, left: true, logger: certLog()}
	a.ahead.init(a)
	bound := make(map[string]bool)
	for _, host := range hosts {
		bound[host] = true
	}
	a.bindings.Store(&Bindings{
		Bound: func(host string, _ *tls.ClientHelloInfo) BoundBy {
			if bound[host] {
				return BoundByHost
			}
			return NotBound
		},
		Hosts: func() []string { return hosts },
	})
	t.Cleanup(func() { _ = a.Cleanup() })
	return a
}

// TestSelectAllocatesNothing: a certificate in memory costs a handshake no allocation.
func TestSelectAllocatesNothing(t *testing.T) {
	a := newAuto(t, 10, selfSigned{time.Hour}, "www.test")
	f := a.fly("www.test", BoundByHost, nil)
	<-f.done
	hello := &tls.ClientHelloInfo{ServerName: "www.test"}
	unknown := &tls.ClientHelloInfo{ServerName: "nobody.test"}
	if a.Select(hello) == nil || a.Select(unknown) != nil {
		t.Fatal("the certificate is not selected, or for another name as well")
	}
	if n := testing.AllocsPerRun(100, func() { a.Select(hello); a.Select(unknown) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// blocked is an issuer that lets nobody go before it is told to.
type blocked struct {
	selfSigned
	let chan struct{}
}

func (b blocked) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	select {
	case <-b.let:
		return b.selfSigned.Issue(ctx, csr)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestOrdersAreBounded: whatever number of names is asked for at once, a bounded number
// of orders is under way, and those who find no place have another try at once.
func TestOrdersAreBounded(t *testing.T) {
	hosts := make([]string, maxOrders+20)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%d.test", i)
	}
	issuer := blocked{selfSigned{time.Hour}, make(chan struct{})}
	a := newAuto(t, 1000, issuer, hosts...)
	hello := &tls.ClientHelloInfo{}
	var flights []*flight
	for _, host := range hosts {
		flights = append(flights, a.fly(host, BoundByHost, hello))
	}
	landed := func() (n int) {
		for _, f := range flights {
			select {
			case <-f.done:
				n++
			default:
			}
		}
		return n
	}
	until(t, "those without a place to be turned down", func() bool { return landed() == len(hosts)-maxOrders })
	until(t, "the others to be ordered", func() bool { return a.Stats().Orders == maxOrders })
	if stats := a.Stats(); stats.Failures[reasonBusy] != uint64(len(hosts)-maxOrders) {
		t.Errorf("%+v", stats)
	}
	close(issuer.let)
	for _, f := range flights {
		<-f.done
	}
	for _, host := range hosts {
		if f := a.fly(host, BoundByHost, hello); f == nil {
			t.Errorf("%s has to wait, whose order has not failed", host)
		} else if <-f.done; f.slot.cert.Load() == nil {
			t.Errorf("%s has no certificate", host)
		}
	}
}

// TestReasons: failures count by a bounded number of reasons.
func TestReasons(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{fmt.Errorf("x: %w", acme.Problem{Type: acme.ProblemTypeRateLimited}), reasonRateLimited},
		{acme.Problem{Type: acme.ProblemTypeDNS}, reasonDNS},
		{acme.Problem{Type: acme.ProblemTypeConnection}, reasonUnreachable},
		{acme.Problem{Type: acme.ProblemTypeCAA}, reasonRefused},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), reasonTimeout},
		{fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: errors.New("no")}), reasonNoAuthority},
		{notPermittedError{errors.New("no")}, reasonNotPermitted},
		{errBusy, reasonBusy},
		{errors.New("disk"), reasonOther},
	} {
		if got := reasonOf(test.err); got != test.want {
			t.Errorf("%v: got %s, want %s", test.err, FailureReasons[got], FailureReasons[test.want])
		}
	}
}

// TestRenewalWalk: certificates that nobody asks for are renewed, by one node of those
// that share a storage, and those of hosts without binding are not.
func TestRenewalWalk(t *testing.T) {
	a := newAuto(t, 1, selfSigned{2 * time.Second}, "a.test", "b.test", "c.test")
	a.ahead.name = "auto"
	magic := a.managed.magic
	before := make(map[string]*x509.Certificate)
	for _, host := range []string{"a.test", "b.test", "left.test"} {
		if err := magic.ObtainCertAsync(t.Context(), host); err != nil {
			t.Fatal(err)
		}
		before[host], _ = a.managed.storedLeaf(t.Context(), host)
		if before[host] == nil {
			t.Fatal("nothing is stored")
		}
	}
	renewed := func(host string) bool {
		leaf, err := a.managed.storedLeaf(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		return !leaf.Equal(before[host])
	}
	old := certmagic.Certificate{Certificate: tls.Certificate{Leaf: before["left.test"]}}
	until(t, "a renewal to be due", func() bool { return old.NeedsRenewal(magic) })
	if err := magic.Storage.Lock(t.Context(), a.walkKey("renewal")); err != nil {
		t.Fatal(err)
	}
	a.walkAlone(time.Hour)
	if renewed("a.test") || renewed("b.test") {
		t.Fatal("renewed while another node does it")
	}
	if err := magic.Storage.Unlock(t.Context(), a.walkKey("renewal")); err != nil {
		t.Fatal(err)
	}
	a.walkAlone(time.Hour)
	until(t, "certificates that nobody asks for to be renewed", func() bool { return renewed("a.test") && renewed("b.test") })
	if leaf, err := a.managed.storedLeaf(t.Context(), "c.test"); leaf != nil || err != nil {
		t.Errorf("a renewal has obtained a certificate that was not there: %v", err)
	}
	if renewed("left.test") {
		t.Error("a host without binding is renewed")
	}
	// Another node comes right after.
	orders := a.Stats().Orders
	a.walkAlone(time.Hour)
	if got := a.Stats().Orders; got != orders {
		t.Errorf("%d more orders in the same interval", got-orders)
	}
	raw, err := magic.Storage.Load(t.Context(), a.walkKey("renewal.json"))
	var last walked
	if err != nil || json.Unmarshal(raw, &last) != nil || time.Since(last.Began) > time.Minute {
		t.Errorf("the walk is written down as %s, %v", raw, err)
	}
}

// orderly is an issuer that remembers in which order it was asked.
type orderly struct {
	selfSigned
	mu    *sync.Mutex
	names *[]string
}

func (o orderly) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	o.mu.Lock()
	*o.names = append(*o.names, csr.DNSNames[0])
	o.mu.Unlock()
	return o.selfSigned.Issue(ctx, csr)
}

// TestNewcomersFirst: who comes while many wait for their certificates does not wait
// for these.
func TestNewcomersFirst(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	hosts := make([]string, 60)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("old%d.test", i)
	}
	a := newAuto(t, 100, orderly{selfSigned{time.Hour}, &mu, &asked})
	a.ahead.limiter = certmagic.NewRateLimiter(5, 200*time.Millisecond)
	var bound atomic.Pointer[[]string]
	bound.Store(&hosts)
	a.bindings.Store(&Bindings{
		Bound: func(string, *tls.ClientHelloInfo) BoundBy { return BoundByHost },
		Hosts: func() []string { return *bound.Load() },
	})
	a.Changed()
	go a.follow()
	orders := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(asked)
	}
	until(t, "the first orders", func() bool { return orders() >= 5 })
	before := orders()
	more := append(slices.Clone(hosts), "new.test")
	bound.Store(&more)
	a.Changed()
	until(t, "all orders", func() bool { return orders() == len(more) && len(a.ahead.workers) == 0 })
	mu.Lock()
	defer mu.Unlock()
	if at := slices.Index(asked, "new.test"); at > before+20 {
		t.Errorf("the newcomer was number %d of %d, and came after %d", at, len(asked), before)
	}
}

// TestSweepDoesNotWait: what has left is dropped, however long the next order has to
// wait.
func TestSweepDoesNotWait(t *testing.T) {
	hosts := []string{"a.test", "b.test", "c.test"}
	a := newAuto(t, 100, selfSigned{time.Hour})
	a.ahead.limiter = certmagic.NewRateLimiter(1, time.Hour)
	var empty atomic.Bool
	a.bindings.Store(&Bindings{
		Bound: func(string, *tls.ClientHelloInfo) BoundBy {
			if empty.Load() {
				return NotBound
			}
			return BoundByHost
		},
		Hosts: func() []string { return hosts },
	})
	a.Changed()
	go a.follow()
	go a.sweepRegularly()
	until(t, "the first", func() bool { return a.Stats().Memory == 1 && len(a.ahead.workers) == 0 })
	empty.Store(true)
	a.Changed()
	until(t, "it to be dropped", func() bool { return a.Stats().Memory == 0 })
}
