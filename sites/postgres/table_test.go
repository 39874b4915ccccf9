//go:build unix

package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-iis/caddy-iis/internal/testpg"
	"github.com/caddy-iis/caddy-iis/sites"
)

// server is the PostgreSQL of this package's tests, each of which has a database of its
// own.
func database(t *testing.T) (server *testpg.Server, connection string) {
	t.Helper()
	server = testpg.Start(t)
	connection = server.Database("sites")
	made, err := Init(t.Context(), connection)
	if err != nil || !made.Schema || made.Roles != "" {
		t.Fatalf("%+v, %v", made, err)
	}
	return server, connection
}

// openTable opens a table, which must be loaded.
func openTable(t *testing.T, connection string) *table {
	t.Helper()
	tab := in(t, connection, t.TempDir())
	t.Cleanup(func() { _ = tab.Close() })
	if s := tab.Status(); !s.Loaded {
		t.Fatal(s.Error)
	}
	return tab
}

// catchUp reads to the head.
func catchUp(t *testing.T, tab *table) *sites.Difference {
	t.Helper()
	conn, err := tab.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	d, err := tab.read(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if !tab.Adopt(d) {
		t.Fatal("the state has moved")
	}
	return d
}

// state is all that a table has, as text.
func state(t *testing.T, tab *table) string {
	t.Helper()
	var b strings.Builder
	err := tab.Rows(func(row sites.Row) error {
		fmt.Fprintf(&b, "%d %d %s open=%v good=%s refusal=%v\n", row.ID, row.Revision, row.Document, row.Open, row.Good, row.Refusal != nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func change(id uint32, document string) sites.Change {
	c := sites.Change{ID: id}
	if document != "" {
		c.Document = json.RawMessage(document)
	}
	return c
}

func TestWriteAndRead(t *testing.T) {
	_, connection := database(t)
	one, two := openTable(t, connection), openTable(t, connection)
	head, err := one.Write(sites.Transaction{By: "api/local", Changes: []sites.Change{change(1, `{"name":"a"}`), change(2, `{"b":1,"name":"b"}`)}})
	if err != nil || head.Revision != 1 || head.Mark == "" {
		t.Fatalf("%+v, %v", head, err)
	}
	if same, err := one.Write(sites.Transaction{Changes: []sites.Change{change(1, `{"name":"a"}`)}}); err != nil || same != head {
		t.Errorf("the same again: %+v, %v", same, err)
	}
	key := sites.Transaction{By: "x", Changes: []sites.Change{change(2, "")}, Key: "k", Hash: "h", Answer: func(h sites.Head) (json.RawMessage, error) {
		return json.Marshal(h.Revision)
	}}
	if head, err = one.Write(key); err != nil || head.Revision != 2 {
		t.Fatalf("%+v, %v", head, err)
	}
	if answer, ok, err := two.Repeated("k"); err != nil || !ok || answer.Hash != "h" || string(answer.Body) != "2" {
		t.Errorf("%+v, %v, %v", answer, ok, err)
	}
	d := catchUp(t, two)
	if d.Moved || d.To != head || len(d.Rows) != 1 || len(d.Removed) != 0 {
		t.Errorf("%+v", d)
	}
	if got := state(t, two); got != state(t, one) || got != "1 1 {\"name\":\"a\"} open=false good= refusal=false\n" {
		t.Errorf("got %s", got)
	}
	list, err := two.Log(0, 10)
	if err != nil || len(list) != 2 || list[0].Revision != 2 || len(list[0].Changes) != 1 || string(list[0].Changes[0].Before) != `{"b":1,"name":"b"}` ||
		!strings.HasSuffix(list[1].By, "/api/local as admin") || len(list[1].Changes) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if below, err := two.Log(2, 10); err != nil || len(below) != 1 || below[0].Revision != 1 {
		t.Errorf("%+v, %v", below, err)
	}
}

// TestNumbers: the database writes numbers in its own way, and a document is the same on the
// node that has written it and on those that read it.
func TestNumbers(t *testing.T) {
	server, connection := database(t)
	one, two := openTable(t, connection), openTable(t, connection)
	const given = `{"a":[1e2,1.50,-0,-0.0,1.0e1,2.5E-3,12345678901234567890.10,1e40,0.00e5]}`
	document, err := sites.Canonical([]byte(given))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Write(sites.Transaction{Changes: []sites.Change{{ID: 1, Document: document}}}); err != nil {
		t.Fatal(err)
	}
	server.Exec(connection, "insert into iis.site (id, doc) values (2, '"+given+"')")
	catchUp(t, two)
	for id := uint32(1); id <= 2; id++ {
		if row, _, _ := two.Row(id); string(row.Document) != string(document) {
			t.Errorf("site %d: %s is read as %s", id, document, row.Document)
		}
	}
	server.Exec(connection, "update iis.site set doc = '"+strings.Replace(given, "1.50", "1.500", 1)+"' where id = 2") // no change for the database
	if late := openTable(t, connection); state(t, late) != state(t, two) {
		t.Errorf("read anew: %s, before %s", state(t, late), state(t, two))
	}
}

// TestPlainSQL: what others write is open, and is accepted or refused by a verdict; what
// served before does so until then.
func TestPlainSQL(t *testing.T) {
	server, connection := database(t)
	tab := openTable(t, connection)
	server.Exec(connection, `insert into iis.site (id, doc) values (1, '{"name": "a"}'), (2, '{"name": "b"}')`)
	catchUp(t, tab)
	if got := state(t, tab); !strings.Contains(got, "1 1 {\"name\":\"a\"} open=true good= refusal=false") {
		t.Fatal(got)
	}
	judged, err := tab.Write(sites.Transaction{By: "judge", Verdicts: []sites.Verdict{{ID: 1}, {ID: 2, Refusal: &sites.Refusal{Code: "conflict", Other: 1}}}})
	if err != nil || judged.Revision != 2 {
		t.Fatalf("%+v, %v", judged, err)
	}
	server.Exec(connection, `update iis.site set doc = '{"name": "c"}' where id = 1; insert into iis.site (id, doc) values (2, '{"name": "b"}') on conflict (id) do update set doc = excluded.doc`)
	catchUp(t, tab)
	want := "1 3 {\"name\":\"c\"} open=true good={\"name\":\"a\"} refusal=false\n2 1 {\"name\":\"b\"} open=true good= refusal=true\n"
	if got := state(t, tab); got != want {
		t.Errorf("got %s", got)
	}
	server.Exec(connection, `begin; truncate iis.site; insert into iis.site (id, doc) values (1, '{"name": "a"}'); commit`)
	catchUp(t, tab)
	if got := state(t, tab); got != "1 4 {\"name\":\"a\"} open=false good= refusal=false\n" {
		t.Errorf("what served is written again: %s", got)
	}
	// Accepted as it was and changed in the same transaction, it waits for a verdict.
	server.Exec(connection, `begin; delete from iis.site; insert into iis.site (id, doc) values (1, '{"name": "a"}'); update iis.site set doc = '{"name": "d"}'; commit`)
	catchUp(t, tab)
	if got := state(t, tab); got != "1 5 {\"name\":\"d\"} open=true good={\"name\":\"a\"} refusal=false\n" {
		t.Errorf("nobody has judged it: %s", got)
	}
	if other := openTable(t, connection); state(t, other) != state(t, tab) {
		t.Errorf("read anew: %s", state(t, other))
	}
}

// TestOtherLine: after a restore numbers come again with other marks, and a node notices.
func TestOtherLine(t *testing.T) {
	server, connection := database(t)
	tab := openTable(t, connection)
	server.Exec(connection, `insert into iis.site (id, doc) values (1, '{"name": "a"}'), (2, '{"name": "b"}')`)
	catchUp(t, tab)
	server.Exec(connection, `update iis.revision set mark = gen_random_uuid()`)
	server.Exec(connection, `delete from iis.site where id = 2`)
	if d := catchUp(t, tab); !d.Moved || len(d.Removed) != 1 || d.To.Revision != 2 {
		t.Errorf("another mark: %+v", d)
	}
	server.Exec(connection, `update iis.head set rev = 1; delete from iis.change where rev > 1; delete from iis.revision where rev > 1`)
	if d := catchUp(t, tab); !d.Moved || d.To.Revision != 1 {
		t.Errorf("a lower head: %+v", d)
	}
	server.Exec(connection, `update iis.head set source = gen_random_uuid()`)
	if d := catchUp(t, tab); !d.Moved {
		t.Errorf("another source: %+v", d)
	}
}

// TestOlderThanTheLog: a node that has missed more than the log has reads everything.
func TestOlderThanTheLog(t *testing.T) {
	server, connection := database(t)
	tab := openTable(t, connection)
	for i := range 5 {
		server.Exec(connection, fmt.Sprintf(`insert into iis.site (id, doc) values (%d, '{"name": "x"}')`, i+1))
	}
	catchUp(t, tab)
	server.Exec(connection, `delete from iis.site where id < 4`)
	server.Exec(connection, `insert into iis.site (id, doc) values (9, '{"name": "x"}')`)
	server.Exec(connection, `update iis.revision set at = at - interval '40 days' where rev < 7; select iis.trim()`)
	d := catchUp(t, tab)
	if d.Moved || len(d.Removed) != 3 || len(d.Rows) != 1 {
		t.Errorf("%+v", d)
	}
	if list, err := tab.Log(0, 10); err != nil || len(list) != 1 || list[0].Revision != 7 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestLock: a transaction that is left open stops writers for a bounded time, and
// readers not at all.
func TestLock(t *testing.T) {
	server, connection := database(t)
	tab := openTable(t, connection)
	conn, err := pgx.Connect(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `begin; insert into iis.site (id, doc) values (1, '{"name": "a"}')`); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = tab.Write(sites.Transaction{Changes: []sites.Change{change(2, `{"name":"b"}`)}})
	if !errors.Is(err, sites.ErrUnavailable) || time.Since(start) > 4*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if d := catchUp(t, tab); !d.Empty() {
		t.Errorf("read %+v", d)
	}
	if _, err := conn.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	if head, err := tab.Write(sites.Transaction{Changes: []sites.Change{change(2, `{"name":"b"}`)}}); err != nil || head.Revision != 2 {
		t.Errorf("%+v, %v", head, err)
	}
	_ = server
}

// TestRoles: who may only read can serve, a panel writes rows and no verdicts, and what
// the engine does not take is said to be so.
func TestRoles(t *testing.T) {
	server, connection := database(t)
	server.Exec(connection, `create role reader login; grant usage on schema iis to reader; grant select on all tables in schema iis to reader;
		create role panel login in role iis_panel; create role node login in role iis_node`)
	panel, node := server.Connection("panel", "sites"), server.Connection("node", "sites")
	server.Exec(panel, `insert into iis.site (id, doc) values (1, '{"name": "a"}')`)
	server.Exec(panel, `select iis.write(); update iis.site set doc = '{"name": "b"}'`)
	conn, err := pgx.Connect(t.Context(), panel)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "update iis.site set ok = rev"); err == nil {
		t.Error("a panel accepts its own rows")
	}
	reading := openTable(t, server.Connection("reader", "sites"))
	if _, err := reading.Write(sites.Transaction{Changes: []sites.Change{change(2, `{"name":"b"}`)}}); !errors.Is(err, sites.ErrReadOnly) {
		t.Errorf("a reader writes: %v", err)
	}
	writing := openTable(t, node)
	answer := func(sites.Head) (json.RawMessage, error) { return json.RawMessage(`1`), nil }
	head, err := writing.Write(sites.Transaction{
		By: "me", Key: "k", Answer: answer,
		Changes: []sites.Change{change(2, `{"name":"c"}`)}, Verdicts: []sites.Verdict{{ID: 1}},
	})
	if err != nil || head.Revision != 3 {
		t.Fatalf("%+v, %v", head, err)
	}
	writing.preferred.Store(true)
	if err := writing.Trim(time.Now().Add(-24 * time.Hour)); err != nil {
		t.Error(err)
	}
	big := fmt.Sprintf(`{"name":%q}`, strings.Repeat("x", 70_000))
	if _, err := writing.Write(sites.Transaction{Changes: []sites.Change{change(3, big)}}); !errors.Is(err, sites.ErrRejected) {
		t.Errorf("a large document: %v", err)
	}
	if _, err := writing.Write(sites.Transaction{Changes: []sites.Change{change(3, `{"name":"\u0000"}`)}}); !errors.Is(err, sites.ErrRejected) {
		t.Errorf("a zero character: %v", err)
	}
}

// TestForgedRevision: settings that every role can make neither take a change out of the
// order of revisions nor accept it.
func TestForgedRevision(t *testing.T) {
	server, connection := database(t)
	server.Exec(connection, `create role panel login in role iis_panel; insert into iis.site (id, doc) values (1, '{"name": "a"}')`)
	tab := openTable(t, connection)
	for i, forged := range []string{"", ":0", ":1"} {
		before := tab.head.Revision
		server.Exec(server.Connection("panel", "sites"), fmt.Sprintf(`begin; insert into iis.site (id, doc) values (%[2]d, '{}');
			select set_config('iis.rev', pg_current_xact_id()::text || '%[1]s', true);
			update iis.site set doc = '{"name": "%[2]d"}' where id = 1; commit`, forged, i+2))
		d := catchUp(t, tab)
		if d.To.Revision <= before || len(d.Rows) != 2 {
			t.Fatalf("%q: %+v", forged, d)
		}
		for _, row := range d.Rows {
			if row.Revision <= before || row.Revision > d.To.Revision || !row.Open {
				t.Errorf("%q: %+v", forged, row)
			}
		}
		logged := 0
		list, err := tab.Log(0, int(d.To.Revision-before))
		for i, revision := range list {
			if logged += len(revision.Changes); revision.Revision != d.To.Revision-uint64(i) {
				t.Errorf("%q: %+v", forged, revision)
			}
		}
		if err != nil || logged != 2 {
			t.Errorf("%q: %+v, %v", forged, list, err)
		}
	}
}

// TestLoggedVerdicts: a verdict is told as one where that is all that a revision has of a row,
// and not where it came with the document.
func TestLoggedVerdicts(t *testing.T) {
	server, connection := database(t)
	tab := openTable(t, connection)
	sql := func(statement string) {
		t.Helper()
		server.Exec(connection, statement)
		catchUp(t, tab)
	}
	write := func(todo sites.Transaction) {
		t.Helper()
		if _, err := tab.Write(todo); err != nil {
			t.Fatal(err)
		}
	}
	write(sites.Transaction{Changes: []sites.Change{change(1, `{"name":"a"}`)}})
	sql(`insert into iis.site (id, doc) values (2, '{"name": "b"}'), (3, '{"name": "c"}'), (4, '{"name": "d"}')`)
	write(sites.Transaction{Verdicts: []sites.Verdict{{ID: 2}, {ID: 3, Refusal: &sites.Refusal{Code: "invalid"}}}})
	sql(`update iis.site set doc = '{"name": "bb"}' where id = 2`)
	write(sites.Transaction{Verdicts: []sites.Verdict{{ID: 2, Refusal: &sites.Refusal{Code: "invalid"}}}})
	sql(`update iis.site set doc = '{"name": "b"}' where id = 2`) // what serves already
	write(sites.Transaction{Changes: []sites.Change{change(4, `{"name":"d"}`)}})
	sql(`begin; delete from iis.site where id in (1, 3); insert into iis.site (id, doc) values (1, '{"name": "a"}'); commit`)
	write(sites.Transaction{Changes: []sites.Change{change(1, `{"name":"aa"}`)}})
	want := []string{
		`1: -> {"name":"a"}`,
		`2: -> {"name":"b"}, 3: -> {"name":"c"}, 4: -> {"name":"d"}`,
		`2: -> {"name":"b"} accepted, 3: -> {"name":"c"} refused`,
		`2:{"name":"b"} -> {"name":"bb"}`,
		`2:{"name":"b"} -> {"name":"bb"} refused`,
		`2:{"name":"b"} -> {"name":"b"}`,
		`4: -> {"name":"d"} accepted`,
		`1:{"name":"a"} -> {"name":"a"}, 3: -> `,
		`1:{"name":"a"} -> {"name":"aa"}`,
	}
	list, err := tab.Log(0, 100)
	if err != nil || len(list) != len(want) {
		t.Fatal(len(list), err)
	}
	for i, revision := range slices.Backward(list) {
		var changes []string
		for _, c := range revision.Changes {
			changes = append(changes, strings.TrimSuffix(fmt.Sprintf("%d:%s -> %s %s", c.ID, c.Before, c.After, c.Verdict), " "))
		}
		if got := strings.Join(changes, ", "); got != want[len(list)-1-i] {
			t.Errorf("revision %d: got  %s\nwant %s", revision.Revision, got, want[len(list)-1-i])
		}
	}
}

// TestFollow: notifications come at once, polling finds what is not notified, and after
// a death of the engine the follower is there again and has missed nothing.
func TestFollow(t *testing.T) {
	server, connection := database(t)
	for name, quiet := range map[string]bool{"notified": false, "polling": true} {
		t.Run(name, func(t *testing.T) {
			tab, err := open(t.Context(), connection, quiet, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer tab.Close()
			ctx, cancel := context.WithCancel(t.Context())
			adopted := make(chan sites.Head, 1000)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				tab.Follow(ctx, func(d *sites.Difference) {
					if tab.Adopt(d) && !d.Empty() {
						adopted <- d.To
					}
				})
			}()
			until := func(revision uint64, within time.Duration) {
				t.Helper()
				limit := time.After(within)
				for {
					select {
					case head := <-adopted:
						if head.Revision >= revision {
							return
						}
					case <-limit:
						t.Fatalf("revision %d does not come: %+v", revision, tab.Status())
					}
				}
			}
			before, err := tab.Head()
			if err != nil {
				t.Fatal(err)
			}
			insert := func(id int) {
				server.Exec(connection, fmt.Sprintf(`insert into iis.site (id, doc) values (%d, '{}') on conflict (id) do update set doc = jsonb_build_object('name', iis.site.rev)`, id))
			}
			for i := range 5 {
				insert(i + 1)
				until(before.Revision+uint64(i)+1, 3*time.Second)
			}
			server.Kill()
			server.Run()
			insert(6)
			until(before.Revision+6, 20*time.Second)
			if s := tab.Status(); !s.Up || s.Seen != before.Revision+6 || s.Preferred == quiet {
				t.Errorf("%+v", s)
			}
			cancel()
			<-ended
		})
	}
}

// TestSettle: a commit whose answer is lost is looked for by its mark.
func TestSettle(t *testing.T) {
	server, connection := database(t)
	tab := openTable(t, connection)
	head, err := tab.Write(sites.Transaction{Changes: []sites.Change{change(1, `{"name":"a"}`)}})
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("the connection is lost")
	if err := tab.settle(head.Mark, 0, lost); err != nil {
		t.Errorf("it is done: %v", err)
	}
	if err := tab.settle("5a2d2c5e-0000-4000-8000-000000000000", 1, lost); !errors.Is(err, sites.ErrUnavailable) || !errors.Is(err, lost) {
		t.Errorf("it is not done: %v", err)
	}
	server.Exec(connection, `insert into iis.site (id, doc) values (2, '{}'); update iis.revision set at = at - interval '40 days'; select iis.trim()`)
	if err := tab.settle("5a2d2c5e-0000-4000-8000-000000000000", 1, lost); !errors.Is(err, sites.ErrUnknown) {
		t.Errorf("the log does not go back as far: %v", err)
	}
}

// TestInit: the schema is made once, and what it cannot be made with is said.
func TestInit(t *testing.T) {
	server, connection := database(t)
	if made, err := Init(t.Context(), connection); err != nil || made.Schema || made.Roles != "" {
		t.Errorf("again: %+v, %v", made, err)
	}
	empty := server.Database("empty")
	tab := in(t, empty, t.TempDir())
	defer tab.Close()
	if s := tab.Status(); s.Loaded || !strings.Contains(s.Error, "caddy iis sites init postgres") {
		t.Errorf("without a schema: %+v", s)
	}
	server.Exec(empty, Schema())
	if made, err := Init(t.Context(), empty); err != nil || made.Schema {
		t.Errorf("as it is printed: %+v, %v", made, err)
	}
	server.Exec(connection, "update iis.head set format = 2")
	if _, err := Init(t.Context(), connection); !errors.Is(err, sites.ErrFormat) {
		t.Errorf("a newer one: %v", err)
	}
}

// TestInitWithoutRoles: who may not make roles makes the schema, and is told what is left.
func TestInitWithoutRoles(t *testing.T) {
	server := testpg.Start(t)
	admin := server.Connection("admin", "postgres")
	server.Exec(admin, "create role plain login")
	server.Exec(admin, "create database owned owner plain")
	made, err := Init(t.Context(), server.Connection("plain", "owned"))
	if err != nil || !made.Schema || !strings.Contains(made.Roles, "create role iis_panel") {
		t.Fatalf("%+v, %v", made, err)
	}
	server.Exec(server.Connection("admin", "owned"), made.Roles)
	if made, err = Init(t.Context(), server.Connection("plain", "owned")); err != nil || made.Schema || made.Roles != "" {
		t.Errorf("again: %+v, %v", made, err)
	}
	openTable(t, server.Connection("plain", "owned"))
}
