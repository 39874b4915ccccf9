//go:build unix

package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-iis/caddy-iis/internal/testpg"
	"github.com/caddy-iis/caddy-iis/sites"
)

// TestNoSecrets: whatever is wrong with a connection string, no error has a part of the
// password.
func TestNoSecrets(t *testing.T) {
	for _, connection := range []string{
		"postgres://iis:s3cr%zzet@db/sites",
		"postgres://iis:x@s3cret%zz@db/sites",
		"postgres://iis:x@s3cret@db/sites",
		"postgres://iis:5432/s3cret@db/sites",
		"postgres://iis:s3/cret@db/sites",
		"postgres://db/sites?password=s3cret&sslmode=nonsense",
		"host=db password=s3cret sslmode=nonsense",
		"host=db password = s3cret sslmode=nonsense",
		`host=db password='x\' s3cret' sslmode=nonsense`,
		`host=db password=x\ s3cret sslmode=nonsense`,
		"host=db PASSWORD=s3cret sslmode=nonsense",
		"host=db password='s3cret",
		"mysql://iis:s3cret@db/x",
		"iis:s3cret@db/sites",
	} {
		_, err := parse(connection)
		if err == nil {
			t.Errorf("%s is understood", connection)
			continue
		}
		if text := err.Error(); strings.Contains(text, "s3") || strings.Contains(text, "cret") || !strings.HasPrefix(text, "the connection string of postgres: ") {
			t.Errorf("%s: %s", connection, text)
		}
	}
	if _, err := parse("postgres://iis:x%40s3cret@db/sites?application_name=me@example.com"); err != nil {
		t.Error(err)
	}
}

// TestLongBy: whoever says very much about who he is gets a part of it into the log, and does
// not push out the role that has written.
func TestLongBy(t *testing.T) {
	server, connection := database(t)
	tab := openTable(t, connection)
	server.Exec(connection, `set iis.by = 'short'; insert into iis.site (id, doc) values (1, '{}')`)
	server.Exec(connection, `select set_config('iis.by', repeat('ü', 100000), false); insert into iis.site (id, doc) values (2, '{}')`)
	list, err := tab.Log(0, 10)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	if by := list[0].By; utf8.RuneCountInString(by) != 256 || !strings.HasPrefix(by, "üüü") || !strings.HasSuffix(by, "ü as admin") {
		t.Errorf("%d characters: %q", utf8.RuneCountInString(by), by)
	}
	if by := list[1].By; by != "short as admin" {
		t.Errorf("%q", by)
	}
}

// TestLongRefusal: of a reason that is as long as whoever writes it with SQL wants a part is
// kept, and it is the same for who writes a verdict and for who reads it.
func TestLongRefusal(t *testing.T) {
	server, connection := database(t)
	tab := openTable(t, connection)
	server.Exec(connection, `insert into iis.site (id, doc) select n, '{}' from generate_series(1, 4) n`)
	server.Exec(connection, `update iis.site set refusal = jsonb_build_object('code', repeat('c', 5000), 'message', repeat('ü', 1000000), 'node', repeat('n', 5000), 'other', 7) where id = 1`)
	server.Exec(connection, `update iis.site set refusal = jsonb_build_array(repeat('x', 1000000)) where id = 2`)
	server.Exec(connection, `update iis.site set refusal = '{"code": "short", "message": "as it is"}' where id = 3`)
	catchUp(t, tab)
	refusal := func(tab *table, id uint32) sites.Refusal {
		t.Helper()
		row, ok, err := tab.Row(id)
		if err != nil || !ok || row.Refusal == nil {
			t.Fatal(row, ok, err)
		}
		return *row.Refusal
	}
	for id := range uint32(2) {
		r := refusal(tab, id+1)
		if len(r.Code) > 256 || len(r.Message) > 2048 || len(r.Message) < 2000 || len(r.Node) > 256 || !utf8.ValidString(r.Message) || !strings.HasSuffix(r.Message, " ...") {
			t.Errorf("row %d: %d, %d and %d bytes: %q", id+1, len(r.Code), len(r.Message), len(r.Node), r.Message)
		}
	}
	if r := refusal(tab, 1); r.Other != 7 || !strings.HasPrefix(r.Message, "üüü") {
		t.Errorf("%+v", r)
	}
	if r := refusal(tab, 3); r != (sites.Refusal{Code: "short", Message: "as it is"}) {
		t.Errorf("%+v", r)
	}
	long := &sites.Refusal{Code: "invalid", Message: strings.Repeat("é", 100000)}
	if _, err := tab.Write(sites.Transaction{Verdicts: []sites.Verdict{{ID: 4, Refusal: long}}}); err != nil {
		t.Fatal(err)
	}
	mine := refusal(tab, 4)
	if read := refusal(openTable(t, connection), 4); mine != read || len(mine.Message) > 2048 {
		t.Errorf("written %d bytes, read %d", len(mine.Message), len(read.Message))
	}
	var written int
	if err := tab.pool.QueryRow(t.Context(), "select octet_length(refusal::text) from iis.site where id = 4").Scan(&written); err != nil || written > 3000 {
		t.Error(written, "bytes are written,", err)
	}
}

// TestUnreadableDocuments: JSON that PostgreSQL takes and Go does not read is one row that
// is refused; all others are followed, logged and copied.
func TestUnreadableDocuments(t *testing.T) {
	server, connection := database(t)
	tab := openTable(t, connection)
	server.Exec(connection, `set max_stack_depth = '7MB'; insert into iis.site (id, doc) values (1, '{"name": "a"}'),
		(2, ('{"name": ' || repeat('[', 10500) || repeat(']', 10500) || '}')::jsonb)`)
	catchUp(t, tab)
	row, ok, _ := tab.Row(2)
	if _, good, _ := tab.Row(1); !good || !ok || !json.Valid(row.Document) || !strings.Contains(string(row.Document), "cannot be read") {
		t.Errorf("%+v", row)
	}
	if list, err := tab.Log(0, 10); err != nil || len(list) != 1 || len(list[0].Changes) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := tab.Write(sites.Transaction{Verdicts: []sites.Verdict{{ID: 1}, {ID: 2, Refusal: &sites.Refusal{Code: "invalid"}}}}); err != nil {
		t.Error(err)
	}
	tab.save()
	if _, rows, err := readSnapshot(tab.path); err != nil || len(rows) != 2 {
		t.Errorf("%d, %v", len(rows), err)
	}
	if other := openTable(t, connection); state(t, other) != state(t, tab) {
		t.Errorf("read anew: %s", state(t, other))
	}
}

// TestFewRights: a node that may not judge says that it reads only, and does not keep
// others from judging at once; the log is shortened by nodes that cannot be preferred.
func TestFewRights(t *testing.T) {
	server, connection := database(t)
	server.Exec(connection, `create role reader login; grant usage on schema iis to reader; grant select on all tables in schema iis to reader;
		create role panel login in role iis_panel; create role node login in role iis_node; create role stranger login`)
	for role, readOnly := range map[string]bool{"reader": true, "panel": true, "node": false} {
		tab := openTable(t, server.Connection(role, "sites"))
		conn, err := tab.connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := tab.prefer(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		if s := tab.Status(); s.ReadOnly != readOnly || s.Preferred == readOnly {
			t.Errorf("%s: %+v", role, s)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	tab := in(t, server.Connection("stranger", "sites"), t.TempDir())
	defer tab.Close()
	if s := tab.Status(); s.Loaded || !strings.Contains(s.Error, "grant iis_node to it") {
		t.Errorf("%+v", s)
	}
	server.Exec(connection, `insert into iis.site (id, doc) values (1, '{}'); insert into iis.site (id, doc) values (2, '{}'); update iis.revision set at = at - interval '40 days'`)
	quiet, err := open(t.Context(), server.Connection("node", "sites"), true, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	if err := quiet.Trim(time.Now().Add(-24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	if list, err := quiet.Log(0, 10); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestLag: the lag counts from the first revision that is not served, also while others
// follow it.
func TestLag(t *testing.T) {
	tab := &table{}
	tab.reached(1)
	tab.head.Revision = 1
	tab.reached(2)
	first := tab.status.SeenAt
	for tab.status.Contact.Equal(first) {
		tab.reached(3)
	}
	if !tab.status.SeenAt.Equal(first) || tab.status.Seen != 3 {
		t.Errorf("%+v", tab.status)
	}
	tab.head.Revision = 3
	if tab.reached(4); tab.status.SeenAt.Equal(first) {
		t.Errorf("%+v", tab.status)
	}
}

// TestPause: whoever waits for the database cuts a long pause between two attempts short,
// and yet they do not follow each other at once.
func TestPause(t *testing.T) { synctest.Test(t, testPause) }

func testPause(t *testing.T) {
	tab := &table{wake: make(chan struct{}, 1)}
	lasts := func(ctx context.Context, long, want time.Duration) {
		t.Helper()
		start := time.Now()
		tab.pause(ctx, long)
		if took := time.Since(start); took != want {
			t.Errorf("a pause of %s takes %s, want %s", long, took, want)
		}
	}
	lasts(t.Context(), lastPause, lastPause)
	tab.Wake()
	lasts(t.Context(), lastPause, firstPause)
	lasts(t.Context(), firstPause/2, firstPause/2)
	go func() {
		time.Sleep(3 * time.Second)
		tab.Wake()
	}()
	lasts(t.Context(), lastPause, 3*time.Second)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	lasts(ended, lastPause, 0)
}

// TestSilence: an engine that takes the connection and then answers nothing is given up
// on, with a reason that says so.
func TestSilence(t *testing.T) {
	server := testpg.Start(t)
	tab := &table{connection: fmt.Sprintf("postgres://admin@%s/postgres?sslmode=disable", silentAfterWelcome(t, server.Port()))}
	ctx, cancel := context.WithTimeout(t.Context(), 2*readTimeout)
	defer cancel()
	if _, err := tab.connect(ctx); !errors.Is(err, errSlow) || ctx.Err() != nil {
		t.Error(err)
	}
}

// silentAfterWelcome is the address of an engine that says that it is ready, and then
// nothing more.
func silentAfterWelcome(t *testing.T, port int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go func() {
				to, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					return
				}
				defer to.Close()
				go func() { _, _ = io.Copy(to, conn) }()
				ready := []byte{'Z', 0, 0, 0, 5, 'I'}
				var heard []byte
				for buf := make([]byte, 4096); !bytes.HasSuffix(heard, ready); {
					n, err := to.Read(buf)
					if err != nil {
						return
					}
					heard = append(heard, buf[:n]...)
					_, _ = conn.Write(buf[:n])
				}
				_, _ = io.Copy(io.Discard, to)
			}()
		}
	}()
	return ln.Addr().String()
}

// TestReadOnlyForAWhile: what cannot be written at the moment is not said to be for reading only.
func TestReadOnlyForAWhile(t *testing.T) {
	server, connection := database(t)
	tab := openTable(t, connection)
	server.Exec(connection, "alter database sites set default_transaction_read_only = on")
	write := func() error {
		_, err := tab.Write(sites.Transaction{Changes: []sites.Change{change(1, `{}`)}})
		return err
	}
	if err := write(); !errors.Is(err, sites.ErrUnavailable) || errors.Is(err, sites.ErrReadOnly) {
		t.Error(err)
	}
	conn, err := pgx.Connect(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "set default_transaction_read_only = off"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "alter database sites reset default_transaction_read_only"); err != nil {
		t.Fatal(err)
	}
	if err := write(); err != nil {
		t.Errorf("connections from then are kept: %v", err)
	}
}

// TestCommitLasts: what is acknowledged is on the disk of the database, whatever the role
// has set.
func TestCommitLasts(t *testing.T) {
	server, connection := database(t)
	server.Exec(connection, "alter database sites set synchronous_commit = off")
	w, _, err := openTable(t, connection).Begin(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer w.End()
	var is string
	if err := w.(*writer).tx.QueryRow(t.Context(), "show synchronous_commit").Scan(&is); err != nil || is != "on" {
		t.Errorf("%s, %v", is, err)
	}
}

// TestReadBesideTruncate: a read that begins before a TRUNCATE is over has its rows with
// its revision, and not none with the one before.
func TestReadBesideTruncate(t *testing.T) {
	server, connection := database(t)
	server.Exec(connection, `insert into iis.site (id, doc) values (1, '{}'), (2, '{}')`)
	conn, err := pgx.Connect(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `begin; truncate iis.site; insert into iis.site (id, doc) values (2, '{}'), (3, '{}')`); err != nil {
		t.Fatal(err)
	}
	read := make(chan *table)
	go func() { read <- in(t, connection, t.TempDir()) }()
	for waiting := false; !waiting; {
		if err := conn.QueryRow(t.Context(), "select exists (select from pg_locks where not granted)").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	tab := <-read
	defer tab.Close()
	if head, err := tab.Head(); err != nil || head.Revision != 2 || strings.Count(state(t, tab), "\n") != 2 {
		t.Errorf("%+v, %v: %s", head, err, state(t, tab))
	}
}
