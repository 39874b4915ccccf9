package caddyiis

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel/certfile"
	"github.com/caddy-iis/caddy-iis/certsel/health"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/sites"
)

// The types of a request with a certificate.
const (
	typeJSON = "application/json"
	typePEM  = "application/x-pem-file"
	typePFX  = "application/x-pkcs12"
)

// The codes of refusals about certificates.
const (
	codeConfiguredCertificate  = "certificate-of-the-configuration"
	codeOtherSourceCertificate = "certificate-of-another-source"
	codeCertificateInUse       = "certificate-in-use"
)

// certificateWrite is a change of one certificate that a source keeps.
type certificateWrite struct {
	name     string
	cert     *tls.Certificate // nil: it is deleted, or document has it
	document json.RawMessage  // out of the log
	revision *uint64          // that it must have, out of the log
}

func (c *certificateWrite) refuse(status int, code, format string, args ...any) *writeError {
	e := refuseWrite(status, code, nil, format, args...)
	e.Certificate = c.name
	return e
}

// understandCertificate reads which certificate is to be changed, and how.
func (q *writeRequest) understandCertificate(name string) error {
	c := &certificateWrite{name: name}
	q.certificate = c
	if err := sites.CheckCertificateName(name); err != nil {
		return apiError(http.StatusBadRequest, "%v", err)
	}
	if q.r.Method == http.MethodDelete {
		if q.body != nil {
			return apiError(http.StatusBadRequest, "DELETE takes no body")
		}
		return nil
	}
	var err error
	if c.cert, err = decodeCertificate(q.kind, q.body); err != nil {
		return c.refuse(http.StatusUnprocessableEntity, codeInvalid, "certificate %s: %v", name, err)
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

// sourceForCertificate finds a source: the one that is named, that which has the
// certificate, or the first that can keep some.
func (a *Instance) sourceForCertificate(named, name string) (*liveSource, error) {
	if named == "" {
		if source := a.sourceOfCertificate(name); source != nil {
			return source, nil
		}
		var first *liveSource
		for _, source := range a.live {
			table := source.follower.certificateTable()
			if table == nil {
				continue
			}
			if _, there, err := table.Certificate(name); err == nil && there {
				return source, nil // it is held back
			}
			if first == nil {
				first = source
			}
		}
		if first != nil {
			return first, nil
		}
	}
	return a.sourceFor(named, nil)
}

// doCertificate makes the change. The lock of the source is held.
func (q *writeRequest) doCertificate(w http.ResponseWriter) error {
	plan, err := q.planCertificate()
	if err != nil {
		return err
	}
	follower := q.source.follower
	head := follower.head
	if !plan.result.same && !q.write.dryRun {
		if head, err = q.app.writeCertificate(q.source, q.write, plan, q.certificateAnswer); err != nil {
			return err
		}
		plan.result.revision = head.Revision
	}
	return q.respondCertificate(w, head, plan)
}

// certificatePlan is what the change of a certificate comes to.
type certificatePlan struct {
	name     string
	cert     *tls.Certificate
	document json.RawMessage // nil: it is deleted
	result   written
}

// planCertificate judges the change.
func (q *writeRequest) planCertificate() (*certificatePlan, error) {
	c, a, source := q.certificate, q.app, q.source
	table := source.follower.certificateTable()
	if table == nil {
		return nil, c.refuse(http.StatusUnprocessableEntity, codeInvalid, "%s: %v", source.Name, errNoCertificates)
	}
	if a.certificates[c.name] != nil {
		return nil, c.refuse(http.StatusConflict, codeConfiguredCertificate, "certificate %s is one of the configuration: change it there", c.name)
	}
	if other := a.sourceOfCertificate(c.name); other != nil && other != source {
		return nil, c.refuse(http.StatusConflict, codeOtherSourceCertificate, "certificate %s is one of %s, not of %s", c.name, other.Name, source.Name)
	}
	row, there, err := table.Certificate(c.name)
	if err != nil {
		return nil, c.refuse(http.StatusServiceUnavailable, codeUnavailable, "%v", err)
	}
	plan := &certificatePlan{name: c.name, cert: c.cert, document: c.document}
	if err := plan.complete(source); err != nil {
		return nil, c.refuse(statusOfDocument(err), codeInvalid, "certificate %s: %v", c.name, err)
	}
	plan.result = written{created: !there, deleted: plan.document == nil, revision: row.Revision}
	switch {
	case plan.document == nil && !there:
		return nil, c.refuse(http.StatusNotFound, codeNotFound, "there is no certificate %s", c.name)
	case plan.document != nil && there && source.sealer.Same(c.name, row.Document, plan.document):
		plan.result.same = true // a repeated request succeeds, whatever it is conditional on
		return plan, nil
	}
	if err := q.certificateCondition(row.Revision, there); err != nil {
		return nil, err
	}
	if plan.document == nil {
		return plan, q.refuseUsed()
	}
	return plan, nil
}

// complete makes the document of a certificate. One out of the log is made anew: it may
// be from a time when the source had another key, or none.
func (p *certificatePlan) complete(source *liveSource) (err error) {
	if p.document != nil {
		p.cert, err = source.sealer.Certificate(p.name, p.document)
	}
	if err == nil && p.cert != nil {
		p.document, err = source.sealer.Document(p.name, p.cert)
	}
	if err == nil {
		err = jsondoc.CheckSize(p.document)
	}
	return err
}

// certificateCondition checks what the change depends on.
func (q *writeRequest) certificateCondition(revision uint64, there bool) error {
	c := q.certificate
	match, none := q.r.Header.Get("If-Match"), q.r.Header.Get("If-None-Match") == "*"
	wanted := c.revision
	if match != "" && wanted == nil {
		n := q.source.follower.matched(match, revision, there)
		wanted = &n
	}
	switch {
	case none && there, wanted != nil && *wanted != revision, match == "*" && !there:
		if !there {
			return c.refuse(http.StatusPreconditionFailed, codePrecondition, "there is no certificate %s", c.name)
		}
		e := c.refuse(http.StatusPreconditionFailed, codePrecondition, "certificate %s is at revision %d: somebody has changed it", c.name, revision)
		e.isAt(q.source.follower.head, revision)
		return e
	case q.source.RequireIfMatch && wanted == nil && !none:
		return c.refuse(http.StatusPreconditionRequired, codeRequired,
			"changes of %s say which revision of the certificate they are about: If-Match, or If-None-Match: * for a new one", q.source.Name)
	}
	return nil
}

// refuseUsed refuses to delete a certificate that sites name.
func (q *writeRequest) refuseUsed() error {
	c := q.certificate
	users, err := q.source.usersOfCertificate(c.name)
	if err != nil {
		return c.refuse(http.StatusServiceUnavailable, codeUnavailable, "%v", err)
	}
	if len(users) == 0 {
		return nil
	}
	labels := make([]string, 0, len(users))
	for _, id := range users {
		name := ""
		if entry := q.app.now().tables.SiteByID(id); entry != nil {
			name = entry.Name
		}
		labels = append(labels, config.SiteLabel(id, name))
	}
	e := c.refuse(http.StatusConflict, codeCertificateInUse, "certificate %s is used by %s: give them another one first", c.name, someOf(labels))
	e.Sites = users[:min(len(users), maxErrors)]
	return e
}

// writeCertificate keeps and serves a change. The caller holds the follower's mutex, and
// this configuration owns it.
func (a *Instance) writeCertificate(source *liveSource, w *siteWrite, plan *certificatePlan, answer func(sites.Head, *certificatePlan) adminapi.Written) (sites.Head, error) {
	f := &a.sitesFile
	f.work.Lock()
	defer f.work.Unlock()
	if !f.begin() {
		return sites.Head{}, refuseWrite(http.StatusServiceUnavailable, codeUnavailable, nil, "the configuration has ended: ask again")
	}
	defer f.finish(a.policies.release)
	follower := source.follower
	head, err := follower.Write(sites.Transaction{
		By: w.by, Certificates: []sites.CertificateChange{{Name: plan.name, Document: plan.document}}, Key: w.key, Hash: w.hash,
		Answer: func(head sites.Head) (json.RawMessage, error) { return json.Marshal(answer(head, plan)) },
	})
	if err != nil {
		return head, unavailable(err)
	}
	follower.known.Lock()
	follower.head = head
	follower.step++ // a configuration that is being loaded takes it over
	follower.movedCerts = follower.step
	follower.known.Unlock()
	if plan.cert == nil {
		follower.dropCertificate(plan.name)
	} else {
		follower.setCertificate(plan.name, head.Revision, plan.cert)
	}
	source.forgetFailed(plan.name)
	source.tell()
	follower.published()
	a.tryHeldBack(source, func(*heldBack) bool { return true }) // they may name it
	a.reloaded()
	a.logger.Info("a certificate has changed", zap.String("source", source.Name), zap.String("certificate", plan.name),
		zap.Uint64("revision", head.Revision), zap.Bool("deleted", plan.cert == nil))
	return head, nil
}

// forgetFailed forgets what was wrong with a certificate that has been written.
func (s *liveSource) forgetFailed(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.stale = maps.Clone(s.failed), maps.Clone(s.stale)
	delete(s.failed, name)
	delete(s.stale, name)
}

// certificateAnswer tells what was written.
func (q *writeRequest) certificateAnswer(head sites.Head, plan *certificatePlan) adminapi.Written {
	revision := head.Revision
	if plan.result.same || q.write.dryRun {
		revision = plan.result.revision
	}
	answer := adminapi.Written{
		Certificate: plan.name, Source: q.source.Name, Revision: revisionOf(head), Mark: head.Mark, ETag: etagOf(head, revision), Serves: true, DryRun: q.write.dryRun,
	}
	if plan.cert != nil {
		answer.Findings = q.app.now().findingsAboutKept(plan.name, plan.cert)
	}
	return answer
}

func (q *writeRequest) respondCertificate(w http.ResponseWriter, head sites.Head, plan *certificatePlan) error {
	answer := q.certificateAnswer(head, plan)
	if q.r.Method == http.MethodPost { // something was taken back
		return writeJSON(w, answer)
	}
	if plan.result.deleted {
		if q.write.dryRun {
			return writeJSON(w, answer)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if q.write.dryRun {
		return writeJSON(w, answer)
	}
	w.Header().Set("ETag", answer.ETag)
	if plan.result.created {
		w.Header().Set("Location", adminapi.Base+"certificates/"+url.PathEscape(plan.name))
		w.Header().Set("Content-Type", typeJSON)
		w.WriteHeader(http.StatusCreated)
	}
	return writeJSON(w, answer)
}

// findingsAboutKept are what clients will complain about in a certificate that a source is
// given: in itself, and at the bindings that use it.
func (sn *snapshot) findingsAboutKept(name string, cert *tls.Certificate) []adminapi.Finding {
	var findings []adminapi.Finding
	for _, problem := range health.Examine(cert, time.Now()) {
		findings = append(findings, showFinding(binding.Finding{
			Severity: severityOf(problem), Code: problem.Code, Message: fmt.Sprintf("certificate %q %s", name, problem.Message), Fix: problem.Fix,
		}))
	}
	for entry := range sn.tables.Bindings() {
		if entry.Record == nil || entry.Record.Certificate != name || len(findings) > maxErrors {
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
func (sn *snapshot) certificateView(q query) (any, error) {
	source := sn.app.certificateSource(q.name)
	if source == nil {
		if c, held, err := sn.heldCertificate(q.name); held {
			return c, err
		}
		return nil, apiError(http.StatusNotFound, "there is no certificate %q", q.name)
	}
	var records []*binding.Record
	for rec := range sn.tables.Records() {
		if rec.Certificate == q.name {
			records = append(records, rec)
		}
	}
	users := usersOf(records, sn.tables.RecordSites())
	if store, ok := source.(fileStore); ok {
		return sn.showStore(q.name, store, users), nil
	}
	c := sn.showCertificate(q.name, source, users)
	if keeper := sn.app.sourceOfCertificate(q.name); keeper != nil {
		if err := keeper.addRow(&c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// heldCertificate shows a certificate that a source keeps and that is not served.
func (sn *snapshot) heldCertificate(name string) (c adminapi.Certificate, held bool, err error) {
	for _, source := range sn.app.live {
		source.mu.Lock()
		reason, held := source.failed[name]
		source.mu.Unlock()
		if held {
			c = adminapi.Certificate{Name: name, Source: source.Name, KeptIn: source.Name, Current: []adminapi.Leaf{}, Error: reason}
			return c, true, source.addRow(&c)
		}
	}
	return c, false, nil
}

// addRow adds what the source keeps of a certificate, without its key.
func (s *liveSource) addRow(c *adminapi.Certificate) error {
	row, there, err := s.follower.certificateTable().Certificate(c.Name)
	if err != nil || !there {
		return err
	}
	head, err := s.follower.Head()
	if err != nil {
		return err
	}
	c.PEM, c.Revision, c.ETag = sites.Chain(row.Document), row.Revision, etagOf(head, row.Revision)
	return nil
}

// understandRevertedCertificate makes the change that takes one of a certificate back.
func (q *writeRequest) understandRevertedCertificate(source *liveSource, changes []sites.Logged) error {
	if len(changes) > 1 {
		return refuseWrite(http.StatusUnprocessableEntity, codeInvalid, nil, "the revision changes more than one certificate: take it back by putting them")
	}
	logged := changes[0]
	current := uint64(0)
	if row, there, err := source.follower.certificateTable().Certificate(logged.Certificate); err != nil {
		return err
	} else if there {
		current = row.Revision
	}
	q.certificate = &certificateWrite{name: logged.Certificate, document: slices.Clone(logged.Before), revision: &current}
	return nil
}
