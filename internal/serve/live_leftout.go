package serve

import (
	"fmt"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// isRow reports whether a site is of a source that others may write: what only others
// give, such as the certificate of an address and port, may go while it is served.
func (c *configured) isRow() bool { return c.source != "" && c.source != adminapi.SourceSitesFile }

// leftOutOf returns the https bindings of a site to which nothing gives a certificate.
func leftOutOf(entry *binding.SiteEntry) (left []binding.Binding) {
	for i := range entry.Bindings {
		if b := &entry.Bindings[i]; b.HeldBack() {
			left = append(left, b.Binding)
		}
	}
	return left
}

func noCertificate(entry *binding.SiteEntry, b binding.Binding) string {
	return fmt.Sprintf("%s: https binding %s has no certificate", config.SiteLabel(entry.ID, entry.Name), b)
}

// LeftOutFinding is the finding about a binding that is left out.
func LeftOutFinding(b *binding.BindingEntry) binding.Finding {
	return binding.Finding{
		Severity: binding.Error, Code: binding.CodeNoCertificate, Site: b.Site.ID, Binding: b.Binding.String(),
		Message: noCertificate(b.Site, b.Binding) + ", and nothing else gives one to its clients: it is not served, and the site's other bindings are",
		Fix:     "name a certificate in the site or its binding, or give the address and port one by an endpoint",
	}
}

// leftOutFindings tells of the bindings that are left out.
func (sn *Snapshot) leftOutFindings() (findings []binding.Finding) {
	left := sn.Tables.LeftOut()
	for i, b := range left {
		if i == MaxErrors {
			return append(findings, binding.Finding{Severity: binding.Info, Code: binding.CodeNoCertificate, Message: fmt.Sprintf("and %d more errors %q", len(left)-i, binding.CodeNoCertificate)})
		}
		findings = append(findings, LeftOutFinding(b))
	}
	return findings
}

// heldCount is how many rows of a source are not served, or not with all of their
// bindings.
func (sn *Snapshot) heldCount(s *LiveSource) int {
	s.mu.Lock()
	held := len(s.held)
	s.mu.Unlock()
	last := uint32(0)
	for _, b := range sn.Tables.LeftOut() { // by id
		if b.Site.ID != last && sn.Sites.At(b.Site.Index).Source == s.Name {
			held++
		}
		last = b.Site.ID
	}
	return held
}
