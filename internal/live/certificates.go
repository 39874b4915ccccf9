package live

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/internal/many"
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
func (f *Follower) CertificateTable() sites.CertificateTable {
	table, _ := f.Table.(sites.CertificateTable)
	return table
}

// Certificate returns what is served under a name, nil if there is nothing.
func (f *Follower) Certificate(name string) *certsel.Given {
	if kept := f.certificate(name); kept != nil {
		return &kept.Given
	}
	return nil
}

// WithCertificate returns the first of the sources that serves a certificate of this name,
// nil if none does.
func (l Sources) WithCertificate(name string) *Source {
	for _, s := range l {
		if s.Follower != nil && s.Follower.certificate(name) != nil {
			return s
		}
	}
	return nil
}

// certificate returns what is kept and served under a name, nil if there is nothing.
func (f *Follower) certificate(name string) *keptCertificate {
	f.known.Lock()
	defer f.known.Unlock()
	return f.certificates[name]
}

// CertificateNames lists what is served, in order.
func (f *Follower) CertificateNames() []string {
	f.known.Lock()
	defer f.known.Unlock()
	return slices.Sorted(maps.Keys(f.certificates))
}

// setCertificate serves a certificate, in place of one before. The caller holds f.mu.
func (f *Follower) setCertificate(name string, revision uint64, cert *tls.Certificate) {
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
func (f *Follower) dropCertificate(name string) {
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
func (s *Source) readCertificates() error {
	f := s.Follower
	table := f.CertificateTable()
	if table == nil {
		if s.PlainKeys || len(s.CertificateKeys) > 0 {
			return fmt.Errorf("%w: remove certificate_key and plain_keys", errNoCertificates)
		}
		return nil
	}
	failed, stale := make(map[string]string), make(map[string]bool)
	var refused many.Errors
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
			refused.Add("the running configuration serves certificate "+row.Name+", and this one cannot", "%w", err)
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
	return errors.Join(err, refused.Err())
}

// usersOfCertificate lists the sites of a source whose rows name a certificate, whether
// they are served or held back. No others can name it.
func (s *Source) usersOfCertificate(name string) (users []uint32, err error) {
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

// NoteCertificate serves a certificate that has been written, or no longer. The caller holds
// the lock.
func (s *Source) NoteCertificate(head sites.Head, plan *CertificatePlan) {
	f := s.Follower
	f.known.Lock()
	f.head = head
	f.step++ // a configuration that is being loaded takes it over
	f.movedCerts = f.step
	f.known.Unlock()
	if plan.Cert == nil {
		f.dropCertificate(plan.Name)
	} else {
		f.setCertificate(plan.Name, head.Revision, plan.Cert)
	}
	s.forgetFailed(plan.Name)
}

// FailedCertificate returns why a certificate is not served, if it is not.
func (s *Source) FailedCertificate(name string) (reason string, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason, failed = s.failed[name]
	return reason, failed
}

// forgetFailed forgets what was wrong with a certificate that has been written.
func (s *Source) forgetFailed(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.stale = maps.Clone(s.failed), maps.Clone(s.stale)
	delete(s.failed, name)
	delete(s.stale, name)
}
