//go:build unix

package livemodel

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/sites"
	"github.com/caddy-iis/caddy-iis/sites/postgres"
)

const (
	ids     = 5
	allKnow = "abcdef"
)

// world is the engine with what was promised about it.
type world struct {
	t          *rapid.T
	sql        *pgx.Conn
	connection string
	folder     string // of the local copies
	nodes      []*node
	version    int

	acknowledged map[string]sites.Change // by mark
	denied       map[string]bool         // documents of changes that were answered "not done"
	backup       map[string]bool         // the marks of a backup, if there is one
}

// row is a site in the engine.
type row struct {
	rev, ok                int64
	doc, good              string
	refused, open, serving bool
}

func (w *world) exec(statements string) error {
	_, err := w.sql.Exec(context.Background(), statements)
	return err
}

func (w *world) must(statements string) {
	if err := w.exec(statements); err != nil {
		w.t.Fatalf("%s: %v", statements, err)
	}
}

// rows are those of the engine.
func (w *world) rows() map[uint32]row {
	list, err := w.sql.Query(context.Background(), "select id, rev, ok, doc::text, coalesce(good::text, ''), refusal is not null from iis.site")
	if err != nil {
		w.t.Fatal(err)
	}
	defer list.Close()
	rows := make(map[uint32]row)
	for list.Next() {
		var id uint32
		var r row
		if err := list.Scan(&id, &r.rev, &r.ok, &r.doc, &r.good, &r.refused); err != nil {
			w.t.Fatal(err)
		}
		r.open = r.rev != r.ok
		r.serving = !r.open || r.good != ""
		rows[id] = r
	}
	return rows
}

func (r row) served() string {
	text := r.doc
	if r.open {
		text = r.good
	}
	canonical, err := sites.Canonical([]byte(text))
	if err != nil {
		return ""
	}
	return string(canonical)
}

func served(rows map[uint32]row) map[uint32]string {
	list := make(map[uint32]string)
	for id, r := range rows {
		if r.serving {
			list[id] = r.served()
		}
	}
	return list
}

// marks are the revisions in the log.
func (w *world) marks() map[string]bool {
	list, err := w.sql.Query(context.Background(), "select mark::text from iis.revision")
	if err != nil {
		w.t.Fatal(err)
	}
	all, err := pgx.CollectRows(list, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	marks := make(map[string]bool)
	for _, mark := range all {
		marks[mark] = true
	}
	return marks
}

// check is what holds at any moment: what is accepted does not contradict itself, and a
// node at the head has the rows of the head.
func (w *world) check() {
	rows := w.rows()
	accepted := served(rows)
	for a, x := range accepted {
		for b, y := range accepted {
			if a < b && meet(letters(json.RawMessage(x)), letters(json.RawMessage(y))) {
				w.t.Fatalf("%d serves %s and %d %s: %+v", a, x, b, y, rows)
			}
		}
	}
	var head sites.Head
	var mark *string
	err := w.sql.QueryRow(context.Background(), "select h.source::text, h.rev, r.mark::text from iis.head h left join iis.revision r on r.rev = h.rev").
		Scan(&head.Source, &head.Revision, &mark)
	if err != nil {
		w.t.Fatal(err)
	}
	if mark != nil {
		head.Mark = *mark
	}
	for _, n := range w.nodes {
		if at, err := n.table.Head(); err != nil || at != head {
			continue
		}
		mine := make(map[uint32]string)
		_ = n.table.Rows(func(r sites.Row) error {
			if got, want := r.Open, rows[r.ID].open; got != want || r.Revision != uint64(rows[r.ID].rev) || (r.Refusal != nil) != rows[r.ID].refused {
				w.t.Fatalf("%s has %+v, the engine %+v", n.name, r, rows[r.ID])
			}
			if r.Served() != nil {
				mine[r.ID] = string(r.Served())
			}
			return nil
		})
		if !maps.Equal(mine, accepted) {
			w.t.Fatalf("%s at %v has %v, the engine %v", n.name, head, mine, accepted)
		}
	}
}

func (w *world) document() json.RawMessage {
	w.version++
	return documentOf(rapid.StringOfN(rapid.RuneFrom([]rune(allKnow)), 1, 2, -1).Draw(w.t, "letters"), w.version)
}

func (w *world) id() uint32 { return uint32(rapid.IntRange(1, ids).Draw(w.t, "id")) }

func (w *world) node() *node {
	return rapid.SampledFrom(w.nodes).Draw(w.t, "node")
}

// byPanel writes by plain SQL: a transaction of some statements, which may be taken back.
func (w *world) byPanel() {
	before, touched := served(w.rows()), make(map[uint32]bool)
	upsert := func(id uint32, document string) string {
		touched[id] = true
		return fmt.Sprintf("insert into iis.site (id, doc) values (%d, '%s') on conflict (id) do update set doc = excluded.doc;", id, document)
	}
	statements := "begin;"
	for range rapid.IntRange(1, 3).Draw(w.t, "statements") {
		id, other := w.id(), w.id()
		switch rapid.IntRange(0, 5).Draw(w.t, "statement") {
		case 0, 1:
			statements += upsert(id, string(w.document()))
		case 2:
			touched[id] = true
			statements += fmt.Sprintf("delete from iis.site where id = %d;", id)
		case 3: // exchange
			touched[id], touched[other] = true, true
			statements += fmt.Sprintf("update iis.site s set doc = o.doc from iis.site o where s.id in (%d, %d) and o.id in (%[1]d, %[2]d) and s.id <> o.id;", id, other)
		case 4: // all anew, one of them different
			statements += "create temporary table kept on commit drop as select id, doc from iis.site; truncate iis.site; insert into iis.site (id, doc) select * from kept; drop table kept;" +
				upsert(id, string(w.document()))
		case 5: // the same again
			statements += fmt.Sprintf("update iis.site set doc = doc where id = %d;", id)
		}
	}
	end := "commit;"
	if rapid.IntRange(0, 5).Draw(w.t, "end") == 0 {
		end = "rollback;"
	}
	w.must(statements + end)
	after := served(w.rows())
	for id := range uint32(ids + 1) {
		if !touched[id] && before[id] != after[id] {
			w.t.Fatalf("%s: %d served %q and serves %q", statements, id, before[id], after[id])
		}
	}
}

// byAPI writes at a node, whose network may be cut meanwhile.
func (w *world) byAPI() {
	n := w.node()
	c := sites.Change{ID: w.id()}
	if rapid.IntRange(0, 4).Draw(w.t, "delete") > 0 {
		c.Document = w.document()
	}
	var cut time.Duration
	if rapid.IntRange(0, 3).Draw(w.t, "cut") == 0 {
		cut = time.Duration(rapid.IntRange(1, 3000).Draw(w.t, "microseconds")) * time.Microsecond
	}
	before := w.marks()
	head, err := n.write(c, cut)
	switch {
	case err == nil && !before[head.Mark] && head.Revision > 0:
		w.acknowledged[head.Mark] = c
		at, _ := n.table.Head()
		if at != head {
			w.t.Fatalf("%s answers for %v and is at %v", n.name, head, at)
		}
		if row, ok, _ := n.table.Row(c.ID); ok != (c.Document != nil) || ok && string(row.Served()) != string(c.Document) {
			w.t.Fatalf("%s does not serve what it has acknowledged: %+v", n.name, row)
		}
	case err == nil: // it was so already
	case errors.Is(err, errRefused), errors.Is(err, sites.ErrUnknown):
	case errors.Is(err, sites.ErrUnavailable), errors.Is(err, sites.ErrRepeat):
		if c.Document != nil {
			w.denied[string(c.Document)] = true
		}
	default:
		w.t.Fatal(err)
	}
}

// backUp keeps all of the engine, and restore has it again, as a restore from a backup
// or a fail-over to a server that was behind.
const backUp = `drop schema if exists backup cascade; create schema backup; create table backup.head as select * from iis.head; create table backup.site as select * from iis.site;
	create table backup.revision as select * from iis.revision; create table backup.change as select * from iis.change;`

const restore = `begin; set local session_replication_role = replica; truncate iis.site, iis.revision, iis.change; delete from iis.head;
	insert into iis.head select * from backup.head; insert into iis.site select * from backup.site;
	insert into iis.revision select * from backup.revision; insert into iis.change select * from backup.change; commit;`

// promised checks what was answered against the log.
func (w *world) promised() {
	marks := w.marks()
	var floor int64
	if err := w.sql.QueryRow(context.Background(), "select floor from iis.head").Scan(&floor); err != nil {
		w.t.Fatal(err)
	}
	for mark, c := range w.acknowledged {
		if floor == 0 && !marks[mark] {
			w.t.Fatalf("an acknowledged change is missing: %d %s", c.ID, c.Document)
		}
	}
	list, err := w.sql.Query(context.Background(), "select coalesce(after::text, '') from iis.change")
	if err != nil {
		w.t.Fatal(err)
	}
	written, err := pgx.CollectRows(list, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	for _, text := range written {
		if text == "" {
			continue
		}
		if canonical, err := sites.Canonical([]byte(text)); err != nil || w.denied[string(canonical)] {
			w.t.Fatalf("a change was answered not to be done, and is: %s, %v", text, err)
		}
	}
}

// settle lets all come to rest: then all nodes serve the same, everything is judged, and
// nothing is refused that could be accepted.
func (w *world) settle() {
	for _, n := range w.nodes {
		n.knows = allKnow
	}
	for quiet := 0; quiet < len(w.nodes); {
		for _, n := range w.nodes {
			wrote, err := n.judge()
			switch {
			case errors.Is(err, sites.ErrUnavailable): // a connection of the pool was cut
				quiet = 0
			case err != nil:
				w.t.Fatal(err)
			case wrote:
				quiet = 0
			default:
				quiet++
			}
		}
	}
	rows := w.rows()
	accepted := served(rows)
	for id, r := range rows {
		if !r.open {
			continue
		}
		if !r.refused {
			w.t.Fatalf("%d was never judged", id)
		}
		free := true
		for other, doc := range accepted {
			free = free && (other == id || !meet(letters(json.RawMessage(r.doc)), letters(json.RawMessage(doc))))
		}
		if free {
			w.t.Fatalf("%d is refused, and nothing is in its way: %v", id, rows)
		}
	}
	for _, n := range w.nodes {
		if err := n.read(); err != nil {
			w.t.Fatal(err)
		}
	}
	w.check()
	w.promised()
}

func (w *world) step() {
	switch rapid.IntRange(0, 19).Draw(w.t, "step") {
	case 0, 1, 2, 3, 4:
		w.byPanel()
	case 5, 6, 7, 8, 9:
		w.byAPI()
	case 10, 11, 12:
		n := w.node()
		if _, err := n.judge(); err != nil && !errors.Is(err, sites.ErrUnavailable) {
			w.t.Fatal(err)
		}
	case 13, 14:
		if err := w.node().read(); err != nil {
			w.t.Fatal(err)
		}
	case 15:
		if err := w.node().restart(w.folder, rapid.Bool().Draw(w.t, "kill")); err != nil {
			w.t.Fatal(err)
		}
	case 16:
		w.node().network.cut()
	case 17:
		n := w.node()
		n.knows = rapid.SampledFrom([]string{allKnow, "abc", "bcd"}).Draw(w.t, "knows")
	case 18:
		w.must("update iis.revision set at = at - interval '40 days' where rev <= (select rev from iis.head) - 3; select iis.trim()")
		w.acknowledged = make(map[string]sites.Change) // the log cannot tell any more
	case 19:
		if w.backup == nil || rapid.Bool().Draw(w.t, "back up") {
			w.must(backUp)
			w.backup = w.marks()
			return
		}
		w.must(restore)
		maps.DeleteFunc(w.acknowledged, func(mark string, _ sites.Change) bool { return !w.backup[mark] })
	}
}

// TestMain has few runs of the model, unless -rapid.checks says how many.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
	m.Run()
}

// TestModel: whatever happens in whatever order, what must hold does. It is long with
// -rapid.checks=10000.
func TestModel(t *testing.T) {
	data := t.TempDir()
	t.Setenv("XDG_DATA_HOME", data)
	_, connection, nodes := startEngine(t, 3)
	conn, err := pgx.Connect(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	folder := filepath.Join(caddy.AppDataDir(), "iis", "sites")
	if !strings.HasPrefix(folder, data) {
		t.Fatalf("the local copies are in %s", folder)
	}
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, sql: conn, connection: connection, folder: folder, nodes: nodes, acknowledged: make(map[string]sites.Change), denied: make(map[string]bool)}
		w.must("drop schema if exists iis cascade")
		if _, err := postgres.Init(context.Background(), connection); err != nil {
			t.Fatal(err)
		}
		_ = os.RemoveAll(folder)
		for _, n := range nodes {
			n.knows = allKnow
			if err := n.open(); err != nil {
				t.Fatal(err)
			}
		}
		defer func() {
			for _, n := range nodes {
				_ = n.table.Close()
			}
		}()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			w.step()
			w.check()
		}
		w.settle()
	})
}

// TestModelKnows: what the model would take for a fault is found.
func TestModelKnows(t *testing.T) {
	c := &court{knows: "ab", wanted: map[uint32]string{1: "a", 2: "a", 3: "c"}, served: map[uint32]string{4: "b"}}
	accepted, refused := sites.Judge([]sites.Open{{ID: 1, Revision: 2}, {ID: 2, Revision: 1}, {ID: 3, Revision: 1}}, c)
	if !slices.Equal(accepted, []uint32{2}) || refused[1] == nil || refused[1].Other != 2 || refused[3].Code != "invalid" {
		t.Errorf("%v, %v", accepted, refused)
	}
}

// TestFrozen: an engine that answers nothing is given up on in time, and what was asked
// is not done, or not known.
func TestFrozen(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	_, connection, nodes := startEngine(t, 1)
	if _, err := postgres.Init(t.Context(), connection); err != nil {
		t.Fatal(err)
	}
	n := nodes[0]
	n.knows = allKnow
	if err := n.open(); err != nil {
		t.Fatal(err)
	}
	defer n.table.Close()
	if _, err := n.write(sites.Change{ID: 1, Document: documentOf("a", 1)}, 0); err != nil {
		t.Fatal(err)
	}
	n.network.frozen.Store(true)
	start := time.Now()
	_, err := n.write(sites.Change{ID: 2, Document: documentOf("b", 2)}, 0)
	if took := time.Since(start); !errors.Is(err, sites.ErrUnavailable) || took > 8*time.Second {
		t.Errorf("%v after %s", err, took)
	}
	n.network.frozen.Store(false)
	n.network.cut()
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err = n.write(sites.Change{ID: 2, Document: documentOf("b", 2)}, 0); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
