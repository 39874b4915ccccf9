package live

import (
	"crypto/tls"
	"encoding/json"
	"net/http"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/many"
	"github.com/caddy-iis/caddy-iis/sites"
)

// CertificateWrite is a change of one certificate that a source keeps.
type CertificateWrite struct {
	Name     string
	Cert     *tls.Certificate // nil: it is deleted, or document has it
	Document json.RawMessage  // out of the log

	IfMatch *string // nil: whatever it is
	None    bool    // only if it is not there yet (If-None-Match: *)
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
	Result   Result
}

// Change is what is written.
func (p *CertificatePlan) Change() sites.CertificateChange {
	return sites.CertificateChange{Name: p.Name, Document: p.document}
}

// PlanCertificate judges the change. It is told whether the configuration has a certificate
// of this name, and asks for the names of sites.
func (l Sources) PlanCertificate(source *Source, c *CertificateWrite, configured bool, siteName func(id uint32) string) (*CertificatePlan, error) {
	table := source.Follower.CertificateTable()
	if table == nil {
		return nil, c.Refuse(http.StatusUnprocessableEntity, CodeInvalid, "%s: %v", source.Name, errNoCertificates)
	}
	if configured {
		return nil, c.Refuse(http.StatusConflict, codeConfiguredCertificate, "certificate %s is one of the configuration: change it there", c.Name)
	}
	if other := l.WithCertificate(c.Name); other != nil && other != source {
		return nil, c.Refuse(http.StatusConflict, codeOtherSourceCertificate, "certificate %s is one of %s, not of %s", c.Name, other.Name, source.Name)
	}
	row, there, err := table.Certificate(c.Name)
	if err != nil {
		return nil, c.Refuse(http.StatusServiceUnavailable, CodeUnavailable, "%v", err)
	}
	plan := &CertificatePlan{Name: c.Name, Cert: c.Cert, document: c.Document}
	if err := plan.complete(source); err != nil {
		return nil, c.Refuse(statusOfDocument(err), CodeInvalid, "certificate %s: %v", c.Name, err)
	}
	plan.Result = Result{Created: !there, Deleted: plan.document == nil, Revision: row.Revision}
	switch {
	case plan.document == nil && !there:
		return nil, c.Refuse(http.StatusNotFound, CodeNotFound, "there is no certificate %s", c.Name)
	case plan.document != nil && there && source.sealer.Same(c.Name, row.Document, plan.document):
		plan.Result.Same = true // a repeated request succeeds, whatever it is conditional on
		return plan, nil
	}
	if err := c.condition(source, row, there); err != nil {
		return nil, err
	}
	if plan.document == nil {
		return plan, c.refuseUsed(source, siteName)
	}
	return plan, nil
}

// complete makes the document of a certificate. One out of the log is made anew: it may
// be from a time when the source had another key, or none.
func (p *CertificatePlan) complete(source *Source) (err error) {
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
func (c *CertificateWrite) condition(source *Source, row sites.CertificateRow, there bool) error {
	head := source.Follower.head
	etag := CertificateEtag(head, row.Revision, row.Document)
	switch {
	case !there && c.IfMatch != nil:
		return c.Refuse(http.StatusPreconditionFailed, codePrecondition, "there is no certificate %s", c.Name)
	case there && (c.None || c.IfMatch != nil && !matches(*c.IfMatch, etag)):
		e := c.Refuse(http.StatusPreconditionFailed, codePrecondition, "certificate %s is at revision %d: somebody has changed it", c.Name, row.Revision)
		e.isAt(head, row.Revision, etag)
		return e
	case source.RequireIfMatch && c.IfMatch == nil && !c.None:
		return c.Refuse(http.StatusPreconditionRequired, codeRequired,
			"changes of %s say which revision of the certificate they are about: If-Match, or If-None-Match: * for a new one", source.Name)
	}
	return nil
}

// refuseUsed refuses to delete a certificate that sites name.
func (c *CertificateWrite) refuseUsed(source *Source, siteName func(id uint32) string) error {
	users, err := source.usersOfCertificate(c.Name)
	if err != nil {
		return c.Refuse(http.StatusServiceUnavailable, CodeUnavailable, "%v", err)
	}
	if len(users) == 0 {
		return nil
	}
	labels := make([]string, 0, len(users))
	for _, id := range users {
		labels = append(labels, config.SiteLabel(id, siteName(id)))
	}
	e := c.Refuse(http.StatusConflict, codeCertificateInUse, "certificate %s is used by %s: give them another one first", c.Name, many.Names(labels))
	e.Sites = users[:min(len(users), many.Max)]
	return e
}
