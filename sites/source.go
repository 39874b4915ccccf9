package sites

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Namespace is that of the guest modules.
const Namespace = "iis.sites"

// Source is a guest module of the namespace iis.sites. Provision and Validate must
// touch nothing outside the process: caddy validate runs beside a Caddy that serves.
type Source interface {
	caddy.Module

	// Settings are those that all sources have.
	Settings() *CommonSettings

	// Address is what the source opens, the same for configurations that share it.
	Address() string

	// Open opens the table, and makes one where there is none. It is called when
	// the configuration starts, once for an address in a process.
	Open(ctx context.Context) (Table, error)
}

// Checked is a Table that notices when what it reads back is not what was written.
type Checked interface {
	Table

	// Damage returns the first damage that was met since the table is open, or nil.
	Damage() error
}

// Table keeps rows. Its methods can be called by several goroutines; Write is called
// by one at a time.
type Table interface {
	// Head returns the newest revision.
	Head() (Head, error)

	// Rows calls a function with each row by id. What is in the row is only there until
	// the function returns.
	Rows(func(Row) error) error

	// Row returns one row; ok is false if there is none.
	Row(id uint32) (row Row, ok bool, err error)

	// Write makes all changes, or none, as one revision. What it returns is durable.
	Write(Transaction) (Head, error)

	// Repeated returns what a transaction with this key has answered.
	Repeated(key string) (answer Answer, ok bool, err error)

	// Log returns up to limit revisions, the newest first, below one; 0 means from
	// the newest on.
	Log(below uint64, limit int) ([]Revision, error)

	// Trim forgets the revisions that are older.
	Trim(before time.Time) error

	// Close ends all use.
	Close() error
}

// Head is a state of a table.
type Head struct {
	// Source is the identity of the table, a UUID. Another table has another one.
	Source string `json:"source"`

	// Revision counts the transactions.
	Revision uint64 `json:"revision"`

	// Mark is the identity of the revision, a UUID: after a restore the same number
	// has another one.
	Mark string `json:"mark"`
}

// Row is a site in a table.
type Row struct {
	ID       uint32
	Revision uint64          // that made the document
	Document json.RawMessage // what is wanted, as canonical JSON

	// Where others write as well, a document waits until it is accepted.
	Open    bool            // it is not
	Good    json.RawMessage // what is accepted instead; nil: nothing
	Refusal *Refusal        // nil if it is open: nobody has judged it yet
}

// Line is what is accepted of the row as a line of a sites file: the id is the first field.
// It is nil if nothing is.
func (r *Row) Line() []byte {
	document := r.Served()
	if document == nil {
		return nil
	}
	line := append([]byte(`{"id":`), strconv.AppendUint(nil, uint64(r.ID), 10)...)
	if !bytes.Equal(document, []byte("{}")) {
		line = append(line, ',')
	}
	return append(append(line, document[1:]...), '\n')
}

// Change is a row that a transaction writes.
type Change struct {
	ID       uint32
	Document json.RawMessage // nil: the row is deleted
}

// Transaction is what is written as one revision.
type Transaction struct {
	By      string // who
	Changes []Change

	// Certificates are those that change, in a CertificateTable.
	Certificates []CertificateChange

	// Verdicts are about rows that others wrote; only in shared tables.
	Verdicts []Verdict

	// Key and Hash make a repeated transaction known: see Table.Repeated. Answer is
	// called with the revision for what is kept with it.
	Key, Hash string
	Answer    func(Head) (json.RawMessage, error)
}

// Answer is what is kept for the key of a transaction.
type Answer struct {
	Hash string          `json:"hash"`
	Body json.RawMessage `json:"body"`
}

// Revision is a transaction in the log.
type Revision struct {
	Revision uint64    `json:"revision"`
	Mark     string    `json:"mark"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Changes  []Logged  `json:"changes"`
}

// Logged is a change in the log, of a site or of a certificate.
type Logged struct {
	ID          uint32          `json:"id,omitempty"`
	Certificate string          `json:"certificate,omitempty"` // its name
	Before      json.RawMessage `json:"before,omitempty"`      // what was accepted; missing: nothing was
	After       json.RawMessage `json:"after,omitempty"`       // missing: it was deleted

	// Waiting tells that there was a document before, of which nothing was accepted.
	Waiting bool `json:"waiting,omitempty"`

	// Verdict is "accepted" or "refused" if After was written before, by others, and the
	// revision decides about it.
	Verdict string `json:"verdict,omitempty"`
}

var (
	// ErrInUse is in the error of a table that another process has open.
	ErrInUse = errors.New("another process has it open")

	// ErrDamaged is in the error of a table that is not as this package has left it.
	ErrDamaged = errors.New("it is damaged: restore it from a copy or an export")

	// ErrFormat is in the error of a table that a newer version has written.
	ErrFormat = errors.New("its format is one that this version does not know")
)
