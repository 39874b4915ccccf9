package certsel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
)

// TestFailureWords: what an authority answers is remembered in bounded and printable
// words, for each of very many names.
func TestFailureWords(t *testing.T) {
	var f failures
	long := errors.New("no\x1b[31m\r\n" + strings.Repeat("\u202egr\xffün", 100_000))
	f.pause("a.test", long)
	f.note("b.test", long)
	for _, name := range []string{"a.test", "b.test"} {
		told := f.get(name).err.Error()
		if len(told) > maxWords+len("...") || !strings.HasPrefix(told, "no [31m  ") ||
			strings.ContainsFunc(told, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %d bytes, %q", name, len(told), told)
		}
	}
	f.note("c.test", errors.New("kurz und gültig"))
	if got := f.get("c.test").err.Error(); got != "kurz und gültig" {
		t.Errorf("got %q", got)
	}
}

// belowWildcard makes all names of an Auto those below a wildcard host, for which a
// permission module decides.
func belowWildcard(a *Auto, permission permissionFunc) {
	a.permission = permission
	a.bindings.Store(&Bindings{
		Bound: func(string, *tls.ClientHelloInfo) BoundBy { return BoundByWildcard },
		Hosts: func() []string { return nil },
	})
}

type permissionFunc func(name string) error

func (f permissionFunc) CertificateAllowed(_ context.Context, name string) error { return f(name) }

// TestPermissionAtRenewal: certmagic's own renewal of what is in memory needs permission
// as the first order did. What is not allowed any more leaves memory; what nobody decides
// about stays there.
func TestPermissionAtRenewal(t *testing.T) {
	a := newAuto(t, 10, selfSigned{time.Hour})
	var answer error
	belowWildcard(a, func(string) error { return answer })
	f := a.fly("a.wild.test", BoundByWildcard, liveHello(t))
	<-f.done
	renew := func() error { return a.managed.magic.RenewCertAsync(t.Context(), "a.wild.test", true) }
	look := func(what string, err error, memory int, orders uint64) {
		t.Helper()
		if (err != nil) != (answer != nil) || a.Stats().Memory != memory || a.Stats().Orders != orders {
			t.Errorf("%s: %v, %+v", what, err, a.Stats())
		}
	}
	look("allowed", renew(), 1, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	answer = errors.New("nobody answers")
	look("no answer", a.managed.magic.RenewCertAsync(ctx, "a.wild.test", true), 1, 2)
	answer = fmt.Errorf("no: %w", caddytls.ErrPermissionDenied)
	look("denied", renew(), 0, 2)

	// A name that another source has as well is renewed for that.
	answer = nil
	<-a.fly("b.wild.test", BoundByWildcard, liveHello(t)).done
	a.managed.group.acquire("b.wild.test")
	answer = caddytls.ErrPermissionDenied
	if err := a.managed.magic.RenewCertAsync(t.Context(), "b.wild.test", true); err != nil || a.Stats().Memory != 0 {
		t.Errorf("of another source as well: %v, %+v", err, a.Stats())
	}
}

// TestNotAllowedNotServed: what another source with the same issuers has in memory does
// not serve a name for which there is no permission, or not yet.
func TestNotAllowedNotServed(t *testing.T) {
	a := newAuto(t, 10, selfSigned{time.Hour})
	asked, decide := make(chan struct{}, 10), make(chan error)
	belowWildcard(a, func(string) error { asked <- struct{}{}; return <-decide })
	if err := a.managed.magic.ObtainCertAsync(t.Context(), "a.wild.test"); err != nil {
		t.Fatal(err)
	}
	other := a.managed.group.acquire("a.wild.test")
	if _, err := a.managed.magic.CacheManagedCertificate(t.Context(), "a.wild.test"); err != nil || other.cert.Load() == nil {
		t.Fatal(err)
	}
	hello := liveHello(t)
	hello.ServerName = "a.wild.test"
	a.maxWait = time.Millisecond
	if a.Select(hello) != nil {
		t.Error("served before there is an answer")
	}
	<-asked
	decide <- caddytls.ErrPermissionDenied
	landed := func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.flights) == 0
	}
	until(t, "the end of the flight", landed)
	a.maxWait = time.Minute
	for _, answer := range []error{caddytls.ErrPermissionDenied, nil} {
		go func() { <-asked; decide <- answer }()
		if got := a.Select(hello); (got != nil) != (answer == nil) {
			t.Errorf("permission %v: %v", answer, got)
		}
		until(t, "the end of the flight", landed)
	}
}

// TestFirstOrderAlone: the first order with an authority, which registers the account,
// goes alone. All others go at once after that, also when it has failed.
func TestFirstOrderAlone(t *testing.T) {
	hosts := []string{"a.test", "b.test", "c.test", "d.test"}
	issuer := blocked{selfSigned{time.Hour}, make(chan struct{})}
	a := newAuto(t, 10, issuer, hosts...)
	a.managed.internal = false
	var flights []*flight
	for _, host := range hosts {
		flights = append(flights, a.fly(host, BoundByHost, &tls.ClientHelloInfo{}))
	}
	until(t, "all to have a place", func() bool { return len(a.orders) == len(hosts) })
	until(t, "the first order", func() bool { return a.Stats().Orders > 0 })
	if n := a.Stats().Orders; n != 1 {
		t.Errorf("%d first orders", n)
	}
	issuer.let <- struct{}{}
	until(t, "the other orders", func() bool { return a.Stats().Orders == uint64(len(hosts)) })
	close(issuer.let)
	for _, f := range flights {
		<-f.done
	}
	if n := a.Stats().Memory; n != len(hosts) {
		t.Errorf("%d certificates", n)
	}
}

// counted is a storage in which a certificate is looked for.
type counted struct {
	certmagic.Storage
	load func(key string)
}

func (c counted) Load(ctx context.Context, key string) ([]byte, error) {
	c.load(key)
	return c.Storage.Load(ctx, key)
}

// TestWalkBeginsAnywhere: walks that loads of the configuration end early get to all
// hosts in the end.
func TestWalkBeginsAnywhere(t *testing.T) {
	hosts := make([]string, 40)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%d.test", i)
	}
	a := newAuto(t, 100, selfSigned{time.Hour}, hosts...)
	first := make(map[string]bool)
	var end context.CancelFunc
	a.managed.magic.Storage = counted{a.managed.magic.Storage, func(key string) { first[key] = true; end() }}
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		end = cancel
		walkWith(ctx, a)
	}
	if len(first) < 5 || len(first) > 20 {
		t.Errorf("20 walks that end at once have looked at %d hosts", len(first))
	}
	end = func() {}
	walkWith(t.Context(), a)
	if len(first) != len(hosts) {
		t.Errorf("a walk that is not ended has looked at %d hosts of %d", len(first), len(hosts))
	}
}

// TestKeptAsksWhenThere: whether a host has a binding is asked for when its certificate
// is in memory already: whoever drops what has left may have been there before.
func TestKeptAsksWhenThere(t *testing.T) {
	a := newAuto(t, 10, selfSigned{time.Hour})
	a.bindings.Store(&Bindings{
		Bound: func(host string, _ *tls.ClientHelloInfo) BoundBy {
			if a.entries.get(host) == nil {
				return BoundByHost // it leaves right after this
			}
			return NotBound
		},
		Hosts: func() []string { return nil },
	})
	<-a.fly("left.test", BoundByHost, &tls.ClientHelloInfo{}).done
	a.managed.group.mu.Lock()
	defer a.managed.group.mu.Unlock()
	if n := a.Stats().Memory; n != 0 || len(a.managed.group.slots) != 0 {
		t.Errorf("%d in memory that nobody will drop, %d slots", n, len(a.managed.group.slots))
	}
}

// panicking is an issuer with a fault.
type panicking struct{ selfSigned }

func (panicking) Issue(context.Context, *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	panic("fault")
}

// TestModulePanics: a module that panics is a failure of its name, and not the end.
func TestModulePanics(t *testing.T) {
	a := newAuto(t, 10, panicking{}, "www.test")
	<-a.fly("www.test", BoundByHost, &tls.ClientHelloInfo{}).done
	if f := a.Failures()["www.test"]; f.Err == nil || f.Again.Before(time.Now()) {
		t.Errorf("%+v", f)
	}
}

// TestNextConfiguration: who waits for a certificate when the configuration ends has it
// from the next one.
func TestNextConfiguration(t *testing.T) {
	issuer := blocked{selfSigned{time.Hour}, make(chan struct{})}
	old, next := newAuto(t, 10, issuer, "www.test"), newAuto(t, 10, selfSigned{time.Hour}, "www.test")
	next.counts = old.counts
	var end context.CancelFunc
	old.ctx, end = context.WithCancel(t.Context())
	old.counts.serving.Store(old)
	hello := liveHello(t)
	hello.ServerName = "www.test"
	got := make(chan *tls.Certificate)
	go func() { got <- old.Select(hello) }()
	until(t, "the order", func() bool { return old.Stats().Orders == 1 })
	next.counts.serving.Store(next)
	end()
	if <-got == nil {
		t.Error("a client that has waited is refused")
	}
}

// TestListsAreASmallPart: lists of very many hosts, which take their time, are made only
// now and then while bindings change all the time.
func TestListsAreASmallPart(t *testing.T) {
	const takes = 60 * time.Millisecond
	a := newAuto(t, 10, selfSigned{time.Hour})
	lists := make(chan time.Time, 100)
	a.bindings.Store(&Bindings{
		Bound: func(string, *tls.ClientHelloInfo) BoundBy { return NotBound },
		Hosts: func() []string { lists <- time.Now(); time.Sleep(takes); return nil },
	})
	var over atomic.Bool
	defer over.Store(true)
	go func() {
		for !over.Load() {
			a.Changed()
			time.Sleep(time.Millisecond)
		}
	}()
	go a.follow()
	if first, second := <-lists, <-lists; second.Sub(first) < followShare*takes {
		t.Errorf("the second list is made %v after the first, which takes %v", second.Sub(first), takes)
	}
}

// TestFirstOrderAheadAlone: what is ordered ahead waits for the first order before it
// takes its turn at the rate.
func TestFirstOrderAheadAlone(t *testing.T) {
	issuer := blocked{selfSigned{time.Hour}, make(chan struct{})}
	a := newAuto(t, 10, issuer, "a.test", "b.test")
	a.managed.internal = false
	launched := make(chan bool)
	go func() { launched <- a.launch(a.managed, "a.test") }()
	until(t, "the first order", func() bool { return a.Stats().Orders == 1 })
	select {
	case <-launched:
		t.Error("the next one would be launched while the first is under way")
	default:
	}
	issuer.let <- struct{}{}
	if !<-launched || a.Stats().Memory != 1 || !a.launch(a.managed, "b.test") {
		t.Errorf("%+v", a.Stats())
	}
	close(issuer.let)
	until(t, "the second", func() bool { return a.Stats().Memory == 2 && len(a.ahead.workers) == 0 })
}

func walkWith(ctx context.Context, a *Auto) {
	a.ctx = ctx
	a.walk()
}
