//go:build linux

package caddyiis_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/needs"
	"github.com/caddy-iis/caddy-iis/internal/testpg"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// failure is a line of the failure matrix of live sites: what dies, when, and the tests of
// what happens then.
type failure struct {
	dies, when string
	page       string // its line of the table in docs/farm.md
	run        func(t *testing.T, engine *testpg.Server)
	by         []string // tests that are elsewhere: folder and name
}

var failures = []failure{
	{"node", "before commit was sent", "a node in the middle of a change", nodeDiesBeforeCommit, nil},
	{"node", "before commit was sent, with its machine", "a node in the middle of a change", machineDiesBeforeCommit, nil},
	{"node", "after commit was sent", "a node in the middle of a change", nodeDiesAfterCommit, nil},
	{"node", "at rest", "a node", nodeDiesAtRest, nil},
	{"node", "in a judgement", "a node that judges, or writes its copy", nodeDiesInJudgement, nil},
	{"node", "in a snapshot", "a node that judges, or writes its copy", nodeDiesInSnapshot, []string{"sites/postgres TestSnapshotDamage", "sites/postgres TestSnapshotShared"}},
	{"engine", "at rest", "the database", nil, []string{". TestPostgresAway", ". TestPostgresSnapshot", ". TestPostgresFirstStart", "internal/livemodel TestFrozen", "internal/e2e TestSitesEngineDies"}},
	{"engine", "in a commit", "the database in the middle of a change", engineDiesInCommit, []string{"sites/postgres TestSettle"}},
	{"engine", "in a judgement", "the database", engineDiesInJudgement, nil},
	{"engine, commits lost", "restore", "the database, with a fail-over that lost commits, or a restore", commitsAreLost, []string{". TestPostgresOtherDatabase", ". TestPostgresStartAsks", "sites/postgres TestCommitLasts"}},
	{"engine", "its standby", "the synchronous standby of the database", nil, []string{". TestPostgresStandby", "sites/postgres TestStandbyAway", "sites/postgres TestPrimaryRestarts"}},
	{"network", "of one node", "the network of one node", nodeIsAlone, nil},
	{"listener connection", "it is cut", "the connection on which a node listens", listenerIsCut, []string{"sites/postgres TestFollow"}},
	{"listener connection", "notifications are lost", "the connection on which a node listens", notificationsAreLost, nil},
	{"panel", "with an open transaction", "a panel with an open transaction", panelStaysOpen, []string{"sites/postgres TestLock"}},
	{"all nodes that may write", "at any time", "all nodes that may write", nobodyMayWrite, []string{". TestPostgresReadOnly"}},
	{"disk full", "of the engine", "the disk of the database", engineDiskIsFull, nil},
	{"disk full", "of a node", "the disk of a node", nodeDiskIsFull, nil},
	{"disk full", "of bolt", "", boltDiskIsFull, nil},
	{"bolt process", "kill -9", "", nil, []string{". TestLiveKill", ". TestCertificatesKill"}},
}

// TestFailures runs the failure matrix, and looks for the tests of those lines that others
// run.
func TestFailures(t *testing.T) {
	engine := testpg.Start(t)
	for _, f := range failures {
		t.Run(f.dies+" "+f.when, func(t *testing.T) {
			for _, test := range f.by {
				folder, name, _ := strings.Cut(test, " ")
				if !hasTest(t, folder, name) {
					t.Errorf("there is no %s in %s", name, folder)
				}
			}
			if f.run != nil {
				f.run(t, engine)
			}
		})
	}
}

// hasTest reports whether a package has a test.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "\nfunc "+name+"(t *testing.T) {\n")
	})
}

// TestFailuresAsDocumented: what docs/farm.md says of what dies is tested, and all of it
// is said there.
func TestFailuresAsDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/farm.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## What happens when something dies\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var lines, tested []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(table, -1)[1:] {
		lines = append(lines, m[1])
	}
	for _, f := range failures {
		if f.page != "" && !slices.Contains(tested, f.page) {
			tested = append(tested, f.page)
		}
	}
	slices.Sort(lines)
	slices.Sort(tested)
	if !slices.Equal(lines, tested) {
		t.Errorf("the page has\n%q, tested are\n%q", lines, tested)
	}
}

// simple is the document of a site with an http binding, which both nodes can serve.
func (n *farmNode) simple(host string) string {
	return fmt.Sprintf(`{"name":%q,"server_bindings":[":%d:%s"]}`, host, n.plain, host)
}

// gets waits until a host gets a body over http. A node may be about to reach its database
// again, which it tries each half a minute.
func (n *farmNode) gets(host, body string) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("%s: %q", host, body), time.Minute, func() bool { return gets(at("127.0.0.1", n.plain), host, body) })
}

// hasSite waits until this node knows a site. It does not end the test.
func (n *farmNode) hasSite(id int) {
	for range 1000 {
		if status, _, err := n.TryAdmin("GET", fmt.Sprint("/iis/sites/", id), ""); err == nil && status == 200 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A node is killed, and its transaction is taken back: others write at once, and whoever
// repeats the request succeeds.
func nodeDiesBeforeCommit(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	died := o.atCommit(func(func()) { o.kill() })
	if status, answer, err := o.ask("PUT", "sites/10", n.simple("a.test")); err == nil {
		t.Fatalf("it is dead, and answers %d %s", status, answer)
	}
	<-died
	start := time.Now()
	if got := n.want(201, "PUT", "sites/11", n.simple("b.test")); !strings.HasSuffix(got.Revision, ":1") {
		t.Errorf("%+v", got)
	}
	if took := time.Since(start); took > 25*time.Second { // less than a transaction may be idle
		t.Errorf("the lock is free after %s", took)
	}
	n.want(404, "GET", "sites/10", "")
	o.start()
	o.want(201, "PUT", "sites/10", n.simple("a.test"))
	o.serves("a.test", "default 10")
	n.gets("a.test", "default 10")
}

// The machine of a node is gone, and nobody ends its connection: the engine does.
func machineDiesBeforeCommit(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	holds, gone := make(chan struct{}), make(chan struct{})
	o.atCommit(func(func()) { close(holds); <-gone })
	answered := make(chan int, 1)
	go func() {
		status, _, _ := o.ask("PUT", "sites/10", n.simple("a.test"))
		answered <- status
	}()
	<-holds
	if status := n.ask("PUT", "sites/11", n.simple("b.test"), new(adminapi.WriteError)); status != 503 {
		t.Errorf("%d while another node holds the lock", status)
	}
	n.gets("configured.test", "configured")
	eventually(t, "the lock is free", 3*time.Minute, func() bool {
		return n.ask("PUT", "sites/11", n.simple("b.test"), new(adminapi.Written)) == 201
	})
	n.want(404, "GET", "sites/10", "")
	close(gone)
	if status := <-answered; status != 503 && status != 504 {
		t.Errorf("the node answers %d", status)
	}
}

// A node is killed when its change is made, and nobody has heard of that: it is there, on
// all nodes, and who repeats the request is told so.
func nodeDiesAfterCommit(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	died := o.atCommit(func(send func()) {
		o.mute.Store(true)
		send()
		n.hasSite(10)
		o.kill()
	})
	if status, answer, err := o.ask("PUT", "sites/10", n.simple("a.test")); err == nil {
		t.Fatalf("it is dead, and answers %d %s", status, answer)
	}
	<-died
	n.gets("a.test", "default 10")
	o.mute.Store(false)
	o.start()
	o.want(200, "PUT", "sites/10", n.simple("a.test"))
	o.serves("a.test", "default 10")
	if got := n.scalar("select rev::text from iis.head"); got != "1" {
		t.Errorf("revision %s", got)
	}
}

// A node is killed and started again while the engine cannot be reached: it serves what
// its copy has, and reads what it has missed when it can.
func nodeDiesAtRest(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	n.want(201, "PUT", "sites/10", n.simple("a.test"))
	eventually(t, "it has a copy", 20*time.Second, func() bool { return o.source().SnapshotRevision == 1 })
	o.kill()
	n.want(201, "PUT", "sites/11", n.simple("b.test"))
	o.cut(true)
	o.start()
	o.serves("a.test", "default 10")
	o.serves("b.test", "")
	if s := o.source(); s.From != "snapshot" || s.Revision != 1 {
		t.Errorf("%+v", s)
	}
	o.want(200, "GET", "ready", "")
	o.want(503, "GET", "ready?fresh=1", "")
	o.cut(false)
	eventually(t, "it has read what it has missed", 40*time.Second, func() bool { s := o.source(); return s.From == "engine" && s.Revision == 2 })
	o.serves("b.test", "default 11")
	o.want(200, "GET", "ready?fresh=1", "")
}

// The node that judges is killed while it does: another one judges.
func nodeDiesInJudgement(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	died := o.atCommit(func(func()) { o.kill() })
	n.sql("%s", insert(10, n.simple("a.test"))+insert(11, n.simple("a.test")))
	select {
	case <-died:
	case <-time.After(time.Minute):
		t.Fatal("it does not judge")
	}
	eventually(t, "another node judges", 25*time.Second, func() bool { s := n.source(); return s.Revision == 2 && s.Open == 0 && s.Refused == 1 }) // less than a transaction may be idle
	n.gets("a.test", "default 10")
	o.start()
	o.serves("a.test", "default 10")
}

// A node is killed while it writes its copy: the one before stands, whole.
func nodeDiesInSnapshot(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	n.sql(`insert into iis.site (id, doc) select 100 + g, replace('%s', 'HOST', 'h' || g || '.test')::jsonb from generate_series(1, 20000) g`, n.simple("HOST"))
	eventually(t, "there is a copy", 3*time.Minute, func() bool { s := o.source(); return s.Revision == 2 && s.SnapshotRevision == 2 })
	for try := 0; ; try++ {
		o.kill()
		o.start() // what was written a moment ago keeps no copy from being made now
		n.want(map[bool]int{true: 201, false: 200}[try == 0], "PUT", "sites/10", fmt.Sprintf(`{"name":"%d","server_bindings":[":%d:a.test"]}`, try, n.plain))
		var begun []string
		for deadline := time.Now().Add(20 * time.Second); len(begun) == 0 && time.Now().Before(deadline); {
			begun = o.copies("*.jsonl.*")
			time.Sleep(200 * time.Microsecond)
		}
		o.kill()
		if len(o.copies("*.jsonl.*")) > 0 {
			break
		}
		if try == 10 {
			t.Fatal("it was always faster")
		}
	}
	o.cut(true)
	o.start()
	o.serves("h1.test", "default 101")
	o.serves("h20000.test", "default 20100")
	if s := o.source(); s.From != "snapshot" || s.Sites < 20000 {
		t.Errorf("%+v", s)
	}
	if _, found, err := o.ask("GET", "check", ""); err != nil || strings.Contains(found, "sites-snapshot") {
		t.Errorf("%s, %v", found, err)
	}
	o.cut(false)
	eventually(t, "it catches up", 40*time.Second, func() bool { return o.source().Revision == n.source().Revision })
	o.serves("a.test", "default 10")
}

// The engine dies while a change commits. If it is back in time, it is known whether the
// change is made; else it is not.
func engineDiesInCommit(t *testing.T, _ *testpg.Server) {
	engine := testpg.Start(t) // a small one, which is back soon
	n, o := twoNodes(t, engine)
	killed := o.atCommit(func(func()) {
		engine.Kill()
		engine.Run()
		o.cut(false)
	})
	start := time.Now()
	status, answer, err := o.ask("PUT", "sites/10", n.simple("a.test"))
	if took := time.Since(start); err != nil || status != 503 && (status != 504 || took < 10*time.Second) {
		t.Errorf("%d %s, %v after %s", status, answer, err, took)
	}
	<-killed
	n.want(404, "GET", "sites/10", "")
	eventually(t, "it is reached again", 40*time.Second, func() bool { return *n.source().Up && *o.source().Up })
	cut := o.atCommit(func(send func()) {
		o.mute.Store(true)
		send()
		n.hasSite(10)
		o.cut(false)
		o.mute.Store(false)
	})
	o.want(201, "PUT", "sites/10", n.simple("a.test"))
	<-cut
	o.serves("a.test", "default 10")
	eventually(t, "it is reached again", 40*time.Second, func() bool { return *o.source().Up })
	killed = o.atCommit(func(func()) {
		engine.Kill()
		o.cut(true)
	})
	start = time.Now()
	status, answer, err = o.ask("PUT", "sites/11", n.simple("b.test"))
	if took := time.Since(start); status != 504 || err != nil || !strings.Contains(answer, `"unknown"`) || took > 20*time.Second {
		t.Errorf("%d %s, %v after %s", status, answer, err, took)
	}
	<-killed
	o.serves("a.test", "default 10")
	engine.Run()
	o.cut(false)
	eventually(t, "what was unknown is repeated", 40*time.Second, func() bool {
		status, _, err := o.ask("PUT", "sites/11", n.simple("b.test"))
		return err == nil && status == 201
	})
	n.gets("b.test", "default 11")
}

// TestPostgresUnknown: the answers of a change of which nobody knows whether it is made.
func TestPostgresUnknown(t *testing.T) {
	engine := testpg.Start(t)
	n, w := newFarmNode(t, engine, "sites", ""), startWire(t, engine.Port())
	n.Server = ts.Start(t, strings.Replace(n.config(""), n.connection, w.through(n.connection), 1))
	n.want(201, "PUT", "sites/10", n.simple("a.test"))
	for _, row := range []statusRow{
		{504, "the database goes away", "PUT", "sites/11", n.simple("b.test"), nil, nil, `"code":"unknown"`},
		{504, "the database goes away", "POST", "changes", `[{"op":"delete","id":10}]`, []string{"Idempotency-Key", "k"}, nil, `"code":"unknown"`},
	} {
		w.atCommit(func(func()) { w.cut(true) })
		n.check(&row)
		n.gets("a.test", "default 10")
		w.cut(false)
		eventually(t, "changes are made again", 30*time.Second, func() bool { return n.ask("PUT", "sites/10", n.simple("a.test"), nil) == 200 })
	}
	n.want(404, "GET", "sites/11", "")
}

// TestPostgresStandby: the answers to requests that are repeated, while the synchronous
// standby is away and when it is back.
func TestPostgresStandby(t *testing.T) {
	engine := testpg.Start(t)
	engine.Synchronous("other")
	stop := engine.Standby("other")
	n := newFarmNode(t, engine, "sites", "")
	n.Server = ts.Start(t, n.config(""))
	key := []string{"Idempotency-Key", "k"}
	n.want(201, "PUT", "sites/10", n.simple("a.test"))
	n.want(201, "POST", "sites", n.simple("b.test"), key...)
	n.want(204, "DELETE", "sites/10", "")
	for _, row := range []statusRow{
		{200, "it is as it was", "PUT", "sites/11", n.simple("b.test"), nil, []string{"ETag"}, `"serves":true`},
		{201, "it was made before", "POST", "sites", n.simple("b.test"), key, []string{"ETag", "Location"}, `"serves":true`},
		{404, "it was deleted before", "DELETE", "sites/10", "", nil, nil, `"code":"not-found"`},
	} {
		stop()
		n.check(&statusRow{504, "the standby is away", row.method, row.path, row.body, row.headers, nil, `"code":"unknown"`})
		n.gets("b.test", "default 11")
		stop = engine.Standby("other")
		n.check(&row)
	}
}

// TestPostgresSilent: an engine that takes requests and answers nothing holds up neither the
// changes that wait for it, however many, nor a load of the configuration.
func TestPostgresSilent(t *testing.T) {
	n := newFarmNode(t, testpg.Start(t), "sites", "")
	w := startWire(t, n.engine.Port())
	n.connection = w.through(n.connection)
	n.Server = ts.Start(t, n.config(""))
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	w.mute.Store(true)
	const writers, most = 50, 45 * time.Second
	start := time.Now()
	statuses := make(chan int, writers)
	for i := range writers {
		body := n.site("B", fmt.Sprintf("b%d.test", i))
		go func() { statuses <- n.ask("PUT", fmt.Sprint("sites/", 20+i), body, nil) }()
	}
	if err := n.Load(n.config("template other {\n respond other\n}")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > most {
		t.Errorf("a load takes %s", took)
	}
	for range writers {
		if status := <-statuses; status != 503 {
			t.Errorf("status %d", status)
		}
	}
	if took := time.Since(start); took > most {
		t.Errorf("the last change is refused after %s", took)
	}
	eventually(t, "it is away", time.Minute, func() bool { return !*n.source().Up })
	start = time.Now()
	n.check(&statusRow{503, "the database is away", "PUT", "sites/11", n.site("B", "b.test"), nil, []string{"Retry-After"}, `"unavailable"`})
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("a change is refused after %s", took)
	}
	w.mute.Store(false)
	w.cut(false)
	eventually(t, "changes are made again", 30*time.Second, func() bool { return n.ask("PUT", "sites/11", n.site("B", "b.test"), nil) == 201 })
}

// The engine dies while rows are judged: they are judged when it is back.
func engineDiesInJudgement(t *testing.T, _ *testpg.Server) {
	engine := testpg.Start(t)
	n, o := twoNodes(t, engine)
	killed := o.atCommit(func(func()) { engine.Kill() })
	n.sql("%s", insert(10, n.simple("a.test")))
	<-killed
	n.gets("configured.test", "configured")
	engine.Run()
	eventually(t, "it is judged", time.Minute, func() bool { s := n.source(); return *s.Up && s.Revision == 2 && s.Open == 0 })
	n.gets("a.test", "default 10")
	o.serves("a.test", "default 10")
}

// The engine comes back from a backup: the numbers of revisions come again, and nodes
// notice by their marks. Who has read what is lost overwrites nothing that is there under the
// same number, and is told to read anew.
func commitsAreLost(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	other := at("127.0.0.1", o.admin)
	n.want(201, "PUT", "sites/10", n.simple("a.test"))
	n.sql(`create schema backup; create table backup.head as select * from iis.head; create table backup.site as select * from iis.site;
		create table backup.revision as select * from iis.revision; create table backup.change as select * from iis.change`)
	lost := n.want(200, "POST", "changes", fmt.Sprintf(`[{"op":"put","id":11,"site":%s},{"op":"patch","id":10,"site":{"name":"lost"}}]`, n.simple("b.test")))
	var read, now adminapi.Site
	n.ask("GET", "sites/10", "", &read)
	o.serves("b.test", "default 11")
	lostID := lost.Revision + ":" + lost.Mark
	next := eventsAt(t, other, lostID)
	if got := next(); got != ": from 2" {
		t.Errorf("got %q", got)
	}
	o.cut(true)
	n.sql(`begin; set local session_replication_role = replica; truncate iis.site, iis.revision, iis.change; delete from iis.head;
		insert into iis.head select * from backup.head; insert into iis.site select * from backup.site;
		insert into iis.revision select * from backup.revision; insert into iis.change select * from backup.change; commit; %s %s`,
		insert(10, strings.Replace(n.simple("a.test"), "a.test", "kept", 1)), insert(12, n.simple("c.test")))
	n.gets("c.test", "default 12")
	n.gets("b.test", "")
	n.want(201, "PUT", "sites/13", n.simple("d.test"))
	o.cut(false) // its head becomes a higher one, of another past
	o.serves("d.test", "default 13")
	o.serves("b.test", "")
	n.gets("a.test", "default 10")
	var page adminapi.Page[adminapi.Site]
	if n.ask("GET", "sites?revision="+lost.Revision+"&wait=10s&source=postgres", "", &page); page.Mark == lost.Mark {
		t.Errorf("revision %s has the mark that was lost: %+v", lost.Revision, page)
	}

	n.ask("GET", "sites/10", "", &now)
	if now.Revision != 2 || now.Revision != read.Revision || now.ETag == read.ETag {
		t.Errorf("revision %d, %s, comes again as %d, %s", read.Revision, read.ETag, now.Revision, now.ETag)
	}
	patch := func(etag string) string {
		return fmt.Sprintf(`[{"op":"patch","id":10,"site":{"name":"overwritten"},"if_match":%q}]`, etag)
	}
	if e := n.refused(412, "PATCH", "sites/10", `{"name":"overwritten"}`, "somebody has changed it", "If-Match", read.ETag); e.ETag != now.ETag {
		t.Errorf("the refusal tells %s, and it is at %s", e.ETag, now.ETag)
	}
	eventually(t, "the other node refuses it, too", 20*time.Second, func() bool { // its connections were cut: 503 until it has new ones
		status, _, err := o.ask("POST", "changes", patch(read.ETag))
		return err == nil && status == 412
	})
	o.want(200, "POST", "changes?dry_run=1", patch(now.ETag))
	n.want(200, "PATCH", "sites/10", `{"name":"overwritten"}`, "If-Match", now.ETag)

	got := next()
	for strings.HasPrefix(got, ": alive") {
		got = next()
	}
	for _, first := range []string{got, eventsAt(t, other, lostID)(), n.events(lostID)()} {
		if !strings.Contains(first, "|event: reset|") {
			t.Errorf("who has read what is lost gets %q", first)
		}
	}
	if got := n.events(lost.Revision + ":" + n.scalar("select mark::text from iis.revision where rev = 2"))(); got != ": from 2" {
		t.Errorf("who has read what is there gets %q", got)
	}
}

// The network of a node fails: there the engine is away, and nowhere else.
func nodeIsAlone(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	n.want(201, "PUT", "sites/10", n.simple("a.test"))
	o.serves("a.test", "default 10")
	o.cut(true)
	n.want(201, "PUT", "sites/11", n.simple("b.test"))
	n.gets("b.test", "default 11")
	o.want(503, "PUT", "sites/12", n.simple("c.test"))
	o.serves("a.test", "default 10")
	o.serves("b.test", "")
	if up := o.metric("caddy_iis_source_up"); up != "0" {
		t.Errorf("up is %q", up)
	}
	if !*n.source().Up {
		t.Errorf("%+v", n.source())
	}
	o.cut(false)
	o.serves("b.test", "default 11")
	if up, lag := o.metric("caddy_iis_source_up"), o.metric("caddy_iis_source_lag_seconds"); up != "1" || lag != "0" {
		t.Errorf("up is %q, lag %q", up, lag)
	}
}

// The connection is cut on which nodes listen, and what is written in that moment is there
// in time.
func listenerIsCut(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	for i := range 3 {
		n.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'caddy-iis' and datname = current_database()")
		n.sql("%s", insert(10+i, n.simple(fmt.Sprintf("h%d.test", i))))
		n.gets(fmt.Sprintf("h%d.test", i), fmt.Sprint("default ", 10+i))
		o.serves(fmt.Sprintf("h%d.test", i), fmt.Sprint("default ", 10+i))
	}
}

// Notifications do not arrive: the table is asked each five seconds.
func notificationsAreLost(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	o.deaf.Store(true)
	for i := range 2 {
		n.want(201, "PUT", fmt.Sprint("sites/", 10+i), n.simple(fmt.Sprintf("h%d.test", i)))
		start := time.Now()
		o.serves(fmt.Sprintf("h%d.test", i), fmt.Sprint("default ", 10+i))
		if took := time.Since(start); took > 8*time.Second {
			t.Errorf("it is served after %s", took)
		}
	}
}

// A panel leaves a transaction open: nobody else can write until the engine ends it, and
// everybody serves and reads.
func panelStaysOpen(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	n.want(201, "PUT", "sites/10", n.simple("a.test"))
	panel, err := pgx.Connect(t.Context(), n.connection)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = panel.Close(context.Background()) }()
	if _, err := panel.Exec(t.Context(), "set idle_in_transaction_session_timeout = '8s'; begin; "+insert(11, n.simple("b.test"))); err != nil {
		t.Fatal(err)
	}
	n.refused(503, "PUT", "sites/12", n.simple("c.test"), "somebody else is writing")
	o.want(503, "DELETE", "sites/10", "")
	n.want(200, "GET", "sites/10", "")
	n.gets("a.test", "default 10")
	o.serves("a.test", "default 10")
	eventually(t, "the engine ends it", 30*time.Second, func() bool {
		return n.ask("PUT", "sites/12", n.simple("c.test"), nil) == 201
	})
	n.want(404, "GET", "sites/11", "")
}

// Only nodes are left that may read: what panels write waits, and what was served is.
func nobodyMayWrite(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	n.want(201, "PUT", "sites/10", n.simple("a.test"))
	n.want(201, "PUT", "sites/11", n.simple("b.test"))
	o.kill()
	n.sql("drop role if exists looker")
	n.sql("create role looker login; grant usage on schema iis to looker; grant select on all tables in schema iis to looker")
	reads := strings.Replace(n.config("listen 127.0.0.1"), "admin@", "looker@", 1)
	if err := n.Load(reads); err != nil {
		t.Fatal(err)
	}
	n.sql("%s", insert(10, n.simple("new.test"))+insert(12, n.simple("c.test"))+"delete from iis.site where id = 11;")
	n.gets("b.test", "") // it follows
	n.gets("a.test", "default 10")
	n.gets("new.test", "")
	n.gets("c.test", "")
	if s := n.source(); s.Open != 2 || s.Writable {
		t.Errorf("%+v", s)
	}
	n.refused(405, "PUT", "sites/12", n.simple("c.test"), "read only")
	o.start()
	n.gets("new.test", "default 10")
	n.gets("c.test", "default 12")
	n.gets("a.test", "")
	if err := n.Load(n.config("listen 127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	n.sql("drop owned by looker; drop role looker")
}

// noise is a document that cannot be compressed.
func (n *farmNode) noise(host string, size int) string {
	text := make([]byte, size)
	for i := range text {
		text[i] = byte('a' + rand.IntN(26))
	}
	return fmt.Sprintf(`{"name":%q,"server_bindings":[":%d:%s"]}`, text, n.plain, host)
}

// The disk of the engine is full: changes are refused, and all serve on.
func engineDiskIsFull(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	n.want(201, "PUT", "sites/10", n.simple("a.test"))
	disk, err := os.MkdirTemp("", "disk-") //nolint:usetesting // readable for the engine
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(disk) })
	needs.SmallDisk(t, disk, 1<<20)
	testpg.Give(t, disk)
	n.sql("create tablespace small location '%s'", disk)
	n.sql("alter table iis.site set tablespace small")
	full := 0
	for id := 11; id < 60 && full == 0; id++ {
		switch status := n.ask("PUT", fmt.Sprint("sites/", id), n.noise(fmt.Sprintf("h%d.test", id), 60_000), nil); status {
		case 201:
		case 503:
			full = id
		default:
			t.Fatalf("site %d: %d", id, status)
		}
	}
	n.refused(503, "PUT", fmt.Sprint("sites/", full), n.noise("x.test", 60_000), "No space left")
	n.gets("a.test", "default 10")
	n.gets(fmt.Sprintf("h%d.test", full), "")
	o.serves("h11.test", "default 11")
	n.sql("alter table iis.site set tablespace pg_default")
	n.sql("drop tablespace small")
	n.want(201, "PUT", fmt.Sprint("sites/", full), n.noise(fmt.Sprintf("h%d.test", full), 60_000))
	o.serves(fmt.Sprintf("h%d.test", full), fmt.Sprint("default ", full))
}

// The disk of a node is full: it has no copy, says so, and serves.
func nodeDiskIsFull(t *testing.T, engine *testpg.Server) {
	n, o := twoNodes(t, engine)
	o.kill()
	if err := os.MkdirAll(o.copiesIn(), 0o700); err != nil {
		t.Fatal(err)
	}
	needs.SmallDisk(t, o.copiesIn(), 64<<10)
	o.start()
	told := func() bool {
		_, found, err := o.ask("GET", "check", "")
		return err == nil && strings.Contains(found, `"sites-snapshot"`) && strings.Contains(found, "no space left")
	}
	for id := 10; id < 13; id++ {
		n.want(201, "PUT", fmt.Sprint("sites/", id), n.noise(fmt.Sprintf("h%d.test", id), 40_000))
	}
	eventually(t, "it is told of", 30*time.Second, told)
	o.serves("h12.test", "default 12")
	o.want(201, "PUT", "sites/13", n.simple("a.test"))
	if left := o.copies("*.jsonl.*"); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	for id := 10; id < 13; id++ {
		n.want(204, "DELETE", fmt.Sprint("sites/", id), "")
	}
	eventually(t, "there is room", 30*time.Second, func() bool { return !told() })
	o.serves("a.test", "default 13")
}

// The disk of bolt is full: changes are refused, and what is there serves on.
func boltDiskIsFull(t *testing.T, _ *testpg.Server) {
	l := startLive(t, "", "")
	disk := t.TempDir()
	needs.SmallDisk(t, disk, 1<<20)
	l.file = filepath.Join(disk, "sites.db")
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	document := func(id int) string {
		return fmt.Sprintf(`{"name":%q,"server_bindings":[":%d:h%d.test"]}`, strings.Repeat("x", 60_000), l.plain, id)
	}
	full := 0
	for id := 10; id < 100 && full == 0; id++ {
		if status := l.ask(http.MethodPut, fmt.Sprint("sites/", id), document(id), nil); status == 503 {
			full = id
		} else if status != 201 {
			t.Fatalf("site %d: %d", id, status)
		}
	}
	l.refused(503, "PUT", fmt.Sprint("sites/", full), document(full), "no space left")
	l.plainly("h10.test", "default 10")
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.plainly("h10.test", "default 10")
	l.want(404, "GET", fmt.Sprint("sites/", full), "")
}
