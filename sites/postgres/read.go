package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-iis/caddy-iis/sites"
)

// The limits of a read.
const (
	readTimeout = 10 * time.Second
	fullTimeout = 60 * time.Second // without a row
)

// querier is a connection, or a transaction on one.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// read reads, in a transaction of its own, what leads from the state to the head.
func (t *table) read(ctx context.Context, conn *pgx.Conn) (*sites.Difference, error) {
	deadline := newDeadline(ctx, readTimeout)
	defer deadline.stop()
	d, err := t.readWithin(deadline, conn)
	return d, deadline.explain(err)
}

func (t *table) readWithin(deadline *deadline, conn *pgx.Conn) (*sites.Difference, error) {
	ctx := deadline.ctx
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// Before the first select: TRUNCATE is seen by those who began before it.
	if _, err := tx.Exec(ctx, "lock table iis.site, iis.change in access share mode"); err != nil {
		return nil, missingSchema(err)
	}
	d, err := t.difference(ctx, tx, deadline)
	if err != nil {
		return nil, err
	}
	return d, tx.Commit(ctx)
}

// difference reads what leads from the state to the head. Nobody may commit meanwhile,
// or the transaction does not see it.
func (t *table) difference(ctx context.Context, q querier, deadline *deadline) (*sites.Difference, error) {
	t.mu.RLock()
	d := &sites.Difference{From: t.head}
	t.mu.RUnlock()
	var version int
	var floor uint64
	var mark, mine *string
	err := q.QueryRow(ctx, `select h.format, h.source::text, h.rev, h.floor, r.mark::text, (select mark::text from iis.revision where rev = $1)
		from iis.head h left join iis.revision r on r.rev = h.rev`, int64(d.From.Revision)).
		Scan(&version, &d.To.Source, &d.To.Revision, &floor, &mark, &mine)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("%w: iis.head is empty", sites.ErrDamaged)
	}
	if err != nil {
		return nil, missingSchema(err)
	}
	if version != format {
		return nil, fmt.Errorf("the schema has format %d, and this version knows %d: %w", version, format, sites.ErrFormat)
	}
	d.To.Mark = text(mark)
	onLine := d.From.Source == d.To.Source && d.From.Revision <= d.To.Revision &&
		(d.From.Revision == 0 || d.From.Revision < floor || text(mine) == d.From.Mark)
	d.Moved = d.From.Source != "" && !onLine
	t.reached(d.To.Revision)
	if d.From == d.To {
		t.confirmed()
		return d, nil
	}
	if onLine && d.From.Revision >= floor {
		return d, t.readChanges(ctx, q, d)
	}
	deadline.extend(fullTimeout)
	return d, t.readAll(ctx, q, d, deadline)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

const columns = "s.rev, s.ok, s.doc::text, s.good::text, s.refusal::text"

// readChanges reads the rows of the revisions since the state.
func (t *table) readChanges(ctx context.Context, q querier, d *sites.Difference) error {
	rows, err := q.Query(ctx, "select c.id, "+columns+` from (select distinct id from iis.change where rev > $1 and rev <= $2) c
		left join iis.site s using (id) order by c.id`, int64(d.From.Revision), int64(d.To.Revision))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row, there, err := scan(rows)
		if err != nil {
			return err
		}
		t.mu.RLock()
		old, known := t.rows[row.ID]
		t.mu.RUnlock()
		switch {
		case !there && known:
			d.Removed = append(d.Removed, row.ID)
		case there && (!known || !old.Same(&row)):
			d.Rows = append(d.Rows, row)
		}
	}
	return rows.Err()
}

// readAll reads all rows, and compares them with the state.
func (t *table) readAll(ctx context.Context, q querier, d *sites.Difference, deadline *deadline) error {
	rows, err := q.Query(ctx, "select s.id, "+columns+" from iis.site s order by s.id")
	if err != nil {
		return err
	}
	defer rows.Close()
	there := make(map[uint32]bool)
	for rows.Next() {
		deadline.extend(fullTimeout)
		row, _, err := scan(rows)
		if err != nil {
			return err
		}
		there[row.ID] = true
		t.mu.RLock()
		old, known := t.rows[row.ID]
		t.mu.RUnlock()
		if !known || !old.Same(&row) {
			d.Rows = append(d.Rows, row)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for id := range t.rows {
		if !there[id] {
			d.Removed = append(d.Removed, id)
		}
	}
	return nil
}

// scan reads a row; there is false if the site is gone.
func scan(rows pgx.Rows) (row sites.Row, there bool, err error) {
	var id int64
	var rev, ok *int64
	var doc, good, refusal *string
	if err := rows.Scan(&id, &rev, &ok, &doc, &good, &refusal); err != nil {
		return row, false, err
	}
	row.ID = uint32(id)
	if doc == nil {
		return row, false, nil
	}
	row.Revision, row.Open = uint64(*rev), *ok != *rev
	row.Document, row.Good = document(doc), document(good)
	if refusal != nil {
		row.Refusal = new(sites.Refusal)
		if err := json.Unmarshal([]byte(*refusal), row.Refusal); err != nil {
			// Somebody else's: it is refused, for whatever reason.
			row.Refusal = &sites.Refusal{Code: "unknown", Message: *refusal}
		}
		*row.Refusal = short(row.Refusal)
	}
	return row, true, nil
}

// The bounds of what is kept of a refusal, in bytes: whoever writes with SQL may say much.
const (
	maxReason = 2048
	maxWord   = 256 // of the code, and of the name of the node
)

// short returns a refusal that is as long as it may be.
func short(r *sites.Refusal) sites.Refusal {
	return sites.Refusal{Code: cut(r.Code, maxWord), Message: cut(r.Message, maxReason), Other: r.Other, Node: cut(r.Node, maxWord)}
}

func cut(text string, most int) string {
	const end = " ..."
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len(end)], "") + end
}

// deadline is a time limit that can be moved.
type deadline struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

var errSlow = errors.New("the database answers too slowly")

func newDeadline(parent context.Context, after time.Duration) *deadline {
	d := new(deadline)
	d.ctx, d.cancel = context.WithCancelCause(parent)
	d.timer = time.AfterFunc(after, func() { d.cancel(errSlow) })
	return d
}

func (d *deadline) extend(after time.Duration) { d.timer.Reset(after) }

// explain says of an error that the time was over, if that is why.
func (d *deadline) explain(err error) error {
	if err != nil && errors.Is(context.Cause(d.ctx), errSlow) {
		return fmt.Errorf("%w: %w", errSlow, err)
	}
	return err
}

func (d *deadline) stop() {
	d.timer.Stop()
	d.cancel(nil)
}
