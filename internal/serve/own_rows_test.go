//go:build unix

package serve_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/caddy-iis/caddy-iis" // the app
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/internal/serve"
	"github.com/caddy-iis/caddy-iis/internal/testpg"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites/postgres"
)

// slow is a module that is not ready at once: routes with a word in them wait.
type slow struct {
	mu   sync.Mutex
	gate map[string]chan struct{}
	made map[string]int // how often routes with the word were to be made
}

// wait has routes with a word wait until the function that it returns is called.
func (s *slow) wait(word string) (open func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate[word], s.made[word] = gate, 0
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.gate, word)
		close(gate)
	})
}

func (s *slow) before(routes string) error {
	s.mu.Lock()
	var gate chan struct{}
	for word := range s.made {
		if strings.Contains(routes, word) {
			s.made[word]++
		}
	}
	for word, g := range s.gate {
		if strings.Contains(routes, word) {
			gate = g
		}
	}
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return nil
}

// asked tells how often routes with a word were to be made since they began to wait.
func (s *slow) asked(word string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made[word]
}

// farm is a node with rows in PostgreSQL that may have routes of their own, and others in
// a database of its own.
type farm struct {
	*ts.Server
	*slow
	t          *testing.T
	engine     *testpg.Server
	connection string
	port       int
	config     string
}

// startFarm starts it; a wildcard site has all hosts that nobody else has.
func startFarm(t *testing.T, maxSites int) *farm {
	t.Helper()
	f := &farm{slow: &slow{gate: make(map[string]chan struct{}), made: make(map[string]int)}, t: t, engine: testpg.Start(t), port: ts.FreePort(t)}
	t.Cleanup(serve.BeforeOwn(f.before))
	f.connection = f.engine.Database("sites")
	if _, err := postgres.Init(t.Context(), f.connection); err != nil {
		t.Fatal(err)
	}
	f.config = fmt.Sprintf(`{
		iis {
			sites_from postgres %s {
				allow_routes {
					modules http.handlers.static_response
					max_sites %d
				}
			}
			sites_from bolt %q
			template second {
				respond second
			}
			site 1 Wildcard {
				server_bindings :%d:*.test
				respond wildcard
			}
		}
	}`, f.connection, maxSites, filepath.Join(t.TempDir(), "sites.db"), f.port)
	f.Server = ts.Start(t, f.config)
	return f
}

// row is the document of a row with a template.
func (f *farm) row(host, template string) string {
	return fmt.Sprintf(`{"server_bindings":[":%d:%s"],"template":%q}`, f.port, host, template)
}

// own is the document of a row whose routes answer with a text.
func (f *farm) own(host, text string) string {
	return fmt.Sprintf(`{"server_bindings":[":%d:%s"],"routes":[{"handle":[{"handler":"static_response","body":%q}]}]}`, f.port, host, text)
}

func (f *farm) sql(format string, args ...any) {
	f.t.Helper()
	f.engine.Exec(f.connection, fmt.Sprintf(format, args...))
}

// insert writes a row that nobody has judged.
func insert(id int, document string) string {
	return fmt.Sprintf(`insert into iis.site (id, doc) values (%d, '%s') on conflict (id) do update set doc = excluded.doc;`, id, document)
}

// accepted writes a row as another node does that has accepted it.
func accepted(id int, document string) string {
	return "begin;" + insert(id, document) + fmt.Sprintf("update iis.site set ok = rev, good = null, refusal = null where id = %d; commit;", id)
}

// api asks the API.
func (f *farm) api(method, path, body string) (status int, answer string) {
	f.t.Helper()
	status, answer, err := f.TryAdmin(method, "/iis/"+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	return status, answer
}

// site is what the API says of a site.
func (f *farm) site(id int) (s adminapi.Site) {
	f.t.Helper()
	if status, answer := f.api(http.MethodGet, fmt.Sprint("sites/", id), ""); status == http.StatusOK {
		if err := json.Unmarshal([]byte(answer), &s); err != nil {
			f.t.Fatal(err)
		}
	}
	return s
}

// answer is what a host is answered with: the status alone, if it is not 200.
func (f *farm) answer(host string) string {
	answer, err := ts.Do(ts.Request{Addr: fmt.Sprint("127.0.0.1:", f.port), Host: host, Plain: true})
	switch {
	case err != nil:
		return err.Error()
	case answer.Status != http.StatusOK:
		return fmt.Sprint(answer.Status)
	}
	return answer.Body
}

func (f *farm) answers(host, want string) {
	f.t.Helper()
	if got := f.answer(host); got != want {
		f.t.Errorf("%s: %q, want %q", host, got, want)
	}
}

// until waits for a condition.
func (f *farm) until(what string, is func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: it does not come to that", what)
		}
	}
}

func (f *farm) comesTo(host, want string) {
	f.t.Helper()
	f.until(host+" is answered with "+want, func() bool { return f.answer(host) == want })
}

// TestRowsStayUntilDecided: until it is decided what comes of rows that have changed, which
// may take its time, all stays as it is: what was served, and what was held back, of which
// nobody else gets the requests. Then all of it is seen at once.
func TestRowsStayUntilDecided(t *testing.T) {
	f := startFarm(t, 10)
	f.sql("%s", accepted(10, f.row("held.test", "third"))+accepted(11, f.row("gone.test", "third"))+
		accepted(12, f.own("old.test", "old"))+accepted(13, f.row("leaves.test", "second")))
	f.comesTo("leaves.test", "second")
	f.answers("held.test", "503")
	f.answers("gone.test", "503")
	f.answers("old.test", "old")

	open := f.wait("gated")
	defer open()
	f.sql("begin; %s delete from iis.site where id in (11, 13); %s update iis.site set ok = rev, good = null where ok <> rev; commit;",
		insert(10, f.own("held.test", "gated"))+insert(12, f.own("old.test", "new")), insert(14, f.own("gone.test", "gated too"))+insert(15, f.row("leaves.test", "second")))
	f.until("routes are made", func() bool { return f.asked("gated") > 0 })

	var wrong atomic.Pointer[string]
	watch := func(host string, may ...string) {
		for deadline := time.Now().Add(time.Minute); ; {
			got := f.answer(host)
			if !slices.Contains(may, got) || time.Now().After(deadline) {
				text := host + ": " + got
				wrong.Store(&text)
				return
			}
			if got == may[len(may)-1] {
				return
			}
		}
	}
	var all sync.WaitGroup
	for _, host := range [][]string{{"held.test", "503", "gated"}, {"gone.test", "503", "gated too"}, {"old.test", "old", "new"}, {"leaves.test", "second"}} {
		all.Go(func() { watch(host[0], host[1:]...) })
	}
	before := app(t).Now()
	if status, answer := f.api(http.MethodPut, "sites/20?source=bolt", f.row("other.test", "second")); status != http.StatusCreated {
		t.Fatal(status, answer)
	}
	f.answers("other.test", "second")
	f.answers("held.test", "503")
	f.answers("gone.test", "503")
	f.answers("old.test", "old")
	if now := app(t).Now(); now == before {
		t.Error("nothing was served meanwhile")
	}
	open()
	all.Wait()
	if text := wrong.Load(); text != nil {
		t.Error(*text)
	}
	f.comesTo("leaves.test", "second")
}

// TestRowsNothingPublished: where nothing is different, nothing is made anew.
func TestRowsNothingPublished(t *testing.T) {
	f := startFarm(t, 10)
	f.sql("%s", accepted(10, f.row("held.test", "third")))
	f.comesTo("held.test", "503")
	published := app(t).Live[1].Follower.News()
	f.sql("%s", accepted(10, f.row("held.test", "fourth")))
	f.until("the new reason is known", func() bool { return strings.Contains(f.site(10).Reason, "fourth") })
	select {
	case <-published:
		t.Error("a row that is held back as before is published")
	default:
	}
}

// TestRowsTriedAgain: rows whose own routes were not ready in time, accepted ones as well
// as those that were refused for it, are tried again by themselves, and say so.
func TestRowsTriedAgain(t *testing.T) {
	f := startFarm(t, 10)
	f.sql("%s", insert(12, f.own("changes.test", "before")))
	f.comesTo("changes.test", "before")
	open := f.wait("gated")
	defer open()
	f.sql("%s", accepted(10, f.own("held.test", "gated")))
	f.until("10 is held back", func() bool { return strings.Contains(f.site(10).Reason, "not ready") })
	f.answers("held.test", "503")
	f.sql("%s", insert(11, f.own("refused.test", "gated as well"))+insert(12, f.own("changes.test", "gated, too")))
	for _, id := range []int{11, 12} {
		f.until("it is refused", func() bool {
			s := f.site(id)
			return s.Refusal != nil && strings.Contains(s.Refusal.Message, "not ready")
		})
	}
	f.answers("refused.test", "wildcard")
	f.answers("changes.test", "before")
	if _, findings := f.api(http.MethodGet, "check", ""); strings.Count(findings, "tried again by itself; if it is never ready") != 3 {
		t.Error(findings)
	}
	tries := f.asked("gated")
	open()
	f.comesTo("held.test", "gated")
	f.comesTo("refused.test", "gated as well")
	f.comesTo("changes.test", "gated, too")
	if tries != 3 {
		t.Errorf("%d attempts at a time", tries)
	}
}

// TestRowsHoldNobodyUp: while routes of rows are provisioned before the first verdict, and
// before a change of this server, which comes after them, whoever else writes the table is
// not held up.
func TestRowsHoldNobodyUp(t *testing.T) {
	f := startFarm(t, 10)
	f.sql("%s", insert(10, f.row("first.test", "second")))
	f.comesTo("first.test", "second")
	open := f.wait("gated")
	defer open()
	f.sql("%s", insert(11, f.own("slow.test", "gated")))
	f.until("routes are made", func() bool { return f.asked("gated") > 0 })
	written := make(chan string, 1)
	go func() {
		status, answer, err := f.TryAdmin(http.MethodPut, "/iis/sites/20?source=postgres", f.row("mine.test", "second"))
		written <- fmt.Sprint(status, answer, err)
	}()
	for id := range 3 {
		f.sql("begin; set local lock_timeout = '1s'; %s commit;", insert(30+id, f.row(fmt.Sprint("others", id, ".test"), "second")))
	}
	open()
	f.comesTo("slow.test", "gated")
	if answer := <-written; !strings.HasPrefix(answer, "201") {
		t.Error(answer)
	}
	for id := range 3 {
		f.comesTo(fmt.Sprint("others", id, ".test"), "second")
	}
}

// TestRowsHeldTriedAgain: a row that is held back for its routes alone is tried again.
func TestRowsHeldTriedAgain(t *testing.T) {
	f := startFarm(t, 10)
	open := f.wait("gated")
	defer open()
	f.sql("%s", accepted(10, f.own("held.test", "gated")))
	f.until("10 is held back", func() bool { return strings.Contains(f.site(10).Reason, "not ready") })
	open()
	f.comesTo("held.test", "gated")
}

// TestRowsOneTooMany: rows that were too many with routes of their own are served as soon
// as there is room, and who serves keeps its place.
func TestRowsOneTooMany(t *testing.T) {
	f := startFarm(t, 1)
	f.sql("%s", accepted(10, f.own("first.test", "first")))
	f.comesTo("first.test", "first")
	f.sql("%s", accepted(11, f.own("second.test", "second"))+accepted(12, f.own("third.test", "third"))+accepted(10, f.own("first.test", "again")))
	f.comesTo("first.test", "again")
	f.comesTo("second.test", "503")
	f.comesTo("third.test", "503")
	if _, findings := f.api(http.MethodGet, "check", ""); strings.Count(findings, "as soon as there is room") != 2 {
		t.Error(findings)
	}
	f.sql("delete from iis.site where id = 10")
	f.comesTo("second.test", "second")
	f.answers("third.test", "503")
	if status, answer := f.api(http.MethodDelete, "sites/11", ""); status != http.StatusNoContent {
		t.Fatal(status, answer)
	}
	f.answers("third.test", "third")
}

// TestRowsKeepTheirPlace: who serves with routes of its own keeps that place when it changes
// together with a new row of a lower id.
func TestRowsKeepTheirPlace(t *testing.T) {
	f := startFarm(t, 1)
	f.sql("%s", accepted(10, f.own("first.test", "first")))
	f.comesTo("first.test", "first")
	f.sql("begin; %s update iis.site set ok = rev, good = null where ok <> rev; commit;",
		insert(5, f.own("second.test", "second"))+insert(10, f.own("first.test", "again")))
	f.until("5 is held back", func() bool { return strings.Contains(f.site(5).Reason, "max_sites") })
	f.comesTo("first.test", "again")
	f.answers("second.test", "503")
	if err := f.Load(f.config); err != nil {
		t.Fatal("the same configuration again:", err)
	}
	f.answers("first.test", "again")
	f.answers("second.test", "503")
}

func app(t *testing.T) *serve.Instance {
	t.Helper()
	a, err := serve.Of(caddy.ActiveContext())
	if err != nil {
		t.Fatal(err)
	}
	return a
}
