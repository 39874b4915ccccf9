//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-iis/caddy-iis/internal/testpg"
	"github.com/caddy-iis/caddy-iis/sites"
)

// copied is a database of which each commit is to be on a standby as well, which is there
// until stop is called.
func copied(t *testing.T) (server *testpg.Server, connection string, stop func()) {
	t.Helper()
	server = testpg.Start(t)
	server.Synchronous("other")
	stop = server.Standby("other")
	connection = server.Database("sites")
	if _, err := Init(t.Context(), connection); err != nil {
		t.Fatal(err)
	}
	return server, connection, stop
}

// outcome is what came of a Write.
type outcome struct {
	head sites.Head
	err  error
}

// writing writes a site, and returns when the commit waits for a standby, with the process
// of the server that does.
func writing(t *testing.T, tab *table, connection string, c sites.Change) (pid int, since time.Time, ended <-chan outcome) {
	t.Helper()
	done := make(chan outcome, 1)
	go func() {
		head, err := tab.Write(sites.Transaction{Changes: []sites.Change{c}})
		done <- outcome{head, err}
	}()
	pid, since = waiter(t, connection, time.Time{}, done)
	return pid, since, done
}

// waiter waits until a process of the server waits for a standby, in a transaction after
// another one. It is to do so before something has ended.
func waiter(t *testing.T, connection string, after time.Time, ended <-chan outcome) (pid int, since time.Time) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for {
		select {
		case o := <-ended:
			t.Fatalf("it did not wait: %+v", o)
		case <-time.After(time.Millisecond):
		}
		err := conn.QueryRow(t.Context(), "select pid, xact_start from pg_stat_activity where wait_event = 'SyncRep' and xact_start > $1", after).Scan(&pid, &since)
		if err == nil {
			return pid, since
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			t.Fatal(err)
		}
	}
}

// TestStandbyAway: what the synchronous standby does not have is not acknowledged, neither
// to who has written it nor to who finds it so; it is when the standby is there again.
func TestStandbyAway(t *testing.T) {
	t.Parallel() // it waits most of the time
	server, connection, stop := copied(t)
	tab := openTable(t, connection)
	first := sites.Transaction{Changes: []sites.Change{change(1, `{"name":"a"}`)}}
	head, err := tab.Write(first)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	start := time.Now()
	if _, err := tab.Write(sites.Transaction{Changes: []sites.Change{change(2, `{}`)}}); !errors.Is(err, sites.ErrUnknown) {
		t.Errorf("the standby is away: %v", err)
	}
	if took := time.Since(start); took > 2*(commitTimeout+settleTimeout) {
		t.Errorf("it took %s", took)
	}
	catchUp(t, tab)
	if _, there, _ := tab.Row(2); !there {
		t.Error("the server has it, and did not tell")
	}
	for _, again := range []sites.Transaction{first, {}} {
		if _, err := tab.Write(again); !errors.Is(err, sites.ErrUnknown) {
			t.Errorf("it is so already: %v", err)
		}
	}
	server.Standby("other")
	if now, err := tab.Write(first); err != nil || now.Revision != head.Revision+1 {
		t.Errorf("the standby is there: %+v, %v", now, err)
	}
}

// TestStandbyNotWaitedFor: a server that has been told to wait no longer says that it has
// committed, and warns. That is no acknowledgement.
func TestStandbyNotWaitedFor(t *testing.T) {
	t.Parallel() // it waits most of the time
	server, connection, stop := copied(t)
	tab := openTable(t, connection)
	stop()
	pid, since, ended := writing(t, tab, connection, change(1, `{}`))
	server.Exec(connection, fmt.Sprintf("select pg_cancel_backend(%d)", pid))
	waiter(t, connection, since, ended) // whoever asks whether it lasts
	server.Standby("other")
	if o := <-ended; o.err != nil || o.head.Revision != 1 {
		t.Errorf("the standby is there: %+v", o)
	}
}

// TestPrimaryRestarts: a primary that was started again in the middle of a commit has what
// its standby may not have.
func TestPrimaryRestarts(t *testing.T) {
	t.Parallel() // it waits most of the time
	server, connection, stop := copied(t)
	tab := openTable(t, connection)
	stop()
	_, _, ended := writing(t, tab, connection, change(1, `{}`))
	server.Kill()
	server.Run()
	if o := <-ended; !errors.Is(o.err, sites.ErrUnknown) {
		t.Errorf("%+v", o)
	}
	catchUp(t, tab)
	if _, there, _ := tab.Row(1); !there {
		t.Error("the server does not have it")
	}
}

// TestNoStandby: where no standby is to have commits, nothing is written to find out
// whether something lasts.
func TestNoStandby(t *testing.T) {
	_, connection := database(t)
	tab := openTable(t, connection)
	w, _, err := tab.Begin(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer w.End()
	tx := w.(*writer).tx
	if _, err := tx.Exec(t.Context(), writesIfCopied); err != nil {
		t.Fatal(err)
	}
	var wrote bool
	if err := tx.QueryRow(t.Context(), "select pg_current_xact_id_if_assigned() is not null").Scan(&wrote); err != nil || wrote {
		t.Errorf("%v, %v", wrote, err)
	}
}

// TestTakenBack: which errors of a commit say that it is not done. A severity may be in the
// language of the server, and poolers have errors of their own.
func TestTakenBack(t *testing.T) {
	for err, back := range map[error]bool{
		&pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "23514"}:  true,
		&pgconn.PgError{Severity: "ОШИБКА", SeverityUnlocalized: "ERROR", Code: "23514"}: true,
		pgx.ErrTxCommitRollback: true,
		&pgconn.PgError{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01"}: false,
		&pgconn.PgError{Severity: "ВАЖНО", SeverityUnlocalized: "FATAL", Code: "57P01"}: false,
		&pgconn.PgError{Severity: "PANIC", SeverityUnlocalized: "PANIC", Code: "XX000"}: false,
		&pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "08P01"}: false,
		&pgconn.PgError{Severity: "ERROR", Code: "08P01"}:                               false,
		context.DeadlineExceeded: false,
	} {
		if takenBack(err) != back {
			t.Errorf("%v: %v", err, !back)
		}
	}
}
