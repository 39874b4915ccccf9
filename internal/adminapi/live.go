package adminapi

import (
	"encoding/json"
	"time"
)

// The operations of a Change.
const (
	OpPut    = "put"    // the site is as given, whether it was there or not
	OpPatch  = "patch"  // the site is changed by a merge patch (RFC 7396)
	OpDelete = "delete" // the site goes
)

// Change is one change of a site that a source keeps.
type Change struct {
	Op   string          `json:"op"`
	ID   uint32          `json:"id"`
	Site json.RawMessage `json:"site,omitempty"`

	// If is the revision that the site must have, 0 for one that must not be there; IfMatch
	// is the ETag that it must have, or *. Without one of them: whatever it has.
	If      *uint64 `json:"if,omitempty"`
	IfMatch *string `json:"if_match,omitempty"`
}

// NewCertificate is a certificate with its private key, for a source that keeps it:
// PEM, or a PFX file.
type NewCertificate struct {
	Certificate string `json:"certificate,omitempty"` // PEM, with the chain
	Key         string `json:"key,omitempty"`         // PEM; missing: it is in certificate
	PFX         []byte `json:"pfx,omitempty"`         // in base64, in place of both
	Password    string `json:"password,omitempty"`    // of the key or the file
}

// Written is the answer to a change.
type Written struct {
	ID          uint32    `json:"id,omitempty"`
	Certificate string    `json:"certificate,omitempty"` // its name, in place of the id
	Source      string    `json:"source"`                // the name of the source
	Revision    string    `json:"revision"`              // of the source, as <source id>:<number>
	Mark        string    `json:"mark"`                  // the identity of that revision
	ETag        string    `json:"etag,omitempty"`        // of the site
	Serves      bool      `json:"serves"`                // whether this server serves it
	Created     bool      `json:"created,omitempty"`     // it was not there before
	Changed     []uint32  `json:"changed,omitempty"`     // of several changes: those that were different
	DryRun      bool      `json:"dry_run,omitempty"`     // nothing was written
	Findings    []Finding `json:"findings,omitempty"`    // about the site, and about others that lost something by it
}

// WriteError is the answer to a change that is refused.
type WriteError struct {
	Message     string     `json:"error"`
	Code        string     `json:"code"`
	ID          uint32     `json:"id,omitempty"`          // of the site
	Certificate string     `json:"certificate,omitempty"` // its name
	Sites       []uint32   `json:"sites,omitempty"`       // that use the certificate, up to 20
	Index       *int       `json:"index,omitempty"`       // of the change, from 0
	Binding     string     `json:"binding,omitempty"`     // that contradicts
	Other       *OtherSite `json:"other,omitempty"`

	// Of a condition that is not met (412): the revision and the entity tag that the site
	// or certificate has, and the site as its source keeps it. They are missing if it is
	// not there; private keys are never told.
	Revision string          `json:"revision,omitempty"` // as <source id>:<number>
	ETag     string          `json:"etag,omitempty"`
	Site     json.RawMessage `json:"site,omitempty"`
}

// OtherSite is the site that a refused one contradicts.
type OtherSite struct {
	ID      uint32 `json:"id"`
	Name    string `json:"name,omitempty"`
	Source  string `json:"source,omitempty"` // empty: the configuration
	Binding string `json:"binding,omitempty"`
}

// Source is a source of sites.
type Source struct {
	Name         string `json:"name"`
	Kind         string `json:"kind"` // the module, such as bolt
	Writable     bool   `json:"writable"`
	Sites        int    `json:"sites"`
	Certificates int    `json:"certificates"` // that it keeps and that are served
	// TakesCertificates tells that it keeps certificates, and has what it needs for them.
	TakesCertificates bool `json:"takes_certificates,omitempty"`

	// Damaged tells that its file was found damaged, so that nothing can be written; Error says
	// what is wrong with it.
	Damaged bool `json:"damaged,omitempty"`

	HeldBack int    `json:"held_back"` // rows that are not served, or not with all of their bindings
	ID       string `json:"id,omitempty"`
	Revision uint64 `json:"revision"`
	Mark     string `json:"mark,omitempty"`

	// The rest is of sources that others write as well; Error also of one that is damaged.
	From             string   `json:"from,omitempty"`                 // engine or snapshot: where the state is from; empty: there is none
	Up               *bool    `json:"up,omitempty"`                   // whether the engine is reached
	Error            string   `json:"error,omitempty"`                // of the last attempt to reach it
	ContactAge       *float64 `json:"contact_age_seconds,omitempty"`  // since its last answer
	Seen             uint64   `json:"head_revision,omitempty"`        // the newest that was seen
	SnapshotAge      *float64 `json:"snapshot_age_seconds,omitempty"` // since the local copy was written; missing: there is none
	SnapshotRevision uint64   `json:"snapshot_revision,omitempty"`    // that the copy has
	Open             int      `json:"open,omitempty"`                 // sites that wait for a verdict
	Refused          int      `json:"refused,omitempty"`              // sites that are refused
}

// Accepted is the answer to who takes a source as it is.
type Accepted struct {
	Source  string `json:"source"`
	Removed int    `json:"removed"` // sites that it has no more; 0 also if nothing was to be accepted
}

// Ready tells that a server serves its sites.
type Ready struct {
	Ready    bool              `json:"ready"`
	Sites    int               `json:"sites"`
	HeldBack int               `json:"held_back"` // rows of sources that are not served, or not with all of their bindings
	Sources  map[string]uint64 `json:"sources"`   // the revision of each, by name
}

// Revision is what was written to a source as one transaction.
type Revision struct {
	Revision uint64    `json:"revision"`
	Mark     string    `json:"mark"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Changes  []Logged  `json:"changes"`
}

// Logged is a change of a revision. Before is what was accepted, and is missing where nothing
// was; Waiting tells that there was something all the same; After is missing for a site that was removed. Verdict is EventAccepted or EventRefused
// where After was written before, and was judged now.
type Logged struct {
	ID          uint32          `json:"id,omitempty"`
	Certificate string          `json:"certificate,omitempty"`
	Before      json.RawMessage `json:"before,omitempty"`
	After       json.RawMessage `json:"after,omitempty"`
	Waiting     bool            `json:"waiting,omitempty"`
	Verdict     string          `json:"verdict,omitempty"`
}

// Kind is what happened.
func (c *Logged) Kind() string {
	switch {
	case c.Verdict != "":
		return c.Verdict
	case c.After == nil: // also what was never accepted
		return EventRemoved
	case c.Before == nil && !c.Waiting:
		return EventAdded
	}
	return EventChanged
}

// The kinds of an EventChange.
const (
	EventAdded    = "added"
	EventChanged  = "changed"
	EventRemoved  = "removed"
	EventAccepted = "accepted"
	EventRefused  = "refused"
)

// Event tells of a revision of a source.
type Event struct {
	Revision uint64        `json:"revision"`
	Mark     string        `json:"mark"`
	By       string        `json:"by"`
	Changes  []EventChange `json:"changes"`
}

// EventChange tells what happened to a site or a certificate.
type EventChange struct {
	ID          uint32 `json:"id,omitempty"`
	Certificate string `json:"certificate,omitempty"` // its name
	Kind        string `json:"kind"`
}
