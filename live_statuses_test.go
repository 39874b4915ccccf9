package caddyiis_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	"github.com/caddy-iis/caddy-iis/sites"
)

// statusRow is a row of the table of statuses: one request, and what its answer has.
type statusRow struct {
	status             int
	why                string
	method, path, body string
	headers            []string // of the request, in pairs
	answers            []string // headers that the answer has, by name or as name: value; others of interest it has not
	mentions           string   // in the body
}

// answersOf are the headers of interest.
var answersOf = []string{"ETag", "Location", "Retry-After", "Allow"}

// check makes the request of a row.
func (l *live) check(row *statusRow) (body string) {
	l.t.Helper()
	req, err := http.NewRequest(row.method, "http://"+l.AdminAddr()+"/iis/"+row.path, strings.NewReader(row.body))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Close = true
	if row.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(row.headers); i += 2 {
		req.Header.Set(row.headers[i], row.headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != row.status || !strings.Contains(string(raw), row.mentions) {
		l.t.Errorf("%s: %s %s: %d %s, want %d with %q", row.why, row.method, row.path, resp.StatusCode, raw, row.status, row.mentions)
	}
	wanted := make(map[string]string)
	for _, header := range row.answers {
		name, value, _ := strings.Cut(header, ": ")
		wanted[name] = value
	}
	for _, name := range answersOf {
		value, want := wanted[name]
		got := resp.Header.Get(name)
		if want != (got != "") || value != "" && got != value {
			l.t.Errorf("%s: %s %s: %s: %q, want it: %v %q", row.why, row.method, row.path, name, got, want, value)
		}
	}
	l.documented(row)
	if l.seen == nil {
		l.seen = make(map[int]bool)
	}
	l.seen[resp.StatusCode] = true
	if (len(raw) == 0) != (row.status == 204 || row.status == 304) {
		l.t.Errorf("%s: %s %s: %d with %q", row.why, row.method, row.path, row.status, raw)
	}
	return string(raw)
}

// documented checks that docs/openapi.json has the status and headers of a row.
func (l *live) documented(row *statusRow) {
	l.t.Helper()
	api, _ := readOpenAPI(l.t)
	path, _, _ := strings.Cut(row.path, "?")
	parts := strings.Split(adminapi.Base+path, "/")
	if len(parts) > 3 {
		parts[3] = map[string]string{"sites": "{id}", "revisions": "{revision}"}[parts[2]]
	}
	path = strings.Join(parts, "/")
	if api.Paths[path][strings.ToLower(row.method)] == nil {
		return // it is refused for that
	}
	raw := api.operation(l.t, path, row.method).Responses[fmt.Sprint(row.status)]
	var response struct {
		Ref     string                     `json:"$ref"`
		Headers map[string]json.RawMessage `json:"headers"`
	}
	if raw == nil {
		l.t.Errorf("%s %s: the file does not have %d", row.method, path, row.status)
		return
	}
	for range 2 {
		if err := json.Unmarshal(raw, &response); err != nil {
			l.t.Fatal(err)
		}
		raw = api.Components.Responses[strings.TrimPrefix(response.Ref, "#/components/responses/")]
		if raw == nil {
			break
		}
	}
	for _, header := range row.answers {
		if name, _, _ := strings.Cut(header, ":"); response.Headers[name] == nil {
			l.t.Errorf("%s %s: the file does not have %s with %d", row.method, path, name, row.status)
		}
	}
}

// etagAt is the entity tag of a document at a revision, <source id>:<number>.
func etagAt(revision, document string) string {
	canonical, err := sites.Canonical([]byte(document))
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(canonical)
	return fmt.Sprintf(`"%s:%x"`, revision, sum[:6])
}

// TestLiveStatuses: the table of statuses, row by row, with the headers that each answer has.
func TestLiveStatuses(t *testing.T) {
	l := startLive(t, "", "template second {\nrespond second\n}")
	giver := fmt.Sprintf(`{"name":"Giver","bindings":[{"protocol":"https","binding":"*:%d:giver.test","certificate":"wild.test"}]}`, l.secure)
	held := fmt.Sprintf(`{"template":"second","server_bindings":[":%d:held.test"]}`, l.plain)
	plain := func(name, host string) string {
		return fmt.Sprintf(`{"name":%q,"server_bindings":[":%d:%s"]}`, name, l.plain, host)
	}
	l.want(201, "PUT", "sites/10", giver)
	l.want(201, "PUT", "sites/11", l.site("Taker", "taker.test"))
	l.want(201, "PUT", "sites/12", held)
	made := l.want(201, "PUT", "sites/13", plain("A", "a.test"))
	strict := fmt.Sprintf("sites_from bolt %q {\nname strict\nrequire_if_match\n}\n", filepath.Join(t.TempDir(), "strict.db"))
	if err := l.Restart(strings.Replace(l.replaceEndpoint(strict), "template second", "template third", 1)); err != nil {
		t.Fatal(err)
	}
	source := strings.TrimRight(made.Revision, "0123456789")
	tag := func(n int, document string) string { return "ETag: " + etagAt(source+fmt.Sprint(n), document) }
	for _, row := range []statusRow{
		{200, "the same already", "PUT", "sites/13", plain("A", "a.test"), nil, []string{tag(4, plain("A", "a.test"))}, `"serves":true`},
		{200, "the same already, whatever it is conditional on", "PUT", "sites/13", plain("A", "a.test"), []string{"If-Match", `"x:1"`}, []string{tag(4, plain("A", "a.test"))}, `"serves":true`},
		{201, "new", "PUT", "sites/14", plain("B", "b.test"), nil, []string{tag(5, plain("B", "b.test")), "Location: /iis/sites/14?source=bolt"}, `"created":true`},
		{200, "changed", "PUT", "sites/14", plain("B2", "b.test"), nil, []string{tag(6, plain("B2", "b.test"))}, `"id":14`},
		{200, "changed", "PATCH", "sites/14", `{"name":"B3"}`, nil, []string{tag(7, plain("B3", "b.test"))}, `"id":14`},
		{201, "new, with an id that is given out", "POST", "sites", plain("C", "c.test"), []string{"Idempotency-Key", "c"}, []string{tag(8, plain("C", "c.test")), "Location: /iis/sites/15?source=bolt"}, `"id":15`},
		{201, "the same request again", "POST", "sites", plain("C", "c.test"), []string{"Idempotency-Key", "c"}, []string{tag(8, plain("C", "c.test")), "Location: /iis/sites/15?source=bolt"}, `"id":15`},
		{201, "the same request, that waits longer", "POST", "sites?wait=9s", plain("C", "c.test"), []string{"Idempotency-Key", "c"}, []string{tag(8, plain("C", "c.test")), "Location: /iis/sites/15?source=bolt"}, `"id":15`},
		{422, "the key of another request", "POST", "sites", plain("D", "d.test"), []string{"Idempotency-Key", "c"}, nil, "another request"},
		{200, "several changes", "POST", "changes", `[{"op":"patch","id":15,"site":{"name":"C2"}}]`, []string{"Idempotency-Key", "m"}, nil, `"changed":[15]`},
		{200, "the same changes again", "POST", "changes", `[{"op":"patch","id":15,"site":{"name":"C2"}}]`, []string{"Idempotency-Key", "m"}, nil, `"changed":[15]`},
		{200, "taken back", "POST", "revisions/9/revert", "", nil, nil, `"changed":[15]`},
		{200, "only asked", "PUT", "sites/16?dry_run=1", plain("D", "d.test"), nil, nil, `"dry_run":true`},
		{200, "only asked", "DELETE", "sites/15?dry_run=1", "", nil, nil, `"dry_run":true`},
		{204, "deleted", "DELETE", "sites/15", "", []string{"Idempotency-Key", "gone"}, nil, ""},
		{204, "the same deletion again, by its key", "DELETE", "sites/15", "", []string{"Idempotency-Key", "gone"}, nil, ""},
		{202, "kept, and not served here", "PUT", "sites/12?wait=10ms", held, nil, []string{tag(3, held)}, `"serves":false`},
		{202, "and why", "PUT", "sites/12?wait=0s", held, nil, []string{tag(3, held)}, `site-held-back`},
		{200, "read", "GET", "sites/13", "", nil, []string{tag(4, plain("A", "a.test"))}, `"document":`},
		{304, "read, and known", "GET", "sites/13", "", []string{"If-None-Match", strings.TrimPrefix(tag(4, plain("A", "a.test")), "ETag: ")}, []string{tag(4, plain("A", "a.test"))}, ""},
		{404, "no such site", "GET", "sites/99", "", nil, nil, "no site 99"},
		{404, "no such site", "PATCH", "sites/99", `{}`, nil, nil, `"not-found"`},
		{404, "deleted already", "DELETE", "sites/15", "", nil, nil, `"not-found"`},
		{404, "no such revision", "POST", "revisions/99/revert", "", nil, nil, `"not-found"`},
		{400, "no number", "PUT", "sites/x", `{}`, nil, nil, "x"},
		{400, "no duration", "PUT", "sites/13?wait=long", `{}`, nil, nil, "wait"},
		{400, "an unknown parameter", "PUT", "sites/13?waits=1s", `{}`, nil, nil, "waits"},
		{405, "no such method", "PUT", "sites", `{}`, nil, []string{"Allow: GET, HEAD, POST"}, "PUT"},
		{409, "contradicts a site that is accepted", "PUT", "sites/16", plain("D", "a.test"), nil, nil, `"other":{"id":13,"name":"A","source":"bolt","binding":"*:`},
		{409, "contradicts a site of the configuration", "PUT", "sites/16", plain("D", "configured.test"), nil, nil, `"other":{"id":1,"name":"Configured","binding":"*:`},
		{409, "contradicts a site that is held back", "PUT", "sites/16", plain("D", "held.test"), nil, nil, `"other":{"id":12,"source":"bolt"`},
		{409, "is one of the configuration", "PUT", "sites/1", plain("D", "d.test"), nil, nil, `"site-of-the-configuration"`},
		{409, "is one of another source", "PUT", "sites/13?source=strict", plain("D", "d.test"), []string{"If-None-Match", "*"}, nil, `"site-of-another-source"`},
		{412, "is there", "PUT", "sites/14", plain("D", "d.test"), []string{"If-None-Match", "*"}, []string{tag(7, plain("B3", "b.test"))}, `"site":{"name":"B3"`},
		{412, "is at another revision", "DELETE", "sites/14", "", []string{"If-Match", `"x:1"`}, []string{tag(7, plain("B3", "b.test"))}, `"revision":`},
		{412, "is at another revision", "POST", "changes", `[{"op":"patch","id":13,"site":{}},{"op":"delete","id":14,"if":1}]`, nil, nil, `"index":1`},
		{412, "is another one", "POST", "changes", `[{"op":"delete","id":14,"if_match":""}]`, nil, []string{tag(7, plain("B3", "b.test"))}, `"site":{"name":"B3"`},
		{422, "two conditions", "POST", "changes", `[{"op":"patch","id":13,"site":{}},{"op":"delete","id":14,"if":7,"if_match":"*"}]`, nil, nil, `"index":1`},
		{422, "a text that not every source can keep", "PUT", "sites/16", `{"name":"D\u0000"}`, nil, nil, `"id":16`},
		{413, "too large", "PUT", "sites/16", plain(strings.Repeat("x", 66_000), "d.test"), nil, nil, "65536"},
		{415, "no JSON", "PUT", "sites/16", `x`, []string{"Content-Type", "text/plain"}, nil, "text/plain"},
		{428, "the source asks for a condition", "PUT", "sites/16?source=strict", plain("D", "d.test"), nil, nil, `"precondition-required"`},
		{422, "no site by itself", "PUT", "sites/16", `{"server_bindings":["x"]}`, nil, nil, `"invalid"`},
		{422, "a field of a newer version", "PUT", "sites/16", `{"newer":1}`, nil, nil, "newer"},
		{422, "an unknown template", "PUT", "sites/16", `{"template":"second"}`, nil, nil, "second"},
		{422, "an unknown certificate", "PUT", "sites/16", fmt.Sprintf(`{"bindings":[{"protocol":"https","binding":"*:%d:d.test","certificate":"none"}]}`, l.secure), nil, nil, "none"},
		{422, "routes", "PUT", "sites/16", `{"routes":[{}]}`, nil, nil, "allow_routes"},
		{422, "an unknown source", "PUT", "sites/16?source=none", `{}`, nil, nil, "none"},
		{503, "a revision that is not served in time", "GET", "sites?wait=10ms&revision=" + strings.TrimRight(made.Revision, "0123456789") + "99", "", nil, []string{"Retry-After"}, "99"},
		{200, "deleted, and others have lost something by it", "DELETE", "sites/10", "", []string{"Idempotency-Key", "lost"}, nil, `"code":"no-certificate","site":11`},
		{200, "the same deletion again", "DELETE", "sites/10", "", []string{"Idempotency-Key", "lost"}, nil, `"code":"no-certificate","site":11`},
		{422, "an https binding that nothing gives a certificate", "PUT", "sites/16", fmt.Sprintf(`{"bindings":[{"protocol":"https","binding":"*:%d:d.test"}]}`, l.secure), nil, nil, "no certificate"},
		{202, "which is kept, and left out", "PUT", "sites/11?wait=0s", l.site("Taker", "taker.test"), nil, []string{tag(2, l.site("Taker", "taker.test"))}, `"serves":false`},
	} {
		l.check(&row)
	}
	var page adminapi.Page[json.RawMessage]
	if l.ask("GET", "sites?source=bolt&limit=1", "", &page); page.Revision != strings.TrimRight(made.Revision, "0123456789")+"12" || page.Mark == "" {
		t.Errorf("a page of the source: %+v", page)
	}
	page = adminapi.Page[json.RawMessage]{}
	if l.ask("GET", "sites", "", &page); page.Revision != "" {
		t.Errorf("a page of several sources: %+v", page)
	}
	block := strings.SplitN(l.withoutEndpoint(), "sites_from", 2)
	_, after, _ := strings.Cut(block[1], "}")
	if err := l.Load(block[0] + after); err != nil {
		t.Fatal(err)
	}
	for _, row := range []statusRow{
		{405, "no source can be written", "PUT", "sites/16", plain("D", "d.test"), nil, []string{"Allow"}, "sites_from bolt"},
		{405, "no source can be written, and nothing else can be done there", "POST", "changes", `[]`, nil, nil, "sites_from bolt"},
	} {
		l.check(&row)
	}
	l.seen[504] = true // which needs a database that goes away: TestPostgresUnknown
	for _, status := range documentedStatuses(t) {
		if !l.seen[status] {
			t.Errorf("no row has had %d", status)
		}
	}
}

// documentedStatuses are those of the table of docs/live-sites.md.
func documentedStatuses(t *testing.T) (statuses []int) {
	t.Helper()
	page, err := os.ReadFile("docs/live-sites.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d{3}) \|`).FindAllStringSubmatch(string(page), -1) {
		status, _ := strconv.Atoi(m[1])
		statuses = append(statuses, status)
	}
	if len(statuses) < 14 {
		t.Fatalf("got %v", statuses)
	}
	return statuses
}

// held makes a change of a site that waits for its rival, which goes some time later.
func (l *live) held(file string, ahead time.Duration) {
	l.t.Helper()
	answered := make(chan adminapi.Written, 1)
	begun := time.Now()
	go func() { answered <- l.want(200, "PUT", "sites/10?wait=60s", l.site("A", "a.test")) }()
	time.Sleep(ahead)
	l.want(204, "DELETE", "sites/20", "")
	select {
	case got := <-answered:
		if !got.Serves {
			l.t.Errorf("after %s: got %+v", time.Since(begun), got)
		}
	case <-time.After(30 * time.Second):
		l.t.Fatal("no answer")
	}
	l.serves("a.test", "default 10")
	if err := caddy.Stop(); err != nil {
		l.t.Fatal(err)
	}
	writeRows(l.t, file, []sites.Change{{ID: 20, Document: []byte(l.site("Rival", "a.test"))}})
	if err := l.Load(l.withSource(file, "")); err != nil {
		l.t.Fatal(err)
	}
}

// TestLiveAwaitsService: a site that is kept and not served is answered for as soon as it
// is served.
func TestLiveAwaitsService(t *testing.T) {
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "second.db")
	writeRows(t, file, []sites.Change{{ID: 20, Document: []byte(l.site("Rival", "a.test"))}})
	if err := l.Load(l.withSource(file, "")); err != nil {
		t.Fatal(err)
	}
	l.want(202, "PUT", "sites/10?wait=0s", l.site("A", "a.test"))
	for _, ahead := range []time.Duration{0, 300 * time.Millisecond} { // the rival goes while the change is made, and while it waits
		l.held(file, ahead)
	}
}
