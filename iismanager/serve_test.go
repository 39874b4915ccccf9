package iismanager_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	_ "github.com/caddy-iis/caddy-iis"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// manager is a Caddy with the page at three places: on an ordinary site with a password,
// on one without, and on a site of the iis app below a folder.
type manager struct {
	*ts.Server
	t                        testing.TB
	plain, secure            int // of the sites
	secured, open, fixed, in string
	config                   string
}

const password = "correct horse"

func startManager(t testing.TB, more string) *manager {
	t.Helper()
	m := &manager{t: t, plain: ts.FreePort(t)}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := ts.PEMValid(t, -time.Hour, 90*24*time.Hour, "wild.test", "*.wild.test", "*.test")
	port := func() int { return ts.FreePort(t) }
	secured, open, fixed, tls, inside := port(), port(), port(), port(), port()
	m.secured, m.open, m.fixed = fmt.Sprintf("http://127.0.0.1:%d/", secured), fmt.Sprintf("http://127.0.0.1:%d/", open), fmt.Sprintf("http://127.0.0.1:%d/", fixed)
	m.secure = tls
	m.in = fmt.Sprintf("http://127.0.0.1:%d/manager/", inside)
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`{
	auto_https off
	iis {
		certificate wild %[1]q %[2]q
		sites_from bolt %[3]q {
			certificate_key {file.%[12]s}
		}
		defaults {
			respond "{iis.site.id} {iis.site.name}"
		}
		endpoint *:%[4]d {
			certificate wild
		}
		site 1 "Configured" {
			server_bindings :%[5]d:configured.test
			secure_bindings :%[4]d:configured.test
		}
		site 2 "Pages" {
			server_bindings :%[11]d:
			handle_path /manager* {
				iis_manager {
					admin localhost:1
				}
			}
		}
		%[10]s
	}
}
http://:%[6]d {
	basic_auth {
		alice %[9]s
	}
	iis_manager
}
http://:%[7]d {
	iis_manager
}
http://:%[8]d {
	iis_manager {
		read_only
		insecure
	}
}`, cert, key, filepath.Join(t.TempDir(), "sites.db"), tls, m.plain, secured, open, fixed, hash, more, inside, keyFile)
	m.config = config
	m.Server = ts.Start(t, config)
	// A site of the iis app is not told where the endpoint is.
	if err := m.Load(strings.Replace(config, "admin localhost:1", "admin "+m.AdminAddr(), 1)); err != nil {
		t.Fatal(err)
	}
	return m
}

// answer is what the page answers.
type answer struct {
	status   int
	body     string
	header   http.Header
	location string
}

// get asks for a path below a place; change may change the request.
func (m *manager) do(method, place, path string, form url.Values, change func(*http.Request)) answer {
	m.t.Helper()
	r, err := http.NewRequest(method, place+path, strings.NewReader(form.Encode()))
	if err != nil {
		m.t.Fatal(err)
	}
	if place == m.secured {
		r.SetBasicAuth("alice", password)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", strings.TrimSuffix("http://"+r.URL.Host, "/"))
	}
	if change != nil {
		change(r)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(r)
	if err != nil {
		m.t.Fatalf("%s %s: %v", method, r.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		m.t.Fatalf("%s %s: %v", method, r.URL, err)
	}
	return answer{resp.StatusCode, string(body), resp.Header, resp.Header.Get("Location")}
}

func (m *manager) get(place, path string) answer {
	m.t.Helper()
	return m.do(http.MethodGet, place, path, nil, nil)
}

func (m *manager) post(place, path string, form url.Values) answer {
	m.t.Helper()
	return m.do(http.MethodPost, place, path, form, nil)
}

// want requires a status and texts.
func (a answer) want(t testing.TB, status int, texts ...string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, expected %d: %s", a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Fatalf("no %q in %s", text, a.body)
		}
	}
}

// add puts a site into the source.
func (m *manager) add(id int, document string) {
	m.t.Helper()
	if status, body := m.Admin(http.MethodPut, fmt.Sprintf("/iis/sites/%d", id), document); status >= 300 {
		m.t.Fatalf("%d %s", status, body)
	}
}

// serves reports what a host answers over http.
func (m *manager) serves(host string) string {
	m.t.Helper()
	a, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", m.plain), Plain: true, Host: host})
	if err != nil {
		m.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", a.Status, a.Body)
}

// TestPageIsRefused: who is not known gets nothing of the page, whatever he asks for.
func TestPageIsRefused(t *testing.T) {
	m := startManager(t, "")
	m.get(m.open, "sites").want(t, http.StatusOK, "Configured")
	for name, change := range map[string]func(*http.Request){
		"no password":                  func(r *http.Request) { r.URL.Host = strings.TrimSuffix(strings.TrimPrefix(m.secured, "http://"), "/") },
		"a foreign host":               func(r *http.Request) { r.Host = "attacker.example" },
		"a proxy on the same machine":  func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
		"a proxy that says loopback":   func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") },
		"a header of a trusted proxy":  func(r *http.Request) { r.Host = "example.com"; r.Header.Set("Remote-User", "root") },
		"a forwarded one with a style": func(r *http.Request) { r.URL.Path = "/assets/style.css"; r.Header.Set("Via", "1.1 proxy") },
		"a forwarded unknown path":     func(r *http.Request) { r.URL.Path = "/nothing"; r.Header.Set("Forwarded", "for=192.0.2.1") },
	} {
		a := m.do(http.MethodGet, m.open, "sites", nil, change)
		if a.status != http.StatusForbidden && a.status != http.StatusUnauthorized || strings.Contains(a.body, "Configured") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// TestCrossSite: a form of another site changes nothing.
func TestCrossSite(t *testing.T) {
	m := startManager(t, "")
	m.add(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.test"]}`, m.plain))
	for name, change := range map[string]func(*http.Request){
		"another origin": func(r *http.Request) { r.Header.Set("Origin", "http://attacker.example") },
		"an opaque one":  func(r *http.Request) { r.Header.Set("Origin", "null") },
		"what the browser says": func(r *http.Request) {
			r.Header.Del("Origin")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		},
		"another port of the same host": func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:1") },
		"a sister of the host":          func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
	} {
		a := m.do(http.MethodPost, m.secured, "sites/1001/stop", nil, change)
		if a.status != http.StatusForbidden {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	if got := m.serves("bakery.test"); got != "200 1001 Bakery" {
		t.Error(got)
	}
	m.get(m.secured, "sites/1001/stop").want(t, http.StatusNotFound) // a link changes nothing either
	m.post(m.fixed, "sites/1001/stop", nil).want(t, http.StatusForbidden, "read-only")
	if got := m.serves("bakery.test"); got != "200 1001 Bakery" {
		t.Error(got)
	}
}

// TestReadOnly: no route changes anything, by whatever method it is asked.
func TestReadOnly(t *testing.T) {
	m := startManager(t, "")
	m.add(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.test"]}`, m.plain))
	before := m.get(m.fixed, "sites/1001/bindings")
	before.want(t, http.StatusOK, "read-only", "bakery.test")
	for _, path := range []string{"", "sites", "certificates", "endpoints", "explain", "check", "changes", "sites/1001", "sites/1", "sites/1001/bindings", "sites/1001/bindings?edit=" + url.QueryEscape(fmt.Sprintf("http *:%d:bakery.test", m.plain))} {
		if a := m.get(m.fixed, path); a.status != http.StatusOK || strings.Contains(a.body, `method="post"`) {
			t.Errorf("%s: %d, or a form that changes something", path, a.status)
		}
	}
	form := binding("add", m.get(m.secured, "sites/1001/bindings").etag(t), "", "http", m.plain, "new.test")
	form.Set("source", "bolt")
	for _, path := range []string{"sites/1001/stop", "sites/1001/start", "sites/1/stop", "sites/1001/bindings", "sites/1/bindings", "changes/1/revert", "certificates", "sites/1001", "nothing"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "REVERT"} {
			m.do(method, m.fixed, path, form, func(r *http.Request) {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.Header.Set("X-HTTP-Method-Override", http.MethodGet)
			}).want(t, http.StatusForbidden, "read-only")
		}
		for _, method := range []string{http.MethodPut, http.MethodDelete, "REVERT"} {
			if a := m.do(method, m.secured, path, form, nil); a.status != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, path, a.status)
			}
		}
		m.do(http.MethodHead, m.secured, path, form, nil)
	}
	for host, want := range map[string]string{"bakery.test": "200", "configured.test": "200", "new.test": "400"} {
		if got := m.serves(host); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", host, got)
		}
	}
}

// TestRefusalsAreLogged: each refused attempt has one line, which tells whence, who if he
// is known, for what and why, and no secret.
func TestRefusalsAreLogged(t *testing.T) {
	m := startManager(t, "")
	for _, test := range []struct {
		method, place, path string
		change              func(*http.Request)
		has                 []string
	}{
		{http.MethodGet, m.open, "sites/71", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }, []string{`"reason":"passed on by a proxy"`, `"client_ip":"127.0.0.1"`}},
		{http.MethodGet, m.open, "sites/72", func(r *http.Request) { r.Host = "attacker.example" }, []string{`"reason":"foreign host"`, `"host":"attacker.example"`, `"method":"GET"`}},
		{http.MethodPost, m.secured, "sites/73/stop?secret=x", func(r *http.Request) { r.Header.Set("Origin", "http://attacker.example") }, []string{`"reason":"cross-site"`, `"user":"alice"`, `"known_by":"authenticated"`}},
		{http.MethodPost, m.fixed, "sites/74/stop", nil, []string{`"reason":"read_only"`, `"user":"local"`}},
	} {
		m.do(test.method, test.place, test.path, nil, test.change).want(t, http.StatusForbidden)
		path, _, _ := strings.Cut(test.path, "?")
		lines := ts.Logs.Lines("the manager page has refused a request", `"path":"/`+path+`"`)
		if len(lines) != 1 {
			t.Errorf("%s: %d lines", path, len(lines))
			continue
		}
		for _, text := range append(test.has, `"remote":"127.0.0.1:`) {
			if !strings.Contains(lines[0], text) {
				t.Errorf("no %s in %s", text, lines[0])
			}
		}
		if strings.Contains(lines[0], "secret") || strings.Contains(lines[0], password) {
			t.Errorf("it tells a secret: %s", lines[0])
		}
	}
}

// TestProtected: answers of all kinds have the headers that keep other pages out.
func TestProtected(t *testing.T) {
	m := startManager(t, "")
	for name, a := range map[string]answer{
		"a page": m.get(m.open, "sites"), "nothing": m.get(m.open, "nothing"), "an asset": m.get(m.open, "assets/style.css"),
		"a redirect": m.get(m.open, "sites//1"), "a refusal": m.do(http.MethodGet, m.open, "sites", nil, func(r *http.Request) { r.Host = "attacker.example" }),
	} {
		policy := a.header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: no %s in %q", name, part, policy)
			}
		}
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := a.header.Get(header); got != want {
				t.Errorf("%s: %s: %q", name, header, got)
			}
		}
		if got := a.header.Get("Cache-Control"); got != "no-store" && name != "an asset" {
			t.Errorf("%s: Cache-Control: %q", name, got)
		}
	}
	// Of what is larger still, net/http reads no more than 256 KiB before it hangs up.
	big := m.post(m.open, "sites/1/bindings", url.Values{"do": {"add"}, "etag": {"x"}, "host": {strings.Repeat("x", 100<<10)}})
	if big.status < 400 || big.status >= 500 {
		t.Errorf("a form of 100 KiB: %d", big.status)
	}
}

// TestUnnamed: a site without name is called by its id.
func TestUnnamed(t *testing.T) {
	m := startManager(t, "")
	m.add(1001, fmt.Sprintf(`{"server_bindings": [":%d:bakery.test"]}`, m.plain))
	for _, path := range []string{"sites/1001", fmt.Sprintf("explain?local=127.0.0.1:%d&host=bakery.test", m.plain)} {
		m.get(m.secured, path).want(t, http.StatusOK, `sites/1001">site 1001</a>`)
	}
	part := m.do(http.MethodPost, m.open, "sites/77/bindings", binding("check", "", "", "http", m.plain, "x.test"), func(r *http.Request) { r.Header.Set("Iis-Part", "results") })
	part.want(t, http.StatusNotFound, "no such site")
	if strings.Contains(part.body, "<html") {
		t.Error("a part is a whole page")
	}
}

// TestStartAndStop: for a site of a source and one of the configuration, from each place,
// with a line in the log.
func TestStartAndStop(t *testing.T) {
	m := startManager(t, "")
	m.add(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.test"]}`, m.plain))
	for _, place := range []string{m.secured, m.open, m.in} {
		for id, host := range map[string]string{"1001": "bakery.test", "1": "configured.test"} {
			a := m.post(place, "sites/"+id+"/stop", nil)
			if a.status != http.StatusSeeOther || !strings.HasPrefix(a.location, "../../sites/"+id+"?done=") {
				t.Fatalf("%s: %+v", place, a)
			}
			if got := m.serves(host); !strings.HasPrefix(got, "400") {
				t.Errorf("%s is stopped: %s", host, got)
			}
			m.get(place, "sites/"+id).want(t, http.StatusOK, ">stopped<", "Start</button>")
			if a := m.post(place, "sites/"+id+"/start", nil); a.status != http.StatusSeeOther {
				t.Fatalf("%s: %+v", place, a)
			}
			if got := m.serves(host); !strings.HasPrefix(got, "200 "+id) {
				t.Errorf("%s is started: %s", host, got)
			}
		}
	}
	lines := ts.Logs.Lines("the manager page has made a change", `"user":"alice"`, `"change":"stop"`, `"site":1001`)
	if len(lines) != 1 {
		t.Errorf("the log has %d lines: %q", len(lines), lines)
	}
	m.get(m.secured, "changes").want(t, http.StatusOK, "manager/alice", "autostart")
	m.post(m.secured, "sites/77/stop", nil).want(t, http.StatusNotFound, "no such site")
}

// TestSearch: over names, hosts, ids and certificates, in pages.
func TestSearch(t *testing.T) {
	m := startManager(t, "")
	for i := range 60 {
		m.add(1000+i, fmt.Sprintf(`{"name": "Shop %[2]d", "server_bindings": [":%[1]d:shop%[2]d.test"]}`, m.plain, i))
	}
	m.get(m.secured, "").want(t, http.StatusOK, "62 sites", "Next page", "Configured")
	m.get(m.secured, "sites?q=shop59.te").want(t, http.StatusOK, "1 site</p>", "Shop 59")
	m.get(m.secured, "sites?q=Shop+7").want(t, http.StatusOK, "1 site</p>", "shop7.test")
	m.get(m.secured, "sites?q=1007").want(t, http.StatusOK, "1 site</p>", "shop7.test")
	m.get(m.secured, "sites?q=wild").want(t, http.StatusOK, "1 site</p>", "Configured")
	next := regexp.MustCompile(`href="([^"]*)" rel="next"`).FindStringSubmatch(m.get(m.secured, "sites?q=shop&certificate=&state=started").body)
	if next == nil {
		t.Fatal("there is no next page")
	}
	a := m.get(m.secured, strings.ReplaceAll(strings.TrimPrefix(next[1], "./"), "&amp;", "&"))
	a.want(t, http.StatusOK, "Shop 50", "Shop 59", "First page")
	if strings.Contains(a.body, "Shop 49<") || strings.Contains(a.body, "Next page") {
		t.Error(a.body)
	}
	part := m.do(http.MethodGet, m.secured, "sites?q=shop59", nil, func(r *http.Request) { r.Header.Set("Iis-Part", "results") })
	part.want(t, http.StatusOK, "Shop 59")
	if strings.Contains(part.body, "<html") {
		t.Error("a part is a whole page")
	}
	m.get(m.secured, "sites?state=nonsense").want(t, http.StatusBadRequest, "state: unknown word")
}

// TestHeldBackPage: a site that waits is in the list, by its state and with words.
func TestHeldBackPage(t *testing.T) {
	m := startManager(t, "template second {\nrespond second\n}")
	m.add(1001, fmt.Sprintf(`{"name": "Waits", "template": "second", "server_bindings": [":%d:waits.test"]}`, m.plain))
	if err := m.Restart(strings.Replace(m.config, "template second", "template third", 1)); err != nil {
		t.Fatal(err)
	}
	m.get(m.secured, "sites?state=held_back").want(t, http.StatusOK, "1 site</p>", "Waits", `state bad">held back<`, `value="held_back" selected`)
	m.get(m.secured, "sites/1001").want(t, http.StatusOK, "Waits", "held back")
}

// TestPages: each page is there at each place, by links that lead to it.
func TestPages(t *testing.T) {
	m := startManager(t, fmt.Sprintf(`
		site 9 "Wrong" {
			secure_bindings :%d:elsewhere.example
			certificate wild
		}`, ts.FreePort(t)))
	m.add(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.test"]}`, m.plain))
	for _, place := range []string{m.secured, m.in} {
		m.get(place, "").want(t, http.StatusOK, "<title>(", "warning", "elsewhere.example")
		m.get(place, "sites/1").want(t, http.StatusOK, "configured.test", "What clients get", "D1 row", "D2 row", "wild")
		m.get(place, "sites/1001").want(t, http.StatusOK, "History", "by api/local, revision 1", "changes?source=bolt&amp;site=1001")
		m.get(place, "certificates").want(t, http.StatusOK, "*.wild.test", "89 days", "does not cover", "elsewhere.example")
		m.get(place, "endpoints").want(t, http.StatusOK, fmt.Sprintf("*:%d", m.plain), "serving")
		m.get(place, "explain").want(t, http.StatusOK, "The client")
		m.get(place, fmt.Sprintf("explain?local=127.0.0.1:%d&host=bakery.test", m.plain)).want(t, http.StatusOK, "Bakery", "D2 row 3")
		m.get(place, "explain?local=nonsense").want(t, http.StatusBadRequest, "is not an IP address and port", `value="nonsense"`)
		m.get(place, "check").want(t, http.StatusOK, "elsewhere.example", "Way out")
		m.get(place, "changes").want(t, http.StatusOK, "added", "site 1001", "Revert")
		m.get(place, "changes?source=bolt&site=1001").want(t, http.StatusOK, "of <a", "added", "server_bindings")
		m.get(place, "changes?source=bolt&site=77").want(t, http.StatusOK, "Nothing among the last revisions")
		m.get(place, "assets/style.css").want(t, http.StatusOK, "prefers-color-scheme")
		m.get(place, "assets/manager.js").want(t, http.StatusOK, "data-search")
		m.get(place, "assets/layout.html").want(t, http.StatusNotFound)
		m.get(place, "sites/nonsense").want(t, http.StatusNotFound)
		m.get(place, "sites/77").want(t, http.StatusNotFound, "there is no site 77")
		a := m.get(place, "nothing")
		a.want(t, http.StatusNotFound, `href="./sites"`)
		if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self'") || strings.Contains(policy, "unsafe") {
			t.Error(policy)
		}
	}
	if a := m.get(strings.TrimSuffix(m.in, "/"), ""); a.status != http.StatusPermanentRedirect || a.location != "./manager/" {
		t.Errorf("without slash: %+v", a)
	}
	m.post(m.secured, "changes/1/revert", url.Values{"source": {"bolt"}}).want(t, http.StatusSeeOther)
	m.get(m.secured, "sites/1001").want(t, http.StatusNotFound)
	m.post(m.secured, "changes/99/revert", url.Values{"source": {"bolt"}}).want(t, http.StatusNotFound, "no revision 99")
}

// TestScripts: what tenants write is text.
func TestScripts(t *testing.T) {
	m := startManager(t, "")
	const script = `<script>alert(1)</script>`
	m.add(1001, fmt.Sprintf(`{"name": "\"'>%s", "server_bindings": [":%d:xss.test"]}`, strings.ReplaceAll(script, `"`, `\"`), m.plain))
	for _, path := range []string{"", "sites/1001", "changes", "sites?q=" + url.QueryEscape(script), "explain?local=" + url.QueryEscape(script)} {
		a := m.get(m.secured, path)
		if strings.Contains(a.body, script) || !strings.Contains(a.body, "&lt;script&gt;") && path != "changes" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

// TestWithoutEndpoint: what needs no admin endpoint works without one, and the rest says
// what it is that does not answer.
func TestWithoutEndpoint(t *testing.T) {
	m := &manager{t: t, plain: ts.FreePort(t)}
	page := ts.FreePort(t)
	m.Server = ts.Start(t, fmt.Sprintf(`{
	auto_https off
	iis {
		sites_from bolt %q
		defaults {
			respond "{iis.site.id} {iis.site.name}"
		}
		site 1 "Configured" {
			server_bindings :%d:configured.test
		}
	}
}
http://:%d {
	iis_manager {
		admin 127.0.0.1:%d
	}
}`, filepath.Join(t.TempDir(), "sites.db"), m.plain, page, ts.FreePort(t)))
	m.add(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.test"]}`, m.plain))
	place := fmt.Sprintf("http://127.0.0.1:%d/", page)
	for _, path := range []string{"", "sites/1", "sites/1001", "sites/1001/bindings", "certificates", "endpoints", "check", "changes"} {
		m.get(place, path).want(t, http.StatusOK)
	}
	m.post(place, "sites/1001/stop", nil).want(t, http.StatusSeeOther)
	m.post(place, "sites/1/stop", nil).want(t, http.StatusBadGateway, "admin endpoint", "does not answer", "Configured")
	m.get(place, "sites/1/bindings").want(t, http.StatusBadGateway, "does not answer")
	if got := m.serves("configured.test"); got != "200 1 Configured" {
		t.Error(got)
	}
}

// TestForeignEndpoint: where another Caddy of the machine has the endpoint, its sites are
// neither shown nor changed.
func TestForeignEndpoint(t *testing.T) {
	m := startManager(t, "")
	asked := 0
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/iis/") {
			asked++
		}
		w.Header().Set("Iis-Process", "another")
		fmt.Fprint(w, `{"name": "Foreign"}`)
	}))
	defer foreign.Close()
	config := strings.Replace(m.config, "admin localhost:1", "admin "+foreign.Listener.Addr().String(), 1)
	if err := m.Load(config); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"stop", "start"} {
		m.post(m.in, "sites/1/"+word, nil).want(t, http.StatusBadGateway, "that of another Caddy", "Configured")
	}
	a := m.get(m.in, "sites/1/bindings")
	a.want(t, http.StatusBadGateway, "that of another Caddy")
	if strings.Contains(a.body, "Foreign") || asked != 0 {
		t.Errorf("%d requests: %s", asked, a.body)
	}
}

// TestBuiltIn: the page loads nothing from elsewhere.
func TestBuiltIn(t *testing.T) {
	files, err := filepath.Glob("page/*")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		raw = bytes.ReplaceAll(raw, []byte("http://www.w3.org/2000/svg"), nil) // a name, not an address
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range []string{"http://", "https://", "<style", "onclick", "javascript:", "style="} {
			if strings.Contains(string(raw), wrong) {
				t.Errorf("%s has %s", file, wrong)
			}
		}
	}
}
