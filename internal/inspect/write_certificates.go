package inspect

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/health"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/many"
	"github.com/caddy-iis/caddy-iis/internal/serve"
	"github.com/caddy-iis/caddy-iis/sites"
)

// The types of a request with a certificate.
const (
	typeJSON = "application/json"
	typePEM  = "application/x-pem-file"
	typePFX  = "application/x-pkcs12"
)

// understandCertificate reads which certificate is to be changed, and how.
func (q *writeRequest) understandCertificate(name string) error {
	c := &live.CertificateWrite{Name: name, IfMatch: ifMatch(q.r)}
	q.certificate = c
	var err error
	if c.None, err = ifNone(q.r); err != nil {
		return err
	}
	if err := sites.CheckCertificateName(name); err != nil {
		return apiError(http.StatusBadRequest, "%v", err)
	}
	if q.r.Method == http.MethodDelete {
		if q.body != nil {
			return apiError(http.StatusBadRequest, "DELETE takes no body")
		}
		return nil
	}
	if c.Cert, err = decodeCertificate(q.kind, q.body); err != nil {
		return c.Refuse(http.StatusUnprocessableEntity, live.CodeInvalid, "certificate %s: %v", name, err)
	}
	return nil
}

// decodeCertificate decodes a certificate with its private key out of a request.
func decodeCertificate(kind string, body []byte) (*tls.Certificate, error) {
	switch kind {
	case typePEM:
		return certfile.PEM(body, nil, "")
	case typePFX:
		return certfile.PFX(body, certfile.Options{})
	}
	var given adminapi.NewCertificate
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&given); err != nil {
		return nil, jsondoc.Plain(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one JSON object")
	}
	if err := jsondoc.CheckNames(body); err != nil {
		return nil, err
	}
	switch {
	case given.PFX != nil && (given.Certificate != "" || given.Key != ""):
		return nil, fmt.Errorf("pfx excludes certificate and key")
	case given.PFX != nil:
		return certfile.PFX(given.PFX, certfile.Options{Password: given.Password})
	case given.Certificate == "":
		return nil, fmt.Errorf("certificate and key are PEM, or pfx is a PFX file in base64")
	case given.Key == "":
		return certfile.PEM([]byte(given.Certificate), nil, given.Password)
	}
	return certfile.PEM([]byte(given.Certificate), []byte(given.Key), given.Password)
}

// doCertificate makes the change. The lock of the source is held.
func (q *writeRequest) doCertificate() (answer adminapi.Written, err error) {
	plan, err := q.app.PlanCertificate(q.source, q.certificate)
	if err != nil {
		return answer, err
	}
	head, _ := q.source.Follower.Size()
	if !plan.Result.Same && !q.write.DryRun {
		if head, err = q.app.WriteCertificate(q.source, q.write, plan, q.certificateAnswer); err != nil {
			return answer, err
		}
		plan.Result.Revision = head.Revision
	}
	return q.certificateAnswer(head, plan), nil
}

// certificateAnswer tells what was written.
func (q *writeRequest) certificateAnswer(head sites.Head, plan *live.CertificatePlan) adminapi.Written {
	revision := head.Revision
	if plan.Result.Same || q.write.DryRun {
		revision = plan.Result.Revision
	}
	answer := adminapi.Written{
		Certificate: plan.Name, Source: q.source.Name, Revision: live.RevisionOf(head), Mark: head.Mark,
		Serves: true, Created: plan.Result.Created && q.r.Method == http.MethodPut, DryRun: q.write.DryRun,
	}
	if plan.Cert != nil {
		answer.ETag = live.CertificateEtag(head, revision, plan.Change().Document)
		answer.Findings = newView(q.app, q.app.Now()).findingsAboutKept(plan.Name, plan.Cert)
	}
	return answer
}

// findingsAboutKept are what clients will complain about in a certificate that a source is
// given: in itself, and at the bindings that use it.
func (sn view) findingsAboutKept(name string, cert *tls.Certificate) []adminapi.Finding {
	var findings []adminapi.Finding
	for _, problem := range health.Examine(cert, time.Now()) {
		findings = append(findings, showFinding(binding.Finding{
			Severity: severityOf(problem), Code: problem.Code, Message: fmt.Sprintf("certificate %q %s", name, problem.Message), Fix: problem.Fix,
		}))
	}
	for entry := range sn.Tables.Bindings() {
		if rec := sn.Tables.ClientRecord(entry); rec == nil || rec.Certificate != name || len(findings) > many.Max {
			continue
		}
		if r, ok := sn.coverageRemark(entry, func(rec *binding.Record) []*tls.Certificate {
			if rec.Certificate == name {
				return []*tls.Certificate{cert} // which is not served yet
			}
			return sn.currentOf(rec)
		}); ok {
			findings = append(findings, showFinding(r.text()))
		}
	}
	return findings
}

// certificateView shows one certificate. Private keys are never shown.
func (sn view) certificateView(q query) (any, error) {
	source := sn.App.CertificateSource(q.name)
	if source == nil {
		if c, held, err := sn.heldCertificate(q.name); held {
			return c, err
		}
		return nil, apiError(http.StatusNotFound, "there is no certificate %q", q.name)
	}
	var records []*binding.Record
	for rec := range sn.Tables.Records() {
		if rec.Certificate == q.name {
			records = append(records, rec)
		}
	}
	users := usersOf(records, sn.Tables.RecordSites())
	if store, ok := source.(serve.FileStore); ok {
		return sn.showStore(q.name, store, users), nil
	}
	c := sn.showCertificate(q.name, source, users)
	if keeper := sn.App.SourceOfCertificate(q.name); keeper != nil {
		if err := addRow(keeper, &c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// heldCertificate shows a certificate that a source keeps and that is not served.
func (sn view) heldCertificate(name string) (c adminapi.Certificate, held bool, err error) {
	for _, source := range sn.App.Live {
		if reason, held := source.FailedCertificate(name); held {
			c = adminapi.Certificate{Name: name, Source: source.Name, KeptIn: source.Name, Current: []adminapi.Leaf{}, Error: reason}
			return c, true, addRow(source, &c)
		}
	}
	return c, false, nil
}

// addRow adds what the source keeps of a certificate, without its key.
func addRow(s *live.Source, c *adminapi.Certificate) error {
	row, there, err := s.Follower.CertificateTable().Certificate(c.Name)
	if err != nil || !there {
		return err
	}
	head, err := s.Follower.Head()
	if err != nil {
		return err
	}
	c.PEM, c.Revision, c.ETag = sites.Chain(row.Document), row.Revision, live.CertificateEtag(head, row.Revision, row.Document)
	return nil
}

// understandRevertedCertificate makes the change that takes one of a certificate back.
func (q *writeRequest) understandRevertedCertificate(source *live.Source, changes []sites.Logged) error {
	if len(changes) > 1 {
		return live.RefuseWrite(http.StatusUnprocessableEntity, live.CodeInvalid, nil, "the revision changes more than one certificate: take it back by putting them")
	}
	logged := changes[0]
	head, err := source.Follower.Head()
	if err != nil {
		return err
	}
	row, there, err := source.Follower.CertificateTable().Certificate(logged.Certificate)
	if err != nil {
		return err
	}
	q.certificate = &live.CertificateWrite{Name: logged.Certificate, Document: slices.Clone(logged.Before), None: !there}
	if there {
		etag := live.CertificateEtag(head, row.Revision, row.Document)
		q.certificate.IfMatch = &etag
	}
	return nil
}
