package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
	"github.com/caddy-iis/caddy-iis/sites"
)

// SiteWrite is what the API is asked to write as one transaction.
type SiteWrite struct {
	Changes   []SiteChange
	By        string // who
	Key, Hash string // of a request that can be repeated
	DryRun    bool
}

// SiteChange is one change of a transaction.
type SiteChange struct {
	adminapi.Change
	None bool // only if the site is not there yet (If-None-Match: *)
}

// Result is how one change went.
type Result struct {
	ID       uint32
	Created  bool
	Deleted  bool
	Same     bool // the site was so already
	accepted bool // it is only accepted: its document stays, and the revision of that
	Revision uint64
	Document json.RawMessage // nil if it is deleted
}

// Plan is what a transaction comes to, as far as the table is concerned.
type Plan struct {
	Results []Result
	Rows    []sites.Change // that are written
}

// Change judges one change by what the table has. It returns the document that is to be
// judged by itself, nil if the site goes, and whether it is so already.
func (p *Plan) Change(s *Source, c *SiteChange) (document json.RawMessage, same bool, err error) {
	if slices.ContainsFunc(p.Results, func(r Result) bool { return r.ID == c.ID }) {
		return nil, false, RefuseWrite(http.StatusUnprocessableEntity, CodeInvalid, c, "site %d is there twice in one transaction", c.ID)
	}
	row, there, err := s.Follower.Row(c.ID)
	if err != nil {
		return nil, false, RefuseWrite(http.StatusServiceUnavailable, CodeUnavailable, c, "%v", err)
	}
	if document, err = c.Wanted(row, there); err != nil {
		return nil, false, err
	}
	result := Result{ID: c.ID, Created: !there, Deleted: document == nil, Revision: row.Revision, Document: document}
	if there && document != nil && !row.Open && bytes.Equal(document, row.Document) {
		result.Same = true // a repeated request succeeds, whatever it is conditional on
		p.Results = append(p.Results, result)
		return document, true, nil
	}
	if err := c.condition(s, row, there); err != nil {
		return nil, false, err
	}
	result.accepted = there && document != nil && bytes.Equal(document, row.Document)
	p.Results = append(p.Results, result)
	p.Rows = append(p.Rows, sites.Change{ID: c.ID, Document: document})
	return document, false, nil
}

// WrittenAt notes the revision that the transaction has made.
func (p *Plan) WrittenAt(revision uint64) {
	for i := range p.Results {
		if r := &p.Results[i]; !r.Same && !r.accepted {
			r.Revision = revision
		}
	}
}

// Wanted returns the document that a change leads to, nil if the site goes.
func (c *SiteChange) Wanted(row sites.Row, there bool) (json.RawMessage, error) {
	var document json.RawMessage
	switch c.Op {
	case adminapi.OpDelete, adminapi.OpPatch:
		if !there {
			return nil, RefuseWrite(http.StatusNotFound, CodeNotFound, c, "there is no site %d", c.ID)
		}
		if c.Op == adminapi.OpDelete {
			return nil, nil
		}
		merged, err := jsondoc.Merge(row.Document, c.Site)
		if err != nil {
			return nil, RefuseWrite(statusOfDocument(err), CodeInvalid, c, "site %d: %v", c.ID, err)
		}
		document = merged
	default:
		document = c.Site
	}
	document, err := jsondoc.Canonical(document)
	if err != nil {
		return nil, RefuseWrite(statusOfDocument(err), CodeInvalid, c, "site %d: %v", c.ID, err)
	}
	return document, nil
}

// statusOfDocument is the status of the answer to a document that is wrong by itself.
func statusOfDocument(err error) int {
	if _, large := errors.AsType[jsondoc.TooLargeError](err); large {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusUnprocessableEntity
}

// condition checks what a change depends on.
func (c *SiteChange) condition(source *Source, row sites.Row, there bool) error {
	head := source.Follower.head
	switch {
	case !there && (c.IfMatch != nil || c.If != nil && *c.If != 0):
		return RefuseWrite(http.StatusPreconditionFailed, codePrecondition, c, "there is no site %d", c.ID)
	case there && (c.None || c.If != nil && *c.If != row.Revision ||
		c.IfMatch != nil && !matches(*c.IfMatch, EtagOf(head, row.Revision, row.Document))):
		e := RefuseWrite(http.StatusPreconditionFailed, codePrecondition, c, "site %d is at revision %d: somebody has changed it", c.ID, row.Revision)
		e.isAt(head, row.Revision, EtagOf(head, row.Revision, row.Document))
		e.Site = row.Document
		return e
	case source.RequireIfMatch && c.IfMatch == nil && c.If == nil && !c.None:
		return RefuseWrite(http.StatusPreconditionRequired, codeRequired, c,
			"changes of %s say which revision of the site they are about: If-Match, or If-None-Match: * for a new one", source.Name)
	}
	return nil
}
