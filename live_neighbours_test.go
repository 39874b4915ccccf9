package caddyiis_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestLiveSiteTwice: of a row and a site of the configuration with the same id, the
// configuration's serves.
func TestLiveSiteTwice(t *testing.T) {
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	twice := l.config(fmt.Sprintf("site 10 Mine {\nserver_bindings :%d:mine.test\nrespond mine\n}", l.plain))
	refusedLoad(t, l.Server, "the id of a served site", twice, `site 10 "A"`)
	if err := l.Restart(twice); err != nil {
		t.Fatal(err)
	}
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "mine.test", Plain: true})
	if err != nil || answer.Body != "mine" {
		t.Errorf("the configuration's site: %v, %v", answer, err)
	}
	l.serves("a.test", "")
	l.refused(409, "PUT", "sites/10", l.site("B", "b.test"), "one of the configuration")
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.serves("a.test", "default 10")
}

// TestLiveFirstWins: conflicts first_wins is about the configuration's sites. A row
// takes nothing from anybody, and a configuration nothing from rows that are served.
func TestLiveFirstWins(t *testing.T) {
	l := startLive(t, "", "conflicts first_wins")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	l.want(201, "PUT", "sites/20", l.site("C", "c.test"))
	l.refused(409, "PUT", "sites/5", l.site("B", "a.test"), "a.test")
	l.refused(409, "PUT", "sites/30", l.site("B", "a.test"), "a.test")
	l.serves("a.test", "default 10")
	rival := l.config(fmt.Sprintf("site 2 Rival {\nserver_bindings :%d:a.test\nrespond rival\n}", l.plain))
	refusedLoad(t, l.Server, "a binding of a served site", rival, `site 10 "A"`)
	late := l.config(fmt.Sprintf("site 30 Rival {\nserver_bindings :%d:a.test\nrespond rival\n}", l.plain))
	refusedLoad(t, l.Server, "a binding of a served site, with a higher id", late, `site 10 "A"`)
	l.serves("a.test", "default 10")
	if err := l.Restart(late); err != nil {
		t.Fatal(err)
	}
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "a.test", Plain: true})
	if err != nil || answer.Body != "rival" {
		t.Errorf("the configuration comes first: %v, %v", answer, err)
	}
	l.serves("c.test", "default 20")
}

// TestLiveLostCertificate: a load that would leave a served https binding without a
// certificate is refused.
func TestLiveLostCertificate(t *testing.T) {
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	refusedLoad(t, l.Server, "without the certificate of the endpoint", l.withoutEndpoint(), `site 10 "A"`, "no certificate")
	l.serves("a.test", "default 10")
}

// TestLiveTwoSources: sources do not stop each other, and an id is in one of them.
func TestLiveTwoSources(t *testing.T) {
	l := startLive(t, "", "")
	two := l.config(fmt.Sprintf("sites_from bolt %q {\nname second\n}", filepath.Join(t.TempDir(), "second.db")))
	if err := l.Load(two); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, source := range []string{"bolt", "second"} {
		for i := range 20 {
			all.Go(func() {
				path := "sites?source=" + source
				for range 3 { // two sources may give out the same id at the same time
					var e adminapi.WriteError
					status := l.ask(http.MethodPost, path, l.site("S", fmt.Sprintf("%s%d.test", source, i)), &e)
					if status == 201 {
						return
					}
					if status != 409 && status != 503 {
						t.Errorf("%s: %d %+v", source, status, e)
					}
				}
			})
		}
	}
	all.Wait()
	l.want(201, "PUT", "sites/900?source=second", l.site("A", "a.test"))
	l.refused(409, "PUT", "sites/900?source=bolt", l.site("B", "b.test"), "second")
	l.refused(409, "PUT", "sites/901?source=bolt", l.site("B", "a.test"), "a.test")
	l.serves("a.test", "default 900")
	if err := l.Restart(two); err != nil {
		t.Fatal(err)
	}
	l.serves("a.test", "default 900")
}

// TestLiveRequests: what is not understood changes nothing.
func TestLiveRequests(t *testing.T) {
	l := startLive(t, "", "")
	for _, c := range []struct {
		status             int
		method, path, body string
		mentions           string
	}{
		{422, "PUT", "sites/11", `{"Name":"x"}`, "Name"},
		{422, "PUT", "sites/11", `{"name":"x","Name":"y"}`, "Name"},
		{422, "PUT", "sites/11", `{"bindings":[{"Protocol":"http"}]}`, "Protocol"},
		{422, "POST", "changes", fmt.Sprintf(`[{"op":"put","id":11,"site":%s}] x`, l.site("A", "a.test")), "more than one"},
		{422, "POST", "changes", fmt.Sprintf(`[{"op":"put","id":11,"site":%s}] []`, l.site("A", "a.test")), "more than one"},
	} {
		l.refused(c.status, c.method, c.path, c.body, c.mentions)
	}
	l.want(400, "PUT", "sites/11?dry_run=yes", l.site("A", "a.test"))
	l.want(201, "PUT", "sites/11", l.site("B", "b.test"))
	l.serves("a.test", "")
	l.serves("b.test", "default 11")
}

// TestLiveOrdinaryPort: rows share a port with an ordinary site of Caddy, and take
// none of its hosts.
func TestLiveOrdinaryPort(t *testing.T) {
	l := startLive(t, "", "")
	beside := l.config("") + fmt.Sprintf("\nhttp://ordinary.test:%d {\nrespond ordinary\n}\n", l.plain)
	if err := l.Load(beside); err != nil {
		t.Fatal(err)
	}
	plain := func(body string) string {
		return fmt.Sprintf(`{"server_bindings":[":%d:%s"]}`, l.plain, body)
	}
	host := func(name string) string {
		t.Helper()
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: name, Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Body
	}
	l.want(201, "PUT", "sites/10", plain("a.test"))
	l.refused(409, "PUT", "sites/11", plain("ordinary.test"), "ordinary.test")
	for range 2 {
		if got := host("a.test") + ", " + host("ordinary.test"); got != "default 10, ordinary" {
			t.Errorf("got %s", got)
		}
		if err := l.Restart(beside); err != nil {
			t.Fatal(err)
		}
	}
	taken := l.config("") + fmt.Sprintf("\nhttp://a.test:%d {\nrespond ordinary\n}\n", l.plain)
	refusedLoad(t, l.Server, "a host of a served row", taken, "site 10")
}

// TestLiveWritesDuringLoads: what is acknowledged while configurations are loaded is
// served from then on, by whichever of them; what is deleted is not.
func TestLiveWritesDuringLoads(t *testing.T) {
	l := startLive(t, "", "")
	document := func(id, n int) string {
		return l.site(fmt.Sprintf("n%d", n), fmt.Sprintf("h%d.test", id), `"template":"page"`)
	}
	get := func(id int) string {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: fmt.Sprintf("h%d.test", id), Plain: true})
		if err != nil {
			t.Error(err)
			return ""
		}
		return answer.Body
	}
	const writers, first = 3, 100
	stop := make(chan struct{})
	var all sync.WaitGroup
	wanted := make([]map[int]string, writers) // what a host is to answer, by site
	for w := range writers {
		wanted[w] = make(map[int]string)
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := first + n%40*writers + w
				method, body, answer := http.MethodPut, document(id, n), fmt.Sprintf("%d n%d", id, n)
				if n%7 == 6 {
					method, body, answer = http.MethodDelete, "", ""
					if wanted[w][id] == "" {
						continue
					}
				}
				var e adminapi.WriteError
				switch status := l.ask(method, fmt.Sprint("sites/", id), body, &e); status {
				case 200, 201, 204:
					wanted[w][id] = answer
				case 503: // certainly not done
					continue
				default:
					t.Errorf("site %d: %d %+v", id, status, e)
				}
				if got := get(id); got != answer && (answer != "" || strings.HasPrefix(got, fmt.Sprint(id, " "))) {
					t.Errorf("site %d: acknowledged, and then %q instead of %q", id, got, answer)
				}
			}
		})
	}
	for i := range 20 {
		if err := l.Load(l.config(map[bool]string{true: "log_sni"}[i%2 == 0])); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	all.Wait()
	check := func(when string) {
		t.Helper()
		for _, sites := range wanted {
			for id, answer := range sites {
				if got := get(id); got != answer && (answer != "" || strings.HasPrefix(got, fmt.Sprint(id, " "))) {
					t.Errorf("%s, site %d: %q instead of %q", when, id, got, answer)
				}
			}
		}
	}
	check("after the loads")
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	check("after a restart")
}
