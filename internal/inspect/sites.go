package inspect

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/near"
	"github.com/caddy-iis/caddy-iis/internal/serve"
	"github.com/caddy-iis/caddy-iis/sites"
)

// view is what the API and the findings tell of a snapshot.
type view struct {
	App *serve.Instance
	*serve.Snapshot
}

// newView is the view of a snapshot of an app.
func newView(app *serve.Instance, now *serve.Snapshot) view { return view{app, now} }

// sitesView shows all sites in the order of their ids.
func (sn view) sitesView(q query) (any, error) {
	served := sn.served(q)
	sn = newView(sn.App.Newest()) // what was served at that moment, or more
	if q.values["refused"] != nil {
		return sn.refusedView(q, served)
	}
	list, err := sn.filtered(q)
	if err != nil {
		return nil, err
	}
	findings := make(map[uint32][]binding.Finding)
	for _, f := range sn.Findings {
		findings[f.Site] = append(findings[f.Site], f)
	}
	look := newLook(sn)
	p, err := sn.pageOf(q, list, func(r *siteRow) adminapi.Site { return sn.showRow(r, findings[r.id], look) })
	return at(p, served), err
}

// served is the revision that is served of the source that a query asks for, or of the only
// one; empty if there is none.
func (sn view) served(q query) sites.Head {
	for _, source := range sn.App.Live {
		if name, named := q.values["source"]; named && name[0] == source.Name || !named && len(sn.App.Live) == 1 {
			return source.Follower.Served()
		}
	}
	return sites.Head{}
}

// at adds the revision of a source to a page of its sites.
func at(p adminapi.Page[adminapi.Site], served sites.Head) adminapi.Page[adminapi.Site] {
	if served.Source != "" {
		p.Revision, p.Mark = live.RevisionOf(served), served.Mark
	}
	return p
}

// siteView shows one site.
func (sn view) siteView(q query) (any, error) {
	id, err := config.ParseSiteID(q.name)
	if err != nil {
		return nil, apiError(http.StatusBadRequest, "%v", err)
	}
	row, ok := sn.row(id)
	if !ok {
		return nil, apiError(http.StatusNotFound, "there is no site %d", id)
	}
	s := sn.showOne(&row)
	return s, sn.addDocument(&s)
}

func (sn view) showOne(r *siteRow) adminapi.Site {
	s := sn.showRow(r, sn.findingsAbout(r.id), newLook(sn))
	if r.entry != nil {
		s.Serves = sn.Sites.At(r.entry.Index).Serves()
	}
	return s
}

func showAll(findings []binding.Finding) (shown []adminapi.Finding) {
	for _, f := range findings {
		shown = append(shown, showFinding(f))
	}
	return shown
}

// findingsAbout are those about the tables that are about a site.
func (sn view) findingsAbout(id uint32) []binding.Finding {
	var findings []binding.Finding
	for _, f := range sn.Findings {
		if f.Site == id {
			findings = append(findings, f)
		}
	}
	return findings
}

// findingsOf shows the findings about a site.
func (sn view) findingsOf(entry *binding.SiteEntry) []adminapi.Finding {
	return sn.showFindings(entry, sn.findingsAbout(entry.ID), &redirects{sn: sn})
}

// showFindings shows those about the tables, and adds those about the certificates and
// the redirects of the site's bindings.
func (sn view) showFindings(entry *binding.SiteEntry, findings []binding.Finding, look *redirects) []adminapi.Finding {
	var shown []adminapi.Finding
	for _, f := range findings {
		shown = append(shown, showFinding(f))
	}
	if unbound(entry) {
		shown = append(shown, showFinding(unboundFinding(entry)))
	}
	for i := range entry.Bindings {
		if b := &entry.Bindings[i]; entry.State.Started && b.HeldBack() {
			shown = append(shown, showFinding(serve.LeftOutFinding(b)))
		}
		if f, ok := sn.coverageFinding(&entry.Bindings[i]); ok {
			shown = append(shown, showFinding(f))
		}
		if f, ok := look.finding(&entry.Bindings[i]); ok {
			shown = append(shown, showFinding(f))
		}
	}
	return shown
}

// siteFilters are the parameters that narrow the list of sites down.
var siteFilters = []string{"host", "state", "certificate", "template", "source", "findings", "q"}

// filtered lists the sites that a query asks for, by id.
func (sn view) filtered(q query) ([]siteRow, error) {
	list := sn.rows()
	if q.values["source"] == nil && !slices.ContainsFunc(siteFilters, func(name string) bool { return q.get(name) != "" }) {
		return list, nil
	}
	wanted, err := sn.filter(q)
	if err != nil {
		return nil, err
	}
	var found []siteRow
	for i := range list {
		if list[i].know(); !list[i].gone() && wanted(&list[i]) {
			found = append(found, list[i])
		}
	}
	return found, nil
}

// filter tells whether a query asks for a site.
func (sn view) filter(q query) (func(*siteRow) bool, error) {
	state, host, text := q.get("state"), typedHost(q.get("host")), strings.ToLower(q.get("q"))
	if state != "" && !slices.Contains(rowStates, state) {
		return nil, apiError(http.StatusBadRequest, "state: unknown word %q: %s%s", state, near.Expected(rowStates), near.Hint(state, rowStates))
	}
	if err := sn.knowsSource(q); err != nil {
		return nil, err
	}
	inHosts := strings.ToLower(typedName(text))
	remarkable, err := sn.remarkable(q)
	if err != nil {
		return nil, err
	}
	return func(r *siteRow) bool {
		switch {
		case state != "" && !r.is(state):
		case q.values["source"] != nil && q.get("source") != sn.sourceOf(r):
		case host != "" && !sn.hasHost(r, func(h string) bool { return h == host }):
		case q.get("template") != "" && !sn.hasTemplate(r, q.get("template")):
		case q.get("certificate") != "" && !sn.hasCertificate(r, func(name string) bool { return name == q.get("certificate") }):
		case text != "" && !sn.hasName(r, text) && strconv.FormatUint(uint64(r.id), 10) != text &&
			!sn.hasHost(r, func(h string) bool { return strings.Contains(h, inHosts) }) && !sn.hasCertificate(r, func(name string) bool { return containsFold(name, text) }):
		default:
			return remarkable(r)
		}
		return false
	}, nil
}

// typedHost is the host that bindings have for what a person typed: a name, with a
// wildcard perhaps, or an address.
func typedHost(text string) string {
	typed := typedName(text)
	if name, ok := binding.Host(typed); ok {
		return name.String()
	}
	if host, err := binding.ParseHost(text); err == nil {
		return host
	}
	return strings.ToLower(typed)
}

// knowsSource refuses the name of a source that there is not, which no site can be of.
func (sn view) knowsSource(q query) error {
	name := q.get("source")
	if name == "" {
		return nil // all sources, or the configuration
	}
	var names []string
	if sn.App.HasSitesFile() {
		names = append(names, adminapi.SourceSitesFile)
	}
	for _, source := range sn.App.Live {
		names = append(names, source.Name)
	}
	switch {
	case slices.Contains(names, name):
		return nil
	case len(names) == 0:
		return apiError(http.StatusBadRequest, "there is no source %q: all sites are in the configuration", name)
	}
	return apiError(http.StatusBadRequest, "there is no source %q: %s%s", name, near.Expected(names), near.Hint(name, names))
}

// remarkable tells about which sites there are findings of the severity that a query
// names, or worse ones.
func (sn view) remarkable(q query) (func(*siteRow) bool, error) {
	severities := []string{adminapi.SeverityError, adminapi.SeverityWarning, adminapi.SeverityInfo}
	least := slices.Index(severities, q.get("findings"))
	switch {
	case q.get("findings") == "":
		return func(*siteRow) bool { return true }, nil
	case least < 0:
		return nil, apiError(http.StatusBadRequest, "findings: %q is none of error, warning and info", q.get("findings"))
	}
	about := make(map[uint32][]binding.Finding)
	for _, f := range sn.Findings {
		about[f.Site] = append(about[f.Site], f)
	}
	look := &redirects{sn: sn}
	return func(r *siteRow) bool {
		findings := showAll(r.findings())
		if r.entry != nil {
			findings = append(findings, sn.showFindings(r.entry, about[r.id], look)...)
		}
		return slices.ContainsFunc(findings, func(f adminapi.Finding) bool {
			return slices.Index(severities, f.Severity) <= least
		})
	}, nil
}

// hasHost reports whether a site has a binding for such a host, served or not.
func (sn view) hasHost(r *siteRow, wanted func(string) bool) bool {
	if r.entry != nil && slices.ContainsFunc(r.entry.Bindings, func(b binding.BindingEntry) bool { return wanted(b.Host) }) {
		return true
	}
	return sn.wantsBinding(r, func(b *binding.SiteBinding) bool { return wanted(b.Host) })
}

// wantsBinding reports whether there is such a binding among those that are not served.
func (sn view) wantsBinding(r *siteRow, wanted func(*binding.SiteBinding) bool) bool {
	return slices.ContainsFunc(sn.wanted(r), func(site binding.Site) bool {
		return slices.ContainsFunc(site.Bindings, func(b binding.SiteBinding) bool { return wanted(&b) })
	})
}

// hasCertificate reports whether clients of a site get a certificate with such a name, or
// would if it were served.
func (sn view) hasCertificate(r *siteRow, wanted func(string) bool) bool {
	if r.entry != nil && slices.ContainsFunc(r.entry.Bindings, func(b binding.BindingEntry) bool {
		rec := sn.Tables.ClientRecord(&b)
		return rec != nil && rec.Certificate != "" && wanted(rec.Certificate)
	}) {
		return true
	}
	return sn.wantsBinding(r, func(b *binding.SiteBinding) bool { return b.Certificate != "" && wanted(b.Certificate) })
}

// hasName reports whether a text in lower case is in the name of a site, served or not.
func (sn view) hasName(r *siteRow, text string) bool {
	return r.entry != nil && containsFold(r.entry.Name, text) ||
		slices.ContainsFunc(sn.wanted(r), func(site binding.Site) bool { return containsFold(site.Name, text) })
}

// hasTemplate reports whether a template serves a site, or would if it were served as it is
// written.
func (sn view) hasTemplate(r *siteRow, name string) bool {
	if r.entry != nil && sn.Sites.At(r.entry.Index).Template() == name {
		return true
	}
	return slices.ContainsFunc(r.documents(), func(document json.RawMessage) bool { return serve.WantedTemplate(document) == name })
}

// containsFold looks for a text in lower case. Names are ASCII mostly, and lists long.
func containsFold(s, lower string) bool {
	return strings.Contains(strings.ToLower(s), lower)
}

// showSite shows a site with the findings about its bindings, to which those
// about the certificates and the redirects of its bindings are added.
func (sn view) showSite(entry *binding.SiteEntry, findings []binding.Finding, look *look) adminapi.Site {
	s := adminapi.Site{ID: entry.ID, Name: entry.Name, State: adminapi.StateStarted}
	if !entry.State.Started {
		s.State, s.Reason = adminapi.StateStopped, entry.State.Reason
		if entry.State.Code != 0 {
			s.Code = fmt.Sprintf("0x%08X", entry.State.Code)
		}
	}
	cfg := sn.Sites.At(entry.Index)
	s.Offline, s.Certificate = cfg.Offline, cfg.Certificate
	s.Source = cfg.Source
	s.Findings = sn.showFindings(entry, findings, &look.redirects)
	for i := range entry.Bindings {
		s.Bindings = append(s.Bindings, sn.showBinding(&entry.Bindings[i], look))
	}
	return s
}

func (sn view) showBinding(entry *binding.BindingEntry, look *look) adminapi.Binding {
	b := adminapi.Binding{
		Protocol: entry.Protocol.String(),
		Binding:  entry.Binding.String(),
		Flags:    uint16(entry.Flags &^ binding.FlagReject),
		Reject:   entry.Flags&binding.FlagReject != 0,
	}
	if rec := sn.Tables.ClientRecord(entry); rec != nil {
		b.Record, b.Certificate = rec.Key(), rec.Certificate
		b.Reject = rec.Flags&binding.FlagReject != 0
		live := sn.Records.At(rec.Index)
		b.ClientCertificate = live.Policy.ClientCertificate()
		sn.showStanding(&b, entry.Host, live, look)
	}
	return b
}

// checkView shows all findings, the worst first.
func (sn view) checkView(q query) (any, error) {
	list := sn.remarksAt(time.Now())
	start := func(after string) (int, error) {
		number, err := strconv.ParseUint(after, 10, 31)
		if err != nil {
			return 0, fmt.Errorf("%q is not the next of another page", after)
		}
		return min(int(number), len(list)), nil
	}
	return page(q, list, start,
		func(r remark) adminapi.Finding { return showFinding(r.text()) },
		func(i int) string { return strconv.Itoa(i + 1) })
}

func showFinding(f binding.Finding) adminapi.Finding {
	return adminapi.Finding{
		Severity: f.Severity.String(), Code: f.Code,
		Site: f.Site, Binding: f.Binding, Message: f.Message, Fix: f.Fix,
	}
}
