package serve

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/sites"
)

// keptCertificate is a certificate that a source keeps, as the process serves it. It
// outlives configurations, and replacing it changes nothing else.
type keptCertificate struct {
	certsel.Given
	revision uint64
}

// errNoCertificates is that of a source whose table keeps sites only.
var errNoCertificates = errors.New("this kind of source keeps no certificates")

// CertificateTable is the source's table if it keeps certificates, else nil.
func (f *follower) CertificateTable() sites.CertificateTable {
	table, _ := f.Table.(sites.CertificateTable)
	return table
}

// certificate returns what is served under a name, nil if there is nothing.
func (f *follower) certificate(name string) *keptCertificate {
	f.known.Lock()
	defer f.known.Unlock()
	return f.certificates[name]
}

// certificateNames lists what is served, in order.
func (f *follower) certificateNames() []string {
	f.known.Lock()
	defer f.known.Unlock()
	return SortedKeys(f.certificates)
}

// setCertificate serves a certificate, in place of one before. The caller holds f.mu.
func (f *follower) setCertificate(name string, revision uint64, cert *tls.Certificate) {
	f.known.Lock()
	defer f.known.Unlock()
	kept := f.certificates[name]
	if kept == nil {
		kept = new(keptCertificate)
		f.certificates[name] = kept
	}
	kept.revision = revision
	kept.Set(cert)
}

// dropCertificate serves a certificate no longer. The caller holds f.mu.
func (f *follower) dropCertificate(name string) {
	f.known.Lock()
	defer f.known.Unlock()
	if kept := f.certificates[name]; kept != nil {
		kept.Set(nil)
		delete(f.certificates, name)
	}
}

// readCertificates makes the certificates of the table ready with the keys of this
// configuration. Those that it cannot decode are noted; it is refused if one of them
// serves already. The caller holds f.mu.
func (s *LiveSource) readCertificates() error {
	f := s.Follower
	table := f.CertificateTable()
	if table == nil {
		if s.PlainKeys || len(s.CertificateKeys) > 0 {
			return fmt.Errorf("%w: remove certificate_key and plain_keys", errNoCertificates)
		}
		return nil
	}
	failed, stale := make(map[string]string), make(map[string]bool)
	var refused errorList
	err := table.Certificates(func(row sites.CertificateRow) error {
		serves := f.certificate(row.Name)
		var cert *tls.Certificate
		var err error
		if serves != nil && serves.revision == row.Revision { // all that may be new is the key
			err = s.sealer.Opens(row.Name, row.Document)
		} else {
			cert, err = s.sealer.Certificate(row.Name, row.Document)
		}
		if err == nil && !s.sealer.Current(row.Document) {
			stale[row.Name] = true
		}
		switch {
		case err != nil && serves != nil:
			refused.add("the running configuration serves certificate "+row.Name+", and this one cannot", "%w", err)
		case err != nil:
			failed[row.Name] = err.Error()
		case cert != nil:
			f.setCertificate(row.Name, row.Revision, cert)
		}
		return nil
	})
	s.mu.Lock()
	s.failed, s.stale = failed, stale
	s.mu.Unlock()
	return errors.Join(err, refused.err())
}

// keptCertificates yields the certificates of sources by name, those in front of others
// of the same name.
func (a *Instance) keptCertificates() iter.Seq2[string, *LiveSource] {
	return func(yield func(string, *LiveSource) bool) {
		for _, source := range a.Live {
			if source.Follower == nil {
				continue
			}
			for _, name := range source.Follower.certificateNames() {
				if a.SourceOfCertificate(name) == source && !yield(name, source) {
					return
				}
			}
		}
	}
}

// SourceOfCertificate returns the source whose certificate a name stands for, nil if it
// is none: the configuration's come first, then those of the sources in their order.
func (a *Instance) SourceOfCertificate(name string) *LiveSource {
	if a.certificates[name] != nil {
		return nil
	}
	for _, source := range a.Live {
		if source.Follower != nil && source.Follower.certificate(name) != nil {
			return source
		}
	}
	return nil
}

// CertificateSource returns what stands behind the name of a certificate, nil if there
// is nothing.
func (a *Instance) CertificateSource(name string) certsel.Source {
	if source := a.certificates[name]; source != nil {
		return source
	}
	if source := a.SourceOfCertificate(name); source != nil {
		if kept := source.Follower.certificate(name); kept != nil {
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
			if kept := source.Follower.certificate(name); kept != nil && !yield(name, kept) {
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
		if kept := source.Follower.certificate(name); kept != nil {
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
func (s *LiveSource) refuseHidden(a *Instance) error {
	for _, name := range s.Follower.certificateNames() {
		if a.certificates[name] != nil {
			return fmt.Errorf("certificate %q is one of %s, and the configuration has one of this name as well: give that one another name", name, s.Name)
		}
	}
	return nil
}

// usersOfCertificate lists the sites of a source whose rows name a certificate, whether
// they are served or held back. No others can name it.
func (s *LiveSource) usersOfCertificate(name string) (users []uint32, err error) {
	quoted := []byte(`"` + name + `"`) // as JSON has it: nothing in it is escaped
	used := func(document []byte) bool {
		if !bytes.Contains(document, quoted) {
			return false
		}
		cfg, _ := decodeDocument(document)
		return cfg == nil || cfg.NamesCertificate(name) // of what is damaged nobody knows
	}
	err = s.Follower.Rows(func(row sites.Row) error {
		if used(row.Document) || used(row.Good) {
			users = append(users, row.ID)
		}
		return nil
	})
	return users, err
}

// The codes of findings about certificates that sources keep.
const (
	codeCertificateHeldBack = "certificate-held-back"
	codeCertificateTwice    = "certificate-twice"
	codeCertificateStale    = "certificate-key-outdated"
)

// keptFindings tells of certificates of sources that are not served, and of those whose
// private keys are not kept as the source says.
func (a *Instance) keptFindings() []binding.Finding {
	var findings []binding.Finding
	for _, source := range a.Live {
		if source.Follower == nil {
			continue
		}
		source.mu.Lock()
		failed, stale := source.failed, source.stale
		source.mu.Unlock()
		if len(stale) > 0 {
			findings = append(findings, binding.Finding{
				Severity: binding.Warning, Code: codeCertificateStale,
				Message: fmt.Sprintf("the private keys of %d certificates of %s are plain, or encrypted with an older key than the first of certificate_key: %s", len(stale), source.Name, someOf(SortedKeys(stale))),
				Fix:     "put these certificates again, which encrypts them anew, before the older key is removed",
			})
		}
		for _, name := range SortedKeys(failed) {
			findings = append(findings, binding.Finding{
				Severity: binding.Error, Code: codeCertificateHeldBack,
				Message: fmt.Sprintf("certificate %q of %s is not served: %s", name, source.Name, failed[name]),
				Fix:     "give the source the key that encrypts it, or put the certificate again",
			})
		}
		for _, name := range source.Follower.certificateNames() {
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

// someOf lists names, the first ones if there are many.
func someOf(names []string) string {
	list := strings.Join(names[:min(len(names), MaxErrors)], ", ")
	if more := len(names) - MaxErrors; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// FailedCertificate returns why a certificate is not served, if it is not.
func (s *LiveSource) FailedCertificate(name string) (reason string, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason, failed = s.failed[name]
	return reason, failed
}
