package inspect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/internal/serve"
	"github.com/caddy-iis/caddy-iis/sites"
)

// siteRow is a site as all answers see it: what is served of it, and why that is not what
// its source has.
type siteRow struct {
	id     uint32
	entry  *binding.SiteEntry // what is served; nil: nothing is
	source *live.Source       // whose row is not served as it is written; nil: it is

	// What know has found.
	held *live.HeldBack // why this server does not serve it
	open *sites.Row     // it is not accepted
}

// rows lists all sites by id. Of several with one id the one that is served comes first,
// and then the others in the order of their sources. Why rows are not served is not known
// yet: there may be very many of them, and lists show a page.
func (sn view) rows() []siteRow {
	entries, unserved := sn.Tables.Sites(), sn.unservedIDs()
	rows := make([]siteRow, 0, len(entries)+len(unserved))
	for _, entry := range entries {
		for len(unserved) > 0 && unserved[0].id < entry.ID {
			rows, unserved = append(rows, unserved[0]), unserved[1:]
		}
		row := siteRow{id: entry.ID, entry: entry}
		if len(unserved) > 0 && unserved[0].entry == entry {
			row, unserved = unserved[0], unserved[1:]
		}
		rows = append(rows, row)
	}
	return append(rows, unserved...)
}

// unservedIDs lists the rows that are not served, or not as they are written, in the order
// of rows.
func (sn view) unservedIDs() (rows []siteRow) {
	for _, source := range sn.App.Live {
		ids := slices.Concat(source.AllHeldIDs(), source.Follower.OpenIDs())
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			rows = append(rows, sn.rowOf(source, id))
		}
	}
	slices.SortStableFunc(rows, func(x, y siteRow) int {
		if order := cmp.Compare(x.id, y.id); order != 0 || (x.entry == nil) == (y.entry == nil) {
			return order
		} else if x.entry != nil {
			return -1
		}
		return 1
	})
	return rows
}

// unserved goes through them, and knows why they are not served.
func (sn view) unserved() iter.Seq[*siteRow] {
	return func(yield func(*siteRow) bool) {
		for _, row := range sn.unservedIDs() {
			if row.know(); row.source != nil && !yield(&row) {
				return
			}
		}
	}
}

// rowOf is a row of a source, with what is served of it.
func (sn view) rowOf(source *live.Source, id uint32) siteRow {
	row := siteRow{id: id, source: source}
	if entry := sn.Tables.SiteByID(id); entry != nil && sn.Sites.At(entry.Index).Source == source.Name {
		row.entry = entry
	}
	return row
}

// know looks up why a row is not served as it is written. One that is by now has no source
// anymore, and one that is gone nothing at all.
func (r *siteRow) know() {
	if r.source == nil {
		return
	}
	r.held, r.open = nil, nil
	if held, ok := r.source.HeldRow(r.id); ok {
		r.held = &held
	}
	if open, ok := r.source.Follower.OpenRow(r.id); ok {
		r.open = &open
	}
	if r.held == nil && r.open == nil {
		r.source = nil
	}
}

// gone reports whether there is nothing of a row anymore.
func (r *siteRow) gone() bool { return r.entry == nil && r.source == nil }

// row returns the first of rows with an id.
func (sn view) row(id uint32) (siteRow, bool) {
	entry := sn.Tables.SiteByID(id)
	for _, source := range sn.App.Live {
		if entry != nil && sn.Sites.At(entry.Index).Source != source.Name {
			continue
		}
		row := sn.rowOf(source, id)
		if row.know(); row.source != nil {
			return row, true
		}
	}
	return siteRow{id: id, entry: entry}, entry != nil
}

// rowStates are the states by which lists are narrowed down.
var rowStates = []string{adminapi.StateStarted, adminapi.StateStopped, adminapi.StateHeldBack, adminapi.StateOpen, adminapi.StateRefused}

// is reports whether a row is in a state. What is served as it was before, or without a
// binding, is in two.
func (r *siteRow) is(state string) bool {
	switch state {
	case adminapi.StateStarted, adminapi.StateStopped:
		return r.entry != nil && r.entry.State.Started == (state == adminapi.StateStarted)
	case adminapi.StateHeldBack:
		return r.held != nil || r.entry != nil && leavesOut(r.entry)
	case adminapi.StateOpen:
		return r.open != nil && r.open.Refusal == nil
	case adminapi.StateRefused:
		return r.open != nil && r.open.Refusal != nil
	}
	return false
}

func leavesOut(entry *binding.SiteEntry) bool {
	return entry.State.Started && slices.ContainsFunc(entry.Bindings, func(b binding.BindingEntry) bool { return b.HeldBack() })
}

// sourceOf is the name of the source of a row, empty for the configuration.
func (sn view) sourceOf(r *siteRow) string {
	if r.entry != nil {
		return sn.Sites.At(r.entry.Index).Source
	}
	return r.source.Name
}

// wanted is what is written and not served.
func (sn view) wanted(r *siteRow) (inputs []binding.Site) {
	if r.held != nil {
		inputs = append(inputs, r.held.Input)
	}
	if r.open != nil {
		inputs = append(inputs, sn.App.Wanted(r.source, r.id, r.open.Document))
	}
	return inputs
}

// documents are those that are not served.
func (r *siteRow) documents() (list []json.RawMessage) {
	if r.held != nil {
		list = r.source.ServedDocuments([]uint32{r.id})
	}
	if r.open != nil {
		list = append(list, r.open.Document)
	}
	return list
}

// whyNot says why a row is not served as it is written.
func (r *siteRow) whyNot() string {
	switch {
	case r.held != nil:
		return r.held.Reason
	case r.open.Refusal != nil:
		return r.open.Refusal.Message
	}
	return "nobody has judged it yet"
}

// asWritten tells how much of a row is not served.
func (r *siteRow) asWritten() string {
	if r.entry == nil {
		return "at all"
	}
	return "as it is written"
}

// showRow shows a site with the findings about the tables that are about it.
func (sn view) showRow(r *siteRow, findings []binding.Finding, look *look) adminapi.Site {
	var s adminapi.Site
	if r.entry != nil {
		s = sn.showSite(r.entry, findings, look)
		s.HeldBack, s.Waiting = r.is(adminapi.StateHeldBack), sn.showWaiting(r)
	} else {
		s = adminapi.Site{ID: r.id, Name: sn.nameOf(r), Source: r.source.Name, State: adminapi.StateOpen, Reason: r.whyNot(), Bindings: sn.showWaiting(r)}
		switch {
		case r.held != nil:
			s.State = adminapi.StateHeldBack
		case r.open.Refusal != nil:
			s.State = adminapi.StateRefused
		}
	}
	s.Findings = append(s.Findings, showAll(r.findings())...)
	if r.open != nil {
		s.Open = true
		if r.open.Refusal != nil {
			s.Refusal = showRefusal(r.open.Refusal)
		}
	}
	return s
}

// findings are those about a row that is not served as it is written.
func (r *siteRow) findings() (findings []binding.Finding) {
	if r.held != nil {
		findings = append(findings, r.held.Finding(r.source, r.id))
	}
	if r.is(adminapi.StateRefused) {
		findings = append(findings, r.source.RefusedFinding(r.open))
	}
	return findings
}

// waiting lists the bindings that are written and not served.
func (sn view) waiting(r *siteRow) (list []binding.SiteBinding) {
	for _, input := range sn.wanted(r) {
		for _, b := range input.Bindings {
			served := r.entry != nil && slices.ContainsFunc(r.entry.Bindings, func(e binding.BindingEntry) bool { return e.Binding == b.Binding })
			if !served && !slices.ContainsFunc(list, func(other binding.SiteBinding) bool { return other.Binding == b.Binding }) {
				list = append(list, b)
			}
		}
	}
	return list
}

// showWaiting shows them.
func (sn view) showWaiting(r *siteRow) (shown []adminapi.Binding) {
	for _, b := range sn.waiting(r) {
		shown = append(shown, adminapi.Binding{
			Protocol: b.Protocol.String(), Binding: b.Binding.String(), Certificate: b.Certificate,
			Flags: uint16(b.Flags &^ binding.FlagReject), Reject: b.Flags&binding.FlagReject != 0,
		})
	}
	return shown
}

// nameOf is that of the site, as far as it is known.
func (sn view) nameOf(r *siteRow) string {
	if r.entry != nil {
		return r.entry.Name
	}
	for _, input := range sn.wanted(r) {
		if input.Name != "" {
			return input.Name
		}
	}
	return ""
}

// pageOf is the page of a list of rows that a query asks for.
func (sn view) pageOf(q query, rows []siteRow, show func(*siteRow) adminapi.Site) (adminapi.Page[adminapi.Site], error) {
	start := func(after string) (int, error) {
		number, source, named := strings.Cut(after, "/")
		id, err := config.ParseSiteID(number)
		first := sort.Search(len(rows), func(i int) bool { return rows[i].id > id })
		for i := first - 1; named && i >= 0 && rows[i].id == id && sn.sourceOf(&rows[i]) != source; i-- {
			first = i // two sources have it
		}
		return first, err
	}
	name := func(i int) string {
		id := strconv.FormatUint(uint64(rows[i].id), 10)
		if i+1 < len(rows) && rows[i+1].id == rows[i].id {
			return id + "/" + sn.sourceOf(&rows[i])
		}
		return id
	}
	p, err := page(q, rows, start, func(r siteRow) (s adminapi.Site) {
		if r.know(); !r.gone() {
			s = show(&r)
		}
		return s
	}, name)
	p.Items = slices.DeleteFunc(p.Items, func(s adminapi.Site) bool { return s.ID == 0 }) // gone since the list was made
	return p, err
}

// rivals finds the rows that are not served as they are written and that have a binding for
// a request: for its host or, if nobody answers it, for hosts like it. The row that is asked
// anyway is left out.
func (sn view) rivals(p serve.Probe, answered bool, owner uint32) (problems []adminapi.Problem) {
	host, valid := binding.Host(p.Host)
	if !valid {
		return nil
	}
	for row := range sn.unserved() {
		for _, input := range sn.wanted(row) {
			match := matchAlone(&input, p, host, sn.App.Options.WildcardAnyDepth)
			if match.Site == nil || row.id == owner || answered && (host.String() == "" || match.Binding.Host != host.String()) {
				continue
			}
			problems = append(problems, adminapi.Problem{Code: adminapi.ProblemNotServed, Message: fmt.Sprintf("%s of %s would answer, by its binding %s, and is not served %s: %s",
				config.SiteLabel(row.id, sn.nameOf(row)), row.source.Name, match.Binding.Binding, row.asWritten(), row.whyNot())})
			break
		}
	}
	return problems
}

// matchAlone is what table D2 has for a request where there is one site alone. Certificates
// have no part in that.
func matchAlone(site *binding.Site, p serve.Probe, host binding.HostName, anyDepth bool) binding.SiteMatch {
	alone := binding.Site{ID: site.ID, Name: site.Name}
	for _, b := range site.Bindings {
		if b.Port == p.Local.Port() && b.Protocol == p.Protocol {
			plain := b.Binding
			plain.Protocol = binding.HTTP
			alone.Bindings = append(alone.Bindings, binding.SiteBinding{Binding: plain})
		}
	}
	if len(alone.Bindings) == 0 {
		return binding.SiteMatch{}
	}
	tables, _, err := binding.Compile([]binding.Site{alone}, nil, binding.Options{WildcardAnyDepth: anyDepth, FirstWins: true})
	if err != nil {
		return binding.SiteMatch{}
	}
	return tables.Site(p.Local, binding.HTTP, host)
}
