package inspect

import (
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/sites"
)

// refusedView shows the rows of sources whose documents are refused, in the order of
// their ids, with the documents.
func (sn view) refusedView(q query, served sites.Head) (any, error) {
	if _, err := q.flag("refused", "all sites"); err != nil {
		return nil, err
	}
	wanted, err := sn.filter(q)
	if err != nil {
		return nil, err
	}
	var list []siteRow
	for row := range sn.unserved() {
		if row.is(adminapi.StateRefused) && (wanted(row) || sn.asked(row, q)) {
			list = append(list, *row)
		}
	}
	p, err := sn.pageOf(q, list, sn.showRefused)
	return at(p, served), err
}

// asked reports whether a query asks for a refused document by a text in it.
func (sn view) asked(r *siteRow, q query) bool {
	for _, filter := range siteFilters {
		if q.get(filter) != "" && filter != "q" && filter != "source" {
			return false
		}
	}
	if q.values["source"] != nil && q.get("source") != r.source.Name {
		return false
	}
	text := strings.ToLower(q.get("q"))
	return text == "" || strconv.FormatUint(uint64(r.id), 10) == text || containsFold(string(r.open.Document), text)
}

// showRefused shows a row: what is served of it, what is wanted and why that is refused.
func (sn view) showRefused(r *siteRow) adminapi.Site {
	s := sn.showOne(r)
	s.Wanted, s.Accepted = r.open.Document, r.open.Good
	if head, err := r.source.Follower.Head(); err == nil {
		s.Revision, s.ETag = r.open.Revision, live.EtagOf(head, r.open.Revision, r.open.Document)
	}
	return s
}

func showRefusal(r *sites.Refusal) *adminapi.Refusal {
	return &adminapi.Refusal{Code: r.Code, Message: r.Message, Other: r.Other, Node: r.Node}
}
