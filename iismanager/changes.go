package iismanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

const (
	revisionsPerPage = 30
	revisionsLooked  = 200 // for those of one site
	changesInList    = 10  // of a revision
)

// revision is what was written to a source.
type revision struct {
	adminapi.Revision
	What []changed
	More int // changes that are not shown
}

// changed is what happened to a site.
type changed struct {
	ID          uint32
	Certificate string // its name, in place of the id
	Verb        string
	Fields      []field
}

// field is a field of a site that has changed.
type field struct{ Name, Before, After string }

// changeList is a page of revisions.
type changeList struct {
	adminapi.Page[revision]
	Source  string
	Sources []adminapi.Source // that can be written
	Site    uint32            // the one whose changes are shown, 0 for all
}

// changes shows what was written to a source.
func (v *visit) changes() error { return v.showChanges(nil) }

func (v *visit) showChanges(failure error) error {
	list := changeList{Source: v.r.FormValue("source")}
	var err error
	if list.Sources, err = v.client.WritableSources(v.ctx()); err != nil {
		return errors.Join(failure, err)
	}
	if list.Source == "" && len(list.Sources) > 0 {
		list.Source = list.Sources[0].Name
	}
	if list.Source != "" {
		limit := revisionsPerPage
		if site, err := strconv.ParseUint(v.r.FormValue("site"), 10, 32); err == nil {
			list.Site, limit = uint32(site), revisionsLooked
		}
		params := pageOf(v.r.FormValue("after"), limit)
		params.Set("source", list.Source)
		var revisions adminapi.Page[adminapi.Revision]
		if err := v.get("revisions", params, &revisions); err != nil {
			return errors.Join(failure, err)
		}
		list.Next = revisions.Next
		for _, r := range revisions.Items {
			all := len(r.Changes)
			if list.Site != 0 {
				r.Changes = slices.DeleteFunc(r.Changes, func(c adminapi.Logged) bool { return c.ID != list.Site })
			}
			if len(r.Changes) > 0 {
				list.Items = append(list.Items, describe(r, all))
			}
		}
	}
	page := &view{Title: "Changes", Section: "changes", Data: list}
	status := http.StatusOK
	if failure != nil {
		status, page.Failure = statusOf(failure), messageOf(failure)
	}
	v.show(status, "changes.html", page)
	return nil
}

// describe tells what a revision has changed, which has so many changes in all.
func describe(r adminapi.Revision, all int) revision {
	shown := revision{Revision: r, More: all - min(len(r.Changes), changesInList)}
	for _, c := range r.Changes[:min(len(r.Changes), changesInList)] {
		shown.What = append(shown.What, changed{c.ID, c.Certificate, c.Kind(), differences(c.Before, c.After)})
	}
	return shown
}

// differences lists the fields in which two documents differ.
func differences(before, after json.RawMessage) []field {
	var old, now map[string]json.RawMessage
	_ = json.Unmarshal(before, &old) // what is missing or no object has no fields
	_ = json.Unmarshal(after, &now)
	all := maps.Clone(old)
	if all == nil {
		all = make(map[string]json.RawMessage)
	}
	maps.Copy(all, now)
	var list []field
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !bytes.Equal(old[name], now[name]) {
			list = append(list, field{name, short(old[name]), short(now[name])})
		}
	}
	return list
}

// short cuts a long value.
func short(raw json.RawMessage) string {
	const most = 300
	if len(raw) > most {
		return string(raw[:most]) + "..."
	}
	return string(raw)
}

// revert takes a revision back, as caddy iis sites revert does.
func (v *visit) revert() error {
	number, err := strconv.ParseUint(v.r.PathValue("revision"), 10, 64)
	if err != nil {
		return &pageError{http.StatusNotFound, "There is no such revision: it is a number."}
	}
	source := v.r.PostFormValue("source")
	fields := []zap.Field{zap.String("source", source), zap.Uint64("revision", number)}
	err = v.change("revert", fields, func(ctx context.Context) error {
		_, err := v.client.Revert(ctx, source, number)
		return err
	})
	switch {
	case errors.Is(err, errReplaced):
		return v.goTo("changes", "taken")
	case err != nil:
		return v.showChanges(err)
	}
	return v.goTo("changes", "reverted")
}
