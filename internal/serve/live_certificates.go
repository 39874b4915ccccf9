package serve

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/sites"
)

// keptCertificates yields the certificates of sources by name, those in front of others
// of the same name.
func (a *Instance) keptCertificates() iter.Seq2[string, *live.Source] {
	return func(yield func(string, *live.Source) bool) {
		for _, source := range a.Live {
			if source.Follower == nil {
				continue
			}
			for _, name := range source.Follower.CertificateNames() {
				if a.SourceOfCertificate(name) == source && !yield(name, source) {
					return
				}
			}
		}
	}
}

// SourceOfCertificate returns the source whose certificate a name stands for, nil if it
// is none: the configuration's come first, then those of the sources in their order.
func (a *Instance) SourceOfCertificate(name string) *live.Source {
	if a.certificates[name] != nil {
		return nil
	}
	return a.Live.WithCertificate(name)
}

// CertificateSource returns what stands behind the name of a certificate, nil if there
// is nothing.
func (a *Instance) CertificateSource(name string) certsel.Source {
	if source := a.certificates[name]; source != nil {
		return source
	}
	if source := a.SourceOfCertificate(name); source != nil {
		if kept := source.Follower.Certificate(name); kept != nil {
			return kept
		}
	}
	return nil
}

// AllCertificates yields the certificates and stores by name: those of the configuration,
// then those of sources.
func (a *Instance) AllCertificates() iter.Seq2[string, certsel.Source] {
	return func(yield func(string, certsel.Source) bool) {
		for _, name := range SortedKeys(a.certificates) {
			if !yield(name, a.certificates[name]) {
				return
			}
		}
		for name, source := range a.keptCertificates() {
			if kept := source.Follower.Certificate(name); kept != nil && !yield(name, kept) {
				return
			}
		}
	}
}

// keptTogether are the certificates of sources as one for each source: there may be very
// many.
func (a *Instance) keptTogether() map[string]certsel.Source {
	together := make(map[string]certsel.Source)
	for name, source := range a.keptCertificates() {
		label := "(" + source.Name + ")"
		all, _ := together[label].(certificateList)
		if kept := source.Follower.Certificate(name); kept != nil {
			together[label] = append(all, kept.Current()...)
		}
	}
	return together
}

// certificateList are certificates of which none is chosen.
type certificateList []*tls.Certificate

// Select implements certsel.Source.
func (certificateList) Select(*tls.ClientHelloInfo) *tls.Certificate { return nil }

// Current implements certsel.Source.
func (l certificateList) Current() []*tls.Certificate { return l }

// refuseHidden refuses a configuration with a certificate under the name of one that a
// source serves: sites would silently get another one.
func (a *Instance) refuseHidden(s *live.Source) error {
	for _, name := range s.Follower.CertificateNames() {
		if a.certificates[name] != nil {
			return fmt.Errorf("certificate %q is one of %s, and the configuration has one of this name as well: give that one another name", name, s.Name)
		}
	}
	return nil
}

// codeCertificateTwice is the finding about a certificate whose name another one has.
const codeCertificateTwice = "certificate-twice"

// keptFindings tells of certificates of sources that are not served, and of those whose
// private keys are not kept as the source says.
func (a *Instance) keptFindings() []binding.Finding {
	var findings []binding.Finding
	for _, source := range a.Live {
		if source.Follower == nil {
			continue
		}
		findings = append(findings, source.CertificateFindings()...)
		for _, name := range source.Follower.CertificateNames() {
			if a.SourceOfCertificate(name) != source {
				findings = append(findings, binding.Finding{
					Severity: binding.Error, Code: codeCertificateTwice,
					Message: fmt.Sprintf("certificate %q of %s is not served: the configuration, or a source before it, has one of this name", name, source.Name),
					Fix:     "give one of them another name",
				})
			}
		}
	}
	return findings
}

// PlanCertificate judges the change of a certificate that a source keeps.
func (a *Instance) PlanCertificate(source *live.Source, c *live.CertificateWrite) (*live.CertificatePlan, error) {
	tables := a.Now().Tables
	return a.Live.PlanCertificate(source, c, a.certificates[c.Name] != nil, func(id uint32) string {
		if entry := tables.SiteByID(id); entry != nil {
			return entry.Name
		}
		return ""
	})
}

// WriteCertificate keeps and serves a change. The caller holds the lock of the source, and
// this configuration owns it.
func (a *Instance) WriteCertificate(source *live.Source, w *live.SiteWrite, plan *live.CertificatePlan, answer func(sites.Head, *live.CertificatePlan) adminapi.Written) (sites.Head, error) {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return sites.Head{}, live.RefuseWrite(http.StatusServiceUnavailable, live.CodeUnavailable, nil, "the configuration has ended: ask again")
	}
	defer f.finish(a.policies.Release)
	head, err := source.Follower.Write(sites.Transaction{
		By: w.By, Certificates: []sites.CertificateChange{plan.Change()}, Key: w.Key, Hash: w.Hash,
		Answer: func(head sites.Head) (json.RawMessage, error) { return json.Marshal(answer(head, plan)) },
	})
	if err != nil {
		return head, live.Unavailable(err)
	}
	source.NoteCertificate(head, plan)
	a.tryHeldBack(source, func(*live.HeldBack) bool { return true }, a.passesNow) // they may name it
	source.Tell()
	a.observer.Reloaded()
	a.logger.Info("a certificate has changed", zap.String("source", source.Name), zap.String("certificate", plan.Name),
		zap.Uint64("revision", head.Revision), zap.Bool("deleted", plan.Cert == nil))
	return head, nil
}
