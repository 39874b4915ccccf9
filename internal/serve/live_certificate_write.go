package serve

import (
	"crypto/tls"
	"encoding/json"
	"maps"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/sites"
)

// CertificateWrite is a change of one certificate that a source keeps.
type CertificateWrite struct {
	Name     string
	Cert     *tls.Certificate // nil: it is deleted, or document has it
	Document json.RawMessage  // out of the log
	Revision *uint64          // that it must have, out of the log

	Match string // If-Match
	None  bool   // only if it is not there yet (If-None-Match: *)
}

// Refuse makes a refusal that is about the certificate.
func (c *CertificateWrite) Refuse(status int, code, format string, args ...any) *WriteError {
	e := RefuseWrite(status, code, nil, format, args...)
	e.Certificate = c.Name
	return e
}

// CertificatePlan is what the change of a certificate comes to.
type CertificatePlan struct {
	Name     string
	Cert     *tls.Certificate
	document json.RawMessage // nil: it is deleted
	Result   written
}

// PlanCertificate judges the change.
func (a *Instance) PlanCertificate(source *LiveSource, c *CertificateWrite) (*CertificatePlan, error) {
	table := source.Follower.CertificateTable()
	if table == nil {
		return nil, c.Refuse(http.StatusUnprocessableEntity, CodeInvalid, "%s: %v", source.Name, errNoCertificates)
	}
	if a.certificates[c.Name] != nil {
		return nil, c.Refuse(http.StatusConflict, codeConfiguredCertificate, "certificate %s is one of the configuration: change it there", c.Name)
	}
	if other := a.SourceOfCertificate(c.Name); other != nil && other != source {
		return nil, c.Refuse(http.StatusConflict, codeOtherSourceCertificate, "certificate %s is one of %s, not of %s", c.Name, other.Name, source.Name)
	}
	row, there, err := table.Certificate(c.Name)
	if err != nil {
		return nil, c.Refuse(http.StatusServiceUnavailable, codeUnavailable, "%v", err)
	}
	plan := &CertificatePlan{Name: c.Name, Cert: c.Cert, document: c.Document}
	if err := plan.complete(source); err != nil {
		return nil, c.Refuse(statusOfDocument(err), CodeInvalid, "certificate %s: %v", c.Name, err)
	}
	plan.Result = written{Created: !there, Deleted: plan.document == nil, Revision: row.Revision}
	switch {
	case plan.document == nil && !there:
		return nil, c.Refuse(http.StatusNotFound, CodeNotFound, "there is no certificate %s", c.Name)
	case plan.document != nil && there && source.sealer.Same(c.Name, row.Document, plan.document):
		plan.Result.Same = true // a repeated request succeeds, whatever it is conditional on
		return plan, nil
	}
	if err := c.condition(source, row.Revision, there); err != nil {
		return nil, err
	}
	if plan.document == nil {
		return plan, a.refuseUsed(source, c)
	}
	return plan, nil
}

// complete makes the document of a certificate. One out of the log is made anew: it may
// be from a time when the source had another key, or none.
func (p *CertificatePlan) complete(source *LiveSource) (err error) {
	if p.document != nil {
		p.Cert, err = source.sealer.Certificate(p.Name, p.document)
	}
	if err == nil && p.Cert != nil {
		p.document, err = source.sealer.Document(p.Name, p.Cert)
	}
	if err == nil {
		err = jsondoc.CheckSize(p.document)
	}
	return err
}

// condition checks what the change depends on.
func (c *CertificateWrite) condition(source *LiveSource, revision uint64, there bool) error {
	match, none := c.Match, c.None
	wanted := c.Revision
	if match != "" && wanted == nil {
		n := source.Follower.Matched(match, revision, there)
		wanted = &n
	}
	switch {
	case none && there, wanted != nil && *wanted != revision, match == "*" && !there:
		if !there {
			return c.Refuse(http.StatusPreconditionFailed, codePrecondition, "there is no certificate %s", c.Name)
		}
		e := c.Refuse(http.StatusPreconditionFailed, codePrecondition, "certificate %s is at revision %d: somebody has changed it", c.Name, revision)
		e.isAt(source.Follower.head, revision)
		return e
	case source.RequireIfMatch && wanted == nil && !none:
		return c.Refuse(http.StatusPreconditionRequired, codeRequired,
			"changes of %s say which revision of the certificate they are about: If-Match, or If-None-Match: * for a new one", source.Name)
	}
	return nil
}

// refuseUsed refuses to delete a certificate that sites name.
func (a *Instance) refuseUsed(source *LiveSource, c *CertificateWrite) error {
	users, err := source.usersOfCertificate(c.Name)
	if err != nil {
		return c.Refuse(http.StatusServiceUnavailable, codeUnavailable, "%v", err)
	}
	if len(users) == 0 {
		return nil
	}
	labels := make([]string, 0, len(users))
	for _, id := range users {
		name := ""
		if entry := a.Now().Tables.SiteByID(id); entry != nil {
			name = entry.Name
		}
		labels = append(labels, config.SiteLabel(id, name))
	}
	e := c.Refuse(http.StatusConflict, codeCertificateInUse, "certificate %s is used by %s: give them another one first", c.Name, someOf(labels))
	e.Sites = users[:min(len(users), MaxErrors)]
	return e
}

// WriteCertificate keeps and serves a change. The caller holds the follower's mutex, and
// this configuration owns it.
func (a *Instance) WriteCertificate(source *LiveSource, w *SiteWrite, plan *CertificatePlan, answer func(sites.Head, *CertificatePlan) adminapi.Written) (sites.Head, error) {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return sites.Head{}, RefuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "the configuration has ended: ask again")
	}
	defer f.finish(a.policies.Release)
	follower := source.Follower
	head, err := follower.Write(sites.Transaction{
		By: w.By, Certificates: []sites.CertificateChange{{Name: plan.Name, Document: plan.document}}, Key: w.Key, Hash: w.Hash,
		Answer: func(head sites.Head) (json.RawMessage, error) { return json.Marshal(answer(head, plan)) },
	})
	if err != nil {
		return head, Unavailable(err)
	}
	follower.known.Lock()
	follower.head = head
	follower.step++ // a configuration that is being loaded takes it over
	follower.movedCerts = follower.step
	follower.known.Unlock()
	if plan.Cert == nil {
		follower.dropCertificate(plan.Name)
	} else {
		follower.setCertificate(plan.Name, head.Revision, plan.Cert)
	}
	source.forgetFailed(plan.Name)
	source.tell()
	follower.published()
	a.tryHeldBack(source, func(*HeldBack) bool { return true }) // they may name it
	a.observer.Reloaded()
	a.logger.Info("a certificate has changed", zap.String("source", source.Name), zap.String("certificate", plan.Name),
		zap.Uint64("revision", head.Revision), zap.Bool("deleted", plan.Cert == nil))
	return head, nil
}

// forgetFailed forgets what was wrong with a certificate that has been written.
func (s *LiveSource) forgetFailed(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.stale = maps.Clone(s.failed), maps.Clone(s.stale)
	delete(s.failed, name)
	delete(s.stale, name)
}

// The codes of refusals about certificates.
const (
	codeConfiguredCertificate  = "certificate-of-the-configuration"
	codeOtherSourceCertificate = "certificate-of-another-source"
	codeCertificateInUse       = "certificate-in-use"
)
