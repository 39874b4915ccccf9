package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-iis/caddy-iis/sites"
)

const (
	commitTimeout = 5 * time.Second
	settleTimeout = 10 * time.Second
)

// commitsToDisk is the expression by which the commit of a transaction lasts, whatever the
// role or the database has set.
const commitsToDisk = `case when current_setting('synchronous_commit') = 'off' then set_config('synchronous_commit', 'on', true) end`

// writesIfCopied has a transaction write something into the log of the server, and into no
// table, if there are to be synchronous standbys: only then its commit waits until they have
// it, and with it all that was committed before.
const writesIfCopied = `select case when current_setting('synchronous_standby_names') <> '' then pg_logical_emit_message(true, 'iis', '') end`

// warning is the key of a connection's last warning.
const warning = "iis.warning"

// noteWarning keeps the last warning of a connection.
func noteWarning(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		conn.CustomData()[warning] = n.Message
	}
}

// end commits. A server that has been kept from waiting for its synchronous standbys has
// committed, and warns of what that is worth: it is an error, as no answer is.
func end(ctx context.Context, tx pgx.Tx) error {
	data := tx.Conn().PgConn().CustomData()
	delete(data, warning)
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	if message, warned := data[warning]; warned {
		return fmt.Errorf("the database warns: %s", message)
	}
	return nil
}

// endProven ends a transaction that has written nothing. When it returns without an error,
// all that it has seen is where the server's settings want what is committed.
func endProven(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, writesIfCopied); err != nil {
		return err
	}
	return end(ctx, tx)
}

// confirm ends a transaction in which nothing was different: what is said to be so already
// may have been committed by somebody who was not told so, since a standby has not got it.
func (w *writer) confirm() error {
	defer w.End()
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if err := endProven(ctx, w.tx); err != nil {
		return fmt.Errorf("%w: it is so already, and may not last: %w", sites.ErrUnknown, err)
	}
	return nil
}

// commit commits. If nobody says that it is done, it asks.
func (w *writer) commit(before uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := end(ctx, w.tx)
	w.End()
	switch {
	case err == nil:
		return nil
	case takenBack(err):
		return notDone(err)
	}
	return w.table.settle(w.mark, before, err)
}

// takenBack reports whether the error of a commit says that nothing was committed: it is
// the server's, and about the transaction rather than about the connection.
func takenBack(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.SeverityUnlocalized == "ERROR" && !strings.HasPrefix(refused.Code, codeConnection) || errors.Is(err, pgx.ErrTxCommitRollback)
}

// settle finds out whether a transaction whose commit was not answered is done: it
// waits for its end, which is when the lock is free, and looks for its mark.
func (t *table) settle(mark string, before uint64, cause error) error {
	limit := time.Now().Add(settleTimeout)
	ctx, cancel := context.WithDeadline(context.Background(), limit)
	defer cancel()
	for pause := firstPause / 8; ; pause = min(2*pause, time.Second) {
		there, floor, err := t.look(ctx, mark)
		switch {
		case err == nil && there:
			return nil
		case err == nil && floor > before:
			return fmt.Errorf("%w: %w", sites.ErrUnknown, cause)
		case err == nil:
			return fmt.Errorf("%w: %w", sites.ErrUnavailable, cause)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", sites.ErrUnknown, cause)
		}
	}
}

// look looks for a mark, under the lock of writers. If it is there, it lasts.
func (t *table) look(ctx context.Context, mark string) (there bool, floor uint64, err error) {
	conn, err := t.pool.Acquire(ctx)
	if err != nil {
		return false, 0, err
	}
	defer conn.Release()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, 0, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, "select iis.write(), "+commitsToDisk); err != nil {
		return false, 0, err
	}
	err = tx.QueryRow(ctx, "select floor, exists (select from iis.revision where mark = $1::uuid) from iis.head", mark).Scan(&floor, &there)
	if err == nil && there {
		err = endProven(ctx, tx)
	}
	return there, floor, err
}
