package caddyiis_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

func init() {
	caddy.RegisterModule(BlockingApp{})
}

// BlockingApp is an app that takes long to start.
type BlockingApp struct{}

// blocking tells the test that the app starts, and lets the test end that.
var blocking struct{ started, release chan struct{} }

func (BlockingApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "test_blocking", New: func() caddy.Module { return new(BlockingApp) }}
}

func (BlockingApp) Start() error {
	close(blocking.started)
	<-blocking.release
	return nil
}

func (BlockingApp) Stop() error { return nil }

// loadBlocked begins to load a configuration, and returns when Caddy starts its
// apps. The load ends when finish is called.
func loadBlocked(t *testing.T, s *ts.Server, raw []byte) (finish func() error) {
	t.Helper()
	var cfg map[string]any
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	cfg["apps"].(map[string]any)["test_blocking"] = map[string]any{}
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	blocking.started, blocking.release = make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(blocking.release) })
	t.Cleanup(release) // Caddy cannot be stopped while it loads
	done := make(chan error, 1)
	go func() { done <- s.LoadJSON(raw) }()
	select {
	case <-blocking.started:
	case err := <-done:
		t.Fatalf("loading ended before the app was started: %v", err)
	}
	return func() error {
		release()
		return <-done
	}
}

func TestAdminErrors(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	for _, c := range []struct {
		method, path string
		status       int
		message      string
	}{
		{"GET", "/iis/sites", 200, ""},
		{"HEAD", "/iis/sites", 200, ""},
		{"GET", "/iis/sites/1", 200, ""},
		{"GET", "/iis/sites/1/", 200, ""},
		{"GET", "/iis/", 404, "there are sites"},
		{"GET", "/iis/nothing", 404, "there are sites"},
		{"GET", "/iis/endpoints/1", 404, "there are sites"},
		{"GET", "/iis/sites/99", 404, "there is no site 99"},
		{"GET", "/iis/sites/one", 400, `site id "one" is not a number`},
		{"GET", "/iis/sites/1/bindings", 404, "there are sites"},
		{"POST", "/iis/sites", 405, "/config/apps/iis"},
		{"DELETE", "/iis/sites/1", 405, "/config/apps/iis"},
		{"DELETE", "/iis/sites", 405, "not allowed"},
		{"GET", "/iis/changes", 405, "not allowed"},
		{"POST", "/iis/revisions", 405, "not allowed"},
		{"POST", "/iis/revisions/1", 404, "revisions/{revision}/revert"},
		{"GET", "/iis/revisions/1/revert", 405, "not allowed"},
		{"POST", "/iis/sites?dry_run=true", 400, "is not 1"},
		{"DELETE", "/iis/sites/1?dry_run=1;source=one", 400, "cannot be read"},
		{"POST", "/iis/changes?dry_run=1%", 400, "cannot be read"},
		{"GET", "/iis/sites?%zz", 400, "cannot be read"},
		{"GET", "/iis/events?source=a;b", 400, "cannot be read"},
		{"GET", "/iis/export?source=a;b", 400, "cannot be read"},
		{"GET", "/iis/export?revisions=yes", 400, "is not 1"},
		{"GET", "/iis/sites?refused=0", 400, "is not 1"},
		{"GET", "/iis/ready?fresh=true", 400, "is not 1"},
		{"GET", "/iis/sites?limit=0", 400, "limit"},
		{"GET", "/iis/sites?limit=1001", 400, "1 to 1000"},
		{"GET", "/iis/sites?limit=many", 400, "limit"},
		{"GET", "/iis/sites?limit=1&limit=2", 400, "2 times"},
		{"GET", "/iis/sites?after=x", 400, "after"},
		{"GET", "/iis/sites?page=2", 400, "limit, after"},
		{"GET", "/iis/endpoints?after=x", 400, "after"},
		{"GET", "/iis/check?after=x", 400, "after"},
		{"GET", "/iis/explain", 400, "local: it is missing"},
		{"GET", "/iis/explain?local=127.0.0.1", 400, "local"},
		{"GET", "/iis/explain?local=127.0.0.1:0", 400, "local"},
		{"GET", "/iis/explain?local=127.0.0.1:1&scheme=ftp", 400, "scheme"},
		{"GET", "/iis/explain?local=127.0.0.1:1&hots=a", 400, "local, sni, host, scheme"},
	} {
		status, body := s.Admin(c.method, c.path, "")
		var said struct{ Error string }
		if status >= 400 && (json.Unmarshal([]byte(body), &said) != nil || said.Error == "") {
			t.Errorf("%s %s: not an error of Caddy: %s", c.method, c.path, body)
		}
		if status != c.status || !strings.Contains(said.Error, c.message) {
			t.Errorf("%s %s: %d %q; want %d, %q", c.method, c.path, status, said.Error, c.status, c.message)
		}
	}
	for _, path := range []string{"check", "sites/1"} { // without a source, no site can be written
		req, err := http.NewRequest(http.MethodPut, "http://"+s.AdminAddr()+"/iis/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if allow := resp.Header.Get("Allow"); resp.StatusCode != 405 || allow != "GET, HEAD" {
			t.Errorf("PUT %s: %d, Allow: %q", path, resp.StatusCode, allow)
		}
	}
}

func TestAdminWithoutApp(t *testing.T) {
	s := ts.Start(t, "{\n}")
	if status, body := s.Admin("GET", "/iis/sites", ""); status != 404 || !strings.Contains(body, "no iis app is configured") {
		t.Errorf("got %d %s", status, body)
	}
}

// TestAdminWhileStarting: the admin endpoint answers before the first configuration
// serves. What is asked then is to be asked again, and not missing.
func TestAdminWhileStarting(t *testing.T) {
	s := ts.Start(t, "{\n}")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	raw, err := s.Adapt("{\n iis {\n }\n}")
	if err != nil {
		t.Fatal(err)
	}
	finish := loadBlocked(t, s, raw)
	for _, c := range [][2]string{{"GET", "sites"}, {"GET", "ready"}, {"PUT", "sites/1"}, {"GET", "events"}} {
		body := ""
		if c[0] == "PUT" {
			body = `{"name":"A"}`
		}
		if status, answer := s.Admin(c[0], "/iis/"+c[1], body); status != 503 || !strings.Contains(answer, "no configuration serves yet") {
			t.Errorf("%s %s: %d %s", c[0], c[1], status, answer)
		}
	}
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	if status, answer := s.Admin("GET", "/iis/sites", ""); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
}

// TestAdminPaging: pages of any size have all items once and in order.
func TestAdminPaging(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	for _, list := range []string{"sites", "endpoints", "certificates"} {
		var whole adminapi.Page[map[string]any]
		s.AdminJSON("/iis/"+list, &whole)
		if whole.Next != "" || whole.Total != len(whole.Items) || whole.Total < 2 {
			t.Errorf("%s: %d items of %d, next %q", list, len(whole.Items), whole.Total, whole.Next)
		}
		for size := 1; size <= whole.Total; size++ {
			var items []map[string]any
			after := ""
			for {
				var p adminapi.Page[map[string]any]
				s.AdminJSON(fmt.Sprintf("/iis/%s?limit=%d&after=%s", list, size, after), &p)
				items = append(items, p.Items...)
				if after = p.Next; after == "" || len(items) > whole.Total {
					break
				}
			}
			if got, want := fmt.Sprint(items), fmt.Sprint(whole.Items); got != want {
				t.Errorf("%s in pages of %d: %s; want %s", list, size, got, want)
			}
		}
	}
}

// TestAdminWhileLoading: the API answers from the old configuration while
// Caddy loads another one.
func TestAdminWhileLoading(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	_, raw := s.Admin("GET", "/config/", "")
	finish := loadBlocked(t, s.Server, []byte(strings.Replace(raw, `"Main"`, `"Renamed"`, 1)))

	client := client(t, s.Server)
	for _, path := range []string{"sites", "endpoints", "certificates", "check", fmt.Sprintf("explain?local=127.0.0.1:%d", s.httpsPort)} {
		began := time.Now()
		var answer any
		if err := client.GetJSON(t.Context(), adminapi.Base+path, nil, &answer); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %v", path, took)
		}
	}
	if site, err := client.Site(t.Context(), 1); err != nil || site.Name != "Main" {
		t.Errorf("the site is named %q, %v while the configuration that names it otherwise is not in force", site.Name, err)
	}
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	if site, err := client.Site(t.Context(), 1); err != nil || site.Name != "Renamed" {
		t.Errorf("the site is named %q, %v after the configuration was loaded", site.Name, err)
	}
}

// TestAdminSharedPort: ordinary sites on a port with bindings are explained as
// they are served.
func TestAdminSharedPort(t *testing.T) {
	port := ts.FreePort(t)
	certFile, keyFile := ts.PEM(t, "ordinary.test", "ordinary.test")
	s := ts.Start(t, fmt.Sprintf(`{
		auto_https disable_redirects
		iis {
			certificate wildcard {
				subjects *.contoso.test
				issuer internal
			}
			site 1 {
				secure_bindings :%[1]d:www.contoso.test
				certificate wildcard
				respond "main"
			}
		}
	}
	https://ordinary.test:%[1]d {
		tls %[2]q %[3]q
		respond "ordinary"
	}`, port, certFile, keyFile))
	for _, c := range []struct {
		sni, handshake, request string
	}{
		{"www.contoso.test", adminapi.OutcomeCertificate, adminapi.OutcomeSite},
		{"ordinary.test", adminapi.OutcomeServer, adminapi.OutcomeServer},
		{"unknown.test", adminapi.OutcomeCertificate, adminapi.OutcomeUnknownHost},
	} {
		var x adminapi.Explanation
		s.AdminJSON(fmt.Sprintf("/iis/explain?local=127.0.0.1:%d&sni=%s", port, c.sni), &x)
		if x.Handshake.Outcome != c.handshake || x.Request.Outcome != c.request {
			t.Errorf("%s: %s, %s; want %s, %s", c.sni, x.Handshake.Outcome, x.Request.Outcome, c.handshake, c.request)
		}
	}
	var endpoints adminapi.Page[adminapi.Endpoint]
	s.AdminJSON("/iis/endpoints", &endpoints)
	if len(endpoints.Items) != 1 || len(endpoints.Items[0].SharedWith) != 1 {
		t.Errorf("endpoints: %+v", endpoints.Items)
	}
}

// TestAdminCertificates: what the API says of a certificate is what clients
// get.
func TestAdminCertificates(t *testing.T) {
	s := startSession(t, "main.caddyfile")
	leaf, err := ts.Handshake(fmt.Sprintf("127.0.0.1:%d", s.httpsPort), "shop.fabrikam.test")
	if err != nil {
		t.Fatal(err)
	}
	var certificates adminapi.Page[adminapi.Certificate]
	s.AdminJSON("/iis/certificates", &certificates)
	shop := certificates.Items[0]
	if shop.Name != "shop" || shop.Source != "managed" || len(shop.Current) != 1 {
		t.Fatalf("got %+v", shop)
	}
	current := shop.Current[0]
	if !current.NotAfter.Equal(leaf.NotAfter) || len(current.SHA1) != 40 || len(current.SHA256) != 64 || current.Chain != 2 ||
		len(current.Subjects) != 1 || current.Subjects[0] != "shop.fabrikam.test" {
		t.Errorf("got %+v", current)
	}
	if len(shop.UsedBy.Sites) != 1 || shop.UsedBy.Sites[0] != 2 || shop.UsedBy.Records[0] != fmt.Sprintf("shop.fabrikam.test:%d", s.httpsPort) {
		t.Errorf("used by %+v", shop.UsedBy)
	}
}
