package live

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/many"
	"github.com/caddy-iis/caddy-iis/sites"
)

// codeHeldBack is the finding about a row that is not served.
const codeHeldBack = "site-held-back"

// Finding is the finding about it, a row of a source.
func (h *HeldBack) Finding(s *Source, id uint32) binding.Finding {
	f := binding.Finding{
		Severity: binding.Error, Code: codeHeldBack, Site: id,
		Message: fmt.Sprintf("%s of %s is not served: %s", config.SiteLabel(id, h.Name), s.Name, h.Reason),
		Fix:     "change the site, or what it names",
	}
	switch {
	case h.NotReady:
		f.Fix = "it is tried again by itself; if it is never ready, change its routes"
	case h.Full:
		f.Fix = "take the routes of another site away, or raise max_sites: it is served by itself as soon as there is room"
	case h.Socket:
		f.Fix = "make the socket free: it is tried again by itself"
	}
	if h.Partly {
		var waiting []string
		for _, b := range h.Input.Bindings {
			waiting = append(waiting, fmt.Sprintf("%s binding %s", b.Protocol, b.Binding))
		}
		f.Message = fmt.Sprintf("%s of %s is served without %s: %s", config.SiteLabel(id, h.Name), s.Name, strings.Join(waiting, ", "), h.Reason)
	}
	return f
}

// HeldFinding is the finding about a row that is held back, if it is.
func (s *Source) HeldFinding(id uint32) (binding.Finding, bool) {
	held, ok := s.HeldRow(id)
	return held.Finding(s, id), ok
}

// LogHeldBack writes to the log which rows are not served.
func (s *Source) LogHeldBack() {
	told, more := 0, 0
	s.EachHeld(func(id uint32, held *HeldBack) {
		if told == many.Max {
			more++
			return
		}
		told++
		s.logger.Error("a site is not served", zap.String("source", s.Name), zap.Uint32("site", id), zap.String("reason", held.Reason))
	})
	if more > 0 {
		s.logger.Error("more sites are not served", zap.String("source", s.Name), zap.Int("sites", more))
	}
}

// Findings tells of the table, and of the rows that are not served.
func (s *Source) Findings() []binding.Finding {
	findings := s.sharedFindings()
	if s.Follower != nil {
		if err := s.Follower.Damage(); err != nil {
			findings = append(findings, binding.Finding{
				Severity: binding.Error, Code: codeSourceDamaged,
				Message: fmt.Sprintf("the file of %s: %v; its sites are served as they were, and changes and loads are refused", s.Name, err),
				Fix:     "stop Caddy, put the file aside, and bring its sites back from an export or a copy",
			})
		}
	}
	s.EachHeld(func(id uint32, held *HeldBack) { findings = append(findings, held.Finding(s, id)) })
	return findings
}

// The codes of findings about certificates.
const (
	codeCertificateHeldBack = "certificate-held-back"
	codeCertificateStale    = "certificate-key-outdated"
)

// CertificateFindings tells of certificates that are not served, and of those whose private
// keys are not kept as the source says.
func (s *Source) CertificateFindings() (findings []binding.Finding) {
	s.mu.Lock()
	failed, stale := s.failed, s.stale
	s.mu.Unlock()
	if len(stale) > 0 {
		findings = append(findings, binding.Finding{
			Severity: binding.Warning, Code: codeCertificateStale,
			Message: fmt.Sprintf("the private keys of %d certificates of %s are plain, or encrypted with an older key than the first of certificate_key: %s", len(stale), s.Name, many.Names(slices.Sorted(maps.Keys(stale)))),
			Fix:     "put these certificates again, which encrypts them anew, before the older key is removed",
		})
	}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		findings = append(findings, binding.Finding{
			Severity: binding.Error, Code: codeCertificateHeldBack,
			Message: fmt.Sprintf("certificate %q of %s is not served: %s", name, s.Name, failed[name]),
			Fix:     "give the source the key that encrypts it, or put the certificate again",
		})
	}
	return findings
}

// The codes of findings about shared tables.
const (
	codeSnapshot      = "sites-snapshot"
	codeSourceAway    = "sites-source-away"
	codeSourceChanged = "sites-source-changed"
	codeRowRefused    = "site-refused"
	codeSourceDamaged = "sites-source-damaged"
)

// Damage is what was met that is wrong with the table, nil if nothing was.
func (f *Follower) Damage() error {
	if checked, ok := f.Table.(sites.Checked); ok {
		return checked.Damage()
	}
	return nil
}

// awayAfter is how long a table may be away before that is a finding.
const awayAfter = 10 * time.Second

// sharedFindings tells of a table that is not as it should be, and of its rows that are
// refused.
func (s *Source) sharedFindings() (findings []binding.Finding) {
	f := s.Follower
	if f == nil || f.Shared == nil {
		return nil
	}
	status := f.Shared.Status()
	if since := f.LastContact(&status); !status.Up && time.Since(since) > awayAfter {
		findings = append(findings, binding.Finding{
			Severity: binding.Error, Code: codeSourceAway,
			Message: fmt.Sprintf("%s is away since %s, and its sites are served as they were: %s", s.Name, since.UTC().Format(time.RFC3339), status.Error),
			Fix:     "it is tried again by itself; changes are refused meanwhile",
		})
	}
	if status.SnapshotError != "" {
		findings = append(findings, binding.Finding{
			Severity: binding.Warning, Code: codeSnapshot,
			Message: fmt.Sprintf("%s: %s", s.Name, status.SnapshotError),
			Fix:     "make room for it and see who may write there: it is what this server starts from while the database is away; it is written anew after the next change",
		})
	}
	f.known.Lock()
	lost := f.strange
	f.known.Unlock()
	if lost > 0 {
		findings = append(findings, binding.Finding{
			Severity: binding.Error, Code: codeSourceChanged, Message: s.Name + ": " + strangeText(lost),
			Fix: "caddy iis sites accept takes the database as it is",
		})
	}
	for _, row := range f.OpenRows() {
		if row.Refusal == nil {
			continue
		}
		if findings = append(findings, s.RefusedFinding(&row)); len(findings) == many.Max {
			break
		}
	}
	return findings
}

// RefusedFinding is the finding about a row whose document is refused.
func (s *Source) RefusedFinding(row *sites.Row) binding.Finding {
	finding := binding.Finding{
		Severity: binding.Warning, Code: codeRowRefused, Site: row.ID,
		Message: fmt.Sprintf("site %d of %s is refused as it was written, and served as it was before: %s", row.ID, s.Name, row.Refusal.Message),
		Fix:     "change it, or what it contradicts",
	}
	switch reason := s.Follower.reasonOf(row.ID); {
	case reason.late:
		finding.Fix = "it is tried again by itself; if it is never ready, change its routes"
	case reason.full:
		finding.Fix = "take the routes of another site away, or raise max_sites: it is accepted by itself as soon as there is room"
	}
	if row.Good == nil {
		finding.Severity = binding.Error
		finding.Message = fmt.Sprintf("site %d of %s is refused, and not served: %s", row.ID, s.Name, row.Refusal.Message)
	}
	return finding
}
