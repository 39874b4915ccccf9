package caddyiis_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
	"github.com/caddy-iis/caddy-iis/sites"
)

// gets checks what a host gets by each protocol, and that explain says the same. The
// status 503 is that of a site that is held back.
func (l *live) gets(host string, status int, body, certificate string, site uint32) {
	l.t.Helper()
	for _, request := range []ts.Request{
		{Addr: at("127.0.0.1", l.plain), Host: host, Plain: true},
		{Addr: at("127.0.0.1", l.secure), SNI: host, Proto: "h1"},
		{Addr: at("127.0.0.1", l.secure), SNI: host, Proto: "h2"},
		{Addr: at("127.0.0.1", l.secure), SNI: host, Proto: "h3"},
	} {
		answer, err := ts.Do(request)
		if err != nil || answer.Status != status || !strings.Contains(answer.Body, body) || !request.Plain && answer.Subject() != certificate {
			l.t.Errorf("%s, %+v: got %v, %v, want %d %q with certificate %s", host, request, answer, err, status, body, certificate)
		}
	}
	for port, sni := range map[int]string{l.plain: "", l.secure: host} {
		var e adminapi.Explanation
		l.ask("GET", fmt.Sprintf("explain?local=127.0.0.1:%d&host=%s&sni=%s", port, host, url.QueryEscape(sni)), "", &e)
		held := e.Request != nil && e.Request.Outcome == adminapi.OutcomeHeldBack
		if e.Request == nil || e.Request.Site != site || held != (status == 503) || held && (e.Request.Status != 503 || e.Request.Reason == "" || e.Problems[len(e.Problems)-1].Code != adminapi.ProblemHeldBack) {
			l.t.Errorf("%s at %d: explained as %+v, %+v", host, port, e.Request, e.Problems)
		}
	}
}

// TestLiveHeldBackAnswers: who asks for a site that is held back is told so, and does not
// get the site of a wildcard; whoever has its bindings gets them.
func TestLiveHeldBackAnswers(t *testing.T) {
	l := startLive(t, "", "template second {\nrespond second\n}")
	wildcard := fmt.Sprintf("site 3 Wildcard {\nserver_bindings :%d:*.test :%[1]d:\nbinding https *:%d:*.test {\nsni\ncertificate other.test\n}\nrespond wildcard\n}\n", l.plain, l.secure)
	withSNI := func(host, template string) string {
		return fmt.Sprintf(`{"template":%q,"server_bindings":[":%d:%s"],"bindings":[{"protocol":"https","binding":"*:%d:%[3]s","flags":1,"certificate":"wild.test"}]}`, template, l.plain, host, l.secure)
	}
	l.want(201, "PUT", "sites/10", withSNI("a.test", "second"))
	l.want(201, "PUT", "sites/11", l.site("B", "b.test"))
	l.want(201, "PUT", "sites/12", l.site("C", "c.test", `"template":"second"`))
	without := strings.Replace(l.config(wildcard), "template second", "template third", 1)
	rival := fmt.Sprintf("site 4 Rival {\nserver_bindings :%d:c.test\nbinding https *:%d:c.test {\nsni\ncertificate other.test\n}\nrespond rival\n}\n", l.plain, l.secure)
	if err := l.Restart(without); err != nil {
		t.Fatal(err)
	}
	l.gets("a.test", 503, "Service Unavailable", "wild.test", 10)
	l.gets("b.test", 200, "default 11", "other.test", 11)
	l.gets("c.test", 503, "Service Unavailable", "other.test", 12)
	l.gets("d.test", 200, "wildcard", "other.test", 3)
	var list adminapi.Page[adminapi.Site]
	if l.ask("GET", "sites", "", &list); list.Total != 5 {
		t.Errorf("lists have %+v", list.Items)
	}
	if err := l.Load(without + "\n"); err != nil {
		t.Fatal(err)
	}
	l.gets("a.test", 503, "Service Unavailable", "wild.test", 10)
	if err := l.Load(strings.Replace(without, "site 3 Wildcard", rival+"site 3 Wildcard", 1)); err != nil {
		t.Fatal(err)
	}
	l.gets("c.test", 200, "rival", "other.test", 4)
	l.gets("a.test", 503, "Service Unavailable", "wild.test", 10)
	if err := l.Load(without); err != nil {
		t.Fatal(err)
	}
	l.gets("c.test", 503, "Service Unavailable", "other.test", 12)
	l.want(204, "DELETE", "sites/12", "")
	l.gets("c.test", 200, "wildcard", "other.test", 3)
	l.want(200, "PATCH", "sites/10", `{"template":"third"}`)
	l.gets("a.test", 200, "second", "wild.test", 10)
}

// TestLiveHeldBackOfAnotherSource: a site of another source takes what one that is held
// back has no use for, and leaves it when it goes.
func TestLiveHeldBackOfAnotherSource(t *testing.T) {
	l := startLive(t, "", "template second {\nrespond second\n}")
	both := l.withSource(t.TempDir()+"/second.db", "")
	if err := l.Load(both); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10?source=second", l.site("A", "a.test", `"template":"second"`))
	if err := l.Restart(strings.Replace(both, "template second", "template third", 1)); err != nil {
		t.Fatal(err)
	}
	l.gets("a.test", 503, "Service Unavailable", "wild.test", 10)
	l.want(201, "PUT", "sites/20?source=bolt", l.site("B", "a.test"))
	l.gets("a.test", 200, "default 20", "wild.test", 20)
	l.want(204, "DELETE", "sites/20", "")
	l.gets("a.test", 503, "Service Unavailable", "wild.test", 10)
}

// TestLiveDeletedWhereTwice: an id that two sources have can be deleted in either, and what
// the other one has is served as before.
func TestLiveDeletedWhereTwice(t *testing.T) {
	l := startLive(t, "", "")
	both := l.withSource(t.TempDir()+"/second.db", "")
	if err := l.Load(both); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10?source=second", l.site("A", "a.test"))
	l.want(201, "PUT", "sites/11?source=second", l.site("B", "b.test"))
	l.want(201, "PUT", "sites/12?source=second", l.site("C", "c.test"))
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", l.site("A", "a1.test"))
	l.want(201, "PUT", "sites/11", l.site("B", "b1.test"))
	withOwn := strings.Replace(both, "iis {", fmt.Sprintf("iis {\nsite 12 Own {\nserver_bindings :%d:own.test\nrespond own\n}", l.plain), 1)
	if err := l.Restart(withOwn); err != nil {
		t.Fatal(err)
	}
	l.serves("a.test", "default 10")
	l.serves("a1.test", "")
	l.want(409, "PATCH", "sites/10?source=bolt", `{"name":"X"}`)
	l.want(409, "PUT", "sites/12?source=second", l.site("C", "c2.test"))
	l.want(204, "DELETE", "sites/10?source=bolt", "") // who does not serve it
	l.serves("a.test", "default 10")
	l.want(200, "POST", "changes?source=second", `[{"op":"delete","id":11}]`) // who serves it
	l.serves("b.test", "")
	eventually(t, "the other one is served", 20*time.Second, func() bool {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "b1.test", Plain: true})
		return err == nil && answer.Body == "default 11"
	})
	l.want(204, "DELETE", "sites/12?source=second", "") // of the configuration as well
	if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "own.test", Plain: true}); err != nil || answer.Body != "own" {
		t.Errorf("the site of the configuration: %v, %v", answer, err)
	}
	l.want(409, "DELETE", "sites/12", "")
}

// TestLiveHeldBackOutside: what a source's rows may not claim any more is nobody's, and an
// https binding without any certificate is not served.
func TestLiveHeldBackOutside(t *testing.T) {
	l := startLive(t, "", "template second {\nrespond second\n}")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test", `"template":"second"`))
	narrow := strings.Replace(l.config(""), fmt.Sprintf("%q {", l.file), fmt.Sprintf("%q {\nallow {\nhosts b.test\n}", l.file), 1)
	if err := l.Restart(narrow); err != nil {
		t.Fatal(err)
	}
	l.serves("a.test", "")
	endpoint := fmt.Sprintf("endpoint *:%d {\n\t\t\t\tcertificate wild.test\n\t\t\t}", l.secure)
	if err := l.Restart(strings.Replace(strings.Replace(l.config(""), "template second", "template third", 1), endpoint, "", 1)); err != nil {
		t.Fatal(err)
	}
	if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "a.test", Plain: true}); err != nil || answer.Status != 503 {
		t.Errorf("http: got %v, %v", answer, err)
	}
	if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.secure), SNI: "a.test"}); err == nil {
		t.Errorf("https without any certificate: got %v", answer)
	}
}

// wildcard is a site for all hosts below test.
func (l *live) wildcard() string {
	return fmt.Sprintf("site 3 Wildcard {\nserver_bindings :%d:*.test\nbinding https *:%d:*.test {\nsni\ncertificate other.test\n}\nrespond wildcard\n}\n", l.plain, l.secure)
}

// TestLiveHeldBackBySitesFile: a site that waits for one of the sites file serves when
// that is gone.
func TestLiveHeldBackBySitesFile(t *testing.T) {
	l := startLive(t, "", "")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test"))
	file := filepath.Join(t.TempDir(), "sites.jsonl")
	write := func(lines string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(fmt.Sprintf(`{"id":20,"server_bindings":[":%d:a.test"]}`+"\n", l.plain))
	if err := l.Restart(l.config(fmt.Sprintf("sites_file %q\n", file) + l.wildcard())); err != nil {
		t.Fatal(err)
	}
	body := func() string {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "a.test", Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Body
	}
	if got := body(); got != "default 20" {
		t.Fatalf("got %q", got)
	}
	write("\n")
	waitFor(t, "the site that waited", func() bool { return body() == "default 10" })
	l.serves("a.test", "default 10")
}

// TestLiveFileStandsAlone: a sites file does not count on the certificate of a row, which can
// be deleted, whatever the file has.
func TestLiveFileStandsAlone(t *testing.T) {
	l := startLive(t, "", "")
	file := filepath.Join(t.TempDir(), "sites.jsonl")
	write := func(lines string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	line := func(id int, host, certificate string) string {
		return fmt.Sprintf(`{"id":%d,"bindings":[{"protocol":"https","binding":"*:%d:%s"%s}]}`+"\n", id, l.secure, host, certificate)
	}
	const own = `,"certificate":"wild.test"`
	write(line(20, "a.test", own))
	if err := l.Load(l.withoutEndpoint() + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := l.Load(l.replaceEndpoint(fmt.Sprintf("sites_file %q\n", file))); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", l.site("Row", "row.test", `"certificate":"wild.test"`))
	refused := func(text string) {
		t.Helper()
		waitFor(t, "the finding", func() bool { return finding(t, l.Server, "sites-file-refused", text, "the sites of bolt") != nil })
	}
	write(line(20, "a.test", "")) // its own certificate has gone
	refused("site 20")
	write(line(21, "b.test", own)) // another one gives it
	waitFor(t, "the file", func() bool { return finding(t, l.Server, "sites-file-refused") == nil })
	write(line(21, "b.test", own) + line(22, "c.test", ""))
	waitFor(t, "the site", func() bool { return l.ask("GET", "sites/22", "", nil) == 200 })
	write(line(22, "c.test", ""))
	refused("site 22")
	write(line(21, "b.test", own) + line(22, "c.test", "") + line(23, "d.test", ""))
	waitFor(t, "the site", func() bool { return l.ask("GET", "sites/23", "", nil) == 200 })
	l.want(204, "DELETE", "sites/10", "")
	for _, host := range []string{"b.test", "c.test", "d.test"} {
		if answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.secure), SNI: host}); err != nil || answer.Subject() != "wild.test" {
			t.Errorf("%s: %v, %v", host, answer, err)
		}
	}
	if err := l.Restart(l.replaceEndpoint(fmt.Sprintf("sites_file %q\n", file))); err != nil {
		t.Fatal(err)
	}
}

// TestLiveHeldBackTLS: a row whose TLS settings cannot be met takes nothing from others
// that are held back.
func TestLiveHeldBackTLS(t *testing.T) {
	l := startLive(t, "", "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	document := func(host, more string) []byte {
		return fmt.Appendf(nil, `{"server_bindings":[":%d:%s"],"bindings":[{"protocol":"https","binding":"*:%d:%[2]s","flags":1,"certificate":"wild.test"%[4]s}]}`, l.plain, host, l.secure, more)
	}
	tls := `,"tls":{"client_authentication":{"ca":{"provider":"file","pem_files":["` + filepath.Join(t.TempDir(), "gone.pem") + `"]}}}`
	writeRows(t, l.file, []sites.Change{
		{ID: 10, Document: []byte(`{"require_client_certificate":true,` + string(document("a.test", tls)[1:]))},
		{ID: 11, Document: []byte(`{"template":"none",` + string(document("b.test", "")[1:]))},
	})
	if err := l.Load(l.config(l.wildcard())); err != nil {
		t.Fatal(err)
	}
	for id, host := range map[int]string{10: "a.test", 11: "b.test"} {
		var site adminapi.Site
		if l.ask("GET", fmt.Sprint("sites/", id), "", &site); site.State != adminapi.StateHeldBack {
			t.Errorf("site %d: %+v", id, site)
		}
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: host, Plain: true})
		if err != nil || answer.Status != 503 {
			t.Errorf("%s: %v, %v; %s", host, answer, err, site.Reason)
		}
		answer, err = ts.Do(ts.Request{Addr: at("127.0.0.1", l.secure), SNI: host})
		if err != nil || answer.Status != 503 {
			t.Errorf("%s over https: %v, %v", host, answer, err)
		}
	}
	for id, row := range [][]byte{document("c.test", tls), []byte(`{"require_client_certificate":true,` + string(document("c.test", tls)[1:]))} {
		l.refused(422, "PUT", fmt.Sprint("sites/", 20+id), string(row), "gone.pem")
	}
}

// TestLiveHeldBackAuto: the host of a row that is held back has a certificate for
// bindings no more; its clients have what they would have without.
func TestLiveHeldBackAuto(t *testing.T) {
	l := startLive(t, "", "")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	writeRows(t, l.file, []sites.Change{{ID: 10, Document: fmt.Appendf(nil,
		`{"template":"none","server_bindings":[":%d:a.test"],"bindings":[{"protocol":"https","binding":"*:%d:a.test","flags":1,"certificate":"auto"}]}`, l.plain, l.secure)}})
	if err := l.Load(l.config("certificate auto {\nfor_bindings\non_demand\nissuer internal\n}\n" + l.wildcard())); err != nil {
		t.Fatal(err)
	}
	l.gets("a.test", 503, "Service Unavailable", "other.test", 10)
}

// TestLiveHeldBackCertificate: a row that names a certificate which the configuration has no
// more is held back for it, its other bindings too; it serves when the certificate is back.
func TestLiveHeldBackCertificate(t *testing.T) {
	l := startLive(t, "", "")
	with := l.config(certificates(t, "gone.test"))
	if err := l.Load(with); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", fmt.Sprintf(`{"name":"A","server_bindings":[":%d:a.test"],"bindings":[{"protocol":"https","binding":"*:%d:a.test","flags":1,"certificate":"gone.test"}]}`, l.plain, l.secure))
	l.want(201, "PUT", "sites/11", fmt.Sprintf(`{"name":"B","certificate":"gone.test","server_bindings":[":%d:b.test"],"bindings":[{"protocol":"https","binding":"*:%d:b.test","flags":1}]}`, l.plain, l.secure))
	for host, id := range map[string]uint32{"a.test": 10, "b.test": 11} {
		l.gets(host, 200, fmt.Sprint("default ", id), "gone.test", id)
	}
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	const reason = `certificate "gone.test" is not configured: expected one of ["other.test" "wild.test"]`
	l.lists(map[string][]string{"&state=held_back": {"10 held_back", "11 held_back"}, "&certificate=gone.test": {"10 held_back", "11 held_back"}})
	for host, id := range map[string]uint32{"a.test": 10, "b.test": 11} {
		var site adminapi.Site
		if l.ask("GET", fmt.Sprint("sites/", id), "", &site); !strings.Contains(site.Reason, reason) {
			t.Errorf("site %d: %+v", id, site)
		}
		l.gets(host, 503, "", "wild.test", id) // that of the address and port
	}
	l.prints(0, []string{"show", "A"}, "held back", reason, "change the site, or what it names")
	if err := l.Load(with); err != nil {
		t.Fatal(err)
	}
	for host, id := range map[string]uint32{"a.test": 10, "b.test": 11} {
		l.gets(host, 200, fmt.Sprint("default ", id), "gone.test", id)
	}
}
