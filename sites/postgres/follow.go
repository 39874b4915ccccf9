package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-iis/caddy-iis/sites"
)

const (
	pollNotified = 5 * time.Second // beside notifications
	pollQuiet    = time.Second     // without
	firstPause   = 250 * time.Millisecond
	lastPause    = 30 * time.Second
	steady       = 30 * time.Second // of service, after which a loss is a first one
	preferredKey = 0x6969732e6a7564 // of the advisory lock; the name means nothing to anybody else
)

var errStandby = errors.New("it is a standby, which may be behind: connect to the primary (target_session_attrs=read-write)")

// mayWriteSQL tells whether a role has what servers need that write and judge.
const mayWriteSQL = `select has_table_privilege('iis.site', 'delete') and has_column_privilege('iis.site', 'ok', 'update')
	and has_function_privilege('iis.write()', 'execute')`

// connect connects and makes sure of what it is connected to.
func (t *table) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := t.settings()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	deadline := newDeadline(ctx, readTimeout)
	defer deadline.stop()
	if err := t.greet(deadline.ctx, conn); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, deadline.explain(err)
	}
	return conn, nil
}

// greet asks what the connection is good for, and asks for notifications.
func (t *table) greet(ctx context.Context, conn *pgx.Conn) error {
	var standby, mayWrite bool
	if err := conn.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&standby); err != nil {
		return err
	}
	if standby {
		return errStandby
	}
	if err := conn.QueryRow(ctx, mayWriteSQL).Scan(&mayWrite); err != nil {
		return missingSchema(err)
	}
	t.mu.Lock()
	t.status.ReadOnly = !mayWrite
	t.mu.Unlock()
	if t.quiet {
		return nil
	}
	_, err := conn.Exec(ctx, "listen iis")
	return err
}

// load reads the state for the first time.
func (t *table) load(ctx context.Context) error {
	conn, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	d, err := t.read(ctx, conn)
	if err != nil {
		return err
	}
	if !d.Moved { // else it may be asked about first
		t.Adopt(d)
	}
	return nil
}

// Wake implements sites.Shared.
func (t *table) Wake() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Follow implements sites.Shared.
func (t *table) Follow(ctx context.Context, on func(*sites.Difference)) {
	for lost := 0; ctx.Err() == nil; lost++ {
		began := time.Now()
		err := t.session(ctx, on)
		if ctx.Err() != nil {
			return
		}
		t.failed(err)
		t.preferred.Store(false)
		if time.Since(began) > steady {
			lost = 0
		}
		t.pause(ctx, rand.N(min(lastPause, firstPause<<min(lost, 10)))) //nolint:gosec // nobody is to guess it, or to mind
	}
}

// pause is the time between two attempts. Whoever waits for the database cuts a long one
// short.
func (t *table) pause(ctx context.Context, long time.Duration) {
	short := min(long, firstPause)
	select {
	case <-time.After(short):
	case <-ctx.Done():
	}
	select {
	case <-time.After(long - short):
	case <-t.wake:
	case <-ctx.Done():
	}
}

// session follows on one connection, until it fails.
func (t *table) session(ctx context.Context, on func(*sites.Difference)) error {
	conn, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for {
		if err := t.prefer(ctx, conn); err != nil {
			return err
		}
		d, err := t.read(ctx, conn)
		if err != nil {
			return err
		}
		on(d)
		if err := t.wait(ctx, conn); err != nil {
			return err
		}
	}
}

// prefer tries to become the node that judges at once.
func (t *table) prefer(ctx context.Context, conn *pgx.Conn) error {
	if t.quiet || t.preferred.Load() || t.Status().ReadOnly {
		return nil // a lock of the session is no matter of such poolers
	}
	deadline := newDeadline(ctx, readTimeout)
	defer deadline.stop()
	var got bool
	err := conn.QueryRow(deadline.ctx, "select pg_try_advisory_lock($1)", int64(preferredKey)).Scan(&got)
	t.preferred.Store(got && err == nil)
	return deadline.explain(err)
}

// wait waits until there may be something to read.
func (t *table) wait(ctx context.Context, conn *pgx.Conn) error {
	poll := pollNotified
	if t.quiet {
		poll = pollQuiet
	}
	poll += time.Duration((rand.Float64() - 0.5) * 0.2 * float64(poll)) //nolint:gosec // nobody is to guess it, or to mind
	waiting, cancel := context.WithTimeout(ctx, poll)
	defer cancel()
	if t.quiet {
		select {
		case <-waiting.Done():
		case <-t.wake:
		}
		return ctx.Err()
	}
	woken := make(chan struct{})
	go func() {
		defer close(woken)
		select {
		case <-t.wake:
			cancel()
		case <-waiting.Done():
		}
	}()
	_, err := conn.WaitForNotification(waiting)
	ended := waiting.Err() != nil
	cancel()
	<-woken
	if err != nil && (!ended || conn.IsClosed()) {
		return err
	}
	for err == nil { // those that are there already make one read
		_, err = conn.WaitForNotification(waiting)
	}
	return ctx.Err()
}
