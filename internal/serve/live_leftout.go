package serve

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/many"
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
		if i == many.Max {
			return append(findings, binding.Finding{Severity: binding.Info, Code: binding.CodeNoCertificate, Message: fmt.Sprintf("and %d more errors %q", len(left)-i, binding.CodeNoCertificate)})
		}
		findings = append(findings, LeftOutFinding(b))
	}
	return findings
}

// ServesRow reports whether a row of a source is served, with all of its bindings.
func (sn *Snapshot) ServesRow(s *live.Source, id uint32) bool {
	entry := sn.Tables.SiteByID(id)
	return entry != nil && sn.Sites.At(entry.Index).Source == s.Name && lost(entry) == nil
}

// ServesRows reports whether rows are served, as far as they are there.
func (a *Instance) ServesRows(s *live.Source, ids []uint32) bool {
	now := a.Now()
	return !slices.ContainsFunc(ids, func(id uint32) bool {
		_, there := s.Follower.RevisionOf(id)
		_, held := s.HeldRow(id) // what serves may be the document before
		return there && (held || !now.ServesRow(s, id))
	})
}

// AwaitRows waits until they are served, and reports whether they are. It ends with the
// configuration.
func (a *Instance) AwaitRows(ctx context.Context, s *live.Source, ids []uint32) bool {
	for {
		news := s.Follower.News()
		if a.ServesRows(s, ids) {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return a.ServesRows(s, ids)
		case <-a.Done():
			return false
		}
	}
}

// Losses are the findings about bindings of other sites that are left out by a change.
func (p *WritePlan) Losses() (findings []binding.Finding) {
	if p.before == p.Next {
		return nil
	}
	before := make(map[uint32][]binding.Binding)
	for _, b := range p.before.Tables.LeftOut() {
		before[b.Site.ID] = append(before[b.Site.ID], b.Binding)
	}
	for _, b := range p.Next.Tables.LeftOut() {
		if !slices.Contains(before[b.Site.ID], b.Binding) && len(findings) < many.Max {
			findings = append(findings, LeftOutFinding(b))
		}
	}
	return findings
}

// HeldCount is how many rows of a source are not served, or not with all of their
// bindings.
func (sn *Snapshot) HeldCount(s *live.Source) int {
	// A row that has changed and is held back is counted once, though the one before may serve.
	var partly []uint32
	for _, b := range sn.Tables.LeftOut() { // by id
		if sn.Sites.At(b.Site.Index).Source == s.Name {
			partly = append(partly, b.Site.ID)
		}
	}
	return s.CountHeld(partly)
}

// lost says what of a site is not served as it asks for: without a certificate, except
// for bindings that had none before, or since it is stopped because another one has a
// binding of it. Nothing is lost of a site that asks not to be served.
func lost(entry *binding.SiteEntry, before ...binding.Binding) error {
	if entry.State.Code != 0 {
		return stoppedError(entry)
	}
	if !entry.State.Started {
		return nil
	}
	for _, b := range leftOutOf(entry) {
		if !slices.Contains(before, b) {
			return errors.New(noCertificate(entry, b) + ": name one, or give its address and port one")
		}
	}
	return nil
}
