package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-iis/caddy-iis/sites"
)

const (
	beginTimeout = 5 * time.Second
	writeTimeout = 30 * time.Second
)

// writer implements sites.Writer.
type writer struct {
	table *table
	conn  *pgxpool.Conn
	tx    pgx.Tx
	mark  string
	ended bool
}

// nodeName is who this node is in the log.
var nodeName = func() string {
	name, err := os.Hostname()
	if err != nil {
		return "node"
	}
	return name
}()

// Begin implements sites.Shared.
func (t *table) Begin(ctx context.Context, by string) (sites.Writer, *sites.Difference, error) {
	if t.Status().ReadOnly {
		return nil, nil, sites.ErrReadOnly
	}
	limit := newDeadline(ctx, beginTimeout)
	defer limit.stop()
	w := &writer{table: t, mark: uuid.NewString()}
	d, err := w.begin(limit, by)
	if err != nil {
		return nil, nil, w.failed(limit.explain(err))
	}
	return w, d, nil
}

func (w *writer) begin(limit *deadline, by string) (_ *sites.Difference, err error) {
	ctx := limit.ctx
	if w.conn, err = w.table.pool.Acquire(ctx); err != nil {
		return nil, err
	}
	if w.tx, err = w.conn.Begin(ctx); err != nil {
		return nil, err
	}
	_, err = w.tx.Exec(ctx, `select set_config('lock_timeout', '2s', true), set_config('idle_in_transaction_session_timeout', '30s', true),
		set_config('iis.by', $1, true), set_config('iis.mark', $2, true), `+commitsToDisk,
		nodeName+"/"+strings.ToValidUTF8(strings.ReplaceAll(by, "\x00", ""), ""), w.mark)
	if err != nil {
		return nil, err
	}
	if _, err := w.tx.Exec(ctx, "select iis.write()"); err != nil {
		return nil, missingSchema(err)
	}
	return w.table.difference(ctx, w.tx, limit)
}

// End implements sites.Writer.
func (w *writer) End() {
	if w.ended {
		return
	}
	w.ended = true
	if w.tx != nil {
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		defer cancel()
		_ = w.tx.Rollback(ctx)
	}
	if w.conn != nil {
		w.conn.Release()
	}
}

// failed lets go of the table after an error. A connection that may only read, such as to
// a server that is a standby now, is not kept.
func (w *writer) failed(err error) error {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if ok && refused.Code == codeReadOnly {
		ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
		defer cancel()
		_ = w.conn.Conn().Close(ctx)
	}
	w.End()
	return notDone(err)
}

// Write implements sites.Table.
func (t *table) Write(todo sites.Transaction) (sites.Head, error) {
	w, d, err := t.Begin(context.Background(), todo.By)
	if err != nil {
		return sites.Head{}, err
	}
	defer w.End()
	t.Adopt(d)
	return w.Write(todo)
}

// Write implements sites.Writer.
func (w *writer) Write(todo sites.Transaction) (sites.Head, error) {
	t := w.table
	before, err := t.Head()
	if err != nil {
		return before, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	head, err := w.write(ctx, before, &todo)
	if err != nil {
		return before, w.failed(err)
	}
	if head == before {
		return before, w.confirm()
	}
	if err := w.commit(before.Revision); err != nil {
		return before, err
	}
	t.take(before, head, &todo)
	return head, nil
}

// write makes the changes and the verdicts in the transaction.
func (w *writer) write(ctx context.Context, before sites.Head, todo *sites.Transaction) (head sites.Head, err error) {
	var batch pgx.Batch
	queueChanges(&batch, todo.Changes)
	if err := queueVerdicts(&batch, todo.Verdicts); err != nil {
		return before, err
	}
	if batch.Len() > 0 {
		if err := w.tx.SendBatch(ctx, &batch).Close(); err != nil {
			return before, err
		}
	}
	head.Source = before.Source
	var mark *string
	err = w.tx.QueryRow(ctx, "select h.rev, r.mark::text from iis.head h left join iis.revision r on r.rev = h.rev").Scan(&head.Revision, &mark)
	if err != nil {
		return before, err
	}
	head.Mark = text(mark)
	if todo.Key == "" || head == before {
		return head, nil
	}
	body, err := todo.Answer(head)
	if err != nil {
		return before, err
	}
	answer, err := json.Marshal(sites.Answer{Hash: todo.Hash, Body: body})
	if err != nil {
		return before, err
	}
	_, err = w.tx.Exec(ctx, "update iis.revision set key = $2, answer = $3::jsonb where rev = $1", int64(head.Revision), todo.Key, string(answer))
	return head, err
}

func queueChanges(batch *pgx.Batch, changes []sites.Change) {
	var gone, ids []int64
	var documents []string
	for _, c := range changes {
		if c.Document == nil {
			gone = append(gone, int64(c.ID))
			continue
		}
		ids, documents = append(ids, int64(c.ID)), append(documents, string(c.Document))
	}
	if len(gone) > 0 {
		batch.Queue("delete from iis.site where id = any($1::bigint[])", gone)
	}
	if len(ids) > 0 {
		batch.Queue(`insert into iis.site (id, doc) select * from unnest($1::bigint[], $2::text[]::jsonb[])
			on conflict (id) do update set doc = excluded.doc`, ids, documents)
		queueAccept(batch, ids)
	}
}

func queueAccept(batch *pgx.Batch, ids []int64) {
	batch.Queue("update iis.site set ok = rev, good = null, refusal = null where id = any($1::bigint[]) and ok <> rev", ids)
}

func queueVerdicts(batch *pgx.Batch, verdicts []sites.Verdict) error {
	var accepted, refused []int64
	var reasons []string
	for _, v := range verdicts {
		if v.Refusal == nil {
			accepted = append(accepted, int64(v.ID))
			continue
		}
		raw, err := json.Marshal(ours(v.Refusal))
		if err != nil {
			return err
		}
		refused, reasons = append(refused, int64(v.ID)), append(reasons, string(raw))
	}
	if len(accepted) > 0 {
		queueAccept(batch, accepted)
	}
	if len(refused) > 0 {
		batch.Queue(`update iis.site s set refusal = v.refusal from unnest($1::bigint[], $2::text[]::jsonb[]) v (id, refusal)
			where s.id = v.id and s.ok <> s.rev and s.refusal is null`, refused, reasons)
	}
	return nil
}

// ours is a refusal as this node writes it, and as it is read.
func ours(r *sites.Refusal) sites.Refusal {
	refusal := *r
	refusal.Node = nodeName
	return short(&refusal)
}

// take makes the state what was written.
func (t *table) take(before, head sites.Head, todo *sites.Transaction) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head != before || head == before {
		return
	}
	for _, c := range todo.Changes {
		if c.Document == nil {
			delete(t.rows, c.ID)
			continue
		}
		row := sites.Row{ID: c.ID, Revision: head.Revision, Document: c.Document}
		if old, ok := t.rows[c.ID]; ok && bytes.Equal(old.Document, c.Document) {
			row.Revision = old.Revision // it is only accepted now
		}
		t.rows[c.ID] = row
	}
	for _, v := range todo.Verdicts {
		row := t.rows[v.ID]
		if v.Refusal == nil {
			row.Open, row.Good, row.Refusal = false, nil, nil
		} else if row.Refusal == nil {
			refusal := ours(v.Refusal)
			row.Refusal = &refusal
		}
		t.rows[v.ID] = row
	}
	t.head = head
	t.changed()
	t.status.Seen, t.status.SeenAt = head.Revision, time.Now()
}

// notDone says of an error what it means for who wants to write.
func notDone(err error) error {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok:
		return fmt.Errorf("%w: %w", sites.ErrUnavailable, err)
	case refused.Code == codeSerialization, refused.Code == codeDeadlock, refused.Code == codeUnique:
		return fmt.Errorf("%w: %w", sites.ErrRepeat, err)
	case refused.Code == codeNoPrivilege:
		return fmt.Errorf("%w: %w", sites.ErrReadOnly, err)
	case refused.Code == codeLockTimeout:
		return fmt.Errorf("%w: somebody else is writing, in a transaction that is open for long: %w", sites.ErrUnavailable, err)
	case refused.Code == codeCheck, strings.HasPrefix(refused.Code, "22"):
		return fmt.Errorf("%w: %w", sites.ErrRejected, err)
	}
	return fmt.Errorf("%w: %w", sites.ErrUnavailable, err)
}
