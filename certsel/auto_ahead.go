package certsel

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// What is done ahead, for hosts that no client waits for.
const (
	aheadWorkers = 16                     // orders at the same time, for each that may begin in a second
	maxAhead     = maxOrders * 3 / 4      // at most: clients need a place as well
	aheadReads   = 2 * time.Millisecond   // from one look into storage to the next
	lookAgain    = 10 * time.Minute       // at a host that does not lead here, or was turned down
	followPause  = 200 * time.Millisecond // from one list of all hosts to the next, at least
	followShare  = 10                     // and so many times as long as making the list takes
)

// ahead obtains certificates for hosts that no client waits for.
type ahead struct {
	name    string                           // of the certificate
	come    chan struct{}                    // tells that hosts may have come
	gone    chan struct{}                    // tells that hosts may have gone
	limiter *certmagic.RingBufferRateLimiter // nil: no limit
	workers chan struct{}

	mu    sync.Mutex
	later map[string]time.Time // hosts to be looked at again
}

func (h *ahead) init(a *Auto) {
	h.come, h.gone = make(chan struct{}, 1), make(chan struct{}, 1)
	h.later = make(map[string]time.Time)
	workers := aheadWorkers
	if a.Rate != nil {
		perSecond := float64(a.Rate.Orders) / time.Duration(a.Rate.Window).Seconds()
		workers = int(min(max(aheadWorkers*perSecond, aheadWorkers), maxAhead))
	}
	h.workers = make(chan struct{}, workers)
	switch {
	case a.Rate != nil:
		h.limiter = certmagic.NewRateLimiter(a.Rate.Orders, time.Duration(a.Rate.Window))
	case !a.managed.internal && certmagic.RateLimitEvents > 0:
		h.limiter = certmagic.NewRateLimiter(certmagic.RateLimitEvents, certmagic.RateLimitEventsWindow)
	}
}

// Changed tells that bindings may have changed. It does not block.
func (a *Auto) Changed() {
	for _, tell := range []chan struct{}{a.ahead.come, a.ahead.gone} {
		select {
		case tell <- struct{}{}:
		default:
		}
	}
}

// follow orders the certificates of hosts that have come, until the configuration ends.
// Newcomers have their turn before whoever waits longer: somebody has just put them
// there.
func (a *Auto) follow() {
	var queue []string
	known := make(map[string]struct{})
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	come := a.ahead.come
	var resume <-chan time.Time // after a pause, in which changes gather
	for a.ctx.Err() == nil {
		var more <-chan time.Time
		if len(queue) > 0 {
			more = time.After(aheadReads)
		}
		select {
		case <-a.ctx.Done():
		case <-come:
			began := time.Now()
			queue = append(newcomers(a.hosts(), &known), queue...)
			// Of very many hosts the list takes its time, which must stay a small part of all.
			come, resume = nil, time.After(max(followPause, followShare*time.Since(began)))
		case <-resume:
			come = a.ahead.come
		case <-ticker.C:
			queue = append(queue, a.ahead.due(time.Now())...)
		case <-more:
			host := queue[0]
			queue = queue[1:]
			a.obtainAhead(host)
		}
	}
}

// sweepRegularly drops certificates from memory whose hosts have left, until the
// configuration ends. It waits for nothing that follow waits for.
func (a *Auto) sweepRegularly() {
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-a.ahead.gone:
		}
		for e := range a.entries.all() {
			if !a.Bound(e.host) {
				a.drop(e)
			}
		}
		select {
		case <-a.ctx.Done():
			return
		case <-time.After(followPause):
		}
	}
}

// hosts lists the hosts that have bindings.
func (a *Auto) hosts() []string {
	bindings := a.bindings.Load()
	if bindings == nil {
		return nil
	}
	return bindings.Hosts()
}

// newcomers returns the hosts that were not known, and makes known what is there now.
func newcomers(hosts []string, known *map[string]struct{}) []string {
	var come []string
	now := make(map[string]struct{}, len(hosts))
	for _, host := range hosts {
		now[host] = struct{}{}
		if _, old := (*known)[host]; !old && certmagic.SubjectQualifiesForCert(host) {
			come = append(come, host)
		}
	}
	*known = now
	return come
}

// due takes the hosts whose time has come.
func (h *ahead) due(now time.Time) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var hosts []string
	for host, at := range h.later {
		if !at.After(now) {
			hosts = append(hosts, host)
			delete(h.later, host)
		}
	}
	return hosts
}

func (h *ahead) lookAgain(host string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.later[host] = at
}

// obtainAhead has the certificate of a host obtained, unless storage has it.
func (a *Auto) obtainAhead(host string) {
	if !a.Bound(host) || a.entries.get(host) != nil {
		return
	}
	m := a.managedFor(host)
	leaf, err := m.storedLeaf(a.ctx, host)
	switch {
	case a.ctx.Err() != nil || leaf != nil:
		return // the walk renews it
	case err != nil:
		a.logger.Error("looking for a certificate in storage", zap.String("host", host), zap.Error(err))
		a.ahead.lookAgain(host, time.Now().Add(lookAgain))
	case !a.launch(m, host):
		a.ahead.retry(m, host)
	}
}

// retry has a host looked at again when it may be ordered again.
func (h *ahead) retry(m *Managed, host string) {
	again := m.group.failures.get(host).again
	if !again.After(time.Now()) {
		again = time.Now().Add(lookAgain)
	}
	h.lookAgain(host, again)
}

// launch orders or renews the certificate of a host at the rate for that, in the
// background. It reports whether it does.
func (a *Auto) launch(m *Managed, host string) bool {
	if time.Now().Before(m.group.failures.get(host).again) || !a.CheckDNS.leadsHere(a.ctx, host) {
		return false
	}
	if limiter := a.ahead.limiter; limiter != nil && limiter.Wait(a.ctx) != nil {
		return false
	}
	select {
	case a.ahead.workers <- struct{}{}:
	case <-a.ctx.Done():
		return false
	}
	f := a.fly(host, BoundByHost, nil)
	if f == nil {
		<-a.ahead.workers
		return false
	}
	if !m.internal && !m.group.begun.Load() {
		<-f.done // the first order goes alone: those behind it would all come at once, at no rate
	}
	go func() {
		<-f.done
		<-a.ahead.workers
		if f.slot.cert.Load() == nil && !a.OnDemand {
			a.ahead.retry(m, host)
		}
	}()
	return true
}

// storedLeaf reads the newest certificate of a host that storage has, without its key
// and without any use of it; nil if there is none.
func (m *Managed) storedLeaf(ctx context.Context, host string) (*x509.Certificate, error) {
	var newest *x509.Certificate
	for _, issuer := range m.magic.Issuers {
		key := certmagic.StorageKeys.SiteCert(issuer.IssuerKey(), host)
		raw, err := m.magic.Storage.Load(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", key, err)
		}
		block, _ := pem.Decode(raw)
		if block == nil {
			return nil, fmt.Errorf("%s holds no certificate", key)
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if newest == nil || leaf.NotBefore.After(newest.NotBefore) {
			newest = leaf
		}
	}
	return newest, nil
}
