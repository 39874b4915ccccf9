package certsel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// What is under way at the same time, at most. Clients beyond it are served as if there
// were no certificate, and whoever comes later has another try.
const (
	maxFlights = 1000 // hosts that are read, ordered or waited for
	maxAsking  = 100  // of these, names that clients have chosen
	maxOrders  = 128  // of these, orders
)

// maxAttempt bounds an attempt to obtain a certificate.
const maxAttempt = 3 * time.Minute

// maxHost is the length of the longest host name.
const maxHost = 253

// flight is a certificate on its way into memory. All who wait for it share it.
type flight struct {
	host    string
	managed *Managed
	group   *group
	slot    *slot
	ahead   bool          // no client has asked for it
	kept    bool          // it is in memory
	allowed atomic.Bool   // it may be served: by a binding, or by permission
	over    chan struct{} // closed when there is something to serve, or never will be
	done    chan struct{} // closed when it has landed
}

var (
	errBusy    = errors.New("too many orders are under way")
	errResting = errors.New("the last order has failed; the next one is made after a pause")
)

// Select implements Source. A client whose host has a binding waits for its
// certificate, if that is not in memory. If the configuration ends meanwhile, the next
// one has it.
func (a *Auto) Select(hello *tls.ClientHelloInfo) *tls.Certificate {
	if cert := a.forHost(hello); cert != nil {
		return cert
	}
	if next := a.counts.serving.Load(); next != a && next != nil && a.ctx.Err() != nil {
		return next.Select(hello) // the handshake goes on while the configuration has ended
	}
	if a.fallback == nil {
		return nil
	}
	return a.fallback.Select(hello)
}

func (a *Auto) forHost(hello *tls.ClientHelloInfo) *tls.Certificate {
	if hello.ServerName == "" || len(hello.ServerName) > maxHost {
		return nil
	}
	host := strings.ToLower(hello.ServerName)
	by := a.boundBy(host, hello)
	if by == NotBound {
		return nil
	}
	if e := a.entries.get(host); e != nil {
		if cert := e.slot.cert.Load(); cert != nil {
			a.counts.hits.Add(1)
			if now := time.Now().Unix(); e.used.Load() != now {
				e.used.Store(now)
			}
			return cert
		}
	}
	if !certmagic.SubjectQualifiesForCert(host) || by == BoundByWildcard && a.permission == nil {
		return nil
	}
	if hello.Context() == nil {
		return a.stored(host)
	}
	return a.wait(hello, host, by)
}

// stored returns the certificate of a host that storage has, for somebody who asks
// what would be: that is no reason to obtain one, or to keep it.
func (a *Auto) stored(host string) *tls.Certificate {
	m := a.managedFor(host)
	slot := m.group.acquire(host)
	defer m.group.release([]string{host})
	ctx, cancel := context.WithTimeout(a.ctx, a.maxWait)
	defer cancel()
	_, _ = m.magic.CacheManagedCertificate(ctx, host)
	return slot.cert.Load()
}

// wait has a certificate read or obtained, and waits for it.
func (a *Auto) wait(hello *tls.ClientHelloInfo, host string, by BoundBy) *tls.Certificate {
	if by == BoundByWildcard {
		by = a.boundBy(host, nil) // elsewhere the host may have a binding, and needs no permission
	}
	f := a.fly(host, by, hello)
	if f == nil {
		return nil
	}
	patience := time.NewTimer(a.maxWait)
	defer patience.Stop()
	select {
	case <-f.over:
	case <-patience.C:
	case <-hello.Context().Done():
	case <-a.ctx.Done():
	}
	if !f.allowed.Load() {
		return nil // another source may have it, with which this client has nothing to do
	}
	return f.slot.cert.Load()
}

// fly begins to bring the certificate of a host into memory, unless that is under way.
// Without a client, it is done ahead. It returns nil if there must be no attempt now.
func (a *Auto) fly(host string, by BoundBy, hello *tls.ClientHelloInfo) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.flights[host]; f != nil {
		return f
	}
	if a.ended || len(a.flights) >= maxFlights || by == BoundByWildcard && a.asking >= maxAsking {
		a.counts.failed(reasonBusy)
		return nil
	}
	m := a.managedFor(host)
	if m.group.failures.rests(host) {
		return nil
	}
	f := &flight{
		host: host, managed: m, group: m.group, slot: m.group.acquire(host),
		ahead: hello == nil, over: make(chan struct{}), done: make(chan struct{}),
	}
	f.allowed.Store(by != BoundByWildcard)
	a.flights[host] = f
	if by == BoundByWildcard {
		a.asking++
	}
	go a.pilot(f, by, hello)
	return f
}

// pilot brings a flight to its end.
func (a *Auto) pilot(f *flight, by BoundBy, hello *tls.ClientHelloInfo) {
	over := sync.OnceFunc(func() { close(f.over) })
	ctx, cancel := context.WithTimeout(a.ctx, maxAttempt)
	defer cancel()
	err := a.bring(ctx, f, by, hello, over)
	a.report(f, err)
	over()
	a.mu.Lock()
	delete(a.flights, f.host)
	if by == BoundByWildcard {
		a.asking--
	}
	a.mu.Unlock()
	if !f.kept {
		f.group.release([]string{f.host})
	}
	close(f.done)
}

// bring asks for permission, if need be, and for the certificate. A module that panics
// must not end the server.
func (a *Auto) bring(ctx context.Context, f *flight, by BoundBy, hello *tls.ClientHelloInfo, ready func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a module has failed: %v", r)
		}
	}()
	if by == BoundByWildcard {
		if err := a.permit(ctx, f.host, hello); err != nil {
			return err
		}
		f.allowed.Store(true)
	}
	return a.provide(ctx, f, ready)
}

// report counts and says how an attempt went wrong.
func (a *Auto) report(f *flight, err error) {
	switch {
	case err == nil:
		f.group.failures.clear(f.host)
		return
	case a.ctx.Err() != nil, errors.Is(err, errResting):
		return
	}
	a.counts.failed(reasonOf(err))
	var denied notPermittedError
	switch {
	case errors.As(err, &denied):
		// A client has chosen the name: nothing is kept of it.
		a.logger.Debug("no certificate for a name below a wildcard host", zap.String("host", f.host), zap.Error(err))
	case errors.Is(err, errBusy):
	default:
		f.group.failures.pause(f.host, err)
		a.logger.Error("no certificate for a host of a binding", zap.String("host", f.host), zap.Error(inWords(err)))
	}
}

// notPermittedError is the error of a name that the permission module does not allow.
type notPermittedError struct{ error }

// Unwrap returns what the module says.
func (e notPermittedError) Unwrap() error { return e.error }

// permit asks the permission module about a name.
func (a *Auto) permit(ctx context.Context, host string, hello *tls.ClientHelloInfo) error {
	if a.permission == nil {
		return notPermittedError{errors.New("nobody decides about names below wildcard hosts")}
	}
	if hello != nil {
		ctx = context.WithValue(ctx, certmagic.ClientHelloInfoCtxKey, hello)
	}
	if err := a.permission.CertificateAllowed(ctx, host); err != nil {
		return notPermittedError{err}
	}
	return nil
}

// renewable asks about a name below a wildcard host again, before certmagic renews what
// is in memory. What is not allowed any more leaves it.
func (a *Auto) renewable(ctx context.Context, data map[string]any) error {
	host, _ := data["identifier"].(string)
	e := a.entries.get(host)
	if e == nil || a.boundBy(host, nil) != BoundByWildcard {
		return nil
	}
	err := a.permit(ctx, host, nil)
	if !errors.Is(err, caddytls.ErrPermissionDenied) {
		return err // if nobody answers, it is tried again
	}
	a.drop(e)
	if e.group.serves(host) {
		return nil // another source has it as well
	}
	return certmagic.ErrNoRetry{Err: err}
}

// provide brings the certificate of a host into memory: from storage or else from an
// issuer. It calls ready as soon as there is one that can serve.
func (a *Auto) provide(ctx context.Context, f *flight, ready func()) error {
	magic := f.managed.magic
	cert, err := a.read(ctx, f)
	if errors.Is(err, fs.ErrNotExist) {
		// Not ObtainCertSync, which asks the terminal for an e-mail address.
		if err := a.order(ctx, f, func(ctx context.Context) error { return magic.ObtainCertAsync(ctx, f.host) }); err != nil {
			return err
		}
		cert, err = a.read(ctx, f)
	}
	if err != nil {
		return err
	}
	if !cert.Expired() {
		a.keep(f)
		ready()
	}
	if cert.NeedsRenewal(magic) {
		// An expired one is waited for; another one serves meanwhile.
		if err := a.order(ctx, f, func(ctx context.Context) error { return magic.RenewCertAsync(ctx, f.host, false) }); err != nil {
			return err
		}
		_, err = a.read(ctx, f)
	}
	a.keep(f)
	return err
}

// read reads a certificate from storage.
func (a *Auto) read(ctx context.Context, f *flight) (certmagic.Certificate, error) {
	a.counts.reads.Add(1)
	cert, err := f.managed.magic.CacheManagedCertificate(ctx, f.host)
	if err != nil {
		return cert, fmt.Errorf("reading storage: %w", err)
	}
	return cert, nil
}

// order asks the issuers, unless they have refused lately. What clients wait for is
// turned down if there is too much of it, what is done ahead waits.
func (a *Auto) order(ctx context.Context, f *flight, do func(ctx context.Context) error) error {
	if time.Now().Before(f.group.failures.get(f.host).again) {
		return errResting
	}
	select {
	case a.orders <- struct{}{}:
	default:
		if !f.ahead {
			return errBusy
		}
		select {
		case a.orders <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-a.orders }()
	if !f.managed.internal {
		done, err := f.group.first(ctx)
		if err != nil {
			return err
		}
		defer done()
	}
	return attemptOnce(ctx, do)
}

// keep puts a certificate into memory, where it makes room for itself if a client has
// asked for it.
func (a *Auto) keep(f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.kept || a.ended || f.ahead && int(a.entries.count.Load()) >= a.capacity {
		return
	}
	e := &autoEntry{host: f.host, slot: f.slot, group: f.group}
	e.used.Store(time.Now().Unix())
	f.kept = a.entries.add(e)
	if f.kept && a.boundBy(f.host, nil) == NotBound {
		a.drop(e) // asked for when it is there: whoever drops what has left sees it, or this does
		return
	}
	for int(a.entries.count.Load()) > a.capacity {
		victim := a.entries.victim(e)
		if victim == nil {
			return
		}
		a.drop(victim)
	}
}

// attempt is one attempt to obtain a certificate. certmagic would repeat it for days;
// here the next client is the reason for the next one.
type attempt struct {
	cancel context.CancelFunc

	mu  sync.Mutex
	err error
}

type attemptKey struct{}

func attemptOnce(ctx context.Context, do func(ctx context.Context) error) error {
	at := new(attempt)
	ctx, at.cancel = context.WithCancel(ctx)
	defer at.cancel()
	err := do(context.WithValue(ctx, attemptKey{}, at))
	at.mu.Lock()
	defer at.mu.Unlock()
	if err != nil && at.err != nil {
		return at.err
	}
	return err
}

// fail ends an attempt whose issuers have refused.
func (at *attempt) fail(err error) {
	at.mu.Lock()
	defer at.mu.Unlock()
	at.err = err
	at.cancel()
}
