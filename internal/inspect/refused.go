package inspect

import (
	"cmp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/sites"
)

// refusedRow is a row whose document is refused.
type refusedRow struct {
	sites.Row
	source *live.Source
	served *binding.SiteEntry // what is served of it; nil: nothing
}

// refusedView shows the rows of sources whose documents are refused, in the order of
// their ids.
func (sn view) refusedView(q query, served sites.Head) (any, error) {
	if _, err := q.flag("refused", "the sites that are served"); err != nil {
		return nil, err
	}
	wanted, err := sn.filter(q)
	if err != nil {
		return nil, err
	}
	var list []refusedRow
	for _, source := range sn.App.Live {
		if q.values["source"] != nil && q.get("source") != source.Name {
			continue
		}
		for _, row := range source.Follower.OpenRows() {
			r := refusedRow{row, source, sn.servedOf(source, row.ID)}
			if row.Refusal != nil && (r.served != nil && wanted(r.served) || r.asked(q)) {
				list = append(list, r)
			}
		}
	}
	slices.SortStableFunc(list, func(x, y refusedRow) int { return cmp.Compare(x.ID, y.ID) })
	start := func(after string) (int, error) {
		number, source, named := strings.Cut(after, "/")
		id, err := config.ParseSiteID(number)
		first := sort.Search(len(list), func(i int) bool { return list[i].ID > id })
		for i := first - 1; named && i >= 0 && list[i].ID == id && list[i].source.Name != source; i-- {
			first = i // two sources have it
		}
		return first, err
	}
	p, err := page(q, list, start, sn.showRefused, func(i int) string {
		return strconv.FormatUint(uint64(list[i].ID), 10) + "/" + list[i].source.Name
	})
	return at(p, served), err
}

// servedOf is what is served of a row of a source, nil if nothing is.
func (sn view) servedOf(source *live.Source, id uint32) *binding.SiteEntry {
	entry := sn.Tables.SiteByID(id)
	if entry == nil || sn.Sites.At(entry.Index).Source != source.Name {
		return nil
	}
	return entry
}

// asked reports whether a query asks for what is refused: by its id, or a text in it. The
// other filters are about what is served.
func (r *refusedRow) asked(q query) bool {
	for _, filter := range siteFilters {
		if q.get(filter) != "" && filter != "q" && filter != "source" {
			return false
		}
	}
	text := strings.ToLower(q.get("q"))
	return text == "" || strconv.FormatUint(uint64(r.ID), 10) == text || containsFold(string(r.Document), text)
}

// showRefused shows a row: what is served of it, what is wanted and why that is refused.
func (sn view) showRefused(r refusedRow) adminapi.Site {
	s := adminapi.Site{ID: r.ID, Source: r.source.Name, State: adminapi.StateRefused, Reason: r.Refusal.Message}
	if r.served != nil {
		s = sn.showOne(r.served)
	}
	s.Open, s.Wanted, s.Accepted, s.Refusal = true, r.Document, r.Good, showRefusal(r.Refusal)
	if head, err := r.source.Follower.Head(); err == nil {
		s.Revision, s.ETag = r.Revision, live.EtagOf(head, r.Revision, r.Document)
	}
	return s
}

func showRefusal(r *sites.Refusal) *adminapi.Refusal {
	return &adminapi.Refusal{Code: r.Code, Message: r.Message, Other: r.Other, Node: r.Node}
}
