package iismanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/cli"
)

// The sizes of lists.
const (
	sitesPerPage   = 50
	bindingsInList = 4  // of a site
	clientsOfSite  = 25 // bindings for which it is told what clients get
	bindingsOfSite = 200
)

// siteList is the list of sites.
type siteList struct {
	adminapi.Page[adminapi.Site]
	Query url.Values // what was searched for
	Rows  []siteRow
}

// siteRow is a site in the list.
type siteRow struct {
	adminapi.Site
	Shown []adminapi.Binding
	More  int // bindings that are not shown
}

// searchWords are the parameters of a search.
var searchWords = []string{"q", "state", "certificate", "source", "after"}

// sites shows the list of sites.
func (v *visit) sites() error {
	list := siteList{Query: url.Values{}}
	for _, word := range searchWords {
		if value := strings.TrimSpace(v.r.URL.Query().Get(word)); value != "" {
			list.Query.Set(word, value)
		}
	}
	params := maps.Clone(list.Query)
	params.Set("limit", strconv.Itoa(sitesPerPage))
	if err := v.get("sites", params, &list.Page); err != nil {
		return err
	}
	for _, site := range list.Items {
		row := siteRow{Site: site, Shown: site.Bindings[:min(len(site.Bindings), bindingsInList)]}
		row.More = len(site.Bindings) - len(row.Shown)
		list.Rows = append(list.Rows, row)
	}
	shown := &view{Title: "Sites", Section: "sites", Data: list}
	if v.r.Header.Get("Iis-Part") == "" {
		var err error
		if shown.Counts, err = v.count(); err != nil {
			return err
		}
	}
	v.show(http.StatusOK, "sites.html", shown)
	return nil
}

// siteID is the id in the path.
func (v *visit) siteID() (uint32, error) {
	id, err := strconv.ParseUint(v.r.PathValue("id"), 10, 32)
	if err != nil {
		return 0, &pageError{http.StatusNotFound, "There is no such site: its id is a number."}
	}
	return uint32(id), nil
}

// siteView is one site.
type siteView struct {
	adminapi.Site
	Vars    []variable
	Clients []client
	Shown   []adminapi.Binding // of all bindings
	Left    int                // bindings for which clients are not told
	Last    *adminapi.Revision // that wrote it
	Fixed   string             // why it cannot be changed here
}

// variable is a variable of a site.
type variable struct{ Name, Value string }

// client is what a client of a binding gets.
type client struct {
	Binding adminapi.Binding
	adminapi.Explanation
}

// site shows one site.
func (v *visit) site() error {
	id, err := v.siteID()
	if err != nil {
		return err
	}
	return v.showSite(id, nil)
}

// showSite shows a site, with the reason why something was not done to it.
func (v *visit) showSite(id uint32, failure error) error {
	shown, err := v.readSite(id)
	if err != nil {
		return errors.Join(failure, err)
	}
	page := &view{Title: siteLabel(shown.Site), Section: "sites", Data: shown}
	status := http.StatusOK
	if failure != nil {
		status, page.Failure = statusOf(failure), messageOf(failure)
	}
	v.show(status, "site.html", page)
	return nil
}

func (v *visit) readSite(id uint32) (*siteView, error) {
	s := &siteView{}
	var err error
	if s.Site, err = v.client.Site(v.ctx(), id); err != nil {
		return nil, err
	}
	s.Fixed = fixed(s.Site)
	s.Shown = s.Bindings[:min(len(s.Bindings), bindingsOfSite)]
	if err := s.readVars(); err != nil {
		return nil, err
	}
	for i, b := range s.Bindings {
		if i == clientsOfSite {
			s.Left = len(s.Bindings) - i
			break
		}
		e, err := v.client.Explain(v.ctx(), questionOf(b))
		if err != nil {
			return nil, err
		}
		s.Clients = append(s.Clients, client{b, e})
	}
	if s.Document != nil {
		s.Last, err = v.lastChange(s.Site)
	}
	return s, err
}

// fixed tells why a site cannot be changed through the API, empty if it can.
func fixed(s adminapi.Site) string {
	if s.Source == adminapi.SourceSitesFile {
		return "This site is one of the sites file: change it there."
	}
	return ""
}

// readVars reads the variables that a source keeps of the site.
func (s *siteView) readVars() error {
	if s.Document == nil {
		return nil
	}
	var kept struct {
		Vars map[string]any `json:"vars"`
	}
	if err := json.Unmarshal(s.Document, &kept); err != nil {
		return fmt.Errorf("site %d has an unexpected form in %s: %w", s.ID, s.Source, err)
	}
	for _, name := range slices.Sorted(maps.Keys(kept.Vars)) {
		s.Vars = append(s.Vars, variable{name, fmt.Sprint(kept.Vars[name])})
	}
	return nil
}

// questionOf is what a client asks for who comes to a binding by its host.
func questionOf(b adminapi.Binding) adminapi.Question {
	a := partsOf(b.Binding)
	if a.IP == "*" {
		a.IP = "0.0.0.0"
	}
	q := adminapi.Question{Local: a.IP + ":" + a.Port, Scheme: b.Protocol, Host: strings.Replace(a.Host, "*", "any", 1)}
	if b.Protocol == "https" {
		q.SNI = q.Host
	}
	return q
}

// lastChange is the revision that wrote a site last, nil if the log does not have it any
// more. It is one look-up; all revisions of a site are a search, see changes.
func (v *visit) lastChange(s adminapi.Site) (*adminapi.Revision, error) {
	params := pageOf(strconv.FormatUint(s.Revision+1, 10), 1)
	params.Set("source", s.Source)
	var list adminapi.Page[adminapi.Revision]
	if err := v.get("revisions", params, &list); err != nil {
		return nil, err
	}
	if len(list.Items) == 0 || list.Items[0].Revision != s.Revision {
		return nil, nil
	}
	return &list.Items[0], nil
}

// siteLabel names a site: its name, and its id.
func siteLabel(s adminapi.Site) string {
	if s.Name == "" {
		return fmt.Sprintf("Site %d", s.ID)
	}
	return fmt.Sprintf("%s (%d)", s.Name, s.ID)
}

// setStarted starts or stops a site, as caddy iis start and stop do.
func (v *visit) setStarted(started bool) error {
	id, err := v.siteID()
	if err != nil {
		return err
	}
	what := map[bool]string{true: "start", false: "stop"}[started]
	err = v.change(what, []zap.Field{zap.Uint32("site", id)}, func(ctx context.Context) error {
		return v.client.ChangeSite(ctx, id, cli.Autostart(started))
	})
	path := "sites/" + strconv.FormatUint(uint64(id), 10)
	switch {
	case errors.Is(err, errReplaced):
		return v.goTo(path, "taken")
	case err != nil:
		return v.showSite(id, err)
	}
	site, err := v.client.Site(v.ctx(), id)
	if err != nil {
		return err
	}
	if started && site.State != adminapi.StateStarted {
		return v.showSite(id, &pageError{http.StatusConflict, fmt.Sprintf("%s does not start: %s", siteLabel(site), site.Reason)})
	}
	return v.goTo(path, what+map[bool]string{true: "ed", false: "ped"}[started])
}
