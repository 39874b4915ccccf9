package caddyiis

import (
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// sitesView shows all sites in the order of their ids.
func (sn *snapshot) sitesView(q query) (any, error) {
	list := sn.tables.Sites()
	start := func(after string) (int, error) {
		id, err := parseSiteID(after)
		return sort.Search(len(list), func(i int) bool { return list[i].ID > id }), err
	}
	findings := make(map[uint32][]binding.Finding)
	for _, f := range sn.findings {
		findings[f.Site] = append(findings[f.Site], f)
	}
	look := &redirects{sn: sn}
	show := func(s *binding.SiteEntry) adminapi.Site { return sn.showSite(s, findings[s.ID], look) }
	return page(q, list, start, show, func(s *binding.SiteEntry) string { return fmt.Sprint(s.ID) })
}

// siteView shows one site.
func (sn *snapshot) siteView(q query) (any, error) {
	id, err := parseSiteID(q.name)
	if err != nil {
		return nil, apiError(http.StatusBadRequest, "%v", err)
	}
	entry := sn.tables.SiteByID(id)
	if entry == nil {
		return nil, apiError(http.StatusNotFound, "there is no site %d", id)
	}
	var findings []binding.Finding
	for _, f := range sn.findings {
		if f.Site == id {
			findings = append(findings, f)
		}
	}
	return sn.showSite(entry, findings, &redirects{sn: sn}), nil
}

// showSite shows a site with the findings about its bindings, to which those
// about the certificates and the redirects of its bindings are added.
func (sn *snapshot) showSite(entry *binding.SiteEntry, findings []binding.Finding, look *redirects) adminapi.Site {
	s := adminapi.Site{ID: entry.ID, Name: entry.Name, State: adminapi.StateStarted}
	if !entry.State.Started {
		s.State, s.Reason = adminapi.StateStopped, entry.State.Reason
		if entry.State.Code != 0 {
			s.Code = fmt.Sprintf("0x%08X", entry.State.Code)
		}
	}
	cfg := sn.sites[entry.Index]
	s.Offline, s.Certificate = cfg.offline, cfg.certificate
	if cfg.outside {
		s.Source = adminapi.SourceSitesFile
	}
	for _, f := range findings {
		s.Findings = append(s.Findings, showFinding(f))
	}
	for i := range entry.Bindings {
		s.Bindings = append(s.Bindings, showBinding(&entry.Bindings[i]))
		if f, ok := sn.coverageFinding(&entry.Bindings[i]); ok {
			s.Findings = append(s.Findings, showFinding(f))
		}
		if f, ok := look.finding(&entry.Bindings[i]); ok {
			s.Findings = append(s.Findings, showFinding(f))
		}
	}
	return s
}

func showBinding(entry *binding.BindingEntry) adminapi.Binding {
	b := adminapi.Binding{
		Protocol: entry.Protocol.String(),
		Binding:  entry.Binding.String(),
		Flags:    uint16(entry.Flags &^ binding.FlagReject),
		Reject:   entry.Flags&binding.FlagReject != 0,
	}
	if entry.Record != nil {
		b.Record, b.Certificate = entry.Record.Key(), entry.Record.Certificate
	}
	return b
}

// checkView shows all findings, the worst first.
func (sn *snapshot) checkView(q query) (any, error) {
	type numbered struct {
		binding.Finding
		number int
	}
	var list []numbered
	for i, f := range sn.findingsAt(time.Now()) {
		list = append(list, numbered{f, i + 1})
	}
	start := func(after string) (int, error) {
		number, err := strconv.ParseUint(after, 10, 31)
		if err != nil {
			return 0, fmt.Errorf("%q is not the next of another page", after)
		}
		return min(int(number), len(list)), nil
	}
	return page(q, list, start,
		func(f numbered) adminapi.Finding { return showFinding(f.Finding) },
		func(f numbered) string { return strconv.Itoa(f.number) })
}

func showFinding(f binding.Finding) adminapi.Finding {
	return adminapi.Finding{
		Severity: f.Severity.String(), Code: f.Code,
		Site: f.Site, Binding: f.Binding, Message: f.Message, Fix: f.Fix,
	}
}
