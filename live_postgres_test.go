//go:build unix

package caddyiis_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/jackc/pgx/v5"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/internal/testpg"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites/postgres"
)

// farmNode is a Caddy with sites in PostgreSQL.
type farmNode struct {
	*live
	engine     *testpg.Server
	connection string
}

// startFarmNode runs PostgreSQL, makes the schema and runs a Caddy.
func startFarmNode(t *testing.T, settings string) *farmNode {
	t.Helper()
	n := newFarmNode(t, testpg.Start(t), "sites", settings)
	n.Server = ts.Start(t, n.config(""))
	return n
}

// newFarmNode makes a database with the schema, and a Caddy that does not run yet.
func newFarmNode(t *testing.T, engine *testpg.Server, database, settings string) *farmNode {
	t.Helper()
	n := &farmNode{engine: engine, connection: engine.Database(database)}
	if _, err := postgres.Init(t.Context(), n.connection); err != nil {
		t.Fatal(err)
	}
	n.live = &live{t: t, plain: ts.FreePort(t), secure: ts.FreePort(t), file: filepath.Join(t.TempDir(), "unused")}
	certs := certificates(t, "wild.test", "other.test")
	n.config = func(extra string) string {
		return iisConfig(certs + fmt.Sprintf(`
			sites_from postgres %s {
				%s
			}
			template page {
				respond "{iis.site.id} {iis.site.name}"
			}
			defaults {
				respond "default {iis.site.id}"
			}
			site 1 Configured {
				server_bindings :%d:configured.test
				respond configured
			}
			endpoint *:%d {
				certificate wild.test
			}
			%s
		`, n.connection, settings, n.plain, n.secure, extra))
	}
	return n
}

// scalar reads one value by SQL.
func (n *farmNode) scalar(query string) (value string) {
	n.t.Helper()
	conn, err := pgx.Connect(n.t.Context(), n.connection)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.QueryRow(n.t.Context(), query).Scan(&value); err != nil {
		n.t.Fatal(query, err)
	}
	return value
}

// sql writes as a panel does.
func (n *farmNode) sql(format string, args ...any) {
	n.t.Helper()
	n.engine.Exec(n.connection, fmt.Sprintf(format, args...))
}

// insert is the statement that writes a site.
func insert(id int, document string) string {
	return fmt.Sprintf(`insert into iis.site (id, doc) values (%d, '%s') on conflict (id) do update set doc = excluded.doc;`, id, strings.ReplaceAll(document, "'", "''"))
}

// source is what the API says of the source.
func (n *farmNode) source() (s adminapi.Source) {
	n.t.Helper()
	var page adminapi.Page[adminapi.Source]
	if status := n.ask("GET", "sources", "", &page); status != 200 || len(page.Items) != 1 {
		n.t.Fatalf("%d %+v", status, page)
	}
	return page.Items[0]
}

// settled waits until all that is written is judged.
func (n *farmNode) settled() adminapi.Source {
	n.t.Helper()
	var s adminapi.Source
	eventually(n.t, "all is judged", 10*time.Second, func() bool {
		s = n.source()
		return s.Open == 0 && s.Up != nil && *s.Up
	})
	return s
}

// written waits until a revision is served, and is judged.
func (n *farmNode) reaches(revision uint64) {
	n.t.Helper()
	s := n.source()
	n.want(200, "GET", fmt.Sprintf("sites?limit=1&revision=%s:%d&wait=20s", s.ID, revision), "")
	n.settled()
}

// TestPostgresSites: sites come by the API and by plain SQL, and those that contradict
// others are refused without anybody else noticing.
func TestPostgresSites(t *testing.T) {
	n := startFarmNode(t, "")
	created := n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	if created.Source != "postgres" || !strings.HasSuffix(created.Revision, ":1") || created.Mark == "" {
		t.Errorf("%+v", created)
	}
	n.serves("a.test", "default 10")
	n.sql("%s", insert(20, n.site("B", "b.test"))+insert(30, n.site("C", "a.test"))+insert(31, `{"template":"nowhere"}`)+insert(100032, `{"new_field":1}`))
	n.reaches(2)
	n.serves("b.test", "default 20")
	n.serves("a.test", "default 10")
	var refused adminapi.Site
	if status := n.ask("GET", "sites/30", "", &refused); status != 200 || refused.State != adminapi.StateRefused || refused.Refusal == nil || refused.Refusal.Other != 10 || !refused.Open {
		t.Errorf("%d %+v", status, refused)
	}
	n.listsRefused()
	if finding(n.t, n.Server, "site-refused", "site 30") == nil {
		t.Errorf("the findings are %+v", findings(t, n.Server))
	}
	if s := n.source(); s.Refused != 3 || s.HeldBack != 0 || s.From != "engine" || s.Sites != 5 {
		t.Errorf("%+v", s)
	}
	// What is refused as it is written serves as it was before.
	n.sql("%s", insert(20, n.site("B", "a.test")))
	n.reaches(4)
	n.serves("b.test", "default 20")
	var both adminapi.Page[adminapi.Site]
	n.ask("GET", "sites?refused=1&state=started", "", &both)
	if len(both.Items) != 1 || both.Items[0].ID != 20 || both.Items[0].State != adminapi.StateStarted || len(both.Items[0].Bindings) == 0 ||
		!strings.Contains(string(both.Items[0].Accepted), "b.test") || !strings.Contains(string(both.Items[0].Wanted), "a.test") {
		t.Errorf("%+v", both)
	}
	// Its rival goes: the first that wanted it has it, by itself.
	n.want(204, "DELETE", "sites/10", "")
	eventually(t, "site 30 is accepted", 10*time.Second, func() bool {
		var s adminapi.Site
		return n.ask("GET", "sites/30", "", &s) == 200 && !s.Open
	})
	n.serves("a.test", "default 30")
	n.serves("b.test", "default 20")
	e := n.refused(409, "PUT", "sites/40", n.site("D", "a.test"), "a.test")
	if e.Other == nil || e.Other.ID != 30 || e.Other.Source != "postgres" {
		t.Errorf("%+v", e)
	}
	n.refused(409, "PUT", "sites/1", n.site("D", "d.test"), "one of the configuration")
	// An exchange in one transaction.
	n.want(204, "DELETE", "sites/20", "")
	n.want(201, "PUT", "sites/20", n.site("B", "b.test"))
	n.sql("begin; %s %s commit", insert(20, n.site("B", "a.test")), insert(30, n.site("C", "b.test")))
	eventually(t, "both are accepted", 10*time.Second, func() bool {
		var s adminapi.Site
		return n.ask("GET", "sites/20", "", &s) == 200 && !s.Open && strings.Contains(string(s.Document), "a.test")
	})
	eventually(t, "both serve", 10*time.Second, func() bool { return n.body("a.test") == "default 20" && n.body("b.test") == "default 30" })
	// A restart and a load know the same.
	if err := n.Load(n.config("template other {\n respond other\n}")); err != nil {
		t.Fatal(err)
	}
	n.serves("a.test", "default 20")
	if err := n.Restart(n.config("")); err != nil {
		t.Fatal(err)
	}
	n.serves("a.test", "default 20")
	n.serves("b.test", "default 30")
	n.sql("truncate iis.site")
	eventually(t, "all are gone", 10*time.Second, func() bool { return n.source().Sites == 0 })
	n.serves("a.test", "")
}

// listsRefused looks at the list of rows that are refused: 30 contradicts 10, and nobody
// understands 31 and 100032, a number that no port has.
func (n *farmNode) listsRefused() {
	n.t.Helper()
	for query, want := range map[string]string{
		"":               "30 31 100032",
		"&limit=2":       "30 31",
		"&after=30":      "31 100032",
		"&q=NOWHERE":     "31",
		"&q=100032":      "100032",
		"&source=":       "",
		"&host=a.test":   "30",
		"&host=b.test":   "",
		"&findings=info": "30 31 100032",
	} {
		var list adminapi.Page[adminapi.Site]
		if status := n.ask("GET", "sites?refused=1"+query, "", &list); status != 200 {
			n.t.Errorf("%s: %d", query, status)
		}
		var ids []string
		for _, s := range list.Items {
			ids = append(ids, fmt.Sprint(s.ID))
			if s.Refusal == nil || s.Refusal.Message == "" || !s.Open || s.State != adminapi.StateRefused || len(s.Wanted) == 0 || s.Accepted != nil || s.ETag == "" {
				n.t.Errorf("%s: %+v", query, s)
			}
		}
		if got := strings.Join(ids, " "); got != want {
			n.t.Errorf("%s: %s, expected %s", query, got, want)
		}
	}
	for _, query := range []string{"refused=yes", "refused=1&source=other"} {
		if status := n.ask("GET", "sites?"+query, "", new(json.RawMessage)); status != 400 {
			n.t.Errorf("%s: %d", query, status)
		}
	}
}

// TestPostgresConditions: conditions and keys hold as with bolt.
func TestPostgresConditions(t *testing.T) {
	n := startFarmNode(t, "")
	first := n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	n.sql("%s", insert(10, n.site("AA", "a.test")))
	eventually(t, "it is accepted", 10*time.Second, func() bool { return n.settled().Revision == 3 })
	n.refused(412, "PATCH", "sites/10", `{"name":"x"}`, "revision 2", "If-Match", first.ETag)
	var shown adminapi.Site
	n.ask("GET", "sites/10", "", &shown)
	n.want(200, "PATCH", "sites/10", `{"template":"page"}`, "If-Match", shown.ETag)
	n.serves("a.test", "10 AA")
	if e := n.refused(422, "PUT", "sites/11", `{"name":"a\u0000"}`, "U+0000"); e.ID != 11 {
		t.Errorf("%+v", e)
	}
	posted := n.want(201, "POST", "sites", n.site("P", "p.test"), "Idempotency-Key", "k1")
	again := n.want(201, "POST", "sites", n.site("P", "p.test"), "Idempotency-Key", "k1")
	if posted.ETag != etagAt(posted.Revision, n.site("P", "p.test")) || !reflect.DeepEqual(again, posted) {
		t.Errorf("%+v, then %+v", posted, again)
	}
	n.refused(422, "POST", "sites", n.site("Q", "q.test"), "stands for another request", "Idempotency-Key", "k1")
	for _, key := range []string{strings.Repeat("k", 256), "k\xff"} { // which the database would not take, or not always
		n.refused(400, "POST", "sites", n.site("Q", "q.test"), "255 characters", "Idempotency-Key", key)
	}
	n.want(200, "PUT", "sites/50?dry_run=1", n.site("D", "d.test"))
	if s := n.source(); s.Sites != 2 || s.Revision != 5 {
		t.Errorf("%+v", s)
	}
	n.want(200, "POST", "revisions/4/revert", "")
	n.serves("a.test", "default 10")
	// What was refused is written again: that is an answer, too.
	n.sql("%s", insert(60, n.site("X", "p.test")))
	n.reaches(8)
	n.refused(409, "PUT", "sites/60", n.site("X", "p.test"), "p.test")
	n.refused(422, "PUT", "sites/61", `{"name":"\u0000","server_bindings":[]}`, "")
	n.want(200, "GET", fmt.Sprintf("sites?revision=%s:8&wait=0s", n.source().ID), "")
	if status := n.ask("GET", fmt.Sprintf("sites?revision=%s:99&wait=50ms", n.source().ID), "", new(json.RawMessage)); status != 503 {
		t.Errorf("a revision that is not there: %d", status)
	}
}

// TestPostgresSizes: a document is measured as the database does, whatever is in it: what is too
// large is refused before anything is written, and what a dry run takes is written.
func TestPostgresSizes(t *testing.T) {
	n := startFarmNode(t, "")
	document := func(size int) string {
		const odd = `,: \" \\ é 😀 & < \t \u0001`
		site := fmt.Sprintf(`{"name":"%s","server_bindings":[":%d:large.test"]}`, odd, n.plain)
		return strings.Replace(site, odd, odd+strings.Repeat("x", size-3-len(site)), 1) // 3 spaces are printed
	}
	n.want(200, "PUT", "sites/10?dry_run=1", document(65_536))
	n.want(201, "PUT", "sites/10", document(65_536))
	if size := n.scalar("select octet_length(doc::text)::text from iis.site"); size != "65536" {
		t.Errorf("the largest document has %s bytes", size)
	}
	for _, query := range []string{"?dry_run=1", ""} {
		n.refused(413, "PUT", "sites/11"+query, document(65_537), "it has 65537 bytes with a space behind each comma and colon, and 65536 are allowed")
		n.refused(413, "POST", "sites"+query, document(65_537), "65536 are allowed")
		n.refused(413, "POST", "changes"+query, fmt.Sprintf(`[{"op":"put","id":11,"site":%s}]`, document(65_537)), "65536 are allowed")
		n.refused(413, "PATCH", "sites/10"+query, `{"template":"page"}`, "65536 are allowed")
		n.refused(422, "PUT", "sites/11"+query, `{"a":0.`+strings.Repeat("0", 20_000)+`1}`, "a number has 20003 characters")
	}
	if s := n.source(); s.Sites != 1 || s.Revision != 1 {
		t.Errorf("%+v", s)
	}
	n.plainly("large.test", "default 10")
}

// TestPostgresAway: the engine dies, and everything serves; changes are refused in time,
// and work again when it is back.
func TestPostgresAway(t *testing.T) {
	n := startFarmNode(t, "")
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	n.engine.Kill()
	start := time.Now()
	n.refused(503, "PUT", "sites/11", n.site("B", "b.test"), "")
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("a change is refused after %s", took)
	}
	n.serves("a.test", "default 10")
	eventually(t, "it is away", 20*time.Second, func() bool { s := n.source(); return s.Up != nil && !*s.Up && s.Error != "" })
	for _, row := range []statusRow{
		{503, "the database is away", "PUT", "sites/11", n.site("B", "b.test"), nil, []string{"Retry-After"}, `"unavailable"`},
		{503, "the database is away", "DELETE", "sites/10", "", nil, []string{"Retry-After"}, `"unavailable"`},
		{503, "what was missed is in the database", "GET", "events", "", []string{"Last-Event-ID", "x:1"}, []string{"Retry-After"}, "not done"},
		{503, "the log is in the database", "GET", "revisions", "", nil, []string{"Retry-After"}, "not done"},
		{200, "what is served is in memory", "GET", "sites/10", "", nil, []string{"ETag"}, `"document":`},
		{200, "what is served is in memory", "GET", "export", "", nil, nil, `"id":10`},
	} {
		n.check(&row)
	}
	if err := n.Load(n.config("template other {\n respond other\n}")); err != nil {
		t.Fatal(err)
	}
	n.serves("a.test", "default 10")
	n.engine.Run()
	n.sql("%s", insert(11, n.site("B", "b.test")))
	n.reaches(2)
	n.serves("b.test", "default 11")
	n.want(201, "PUT", "sites/12", n.site("C", "c.test"))
	for text, want := range map[string]int{"database of sites is away": 1, "database of sites is reached again": 1} {
		if count := strings.Count(ts.Logs.String(), text); count != want {
			t.Errorf("%q is %d times in the log", text, count)
		}
	}
}

// TestPostgresMetricsGo: counters go with a site that others delete.
func TestPostgresMetricsGo(t *testing.T) {
	n := startFarmNode(t, "")
	if err := n.Load(n.config("metrics")); err != nil {
		t.Fatal(err)
	}
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	n.serves("a.test", "default 10")
	const name = "caddy_iis_response_bytes_total"
	eventually(t, "it counts", 10*time.Second, func() bool { return metric(t, n.Server, name, `site="10"`) != "" })
	n.sql("delete from iis.site where id = 10")
	eventually(t, "the counters have gone", 10*time.Second, func() bool {
		return metric(t, n.Server, name, `site="10"`) == "" && metric(t, n.Server, "caddy_iis_requests_total", `site="10"`) == ""
	})
}

// TestPostgresStrangeRows: what panels write that is no site is refused, each by itself,
// and can be put right by the API.
func TestPostgresStrangeRows(t *testing.T) {
	n := startFarmNode(t, "")
	n.sql(`set max_stack_depth = '7MB'; insert into iis.site (id, doc) values (10, ('{"name": ' || repeat('[', 10500) || repeat(']', 10500) || '}')::jsonb)`)
	strange := []string{
		`{"server_bindings": 5}`, `{"server_bindings": [":80:\\u0007.test"]}`, `{"server_bindings": [":99999:a.test"]}`, `{"name": {"a": 1e400}}`,
		`{"vars": {"x": "{env.HOME}"}}`, `{"routes": [{}]}`, `{"certificate": "nowhere", "secure_bindings": [":443:x.test"]}`, `{"NAME": "x", "name": "y", "Template": "page"}`,
	}
	for i, document := range strange {
		n.sql("%s", insert(11+i, document))
	}
	n.sql("%s", insert(4294967295, n.site("Last", "a.test")))
	eventually(t, "all is judged", 20*time.Second, func() bool { s := n.source(); return s.Open == 0 && s.Sites == len(strange)+2 })
	n.serves("a.test", "default 4294967295")
	for id := 10; id < 11+len(strange); id++ {
		var site adminapi.Site
		if status := n.ask("GET", fmt.Sprint("sites/", id), "", &site); status != 200 || site.State != adminapi.StateRefused || site.Refusal == nil || site.Refusal.Message == "" {
			t.Errorf("%d %+v", status, site)
		}
	}
	n.want(200, "PUT", "sites/10", n.site("Right", "b.test"))
	n.serves("b.test", "default 10")
	if err := n.Restart(n.config("")); err != nil {
		t.Fatal(err)
	}
	n.serves("b.test", "default 10")
	if s := n.source(); s.Refused != len(strange) {
		t.Errorf("%+v", s)
	}
}

// TestPostgresExport: an export has what is accepted, says what is not, and serves the same
// from a file.
func TestPostgresExport(t *testing.T) {
	n := startFarmNode(t, "")
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	n.want(201, "PUT", "sites/20", n.site("B", "b.test"))
	n.sql("%s", insert(20, n.site("B", "a.test"))+insert(30, n.site("C", "a.test")))
	n.sql(`set max_stack_depth = '7MB'; insert into iis.site (id, doc) values (31, ('{"name": ' || repeat('[', 10500) || repeat(']', 10500) || '}')::jsonb)`)
	eventually(t, "all is judged", 20*time.Second, func() bool { s := n.source(); return s.Open == 0 && s.Refused == 3 })
	for _, args := range [][]string{nil, {"--source", "postgres"}} {
		out, errOut := n.run(0, append([]string{"sites", "export"}, args...)...)
		if strings.Count(out, "\n") != 2 || !strings.Contains(out, `{"id":10,`) || !strings.Contains(out, `{"id":20,`) || strings.Count(errOut, "\n") != 3 {
			t.Errorf("got %q, %q", out, errOut)
		}
		for _, want := range []string{
			"site 20 of postgres is refused, and what it was before is exported: ", "site 30 of postgres is refused, and it is not exported: ",
			"site 31 of postgres is refused, and it is not exported: ",
		} {
			if !strings.Contains(errOut, want) {
				t.Errorf("%q is missing in %q", want, errOut)
			}
		}
	}
	revisions := n.lines("export?revisions=1")
	for _, id := range []int{10, 20, 30, 31} {
		var site adminapi.Site
		n.ask("GET", fmt.Sprint("sites/", id), "", &site)
		if line := fmt.Sprintf("{\"id\":%d,\"revision\":%d,\"etag\":%q}\n", id, site.Revision, site.ETag); site.ETag == "" || !strings.Contains(revisions, line) {
			t.Errorf("%s is missing in %s", line, revisions)
		}
	}
	exported, _ := n.run(0, "sites", "export")
	file := filepath.Join(t.TempDir(), "sites.jsonl")
	if err := os.WriteFile(file, []byte(exported), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Restart(strings.Replace(n.config(""), "postgres "+n.connection, fmt.Sprintf("bolt %q", n.file), 1)); err != nil {
		t.Fatal(err)
	}
	n.serves("a.test", "")
	if out, _ := n.run(0, "sites", "import", file); out != "2 sites, of which 2 were new or different\n" {
		t.Errorf("got %q", out)
	}
	n.serves("a.test", "default 10")
	n.serves("b.test", "default 20")
	if again, errOut := n.run(0, "sites", "export"); again != exported || errOut != "" {
		t.Errorf("got %q, %q, before %q", again, errOut, exported)
	}
}

// TestPostgresFormat: a schema of a newer version is told of, and what was served is
// served on.
func TestPostgresFormat(t *testing.T) {
	n := startFarmNode(t, "")
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	n.sql("update iis.head set format = 2; select pg_notify('iis', '')")
	eventually(t, "it is told of", 20*time.Second, func() bool {
		s := n.source()
		return !*s.Up && strings.Contains(s.Error, "format 2")
	})
	n.refused(503, "PUT", "sites/11", n.site("B", "b.test"), "format 2")
	n.serves("a.test", "default 10")
	if err := n.Restart(n.config("")); err != nil {
		t.Fatal(err)
	}
	n.serves("a.test", "default 10")
	n.sql("update iis.head set format = 1")
	eventually(t, "it is reached", 40*time.Second, func() bool { return *n.source().Up })
}

// TestPostgresReadOnly: a role that may only read is enough to serve.
func TestPostgresReadOnly(t *testing.T) {
	n := startFarmNode(t, "")
	n.sql("create role reader login; grant usage on schema iis to reader; grant select on all tables in schema iis to reader; %s", insert(10, n.site("A", "a.test")))
	eventually(t, "it is accepted", 10*time.Second, func() bool { return n.settled().Revision == 2 })
	n.connection = strings.Replace(n.connection, "admin@", "reader@", 1)
	if err := n.Load(n.config("")); err != nil {
		t.Fatal(err)
	}
	n.serves("a.test", "default 10")
	if s := n.source(); s.Writable {
		t.Errorf("%+v", s)
	}
	n.refused(405, "PUT", "sites/11", n.site("B", "b.test"), "read only")
}

// TestPostgresOtherDatabase: a database that has lost most of its sites is asked about.
func TestPostgresOtherDatabase(t *testing.T) {
	n := startFarmNode(t, "")
	var all strings.Builder
	for i := range 20 {
		all.WriteString(insert(100+i, n.site("S", fmt.Sprintf("s%d.test", i))))
	}
	n.sql("%s", all.String())
	eventually(t, "all are accepted", 10*time.Second, func() bool { return n.settled().Revision == 2 })
	eventually(t, "they are in its copy", 20*time.Second, func() bool { return n.source().SnapshotRevision == 2 })
	n.sql(`begin; delete from iis.site where id > 105; update iis.head set source = gen_random_uuid(); commit`)
	noticed := func() bool { return n.hasFinding("sites-source-changed") }
	eventually(t, "it is noticed", 20*time.Second, noticed)
	if err := n.Restart(n.config("")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is noticed after a start", 20*time.Second, noticed)
	n.refused(503, "GET", "ready?fresh=1", "", "from the local copy")
	next := n.events("")
	next()
	n.serves("s19.test", "default 119")
	n.refused(503, "PUT", "sites/11", n.site("B", "b.test"), "14 sites would go")
	if out, _ := n.run(0, "sites", "accept"); out != "postgres is served as it is: 14 sites are gone\n" {
		t.Errorf("got %q", out)
	}
	if out, _ := n.run(0, "sites", "accept", "--source", "postgres"); !strings.Contains(out, "nothing to accept") {
		t.Errorf("got %q", out)
	}
	if got := next(); !strings.Contains(got, "event: reset") {
		t.Errorf("readers of events get %q", got)
	}
	n.run(1, "sites", "accept", "--source", "none")
	n.serves("s19.test", "")
	n.serves("s1.test", "default 101")
	n.want(201, "PUT", "sites/11", n.site("B", "b.test"))
}

// TestPostgresEvents: a reader is told of each revision when it is served, also of those that
// come together.
func TestPostgresEvents(t *testing.T) {
	n := startFarmNode(t, "")
	next := n.events("")
	if got := next(); got != ": from 0" {
		t.Fatalf("got %q", got)
	}
	for i := range 30 {
		n.sql("%s", insert(100+i, n.site("S", fmt.Sprintf("s%d.test", i))))
	}
	served := n.settled().Revision
	if served < 30 {
		t.Fatalf("revision %d", served)
	}
	for revision := uint64(1); revision <= served; revision++ {
		got := next()
		if strings.HasPrefix(got, ": alive") {
			revision--
		} else if mark := n.scalar(fmt.Sprint("select mark::text from iis.revision where rev = ", revision)); !strings.HasPrefix(got, fmt.Sprintf("id: %s:%d:%s|", n.source().ID, revision, mark)) {
			t.Fatalf("%q comes in place of revision %d, %s", got, revision, mark)
		}
	}
}

// TestPostgresVerdictsTold: a verdict about what somebody has written with SQL is told as one, by
// the log, by the command and to readers of events.
func TestPostgresVerdictsTold(t *testing.T) {
	n := startFarmNode(t, "")
	next := n.events("")
	if got := next(); got != ": from 0" {
		t.Fatalf("got %q", got)
	}
	told := func() string {
		t.Helper()
		for {
			if got := next(); !strings.HasPrefix(got, ": alive") {
				return got
			}
		}
	}
	var want []string
	wait := func(kinds ...string) {
		t.Helper()
		for _, kind := range kinds {
			if got := told(); !strings.Contains(got, fmt.Sprintf(`"changes":[{"id":10,"kind":%q}]`, kind)) {
				t.Errorf("got %q, want %s", got, kind)
			}
			want = append([]string{kind + " 10"}, want...)
		}
	}
	n.sql("%s", insert(10, n.site("A", "a.test")))
	wait("added", "accepted")
	n.sql("%s", insert(10, `{"template":"nowhere"}`))
	wait("changed", "refused")
	n.want(200, "PUT", "sites/10", n.site("B", "b.test"))
	wait("changed")
	n.sql("delete from iis.site")
	wait("removed")
	n.sql("%s", insert(10, `{"template":"nowhere"}`))
	wait("added", "refused")
	n.sql("%s", insert(10, `{"template":"elsewhere"}`))
	wait("changed", "refused")            // it was there, whatever was said of it
	n.want(204, "DELETE", "sites/10", "") // of which nothing was ever accepted
	wait("removed")
	out, _ := n.run(0, "sites", "log")
	lines := strings.Split(strings.TrimSpace(out), "\n")[1:]
	if len(lines) != len(want) {
		t.Fatalf("got %q", out)
	}
	for i, line := range lines {
		if !strings.HasSuffix(strings.TrimSpace(line), want[i]) {
			t.Errorf("got %q, want %s", line, want[i])
		}
	}
	var page adminapi.Page[adminapi.Revision]
	if n.ask("GET", "revisions", "", &page); page.Items[len(want)-2].Changes[0].Verdict != adminapi.EventAccepted || page.Items[len(want)-1].Changes[0].Verdict != "" {
		t.Errorf("got %+v", page.Items)
	}
}

// TestPostgresInit: the command makes the schema, or prints it.
func TestPostgresInit(t *testing.T) {
	engine := testpg.Start(t)
	connection := engine.Database("sites")
	command := func(code int, args ...string) string {
		t.Helper()
		var out, errOut bytes.Buffer
		if got := caddyiis.RunCommand(&out, &errOut, append([]string{"sites", "init"}, args...)...); got != code {
			t.Fatalf("%q: exit code %d, want %d: %s%s", args, got, code, &out, &errOut)
		}
		return out.String() + errOut.String()
	}
	if out := command(0, "postgres", connection); !strings.Contains(out, "is made") {
		t.Errorf("got %q", out)
	}
	if out := command(0, "postgres", connection); !strings.Contains(out, "is there") {
		t.Errorf("got %q", out)
	}
	if out := command(0, "postgres", "--print"); out != postgres.Schema() {
		t.Errorf("got %q", out)
	}
	engine.Exec(engine.Database("printed"), command(0, "postgres", "--print"))
	command(2, "postgres")
	command(2, "mysql", connection)
	if out := command(1, "postgres", strings.Replace(connection, "admin@", "admin:secret@", 1)+"&port=1"); strings.Contains(out, "secret") {
		t.Errorf("got %q", out)
	}
}

// TestPostgresSnapshot: a start without the engine serves what was served before, and
// tells that it is not fresh.
func TestPostgresSnapshot(t *testing.T) {
	n := startFarmNode(t, "")
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	n.sql("%s", insert(11, n.site("B", "a.test")))
	n.reaches(3)
	n.engine.Kill()
	start := time.Now()
	if err := n.Restart(n.config("")); err != nil {
		t.Fatal(err)
	}
	n.serves("a.test", "default 10")
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it serves after %s", took)
	}
	if s := n.source(); s.From != "snapshot" || s.Revision != 3 || s.Refused != 1 || s.SnapshotAge == nil || s.ContactAge != nil || *s.Up {
		t.Errorf("%+v", s)
	}
	if resp, err := http.Get("http://" + n.AdminAddr() + "/iis/ready?fresh=1"); err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("503 without Retry-After: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	if usual, fresh := n.ask("GET", "ready", "", nil), n.ask("GET", "ready?fresh=1", "", nil); usual != 200 || fresh != 503 {
		t.Errorf("ready: %d, fresh: %d", usual, fresh)
	}
	n.refused(503, "PUT", "sites/12", n.site("C", "c.test"), "")
	eventually(t, "that it is away is a finding", 20*time.Second, func() bool { return n.hasFinding("sites-source-away") })
	if !strings.Contains(n.metrics(), `caddy_iis_source_up{source="postgres"} 0`) || !strings.Contains(n.metrics(), `caddy_iis_source_snapshot_age_seconds{source="postgres"}`) {
		t.Error(n.metrics())
	}
	n.engine.Run()
	n.sql("delete from iis.site where id = 10")
	eventually(t, "site 11 is accepted", 40*time.Second, func() bool {
		var s adminapi.Site
		return n.ask("GET", "sites/11", "", &s) == 200 && !s.Open
	})
	n.serves("a.test", "default 11")
	if s := n.source(); s.From != "engine" || s.Error != "" || s.ContactAge == nil {
		t.Errorf("%+v", s)
	}
	if fresh := n.ask("GET", "ready?fresh=1", "", nil); fresh != 200 {
		t.Errorf("fresh: %d", fresh)
	}
	if n.hasFinding("sites-source-away") || !strings.Contains(n.metrics(), `caddy_iis_source_up{source="postgres"} 1`) {
		t.Error("it is still away")
	}
	// A copy that is damaged is told of, and no reason not to start.
	files, err := filepath.Glob(filepath.Join(caddy.AppDataDir(), "iis", "sites", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.WriteFile(file, []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Load(n.config("")); err != nil {
		t.Fatal(err)
	}
	n.serves("a.test", "default 11")
	if !n.hasFinding("sites-snapshot") {
		t.Error("the damage is no finding")
	}
}

// TestPostgresStartAsks: a start on a database that has lost most of its sites asks as
// well, and the next load answers.
func TestPostgresStartAsks(t *testing.T) {
	n := startFarmNode(t, "")
	// So many that the database has answered before the start is over.
	n.sql(`insert into iis.site (id, doc) select 100 + g, replace('%s', 'HOST', 's' || g || '.test')::jsonb from generate_series(0, 2999) g`, n.site("S", "HOST"))
	n.reaches(2)
	for range 3 {
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		n.sql("delete from iis.site where id > 101; update iis.head set source = gen_random_uuid()")
		if err := n.Load(n.config("")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is asked", 10*time.Second, func() bool { return n.hasFinding("sites-source-changed") })
		n.serves("s2999.test", "default 3099")
	}
	if err := n.Load(n.config("")); err != nil {
		t.Fatal(err)
	}
	if s := n.source(); s.Sites != 2 || n.hasFinding("sites-source-changed") {
		t.Errorf("%+v", s)
	}
}

// TestPostgresTwice: one database under two names is refused, before either refuses the
// sites of the other.
func TestPostgresTwice(t *testing.T) {
	n := startFarmNode(t, "")
	n.sql("create role other login in role iis_node")
	again := fmt.Sprintf("sites_from postgres %s {\nname again\n}", strings.Replace(n.connection, "admin@", "other@", 1))
	if err := n.Load(n.config(again)); err == nil || !strings.Contains(err.Error(), "postgres and again are the same database") {
		t.Errorf("a load: %v", err)
	}
	if err := n.Restart(n.config(again)); err == nil || !strings.Contains(err.Error(), "postgres and again are the same database") {
		t.Errorf("a start: %v", err)
	}
	if err := n.Load(n.config("")); err != nil {
		t.Fatal(err)
	}
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
}

// TestPostgresLoadsLeaveNothing: loads with the source, with other settings of it, without
// it, and such as are refused leave no connection and no goroutine.
func TestPostgresLoadsLeaveNothing(t *testing.T) {
	n := startFarmNode(t, "")
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	connections := func() (count string) {
		out, err := exec.Command(filepath.Join(needs.Postgres(t), "psql"), n.connection, "-XAtc", "select count(*) from pg_stat_activity where application_name = 'caddy-iis'").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	usual := n.config("")
	quiet := strings.Replace(usual, "sites_from postgres "+n.connection+" {", "sites_from postgres "+n.connection+" {\nnotify off", 1)
	without := strings.Replace(usual, "sites_from postgres "+n.connection+" {\n\t\t\t\t\n\t\t\t}", "", 1)
	if quiet == usual || without == usual {
		t.Fatal(usual)
	}
	round := func() {
		t.Helper()
		for _, config := range []string{usual, quiet, without, usual} {
			if err := n.Load(config); err != nil {
				t.Fatal(err)
			}
			if config == without {
				eventually(t, "no connection is left", 10*time.Second, func() bool { return connections() == "0" })
				continue
			}
			n.serves("a.test", "default 10")
		}
		if err := n.Load(n.config("site 10 Mine {\nserver_bindings :80:mine.test\n}")); err == nil {
			t.Fatal("a load that takes a site away is not refused")
		}
		n.want(200, "PUT", "sites/10", n.site("A", "a.test"))
	}
	round()
	goroutines := runtime.NumGoroutine()
	for range 5 {
		round()
	}
	eventually(t, "no goroutine is left", 20*time.Second, func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	if count := connections(); count != "1" && count != "2" { // one that follows, and one that writes
		t.Errorf("%s connections", count)
	}
}

// hasFinding reports whether there is a finding with a code.
func (n *farmNode) hasFinding(code string) bool {
	n.t.Helper()
	var page adminapi.Page[adminapi.Finding]
	n.ask("GET", "check?limit=1000", "", &page)
	return slices.ContainsFunc(page.Items, func(f adminapi.Finding) bool { return f.Code == code })
}

// metrics are those of the admin endpoint.
func (n *farmNode) metrics() string {
	n.t.Helper()
	_, text := n.Admin("GET", "/metrics", "")
	return text
}

// TestPostgresFirstStart: a start without the engine serves the rest, and follows; a
// load does not take a source of which nothing is known.
func TestPostgresFirstStart(t *testing.T) {
	n := startFarmNode(t, "")
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	n.engine.Kill()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(caddy.AppDataDir(), "iis", "sites")); err != nil {
		t.Fatal(err)
	}
	if err := n.Load(n.config("")); err != nil {
		t.Fatal(err)
	}
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", n.plain), Host: "configured.test", Plain: true})
	if err != nil || answer.Body != "configured" {
		t.Errorf("%v, %v", answer, err)
	}
	if status := n.ask("GET", "ready", "", nil); status != 503 {
		t.Errorf("it is ready: %d", status)
	}
	for _, path := range []string{"export", "events", "revisions"} { // an empty answer would look like all there is
		n.check(&statusRow{503, "nothing is known of the table", "GET", path, "", nil, []string{"Retry-After"}, "not"})
	}
	n.engine.Run()
	eventually(t, "it follows", 40*time.Second, func() bool { return n.ask("GET", "ready", "", nil) == 200 })
	n.serves("a.test", "default 10")
	good := n.connection
	n.connection = strings.Replace(good, "/sites", "/nothing", 1)
	if err := n.Load(n.config("")); err == nil || !strings.Contains(err.Error(), "was not reached yet") {
		t.Errorf("a load with a database that is not there: %v", err)
	}
	n.connection = good
	n.serves("a.test", "default 10")
}

// TestPostgresSocketHolds: what others write waits for a socket with the bindings that need
// it, and with no others; the document before that had none of them does not come back.
func TestPostgresSocketHolds(t *testing.T) {
	n := startFarmNode(t, "")
	port := ts.FreePort(t)
	busy, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		t.Fatal(err)
	}
	allow := fmt.Sprintf("%s {\nallow {\nports %d %d %d\n}", n.connection, n.plain, n.secure, port)
	if err := n.Load(strings.Replace(n.config(""), n.connection+" {", allow, 1)); err != nil {
		t.Fatal(err)
	}
	n.sql("%s", insert(10, n.site("A", "before.test"))+insert(11, n.site("B", "b.test")))
	n.reaches(2)
	n.sql("%s", insert(10, fmt.Sprintf(`{"server_bindings":[":%d:a.test",":%d:a.test"]}`, n.plain, port))+insert(12, n.site("C", "c.test")))
	eventually(t, "a binding is held back", 10*time.Second, func() bool { return n.source().HeldBack == 1 })
	n.plainly("a.test", "default 10")
	n.serves("before.test", "")
	n.serves("b.test", "default 11")
	n.serves("c.test", "default 12")
	n.refused(409, "PUT", "sites/20", fmt.Sprintf(`{"server_bindings":[":%d:a.test"]}`, port), "held back")
	n.sql("%s", insert(13, fmt.Sprintf(`{"server_bindings":[":%d:d.test"]}`, port)))
	eventually(t, "a site is held back", 10*time.Second, func() bool { return n.source().HeldBack == 2 })
	if err := busy.Close(); err != nil {
		t.Fatal(err)
	}
	for host, body := range map[string]string{"a.test": "default 10", "d.test": "default 13"} {
		eventually(t, host+" serves", 30*time.Second, func() bool {
			answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: host, Plain: true})
			return err == nil && answer.Body == body
		})
	}
	if s := n.source(); s.HeldBack != 0 {
		t.Errorf("%+v", s)
	}
}

// TestPostgresHeldBackAfter: a site that was accepted by a node which can show it, and that
// this node serves as it was before, is not said to be served.
func TestPostgresHeldBackAfter(t *testing.T) {
	n := startFarmNode(t, "")
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	after := n.site("A", "a.test", `"template":"elsewhere"`)
	n.sql("begin; %s update iis.site set ok = rev, good = null, refusal = null where id = 10; commit", insert(10, after))
	n.reaches(2)
	n.serves("a.test", "default 10")
	got := n.want(202, "PUT", "sites/10?wait=10ms", after)
	if got.Serves || len(got.Findings) != 1 || !strings.Contains(got.Findings[0].Message, "elsewhere") {
		t.Errorf("got %+v", got)
	}
	if got := n.want(200, "PUT", "sites/10", n.site("A", "a.test")); !got.Serves {
		t.Errorf("got %+v", got)
	}
}

// TestPostgresRefusedPages: pages of refused rows have each once, also where two sources
// have the same id.
func TestPostgresRefusedPages(t *testing.T) {
	n := startFarmNode(t, "")
	second := n.engine.Database("second")
	if _, err := postgres.Init(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if err := n.Load(strings.Replace(n.config(""), "sites_from postgres", fmt.Sprintf("sites_from postgres %s {\nname second\n}\nsites_from postgres", second), 1)); err != nil {
		t.Fatal(err)
	}
	for _, connection := range []string{n.connection, second} {
		n.engine.Exec(connection, insert(10, `{"template":"none"}`)+insert(11, `{"template":"none"}`))
	}
	query := "sites?refused=1&limit=1"
	var page adminapi.Page[adminapi.Site]
	eventually(t, "all are refused", 10*time.Second, func() bool { return n.ask("GET", query, "", &page) == 200 && page.Total == 4 })
	var got []string
	for next := "start"; next != ""; next = page.Next {
		page = adminapi.Page[adminapi.Site]{}
		if n.ask("GET", query, "", &page); len(page.Items) != 1 || len(got) > 4 {
			t.Fatalf("%s: %+v after %q", query, page, got)
		}
		got = append(got, fmt.Sprint(page.Items[0].ID, " ", page.Items[0].Source))
		query = "sites?refused=1&limit=1&after=" + page.Next
	}
	if want := []string{"10 second", "10 postgres", "11 second", "11 postgres"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPostgresLeftOut: what others write is accepted though a binding has no certificate
// here, which is left out alone.
func TestPostgresLeftOut(t *testing.T) {
	n := startFarmNode(t, "")
	named := fmt.Sprintf("site 2 Named {\nbinding https *:%d:named.test {\nsni\ncertificate other.test\n}\nrespond named\n}\n", n.secure)
	if err := n.Load(n.replaceEndpoint(named)); err != nil {
		t.Fatal(err)
	}
	n.sql("%s", insert(10, n.site("A", "a.test")))
	eventually(t, "it is accepted", 10*time.Second, func() bool { s := n.settled(); return s.Revision == 2 && s.Refused == 0 && s.HeldBack == 1 })
	n.plainly("a.test", "default 10")
	if got := n.leftOut(); !slices.Equal(got, []uint32{10}) {
		t.Errorf("findings about %v", got)
	}
	if err := n.Load(n.config("")); err != nil {
		t.Fatal(err)
	}
	n.serves("a.test", "default 10")
}

// TestPostgresGiverGoes: what TestLiveGiverGoes says holds for deletions by SQL.
func TestPostgresGiverGoes(t *testing.T) {
	n := startFarmNode(t, "")
	n.giverGoes(clientAuthentication(t), func() { n.sql("delete from iis.site where id = 10") })
}
