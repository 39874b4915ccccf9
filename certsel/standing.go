package certsel

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/caddyserver/certmagic"
)

// Renewer is implemented by sources whose certificates Caddy obtains and renews.
type Renewer interface {
	Source

	// Standing tells how the certificate stands that a client gets who sends a host as
	// server name. It may read storage, until the context ends.
	Standing(ctx context.Context, host string) Standing

	// Renews is when a certificate of the source is renewed.
	Renews(leaf *x509.Certificate) time.Time

	// Failures tells what could not be obtained or renewed, and why, by name and up to
	// a bound.
	Failures() map[string]Failure
}

// Standing is how a certificate stands.
type Standing struct {
	Leaf    *x509.Certificate // nil: there is none, or it is not known
	Failure Failure           // of the last attempt to obtain or renew it, if that has failed
}

// Failure is why a certificate could not be obtained or renewed.
type Failure struct {
	Err   error // nil: it could
	At    time.Time
	Again time.Time // of the next order, zero if there is no pause
}

// maxFailures bounds how many failures of a source are told.
const maxFailures = 20

// Renews implements Renewer.
func (m *Managed) Renews(leaf *x509.Certificate) time.Time {
	ratio := m.magic.RenewalWindowRatio
	if ratio == 0 {
		ratio = certmagic.DefaultRenewalWindowRatio
	}
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return leaf.NotAfter.Add(-time.Duration(float64(life) * ratio))
}

// Standing implements Renewer.
func (m *Managed) Standing(_ context.Context, host string) Standing {
	slot, rest := m.slotOf(host)
	switch {
	case slot == nil:
		return m.standing(m.subjects[0], m.slots[0].leaf())
	case rest > 0:
		host = "*" + host[rest:]
	}
	return m.standing(host, slot.leaf())
}

func (m *Managed) standing(subject string, leaf *x509.Certificate) Standing {
	s := Standing{Leaf: leaf}
	if f := m.group.failures.get(subject); f.err != nil && m.due(leaf) {
		s.Failure = Failure{f.err, f.at, f.again}
	}
	return s
}

// due reports whether a certificate is to be obtained or renewed. If not, what failed
// before has come to a good end, maybe on another node.
func (m *Managed) due(leaf *x509.Certificate) bool {
	return leaf == nil || time.Now().After(m.Renews(leaf))
}

// Failures implements Renewer.
func (m *Managed) Failures() map[string]Failure {
	found := make(map[string]Failure)
	for i, subject := range m.subjects {
		if s := m.standing(subject, m.slots[i].leaf()); s.Failure.Err != nil && len(found) < maxFailures {
			found[subject] = s.Failure
		}
	}
	return found
}

func (s *slot) leaf() *x509.Certificate {
	if cert := s.cert.Load(); cert != nil {
		return cert.Leaf
	}
	return nil
}

// Renews implements Renewer.
func (a *Auto) Renews(leaf *x509.Certificate) time.Time {
	m := a.managed
	if len(leaf.DNSNames) > 0 {
		m = a.managedFor(leaf.DNSNames[0])
	}
	return m.Renews(leaf)
}

// Standing implements Renewer. What is not in memory is looked up in storage.
func (a *Auto) Standing(ctx context.Context, host string) Standing {
	if !a.Bound(host) {
		if a.fallback == nil {
			return Standing{}
		}
		return a.fallback.Standing(ctx, host)
	}
	m := a.managedFor(host)
	if e := a.entries.get(host); e != nil {
		return m.standing(host, e.slot.leaf())
	}
	leaf, err := m.storedLeaf(ctx, host)
	s := m.standing(host, leaf)
	if err != nil && s.Failure.Err == nil && ctx.Err() == nil {
		s.Failure = Failure{Err: err, At: time.Now()}
	}
	return s
}

// Failures implements Renewer.
func (a *Auto) Failures() map[string]Failure {
	found := make(map[string]Failure)
	if a.fallback != nil {
		found = a.fallback.Failures()
	}
	for _, m := range a.managers() {
		if m == a.fallback {
			continue
		}
		for host, f := range m.group.failures.all() {
			if len(found) >= maxFailures {
				return found
			}
			if a.managedFor(host) != m || !a.Bound(host) {
				continue
			}
			if e := a.entries.get(host); e != nil && !m.due(e.slot.leaf()) {
				continue
			}
			found[host] = Failure{f.err, f.at, f.again}
		}
	}
	return found
}

// Interface guards
var (
	_ Renewer = (*Managed)(nil)
	_ Renewer = (*Auto)(nil)
)
