package inspect

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/certsel/health"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/many"
	"github.com/caddy-iis/caddy-iis/internal/serve"
	"github.com/caddy-iis/caddy-iis/internal/w3clog"
)

// The codes of findings about certificates in their place.
const (
	codeNameMismatch    = "certificate-name-mismatch"
	codeNotThereYet     = "certificate-not-there-yet"
	codeNotObtained     = "certificate-not-obtained"
	codeNotOrdered      = "certificate-not-ordered"
	codeLiteralPassword = "literal-password"
	codeLegacyTLS       = "legacy-tls"
	codeNotInStore      = "not-in-central-store"
	codeStoreBroken     = "central-store-file-broken"
)

// codeNoBindings is the finding about started sites without bindings.
const codeNoBindings = "no-bindings"

// remark is a finding whose texts are made when somebody reads it: there may be one about
// each of 100,000 sites, and a page shows some of them.
type remark struct {
	severity binding.Severity
	text     func() binding.Finding
}

// remarks collects remarks by their severity.
type remarks [binding.Info + 1][]remark

func (r *remarks) add(one remark) { r[one.severity] = append(r[one.severity], one) }

// findings adds findings whose texts are there.
func (r *remarks) findings(list []binding.Finding) {
	for _, f := range list {
		r.add(remark{f.Severity, func() binding.Finding { return f }})
	}
}

// findingsAt returns all that an administrator should know about the
// configuration and its certificates at this moment, the severe first.
func (sn view) findingsAt(at time.Time) []binding.Finding {
	list := sn.remarksAt(at)
	findings := make([]binding.Finding, len(list))
	for i, r := range list {
		findings[i] = r.text()
	}
	return findings
}

// remarksAt returns the same, for those who read a part of it.
func (sn view) remarksAt(at time.Time) []remark {
	all := new(remarks)
	all.findings(sn.App.StandingFindings(sn.Snapshot))
	all.findings(sn.certificateFindings(at))
	sn.addCoverage(all)
	sn.addRedirects(all)
	all.findings(sn.plainFindings())
	all.findings(sn.unboundFindings())
	all.findings(sn.contentFindings())
	all.findings(sn.storeFindings(at))
	all.findings(sn.legacyFindings())
	if sn.App.Serves() { // else this may be another machine than the one that it is for
		all.findings(sn.addressFindings())
	}
	return slices.Concat(all[:]...)
}

// unboundFindings warns of started sites without bindings. IIS has them, and nothing
// ever comes to them.
func (sn view) unboundFindings() []binding.Finding {
	var findings []binding.Finding
	more := 0
	for _, site := range sn.Tables.Sites() {
		switch {
		case !unbound(site):
		case len(findings) == many.Max:
			more++
		default:
			findings = append(findings, unboundFinding(site))
		}
	}
	if more > 0 {
		findings = append(findings, binding.Finding{Severity: binding.Info, Code: codeNoBindings, Message: fmt.Sprintf("and %d more warnings %q", more, codeNoBindings)})
	}
	return findings
}

// unbound reports whether a site is started, and nothing ever comes to it.
func unbound(site *binding.SiteEntry) bool { return len(site.Bindings) == 0 && site.State.Started }

func unboundFinding(site *binding.SiteEntry) binding.Finding {
	return binding.Finding{
		Severity: binding.Warning, Code: codeNoBindings, Site: site.ID,
		Message: config.SiteLabel(site.ID, site.Name) + " has no bindings: nobody can reach it",
		Fix:     "add one, such as server_bindings :80:www.example.com, or set autostart off",
	}
}

// certificateFindings examines each certificate in use once, whoever uses it.
func (sn view) certificateFindings(at time.Time) []binding.Finding {
	var findings []binding.Finding
	for name, source := range sn.App.AllCertificates() {
		if sn.App.IsStore(name) {
			continue // a matter of storeFindings
		}
		if literal, ok := source.(interface{ LiteralPassword() bool }); ok && literal.LiteralPassword() {
			findings = append(findings, binding.Finding{
				Severity: binding.Warning, Code: codeLiteralPassword,
				Message: fmt.Sprintf("the password of certificate %q stands in the configuration, where GET /config/ and the saved configuration show it", name),
				Fix:     "use {env.NAME} or {file./path} in its place",
			})
		}
		certs := source.Current()
		auto, forBindings := source.(*certsel.Auto)
		if renewer, ok := source.(certsel.Renewer); ok {
			findings = append(findings, renewalFindings(name, renewer)...)
		}
		if forBindings {
			findings = append(findings, autoFindings(name, auto)...)
		}
		if len(certs) == 0 && !forBindings {
			findings = append(findings, binding.Finding{
				Severity: binding.Warning, Code: codeNotThereYet,
				Message: fmt.Sprintf("certificate %q is not there yet: until it is, clients get the certificate of the address and port", name),
				Fix:     "see the log for why it could not be obtained",
			})
		}
		for _, cert := range certs {
			for _, problem := range health.Examine(cert, at) {
				findings = append(findings, binding.Finding{
					Severity: severityOf(problem), Code: problem.Code,
					Message: fmt.Sprintf("certificate %q %s", name, problem.Message), Fix: problem.Fix,
				})
			}
		}
	}
	return findings
}

func severityOf(p health.Problem) binding.Severity {
	if p.Serious {
		return binding.Warning
	}
	return binding.Info
}

// addCoverage compares the host of each https binding with the certificate that its
// clients get.
func (sn view) addCoverage(all *remarks) {
	for entry := range sn.Tables.Bindings() {
		if remark, ok := sn.coverageRemark(entry, sn.currentOf); ok {
			all.add(remark)
		}
	}
}

// coverageFinding is the finding about one binding, if there is any.
func (sn view) coverageFinding(entry *binding.BindingEntry) (binding.Finding, bool) {
	remark, ok := sn.coverageRemark(entry, sn.currentOf)
	if !ok {
		return binding.Finding{}, false
	}
	return remark.text(), true
}

// coverageRemark is the same; current are the certificates of a record.
func (sn view) coverageRemark(entry *binding.BindingEntry, current func(*binding.Record) []*tls.Certificate) (remark, bool) {
	if entry.Protocol != binding.HTTPS || entry.Host == "" {
		return remark{}, false
	}
	name, leaf := sn.uncovered(entry, current)
	if leaf == nil {
		return remark{}, false
	}
	return remark{binding.Warning, func() binding.Finding {
		return binding.Finding{
			Severity: binding.Warning, Code: codeNameMismatch, Site: entry.Site.ID, Binding: entry.Binding.String(),
			Message: fmt.Sprintf("browsers will show a name error for %s (%s, binding %s): certificate %q covers %s",
				entry.Host, config.SiteLabel(entry.Site.ID, entry.Site.Name), entry.Binding, name, health.Names(leaf)),
			Fix: "name a certificate that covers the host, or correct the host",
		}
	}}, true
}

// uncovered asks table D1 which certificate the clients of a binding get that
// send its host as server name, and returns it if it is not for that host.
func (sn view) uncovered(entry *binding.BindingEntry, current func(*binding.Record) []*tls.Certificate) (name string, leaf *x509.Certificate) {
	match := sn.Tables.Certificate(sn.addressOf(entry.Binding), entry.Host)
	if match.Record == nil || sn.App.StoreOf(match.Record) != "" {
		return "", nil // refused, or a matter of the store
	}
	if auto, ok := sn.Records.At(match.Record.Index).Source.(*certsel.Auto); ok && auto.Bound(entry.Host) {
		return "", nil
	}
	certs := current(match.Record)
	if len(certs) == 0 {
		return "", nil // said elsewhere
	}
	for _, cert := range certs {
		if health.Covers(cert.Leaf, entry.Host) {
			return "", nil
		}
	}
	return match.Record.Certificate, certs[0].Leaf
}

// currentOf are the certificates that clients of a record can get at this moment.
func (sn view) currentOf(rec *binding.Record) []*tls.Certificate {
	source := sn.Records.At(rec.Index).Source
	if source == nil {
		return nil
	}
	return source.Current()
}

// addressOf is an address at which a binding is found: its own or, if it is
// for all addresses, one that no other binding is for.
func (sn view) addressOf(b binding.Binding) netip.AddrPort {
	return sn.Tables.Arrival(b.IP, b.Port, b.Protocol)
}

func (sn view) legacyFindings() []binding.Finding {
	var findings []binding.Finding
	for _, rec := range sn.Records.All() {
		if rec != nil && rec.Policy.Legacy() {
			findings = append(findings, legacyFinding(rec))
		}
	}
	return findings
}

func legacyFinding(rec *serve.Record) binding.Finding {
	return binding.Finding{
		Severity: binding.Warning, Code: codeLegacyTLS,
		Message: fmt.Sprintf("TLS 1.0 and 1.1, which are broken, are on for %s (certificate %q)", rec.Key(), rec.Certificate),
		Fix:     "remove legacy_tls when the last device that needs it is gone",
	}
}

// maxLoggedFindings bounds what a load writes to the log; the rest is to be
// had from the admin API.
const maxLoggedFindings = 20

// findingsDelay is how long after the last change of a certificate the
// findings are looked at again: many files may change at the same time. So long
// a large configuration serves before they are looked at for the first time.
const findingsDelay = 2 * time.Second

// findingsLog writes findings to the log, and remembers which it has written.
type findingsLog struct {
	app    *serve.Instance
	logger *zap.Logger

	mu     sync.Mutex
	timer  *time.Timer
	logged map[string]uint32 // the sites of messages, 0 for none
	ended  bool
}

// Reloaded has the findings looked at again a little later.
func (l *findingsLog) Reloaded() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
	case l.timer == nil:
		l.timer = time.AfterFunc(findingsDelay, l.look)
	default:
		l.timer.Reset(findingsDelay)
	}
}

// End ends the log with the configuration.
func (l *findingsLog) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// Examine has the findings looked at for the first time: at once, or a little
// later if there is so much to look at that the first clients would wait for it.
func (l *findingsLog) Examine(parts int) {
	if parts > manyToExamine {
		l.Reloaded()
		return
	}
	go l.look()
}

// manyToExamine is how many sites and certificates take some milliseconds.
const manyToExamine = 1000

// look writes to the log what an administrator should know and has not
// been told yet, when the configuration begins to serve and when certificates
// were reloaded.
func (l *findingsLog) look() {
	if !l.app.Serves() {
		return
	}
	findings := newView(l.app, l.app.Now()).findingsAt(time.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	before := l.logged
	l.logged = make(map[string]uint32, len(findings)) // what is mended and comes again is news
	known := make(map[string]bool, len(before))
	for message := range before {
		known[message] = true
	}
	l.write(findings, known)
}

// write writes findings to the log that are not known, and remembers all.
func (l *findingsLog) write(findings []binding.Finding, known map[string]bool) {
	written := 0
	for _, f := range findings {
		_, old := l.logged[f.Message]
		if l.logged == nil {
			l.logged = make(map[string]uint32)
		}
		l.logged[f.Message] = f.Site
		// A sites file that is refused is an error in the log already, and so is a
		// W3C log that is not written.
		if old || known[f.Message] || f.Severity == binding.Info || f.Code == serve.CodeSitesFile || f.Code == w3clog.CodeWriting {
			continue
		}
		if written++; written <= maxLoggedFindings {
			logFinding(l.logger, f)
		}
	}
	if written > maxLoggedFindings {
		l.logger.Warn("there are more findings: see GET /iis/check", zap.Int("more", written-maxLoggedFindings))
	}
}

// Changed writes to the log what an administrator should know about sites that
// have changed. Looking at all sites would take longer than the change itself.
func (l *findingsLog) Changed(served *serve.Snapshot, sites, removed []uint32) {
	now := newView(l.app, served)
	for range l.app.Stores() {
		l.Reloaded() // a store may take its time
		return
	}
	var findings []binding.Finding
	look := redirects{sn: now}
	for entry := range now.BindingsOf(sites) {
		if rec := now.Tables.ClientRecord(entry); rec != nil && now.Records.At(rec.Index).Policy.Legacy() {
			findings = append(findings, legacyFinding(now.Records.At(rec.Index)))
		}
		if f, ok := now.coverageFinding(entry); ok {
			findings = append(findings, f)
		}
		if f, ok := look.finding(entry); ok {
			findings = append(findings, f)
		}
	}
	changed := make(map[uint32]bool, len(sites)+len(removed))
	for _, id := range slices.Concat(sites, removed) {
		changed[id] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	// What was wrong with these sites before is forgotten, unless it still is.
	before := make(map[string]bool)
	for message, site := range l.logged {
		if changed[site] {
			before[message] = true
			delete(l.logged, message)
		}
	}
	l.write(findings, before)
}

// logFinding writes what an administrator should know about a configuration.
func logFinding(logger *zap.Logger, f binding.Finding) {
	fields := make([]zap.Field, 0, 4)
	fields = append(fields, zap.String("code", f.Code))
	if f.Site != 0 {
		fields = append(fields, zap.Uint32("site", f.Site))
	}
	if f.Binding != "" {
		fields = append(fields, zap.String("binding", f.Binding))
	}
	if f.Fix != "" {
		fields = append(fields, zap.String("fix", f.Fix))
	}
	logger.Warn(f.Message, fields...)
}

// renewalFindings tells what Caddy could not obtain or renew, and why.
func renewalFindings(name string, renewer certsel.Renewer) []binding.Finding {
	var findings []binding.Finding
	failures := renewer.Failures()
	for _, host := range serve.SortedKeys(failures) {
		findings = append(findings, binding.Finding{
			Severity: binding.Warning, Code: codeNotObtained,
			Message: fmt.Sprintf("certificate %q could not be obtained or renewed for %s: %v", name, host, failures[host].Err),
			Fix:     "see that the host leads to this server and that the issuer may issue for it; it is tried again after a pause",
		})
	}
	return findings
}

// autoFindings tells for which hosts nothing is ordered ahead.
func autoFindings(name string, auto *certsel.Auto) []binding.Finding {
	var findings []binding.Finding
	elsewhere := auto.Elsewhere()
	for i, host := range serve.SortedKeys(elsewhere) {
		if i == many.Max {
			findings = append(findings, binding.Finding{
				Severity: binding.Info, Code: codeNotOrdered,
				Message: fmt.Sprintf("and %d more warnings %q", len(elsewhere)-i, codeNotOrdered),
			})
			break
		}
		findings = append(findings, binding.Finding{
			Severity: binding.Warning, Code: codeNotOrdered,
			Message: fmt.Sprintf("certificate %q is not ordered ahead for %s: %s", name, host, elsewhere[host]),
			Fix:     "correct DNS; if clients reach this machine at that address, name it in check_dns; a client that comes all the same gets its certificate",
		})
	}
	return findings
}

// NewLog returns what writes the findings about an instance to the log.
func NewLog(app *serve.Instance, logger *zap.Logger) serve.Observer {
	return &findingsLog{app: app, logger: logger}
}
