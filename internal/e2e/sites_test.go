//go:build linux

package e2e

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// How long the tests of sites in PostgreSQL are. The bars of the project are 100000
// sites, 1000 changes, 1000 pairs, 30s and 100000 writes.
var (
	sitesCount   = flag.Int("sites.count", 2000, "sites of the nodes")
	sitesChanges = flag.Int("sites.changes", 100, "changes that are timed, and that are made beside the death of PostgreSQL")
	sitesPairs   = flag.Int("sites.pairs", 50, "pairs of contradicting changes")
	sitesAway    = flag.Duration("sites.away", 4*time.Second, "how long PostgreSQL is away")
	sitesWrites  = flag.Int("sites.writes", 1500, "changes of eight writers")
)

// percentile of durations.
func percentile(list []time.Duration, p int) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[min(len(list)-1, len(list)*p/100)].Round(10 * time.Microsecond)
}

// bareNotify is how long a notification takes from one connection to another.
func (f *siteFarm) bareNotify(count int) (took []time.Duration) {
	f.t.Helper()
	ctx := f.t.Context()
	from, err := pgx.Connect(ctx, f.connection)
	if err != nil {
		f.t.Fatal(err)
	}
	defer from.Close(ctx)
	to, err := pgx.Connect(ctx, f.connection)
	if err != nil {
		f.t.Fatal(err)
	}
	defer to.Close(ctx)
	if _, err := to.Exec(ctx, "listen bare"); err != nil {
		f.t.Fatal(err)
	}
	for range count {
		start := time.Now()
		if _, err := from.Exec(ctx, "notify bare"); err != nil {
			f.t.Fatal(err)
		}
		if _, err := to.WaitForNotification(ctx); err != nil {
			f.t.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	return took
}

// TestSitesChangeOnTwoNodes: a change at one node is served by both a moment later.
func TestSitesChangeOnTwoNodes(t *testing.T) {
	f := startSiteFarm(t, 2)
	f.fill(*sitesCount)
	one, two := f.nodes[0], f.nodes[1]
	bare := f.bareNotify(*sitesChanges)
	used := []time.Duration{one.cpu(), two.cpu()}
	var took []time.Duration
	for i := range *sitesChanges {
		site := rand.IntN(*sitesCount) + 1
		host, name := fmt.Sprintf("s%d.test", site), fmt.Sprintf("change %d", i)
		start := time.Now()
		written := one.want("PUT", fmt.Sprintf("sites/%d", 1000+site), f.document(name, host))
		two.want("GET", "sites?limit=1&revision="+url.QueryEscape(written.Revision)+"&wait=10s", "")
		took = append(took, time.Since(start))
		for _, n := range f.nodes {
			if got, err := n.get(host); err != nil || got != name {
				t.Fatalf("%s serves %q, %v; want %q", n.address, got, err, name)
			}
		}
	}
	for i, n := range f.nodes {
		used[i] = (n.cpu() - used[i]) / time.Duration(*sitesChanges)
	}
	t.Logf("%d sites, %d changes: p50 %s, p99 %s; a bare notification p50 %s, p99 %s; processor time for each %s", *sitesCount, len(took),
		percentile(took, 50), percentile(took, 99), percentile(bare, 50), percentile(bare, 99), used)
	if limit := percentile(bare, 50) + 15*time.Millisecond; *bars && percentile(took, 50) > limit {
		t.Errorf("p50 is above %s", limit)
	}
}

// TestSitesContradict: of two changes that contradict each other, made at two nodes at
// once, one is made and the other refused.
func TestSitesContradict(t *testing.T) {
	f := startSiteFarm(t, 2)
	for i := range *sitesPairs {
		host := fmt.Sprintf("pair%d.test", i)
		var statuses [2]int
		var pair sync.WaitGroup
		for side, n := range f.nodes {
			pair.Go(func() {
				status, answer, err := n.ask("PUT", fmt.Sprintf("sites/%d", 1000+2*i+side), f.document(fmt.Sprint("by ", side), host))
				statuses[side] = status
				if err != nil || status != 201 && status != 409 {
					t.Errorf("%d: %d %s, %v", i, status, answer, err)
				}
			})
		}
		pair.Wait()
		if statuses[0] == statuses[1] {
			t.Errorf("pair %d: %v", i, statuses)
		}
	}
	f.agree(30 * time.Second)
	accepted := f.accepted()
	if len(accepted) != *sitesPairs {
		t.Errorf("%d sites of %d pairs", len(accepted), *sitesPairs)
	}
	for _, n := range f.nodes {
		if shown := n.shown(); !maps.Equal(shown, accepted) {
			t.Errorf("%s shows %d sites, and not what is accepted", n.address, len(shown))
		}
	}
}

// TestSitesEngineDies: PostgreSQL is killed under load and a node is started while it is
// away: no request fails, and nothing that was acknowledged is missing.
func TestSitesEngineDies(t *testing.T) {
	f := startSiteFarm(t, 2)
	f.fill(*sitesCount)
	stays, restarts := f.nodes[0], f.nodes[1]
	waitSaved(t, restarts)
	ctx, stop := context.WithCancel(t.Context())
	var load, writing sync.WaitGroup
	var requests, failed atomic.Int64
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				host := fmt.Sprintf("s%d.test", rand.IntN(*sitesCount)+1)
				if body, err := stays.get(host); err != nil || body == "" {
					failed.Add(1)
					t.Errorf("%s: %q, %v", host, body, err)
				}
				requests.Add(1)
				time.Sleep(time.Millisecond)
			}
		})
	}
	var mu sync.Mutex
	acknowledged := make(map[uint32]string)
	statuses := make(map[int]int)
	var next atomic.Int64
	for range 4 {
		writing.Go(func() {
			for ctx.Err() == nil {
				i := next.Add(1)
				id, name := uint32(500_000+i), fmt.Sprintf("written %d", i)
				status, _, err := stays.ask("PUT", fmt.Sprintf("sites/%d", id), f.document(name, fmt.Sprintf("w%d.test", i)))
				mu.Lock()
				statuses[status]++
				if err == nil && status < 300 {
					acknowledged[id] = name
				}
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	enough := func(count int) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
			mu.Lock()
			n := len(acknowledged)
			mu.Unlock()
			if n >= count {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d changes are acknowledged", n)
			}
		}
	}
	enough(*sitesChanges / 2)
	f.engine.Kill()
	died := time.Now()
	restarts.kill()
	start := time.Now()
	restarts.start()
	for i := range *sitesCount {
		host := fmt.Sprintf("s%d.test", i+1)
		if i%(1+*sitesCount/500) == 0 {
			if body, err := restarts.get(host); err != nil || body != "first" {
				t.Fatalf("started without PostgreSQL: %s: %q, %v", host, body, err)
			}
		}
	}
	began := time.Since(start)
	if source, err := restarts.source(); err != nil || source.From != "snapshot" || source.Sites < *sitesCount {
		t.Errorf("%+v, %v", source, err)
	}
	if *bars && began > 5*time.Second {
		t.Errorf("it serves after %s", began)
	}
	time.Sleep(time.Until(died.Add(*sitesAway))) // which is what is to be tested
	f.engine.Run()
	mu.Lock()
	before := len(acknowledged)
	mu.Unlock()
	enough(max(before+*sitesChanges/2, *sitesChanges))
	stop()
	load.Wait()
	writing.Wait()
	f.agree(time.Minute)
	accepted := f.accepted()
	missing := 0
	for id, name := range acknowledged {
		if accepted[id] != name {
			missing++
		}
	}
	t.Logf("%d sites; %d requests, %d failed; away for %s; the node that was started served after %s; %d changes acknowledged, %d missing; statuses %v",
		*sitesCount, requests.Load(), failed.Load(), *sitesAway, began.Round(time.Millisecond), len(acknowledged), missing, statuses)
	if missing > 0 {
		t.Errorf("%d acknowledged changes are missing", missing)
	}
	for _, n := range f.nodes {
		if shown := n.shown(); !maps.Equal(shown, accepted) {
			t.Errorf("%s shows %d sites, accepted are %d", n.address, len(shown), len(accepted))
		}
	}
	f.wholeLog()
}

// waitSaved waits until a node has a local copy of what it serves.
func waitSaved(t *testing.T, n *siteNode) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		// A first copy may be of before, and the next one comes ten seconds later.
		if s, err := n.source(); err == nil && s.SnapshotAge != nil && s.SnapshotRevision == s.Revision {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("there is no local copy")
		}
	}
}

// TestSitesWriters: eight writers, by SQL and by the API, of sites that contradict each
// other, while connections are cut: what all nodes serve is what the rows say.
func TestSitesWriters(t *testing.T) {
	f := startSiteFarm(t, 2)
	var left, cut atomic.Int64
	left.Store(int64(*sitesWrites))
	ctx, stop := context.WithCancel(t.Context())
	var writers, cutter sync.WaitGroup
	var mu sync.Mutex
	outcomes := make(map[string]int)
	note := func(what string) {
		mu.Lock()
		outcomes[what]++
		mu.Unlock()
	}
	for w := range 8 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 18))
			if w%2 == 0 {
				f.writeBySQL(random, &left, note)
			} else {
				f.writeByAPI(random, f.nodes[w/2%2], &left, note)
			}
		})
	}
	cutter.Go(func() {
		for ctx.Err() == nil {
			conn, err := pgx.Connect(ctx, f.connection)
			if err == nil {
				tag, err := conn.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity
					where datname = 'sites' and pid <> pg_backend_pid() order by random() limit 1`)
				if err == nil {
					cut.Add(tag.RowsAffected())
				}
				_ = conn.Close(context.Background())
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	writers.Wait()
	stop()
	cutter.Wait()
	f.agree(2 * time.Minute)
	head := f.wholeLog()
	accepted := f.accepted()
	t.Logf("%d changes by eight writers, %d connections cut, %d revisions, %d sites accepted: %v", *sitesWrites, cut.Load(), head, len(accepted), outcomes)
	for _, n := range f.nodes {
		if shown := n.shown(); !maps.Equal(shown, accepted) {
			t.Errorf("%s shows %d sites, and not what is accepted", n.address, len(shown))
		}
	}
	f.refusedStand()
}

// The sites and hosts for which the writers compete.
const (
	rivalSites = 60
	rivalHosts = 40
)

func (f *siteFarm) rival(random *rand.Rand, i int64) (id int, document string) {
	return 1000 + random.IntN(rivalSites), f.document(fmt.Sprintf("v%d", i), fmt.Sprintf("h%d.test", random.IntN(rivalHosts)))
}

func (f *siteFarm) writeByAPI(random *rand.Rand, n *siteNode, left *atomic.Int64, note func(string)) {
	for {
		i := left.Add(-1)
		if i < 0 {
			return
		}
		id, document := f.rival(random, i)
		method := "PUT"
		if random.IntN(5) == 0 {
			method, document = "DELETE", ""
		}
		status, answer, err := n.ask(method, fmt.Sprintf("sites/%d", id), document)
		note(fmt.Sprintf("%s %d", method, status))
		if err != nil || status >= 500 && status != 503 && status != 504 {
			f.t.Errorf("%s %d: %d %s, %v", method, id, status, answer, err)
		}
	}
}

func (f *siteFarm) writeBySQL(random *rand.Rand, left *atomic.Int64, note func(string)) {
	ctx := f.t.Context()
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.Background())
		}
	}()
	for {
		i := left.Add(-1)
		if i < 0 {
			return
		}
		if conn == nil || conn.IsClosed() {
			var err error
			if conn, err = pgx.Connect(ctx, f.connection); err != nil {
				note("sql not connected")
				conn = nil
				time.Sleep(10 * time.Millisecond)
				continue
			}
		}
		if _, err := conn.Exec(ctx, f.statements(random, i)); err != nil {
			note("sql error")
		} else {
			note("sql")
		}
	}
}

// statements are one transaction.
func (f *siteFarm) statements(random *rand.Rand, i int64) string {
	write := func() string {
		id, document := f.rival(random, i)
		return fmt.Sprintf("insert into iis.site (id, doc) values (%d, '%s') on conflict (id) do update set doc = excluded.doc;", id, document)
	}
	remove := func() string { return fmt.Sprintf("delete from iis.site where id = %d;", 1000+random.IntN(rivalSites)) }
	begin, end := "begin; select iis.write();", "commit;"
	switch random.IntN(10) {
	case 0, 1:
		return remove()
	case 2: // two sites exchange what they have
		a, b := 1000+random.IntN(rivalSites), 1000+random.IntN(rivalSites)
		return begin + fmt.Sprintf(`update iis.site s set doc = o.doc from iis.site o where s.id in (%d, %d) and o.id in (%[1]d, %[2]d) and s.id <> o.id;`, a, b) + end
	case 3: // taken back
		return begin + write() + remove() + "rollback;"
	case 4: // deleted and written again in one transaction
		return begin + remove() + write() + write() + end
	case 5:
		if random.IntN(20) == 0 {
			return begin + "create temporary table kept on commit drop as select id, doc from iis.site; truncate iis.site; insert into iis.site (id, doc) select * from kept;" + write() + end
		}
		return strings.Repeat(write(), 1)
	}
	return write()
}

// refusedStand checks that each refused row still contradicts what is accepted: one that
// does not would have been accepted.
func (f *siteFarm) refusedStand() {
	f.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, f.connection)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close(ctx)
	free := func() (count int) {
		err := conn.QueryRow(ctx, `select count(*) from iis.site s where ok <> rev and not exists (select from iis.served o
			where o.id <> s.id and o.doc->'server_bindings' = s.doc->'server_bindings')`).Scan(&count)
		if err != nil {
			f.t.Fatal(err)
		}
		return count
	}
	for deadline := time.Now().Add(20 * time.Second); free() > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("%d refused rows have no rival any more", free())
		}
	}
	f.agree(20 * time.Second)
}
