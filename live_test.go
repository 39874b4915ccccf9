package caddyiis_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.etcd.io/bbolt"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// live is a Caddy with sites in a database.
type live struct {
	*ts.Server
	t             *testing.T
	plain, secure int
	file          string
	config        func(extra string) string
	seen          map[int]bool // statuses that rows of a table have had
}

// startLive runs a Caddy with a source of sites, and options of the iis block.
func startLive(t *testing.T, settings, iis string) *live {
	t.Helper()
	l := &live{t: t, plain: ts.FreePort(t), secure: ts.FreePort(t), file: filepath.Join(t.TempDir(), "sites.db")}
	certs := certificates(t, "wild.test", "other.test")
	l.config = func(extra string) string {
		return iisConfig(certs + fmt.Sprintf(`
			sites_from bolt %q {
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
				binding https *:%d:configured.test {
					sni
					certificate other.test
				}
				respond configured
			}
			endpoint *:%[4]d {
				certificate wild.test
			}
			%[5]s
			%[6]s
		`, l.file, settings, l.plain, l.secure, iis, extra))
	}
	l.Server = ts.Start(t, l.config(""))
	return l
}

// site is the document of a site with an http and an https binding for a host.
func (l *live) site(name, host string, more ...string) string {
	fields := append([]string{fmt.Sprintf(`"name":%q,"server_bindings":[":%d:%s"],"bindings":[{"protocol":"https","binding":"*:%d:%[3]s"}]`, name, l.plain, host, l.secure)}, more...)
	return "{" + strings.Join(fields, ",") + "}"
}

// ask makes a request to the API with headers, and decodes what comes back.
func (l *live) ask(method, path, body string, into any, headers ...string) int {
	l.t.Helper()
	req, err := http.NewRequest(method, "http://"+l.AdminAddr()+"/iis/"+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Close = true
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	status, answer, err := l.Do(req)
	if err != nil {
		l.t.Fatalf("%s %s: %v", method, path, err)
	}
	if into != nil && answer != "" {
		if err := json.Unmarshal([]byte(answer), into); err != nil {
			l.t.Fatalf("%s %s: %d %s: %v", method, path, status, answer, err)
		}
	}
	return status
}

// want makes a request whose status is known.
func (l *live) want(status int, method, path, body string, headers ...string) (w adminapi.Written) {
	l.t.Helper()
	var raw json.RawMessage
	if got := l.ask(method, path, body, &raw, headers...); got != status {
		l.t.Fatalf("%s %s: got %d %s, want %d", method, path, got, raw, status)
	}
	_ = json.Unmarshal(raw, &w)
	return w
}

// refused makes a request that must be refused.
func (l *live) refused(status int, method, path, body, mentions string, headers ...string) adminapi.WriteError {
	l.t.Helper()
	var e adminapi.WriteError
	if got := l.ask(method, path, body, &e, headers...); got != status || !strings.Contains(e.Message, mentions) {
		l.t.Errorf("%s %s %s: got %d %+v, want %d with %q", method, path, body, got, e, status, mentions)
	}
	return e
}

// serves checks what a host gets, over http and https; an empty body means nobody.
func (l *live) serves(host, body string) {
	l.t.Helper()
	plain := ts.Request{Addr: at("127.0.0.1", l.plain), Host: host, Plain: true}
	secure := ts.Request{Addr: at("127.0.0.1", l.secure), SNI: host}
	for _, r := range []ts.Request{plain, secure} {
		answer, err := ts.Do(r)
		switch {
		case err != nil:
			l.t.Errorf("%s: %v", host, err)
		case body == "" && answer.Status != 400, body != "" && (answer.Status != 200 || answer.Body != body):
			l.t.Errorf("%s: got %v, want %q", host, answer, body)
		}
	}
}

// TestLiveSites: sites are added, changed and removed through the API, serve when it
// has answered, and are there after a load and after a restart.
func TestLiveSites(t *testing.T) {
	l := startLive(t, "", "")
	l.serves("a.test", "")
	created := l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	if created.ID != 10 || created.Source != "bolt" || !created.Serves || created.ETag == "" {
		t.Errorf("got %+v", created)
	}
	l.serves("a.test", "default 10")
	l.serves("configured.test", "configured")
	if same := l.want(200, "PUT", "sites/10", l.site("A", "a.test"), "If-Match", `"other:7"`); same.Revision != created.Revision || same.ETag != created.ETag {
		t.Errorf("the same again: %+v, before %+v", same, created)
	}
	l.want(200, "PATCH", "sites/10", `{"template":"page"}`)
	l.serves("a.test", "10 A")
	l.want(200, "PATCH", "sites/10", `{"template":null,"name":"B"}`)
	l.serves("a.test", "default 10")

	var posted adminapi.Written
	if status := l.ask("POST", "sites", l.site("C", "c.test", `"template":"page"`), &posted); status != 201 || posted.ID != 11 {
		t.Fatalf("POST: %d %+v", status, posted)
	}
	l.serves("c.test", "11 C")
	swap := fmt.Sprintf(`[{"op":"put","id":10,"site":%s},{"op":"put","id":11,"site":%s},{"op":"put","id":12,"site":%s}]`,
		l.site("A", "c.test", `"template":"page"`), l.site("C", "a.test", `"template":"page"`), l.site("D", "d.test", `"template":"page"`))
	if all := l.want(200, "POST", "changes", swap); len(all.Changed) != 3 {
		t.Errorf("got %+v", all)
	}
	check := func() {
		t.Helper()
		l.serves("c.test", "10 A")
		l.serves("a.test", "11 C")
		l.serves("d.test", "12 D")
		l.serves("configured.test", "configured")
	}
	check()
	if err := l.Load(l.config("log_sni")); err != nil {
		t.Fatal(err)
	}
	check()
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	check()
	l.want(204, "DELETE", "sites/12", "")
	l.want(404, "DELETE", "sites/12", "")
	l.serves("d.test", "")
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.serves("d.test", "")
	var shown adminapi.Site
	if status := l.ask("GET", "sites/10", "", &shown); status != 200 || shown.Source != "bolt" || shown.ETag == "" || !strings.Contains(string(shown.Document), "c.test") {
		t.Errorf("GET: %d %+v", status, shown)
	}
	for _, known := range []string{shown.ETag, "W/" + shown.ETag, `"other", ` + shown.ETag, "*"} {
		if status := l.ask("GET", "sites/10", "", nil, "If-None-Match", known); status != 304 {
			t.Errorf("GET with If-None-Match: %s: %d", known, status)
		}
	}
	if status := l.ask("GET", "sites/10", "", nil, "If-None-Match", `"other"`); status != 200 {
		t.Errorf("GET with another ETag: %d", status)
	}
	var sources adminapi.Page[adminapi.Source]
	if l.ask("GET", "sources", "", &sources); len(sources.Items) != 1 || sources.Items[0].Sites != 2 || sources.Items[0].Kind != "bolt" {
		t.Errorf("sources: %+v", sources)
	}
}

// TestLiveRefusals: what cannot be served is not written, and both sites of a
// contradiction are named.
func TestLiveRefusals(t *testing.T) {
	l := startLive(t, "", "")
	first := l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	for _, c := range []struct {
		status             int
		method, path, body string
		mentions           string
	}{
		{409, "PUT", "sites/11", l.site("B", "a.test"), "a.test"},
		{409, "PUT", "sites/11", l.site("B", "configured.test"), "configured.test"},
		{409, "PUT", "sites/1", l.site("B", "b.test"), "site 1 \"Configured\" is one of the configuration"},
		{409, "DELETE", "sites/1", "", "change it there"},
		{404, "PATCH", "sites/11", `{"name":"x"}`, "no site 11"},
		{422, "PUT", "sites/11", `{"nonsense":1}`, "nonsense"},
		{422, "PUT", "sites/11", `{"name":"x","name":"y"}`, `"name" is there twice`},
		{422, "PUT", "sites/11", `{"ServerBindings":[]}`, `"ServerBindings" is no field: names are in lower case, such as "server_bindings"`},
		{422, "PUT", "sites/11", `{"offlin":true}`, `unknown field "offlin" (did you mean "offline"?)`},
		{422, "PUT", "sites/11", `{"offline":null}`, `"offline" is null, which is nothing`},
		{422, "PATCH", "sites/10", `{"Name":null}`, `"Name" is no field`},
		{422, "POST", "changes", `[{"op":"delete","id":11,"ID":10}]`, `"ID" is no field: names are in lower case, such as "id"`},
		{422, "POST", "changes", `{"op":"delete","id":11,"id":10}`, `"id" is there twice`},
		{422, "POST", "changes", `{"op":"delete","id":11,"if_match":null}`, `"if_match" is null`},
		{422, "PUT", "sites/11", `{"id":11}`, "id is no part"},
		{422, "PUT", "sites/11", `[]`, "JSON object"},
		{422, "PUT", "sites/11", `{"name":"x"} {}`, "more behind the JSON"},
		{422, "PUT", "sites/11", `{"name":`, "does not end"},
		{422, "PUT", "sites/11", `{"template":"none"}`, "none"},
		{422, "PUT", "sites/11", `{"routes":[]}`, "routes"},
		{422, "PUT", "sites/11", fmt.Sprintf(`{"bindings":[{"protocol":"https","binding":"*:%d:b.test","certificate":"none"}]}`, l.secure), `"none" is not configured`},
		{422, "PUT", "sites/11", fmt.Sprintf(`{"server_bindings":[":%d:b.test"]}`, ts.FreePort(t)), "port"},
		{422, "PUT", "sites/11", fmt.Sprintf(`{"server_bindings":[":%d:"]}`, l.plain), "catch_all"},
		{422, "PUT", "sites/11", fmt.Sprintf(`{"server_bindings":[":%d:*.b.test"]}`, l.plain), "wildcards"},
		{422, "PUT", "sites/11", fmt.Sprintf(`{"server_bindings":["127.0.0.7:%d:b.test"]}`, l.plain), "addresses"},
		{409, "PUT", "sites/11", fmt.Sprintf(`{"server_bindings":[":%d:b.test"]}`, l.secure), "http"},
		{422, "POST", "changes", fmt.Sprintf(`[{"op":"put","id":12,"site":%s},{"op":"put","id":13,"site":{"x":1}}]`, l.site("X", "x.test")), `"x"`},
		{422, "POST", "changes", `[{"op":"put","id":12,"site":{}},{"op":"delete","id":12}]`, "twice"},
		{422, "POST", "changes", `[{"op":"move","id":12}]`, "no operation"},
		{415, "PUT", "sites/11", "", ""},
	} {
		if c.status == 415 {
			l.refused(415, c.method, c.path, `{}`, "content type", "Content-Type", "text/plain")
			continue
		}
		l.refused(c.status, c.method, c.path, c.body, c.mentions)
	}
	e := l.refused(409, "PUT", "sites/11", l.site("B", "a.test"), "a.test")
	if e.ID != 11 || e.Other == nil || e.Other.ID != 10 || e.Other.Source != "bolt" || e.Code != "conflict" {
		t.Errorf("the conflict: %+v, %+v", e, e.Other)
	}
	var sources adminapi.Page[adminapi.Source]
	l.ask("GET", "sources", "", &sources)
	if got := fmt.Sprintf("%s:%d", sources.Items[0].ID, sources.Items[0].Revision); got != first.Revision || sources.Items[0].Sites != 1 {
		t.Errorf("a refused change was written: %+v", sources.Items)
	}
	l.serves("x.test", "")
	l.serves("a.test", "default 10")
}

// TestLiveConditions: ETags and keys of requests.
func TestLiveConditions(t *testing.T) {
	l := startLive(t, "require_if_match", "")
	l.refused(428, "PUT", "sites/10", l.site("A", "a.test"), "If-Match")
	l.refused(412, "PUT", "sites/10", l.site("A", "a.test"), "no site 10", "If-Match", "*")
	made := l.want(201, "PUT", "sites/10", l.site("A", "a.test"), "If-None-Match", "*")
	l.refused(412, "PUT", "sites/10", l.site("B", "a.test"), "somebody has changed it", "If-None-Match", "*")
	l.refused(400, "PUT", "sites/10", l.site("B", "a.test"), "is not *", "If-None-Match", made.ETag)
	l.refused(412, "PATCH", "sites/10", `{"name":"B"}`, "somebody has changed it", "If-Match", "W/"+made.ETag)
	changed := l.want(200, "PATCH", "sites/10", `{"name":"B"}`, "If-Match", `"other", `+made.ETag)
	l.refused(412, "PATCH", "sites/10", `{"name":"C"}`, "somebody has changed it", "If-Match", made.ETag)
	if e := l.refused(412, "DELETE", "sites/10", "", "somebody has changed it", "If-Match", made.ETag); e.ETag != changed.ETag || e.Revision != changed.Revision || !strings.Contains(string(e.Site), `"name":"B"`) {
		t.Errorf("it does not tell what is there: %+v", e)
	}
	if e := l.refused(412, "PUT", "sites/11", l.site("A", "c.test"), "no site 11", "If-Match", made.ETag); e.ETag != "" || e.Site != nil {
		t.Errorf("of what is not there: %+v", e)
	}
	l.refused(404, "DELETE", "sites/11", "", "no site 11", "If-Match", "*")
	large := fmt.Sprintf(`{"name":%q,"server_bindings":[":%d:large.test"]}`, strings.Repeat("x", 65_000), l.plain)
	l.refused(413, "PUT", "sites/11", strings.Replace(large, "xxx", strings.Repeat("x", 1000), 1), "65536 are allowed", "If-None-Match", "*")
	l.refused(413, "PATCH", "sites/10", `{"vars":{"a":"`+strings.Repeat("x", 65_500)+`"}}`, "65536 are allowed", "If-Match", changed.ETag)
	l.refused(413, "POST", "changes", `[{"op":"put","id":11,"if":0,"site":{"name":"`+strings.Repeat("x", 65_600)+`"}}]`, "65536 are allowed")
	l.refused(428, "DELETE", "sites/10", "", "If-Match")
	l.want(200, "POST", "changes?dry_run=1", fmt.Sprintf(`[{"op":"delete","id":10,"if":%s}]`, strings.SplitN(changed.Revision, ":", 2)[1]))
	l.want(200, "POST", "changes?dry_run=1", fmt.Sprintf(`[{"op":"delete","id":10,"if_match":%q}]`, changed.ETag))
	l.refused(412, "POST", "changes", fmt.Sprintf(`[{"op":"delete","id":10,"if_match":%q}]`, made.ETag), "somebody has changed it")
	l.serves("a.test", "default 10")
	l.want(204, "DELETE", "sites/10", "", "If-Match", changed.ETag)

	posted := l.want(201, "POST", "sites", l.site("K", "k.test"), "Idempotency-Key", "one")
	if again := l.want(201, "POST", "sites", l.site("K", "k.test"), "Idempotency-Key", "one"); posted.ID != 2 || len(posted.Findings) == 0 || !reflect.DeepEqual(again, posted) {
		t.Errorf("a request with a key: %+v, then %+v", posted, again)
	}
	const many = `[{"op":"patch","id":2,"if":%s,"site":{"name":"L"}}]`
	body := fmt.Sprintf(many, strings.SplitN(posted.Revision, ":", 2)[1])
	first := l.want(200, "POST", "changes", body, "Idempotency-Key", "many")
	if again := l.want(200, "POST", "changes", body, "Idempotency-Key", "many"); len(first.Changed) != 1 || !reflect.DeepEqual(again, first) {
		t.Errorf("changes with a key: %+v, then %+v", first, again)
	}
	l.refused(422, "POST", "sites", l.site("K", "l.test"), "another request", "Idempotency-Key", "one")
	l.serves("l.test", "")
	var list adminapi.Page[adminapi.Site]
	if l.ask("GET", "sites?source=bolt", "", &list); list.Total != 1 || list.Items[0].ID != 2 {
		t.Errorf("got %+v", list)
	}
	for _, query := range []string{"host=k.test", "q=k.te", "q=K", "state=started&q=2", "certificate=wild.test&source=bolt"} {
		if l.ask("GET", "sites?"+query, "", &list); list.Total != 1 || list.Items[0].ID != 2 {
			t.Errorf("%s: got %+v", query, list)
		}
	}
	for _, query := range []string{"host=x.test", "q=zz", "state=stopped", "source=other", "certificate=none"} {
		if l.ask("GET", "sites?"+query, "", &list); list.Total != 0 {
			t.Errorf("%s: got %+v", query, list)
		}
	}
	l.want(201, "PUT", "sites/4294967295", l.site("M", "m.test"), "If-None-Match", "*")
	l.want(201, "PUT", "sites/4", l.site("N", "n.test"), "If-None-Match", "*")
	if lowest := l.want(201, "POST", "sites", l.site("O", "o.test")); lowest.ID != 3 {
		t.Errorf("beside sites 1, 2, 4 and the last one: %+v", lowest)
	}
}

// TestLiveRevisions: the log tells what was written, and a revision is taken back.
func TestLiveRevisions(t *testing.T) {
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"), "Iis-Actor", "panel é7")
	l.want(200, "PATCH", "sites/10", `{"template":"page"}`)
	l.want(204, "DELETE", "sites/10", "")
	var page struct {
		Items []struct {
			Revision uint64
			By       string
			Changes  []struct {
				ID            uint32
				Before, After json.RawMessage
			}
		}
		Next string
	}
	l.ask("GET", "revisions?limit=2", "", &page)
	if len(page.Items) != 2 || page.Items[0].Revision != 3 || page.Items[0].Changes[0].After != nil || page.Items[1].Changes[0].Before == nil {
		t.Fatalf("got %+v", page)
	}
	l.ask("GET", "revisions?after="+page.Next, "", &page)
	if len(page.Items) != 1 || page.Items[0].By != `api/local claims panel \u00e97` {
		t.Errorf("got %+v", page)
	}
	l.want(200, "POST", "revisions/3/revert", "")
	l.serves("a.test", "10 A")
	l.want(200, "POST", "revisions/2/revert", "")
	l.serves("a.test", "default 10")
	l.want(200, "POST", "revisions/1/revert", "")
	l.serves("a.test", "")
	l.refused(404, "POST", "revisions/99/revert", "", "no revision 99")
}

// TestLiveHeldBack: a configuration that cannot show a site that is served is
// refused; a start is not, and the site comes back when it can be shown.
func TestLiveHeldBack(t *testing.T) {
	l := startLive(t, "", "template second {\nrespond second\n}")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test", `"template":"second"`))
	l.want(201, "PUT", "sites/11", l.site("B", "b.test"))
	without := strings.Replace(l.config(""), "template second", "template third", 1)
	refusedLoad(t, l.Server, "without the template", without, `site 10 "A"`, `"second"`)
	taken := l.config(fmt.Sprintf("site 2 Rival {\nserver_bindings :%d:b.test\nrespond rival\n}", l.plain))
	refusedLoad(t, l.Server, "a binding of a served site", taken, `site 11 "B"`)
	l.serves("a.test", "second")
	l.serves("b.test", "default 11")
	if err := l.Restart(without); err != nil {
		t.Fatal(err)
	}
	l.serves("b.test", "default 11")
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "a.test", Plain: true})
	if err != nil || answer.Status == 200 {
		t.Errorf("a site that cannot be shown: %v, %v", answer, err)
	}
	var held adminapi.Site
	if status := l.ask("GET", "sites/10", "", &held); status != 200 || held.State != adminapi.StateHeldBack || !strings.Contains(held.Reason, "second") || held.Document == nil {
		t.Errorf("got %d %+v", status, held)
	}
	var findings adminapi.Page[adminapi.Finding]
	if l.ask("GET", "check", "", &findings); len(findings.Items) == 0 || findings.Items[0].Code != "site-held-back" || findings.Items[0].Site != 10 {
		t.Errorf("got %+v", findings)
	}
	l.want(200, "PATCH", "sites/10", `{"template":"third"}`)
	l.serves("a.test", "second")
	if err := l.Restart(taken); err != nil {
		t.Fatal(err)
	}
	l.want(200, "PATCH", "sites/11", fmt.Sprintf(`{"server_bindings":[":%d:b2.test"]}`, l.plain))
	answer, err = ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "b2.test", Plain: true})
	if err != nil || answer.Body != "default 11" {
		t.Errorf("after its change: %v, %v", answer, err)
	}
}

// TestLiveValidate: a check beside a Caddy that serves opens nothing.
func TestLiveValidate(t *testing.T) {
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	raw, err := l.Adapt(l.config(""))
	if err != nil {
		t.Fatal(err)
	}
	var cfg *caddy.Config
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, home: t.TempDir()}
	file := filepath.Join(p.home, "caddy.json")
	replace(t, file, raw)
	if out, err := p.command("validate", "--config", file).CombinedOutput(); err != nil {
		t.Errorf("validate: %v\n%s", err, out)
	}
	l.serves("a.test", "default 10")
}

// events reads events, each as one line, from the one after the last on.
func (l *live) events(last string) (next func() string) {
	l.t.Helper()
	return eventsAt(l.t, l.AdminAddr(), last)
}

func eventsAt(t *testing.T, admin, last string) (next func() string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+admin+"/iis/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", last)
	resp, err := (&http.Client{Transport: new(http.Transport)}).Do(req)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(resp, err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	return func() string {
		var event []string
		for lines.Scan() {
			if text := lines.Text(); text != "" {
				event = append(event, text)
			} else {
				return strings.Join(event, "|")
			}
		}
		return "end"
	}
}

// TestLiveEvents: readers are told of each revision, also of those that they missed,
// and hold up neither a load nor the end.
func TestLiveEvents(t *testing.T) {
	l := startLive(t, "", "")
	next := l.events("")
	if got := next(); got != ": from 0" {
		t.Errorf("got %q", got)
	}
	first := l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	second := l.want(200, "PATCH", "sites/10", `{"name":"B"}`)
	third := l.want(200, "POST", "changes", `[{"op":"delete","id":10}]`)
	for _, want := range []string{`{"id":10,"kind":"added"}`, `{"id":10,"kind":"changed"}`, `{"id":10,"kind":"removed"}`} {
		if got := next(); !strings.Contains(got, want) || !strings.Contains(got, "event: change") {
			t.Errorf("got %q, want %s", got, want)
		}
	}
	again := l.events(first.Revision + ":" + first.Mark)
	if got := again(); got != ": from 1" {
		t.Errorf("got %q", got)
	}
	if got := again(); !strings.HasPrefix(got, "id: "+second.Revision+":"+second.Mark+"|") {
		t.Errorf("got %q, want %s", got, second.Revision)
	}
	table, _, _ := strings.Cut(first.Revision, ":")
	for id, want := range map[string]string{
		table + ":0:":                           ": from 0",
		first.Revision + ":" + second.Mark:      "event: reset", // as after a copy was put back
		third.Revision + ":" + second.Mark:      "event: reset",
		third.Revision + ":" + third.Mark:       ": from 3",
		first.Revision:                          "event: reset",
		first.Revision + ":":                    "event: reset",
		table + ":4:" + third.Mark:              "event: reset",
		table + ":x:" + third.Mark:              "event: reset",
		"other:1:" + first.Mark:                 "event: reset",
		third.Revision + ":" + third.Mark + ":": "event: reset",
	} {
		if got := l.events(id)(); !strings.Contains(got, want) || want == "event: reset" && !strings.HasPrefix(got, "id: "+third.Revision+":"+third.Mark+"|") {
			t.Errorf("after %s: got %q, want %s", id, got, want)
		}
	}
	if err := l.Load(l.config("log_sni")); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "end" {
		t.Errorf("after a load: %q", got)
	}
}

// TestLiveReady: balancers are told whether this server serves all sites.
func TestLiveReady(t *testing.T) {
	l := startLive(t, "", "")
	config := strings.Replace(l.config(""), "site 1 Configured", fmt.Sprintf("site 9 Health {\nserver_bindings 127.0.0.1:%d:health.test\niis_ready /ready\nrespond 404\n}\nsite 1 Configured", l.plain), 1)
	if err := l.Load(config); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "health.test", Path: "/ready", Plain: true})
	if err != nil || answer.Status != 200 || !strings.Contains(answer.Body, `"bolt":1`) {
		t.Errorf("got %v, %v", answer, err)
	}
	var ready adminapi.Ready
	if status := l.ask("GET", "ready", "", &ready); status != 200 || !ready.Ready || ready.Sites != 3 {
		t.Errorf("got %d %+v", status, ready)
	}
	_, metrics := l.Admin("GET", "/metrics", "")
	for _, line := range []string{`caddy_iis_source_revision{source="bolt"} 1`, `caddy_iis_source_sites{source="bolt"} 1`, `caddy_iis_source_sites_held_back{source="bolt"} 0`} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

// TestLiveIDTaken: a site of the configuration is none that a row could replace.
func TestLiveIDTaken(t *testing.T) {
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("Row", "row.test"))
	taken := l.config(fmt.Sprintf("site 10 Own {\nserver_bindings :%d:own.test\nrespond own\n}", l.plain))
	refusedLoad(t, l.Server, "the id of a served site", taken, `site 10 "Row"`, "as well")
	if err := l.Restart(taken); err != nil {
		t.Fatal(err)
	}
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "own.test", Plain: true})
	if err != nil || answer.Body != "own" {
		t.Errorf("the site of the configuration: %v, %v", answer, err)
	}
	if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "row.test", Plain: true}); err != nil || answer.Status == 200 {
		t.Errorf("the row: %v, %v", answer, err)
	}
	l.refused(409, "PATCH", "sites/10", `{"name":"x"}`, "one of the configuration")
}

// TestLivePortTaken: a port that another program has keeps the sites of a source that
// want it from being served, and nothing else from starting.
func TestLivePortTaken(t *testing.T) {
	port := ts.FreePort(t)
	l := startLive(t, fmt.Sprintf("allow {\nports %d\n}", port), "")
	config := strings.Replace(l.config(""), fmt.Sprintf("ports %d", port), fmt.Sprintf("ports %d %d %d", port, l.plain, l.secure), 1)
	if err := l.Load(config); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", l.site("Good", "good.test"))
	l.want(201, "PUT", "sites/11", fmt.Sprintf(`{"name":"Elsewhere","server_bindings":[":%d:elsewhere.test"]}`, port))
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	var other net.Listener
	waitFor(t, "the port", func() bool {
		var err error
		other, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil
	})
	defer other.Close()
	if err := l.Load(config); err != nil {
		t.Fatal(err)
	}
	l.serves("good.test", "default 10")
	var held adminapi.Site
	if status := l.ask("GET", "sites/11", "", &held); status != 200 || held.State != adminapi.StateHeldBack {
		t.Errorf("got %d %+v", status, held)
	}
	l.refused(503, "PATCH", "sites/11", `{"name":"Again"}`, "")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	l.want(200, "PATCH", "sites/11", `{"name":"Again"}`)
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", port), Host: "elsewhere.test", Plain: true})
	if err != nil || answer.Body != "default 11" {
		t.Errorf("got %v, %v", answer, err)
	}
}

// TestLiveLogIsShortened: what was written longer ago than the log is kept is forgotten
// when the source is opened, the newest revision and the sites excepted.
func TestLiveLogIsShortened(t *testing.T) {
	l := startLive(t, "keep_log 2h", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	l.want(200, "PATCH", "sites/10", `{"name":"B"}`)
	l.want(200, "PATCH", "sites/10", `{"name":"C"}`)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(l.file, 0o600, &bbolt.Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ages := map[uint64]time.Duration{1: 3 * time.Hour, 2: time.Hour}
	err = db.Update(func(tx *bbolt.Tx) error {
		for revision, age := range ages {
			bucket, key := tx.Bucket([]byte("revision")), binary.BigEndian.AppendUint64(nil, revision)
			var fields map[string]any
			if err := json.Unmarshal(bucket.Get(key), &fields); err != nil {
				return err
			}
			fields["at"] = time.Now().Add(-age)
			raw, err := json.Marshal(fields)
			if err != nil {
				return err
			}
			if err := bucket.Put(key, raw); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the log to be shortened", func() bool {
		var page struct{ Items []struct{ Revision uint64 } }
		l.ask("GET", "revisions", "", &page)
		return len(page.Items) == 2 && page.Items[1].Revision == 2
	})
	l.serves("a.test", "default 10")
	refusedLoad(t, l.Server, "less than an hour", strings.Replace(l.config(""), "keep_log 2h", "keep_log 59m", 1), "less than an hour")
}

// TestLiveAllow: a narrower allow holds for the central store as well.
func TestLiveAllow(t *testing.T) {
	l := startLive(t, "allow {\ncertificates wild.test\nhosts *.inside.test\n}", fmt.Sprintf("central_store %q", t.TempDir()))
	row := func(host, more string) string {
		return fmt.Sprintf(`{"bindings":[{"protocol":"https","binding":"*:%d:%s"%s}]}`, l.secure, host, more)
	}
	l.refused(422, "PUT", "sites/10", row("a.inside.test", `,"flags":3`), "central store")
	l.refused(422, "PUT", "sites/10", row("a.inside.test", `,"flags":1,"certificate":"other.test"`), "allow certificates")
	l.refused(422, "PUT", "sites/10", row("a.outside.test", `,"flags":1,"certificate":"wild.test"`), "allow hosts")
	l.refused(422, "PUT", "sites/10", row("inside.test", `,"flags":1,"certificate":"wild.test"`), "allow hosts")
	l.want(201, "PUT", "sites/10", row("a.inside.test", `,"flags":1,"certificate":"wild.test"`))
}
