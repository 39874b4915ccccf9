package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/iismanager"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestManager is a day at the manager page: log in, find a site among many, add a
// binding, see it serve with the right certificate, read what is in the way of another
// one, stop and start, explain, revert.
func TestManager(t *testing.T) {
	s := startShop(t, "")
	s.customers(*managerSites)
	b := browse(t)
	b.login(s, "/")
	b.see(fmt.Sprintf("%d sites", *managerSites+2), "certificate ends soon")
	if title := evaluate[string](b, "document.title"); !strings.Contains(title, "warning") || !strings.Contains(title, "ends soon") {
		t.Errorf("title: %s", title)
	}
	last := fmt.Sprintf("Customer %d", *managerSites)
	b.fill("q", strings.ToLower(last))
	b.see("1 site\n")
	b.follow(last, "Site bindings", "What clients get")

	// What is in the way stands at the field while it is typed.
	b.follow("Edit bindings", "Add a binding")
	b.choose("type", "https")
	b.fill("port", fmt.Sprint(s.secure))
	b.fill("host", "shop.example.org")
	b.see("Show Shop")
	if !evaluate[bool](b, `document.getElementById("host").getAttribute("aria-invalid") === "true"`) {
		t.Error("the field is not marked")
	}
	b.fill("host", "new.example.test")
	b.see("It can be saved.")
	b.run(chromedp.Click(chromedp.CSS(`[name="sni"]`)))
	b.fill("certificate", "wildcard")
	b.follow("Add", "The binding is added", "new.example.test")
	a, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", s.secure), SNI: "new.example.test"})
	if err != nil || a.Subject() != "*.example.test" || a.Body != fmt.Sprintf("%d %s", 1000+*managerSites, last) {
		t.Errorf("%v, %v", a, err)
	}

	// A conflict when it is saved.
	b.follow("Edit bindings", "Add a binding")
	b.fill("port", fmt.Sprint(s.plain))
	b.fill("host", "c1.example.test")
	b.follow("Add", "Customer 1")
	if got := s.over("c1.example.test"); got != "200 1001 Customer 1" {
		t.Error(got)
	}

	b.follow(last, "What clients get")
	host := fmt.Sprintf("c%d.example.test", *managerSites)
	b.follow(fmt.Sprintf("Stop %s (%d)", last, 1000+*managerSites), "The site is stopped", "stopped")
	if got := s.over(host); !strings.HasPrefix(got, "400") {
		t.Error(got)
	}
	b.follow(fmt.Sprintf("Start %s (%d)", last, 1000+*managerSites), "The site is started")
	if got := s.over(host); !strings.HasPrefix(got, "200") {
		t.Error(got)
	}

	b.login(s, "/explain")
	b.fill("local", fmt.Sprintf("10.1.2.3:%d", s.secure))
	b.fill("sni", "new.example.test")
	b.follow("Explain", "D1 row", "D2 row", last)

	b.login(s, "/changes")
	b.see("manager/alice")
	b.follow("Revert revision "+fmt.Sprint(evaluate[int](b, `Number([...document.querySelectorAll("tbody tr")].find(r => r.innerText.includes("new.example.test")).cells[0].innerText)`)), "The revision is taken back")
	if _, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", s.secure), SNI: "new.example.test"}); err != nil {
		t.Fatal(err)
	}
	b.login(s, fmt.Sprintf("/sites/%d", 1000+*managerSites))
	b.see("What clients get")
	if evaluate[bool](b, `document.body.innerText.includes("new.example.test")`) {
		t.Error("the binding is still there")
	}
	b.silent()
}

// TestManagerTwo: two browsers change the same site; the second one sees it, and its
// change is not made.
func TestManagerTwo(t *testing.T) {
	s := startShop(t, "")
	s.put(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.test"]}`, s.plain))
	first, second := browse(t), browse(t)
	for _, b := range []*tab{first, second} {
		b.login(s, "/sites/1001/bindings")
		b.fill("port", fmt.Sprint(s.plain))
	}
	first.fill("host", "first.test")
	second.fill("host", "second.test")
	first.follow("Add", "The binding is added")
	second.follow("Add", "Somebody else has changed this site", "first.test")
	if got := s.over("second.test"); !strings.HasPrefix(got, "400") {
		t.Error(got)
	}
	if got := evaluate[string](second, `document.getElementById("host").value`); got != "second.test" {
		t.Errorf("what was typed is lost: %q", got)
	}
	second.follow("Add", "The binding is added")
	for _, host := range []string{"bakery.test", "first.test", "second.test"} {
		if got := s.over(host); got != "200 1001 Bakery" {
			t.Errorf("%s: %s", host, got)
		}
	}
	first.silent()
	second.silent()
}

// TestManagerWithoutScript: all of it works by links and forms.
func TestManagerWithoutScript(t *testing.T) {
	s := startShop(t, "")
	s.customers(60)
	b := browse(t)
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	b.login(s, "/")
	b.fill("q", "customer 59")
	b.follow("Search", "1 site")
	b.follow("Customer 59", "What clients get")
	b.follow("Edit bindings", "Add a binding")
	b.fill("port", fmt.Sprint(s.plain))
	b.fill("host", "c1.example.test")
	b.follow("Check", "Show Customer 1")
	b.fill("host", "plain.test")
	b.follow("Add", "The binding is added")
	if got := s.over("plain.test"); got != "200 1059 Customer 59" {
		t.Error(got)
	}
}

// TestManagerLocal: the address that caddy iis manager prints, in a browser.
func TestManagerLocal(t *testing.T) {
	s := startShop(t, "")
	client, err := adminapi.New(s.AdminAddr())
	if err != nil {
		t.Fatal(err)
	}
	local := iismanager.NewLocal(client, zap.NewNop(), false)
	server := httptest.NewServer(local)
	defer server.Close()
	b := browse(t)
	b.open(server.URL + local.Path())
	b.see("2 sites")
	b.fill("q", "shop")
	b.see("1 site\n")
	b.follow("Stop Shop (2)", "The site is stopped")
	b.follow("Edit bindings", "Add a binding")
	b.fill("host", "www.example.test")
	b.see("Its form is right.")
	b.silent()
	stranger := browse(t)
	stranger.open(server.URL + local.Path())
	stranger.see("403")
}

// TestManagerAttacks: a page of somebody else changes nothing in a browser that is logged
// in, and what tenants write is text.
func TestManagerAttacks(t *testing.T) {
	const script = `<script>window.pwned=1</script><img src=x onerror="window.pwned=1">`
	cert, key := ts.PEMValid(t, -time.Hour, time.Hour, script, "evil.example.test")
	s := startShop(t, fmt.Sprintf("certificate evil %q %q\nendpoint 127.0.0.9:%d {\ncertificate evil\n}", cert, key, ts.FreePort(t)))
	s.put(1001, fmt.Sprintf(`{"name": %q, "template": "page", "server_bindings": [":%d:bakery.test"], "secure_bindings": [":%d:shop.example.org.test"], "vars": {"greeting": %[1]q}}`,
		`"'>`+script, s.plain, s.secure))
	b := browse(t)
	b.login(s, "/sites/1001")
	b.see("<script>window.pwned=1</script>", "greeting")
	for _, path := range []string{"/", "/certificates", "/sites/1001/bindings", "/changes", "/check", "/sites?q=%3Cscript%3Ewindow.pwned=1%3C/script%3E", "/explain?local=%3Cscript%3E"} {
		b.login(s, path)
		if evaluate[bool](b, `window.pwned !== undefined || document.querySelector("img") !== null`) {
			t.Errorf("%s: a script has run", path)
		}
	}
	b.login(s, "/")
	b.fill("q", "<script>window.pwned=1</script>")
	b.see("1 site\n")
	if evaluate[bool](b, `window.pwned !== undefined`) {
		t.Error("a script has run")
	}
	b.silent()

	// The browser is logged in at the page, and opens one of somebody else, which sends a
	// form there, asks by a script, and shows the page in a frame.
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		target := "http://" + s.page + "/sites/1001/stop"
		switch r.URL.Path {
		case "/form":
			fmt.Fprintf(w, `<form method="post" action="%s"></form><script>document.forms[0].submit()</script>`, target)
		case "/fetch":
			fmt.Fprintf(w, `<script>fetch(%q, {method: "POST", mode: "no-cors", credentials: "include"}).finally(() => document.title = "sent")</script>`, target)
		case "/frame":
			fmt.Fprintf(w, `<iframe src="http://%s/" onload="document.title = 'loaded'"></iframe>`, s.page)
		}
	}))
	defer attacker.Close()
	b.open(attacker.URL + "/form")
	b.see("This request comes from a page of somebody else")
	b.open(attacker.URL + "/fetch")
	b.run(chromedp.Poll[chromedp.Void](`document.title === "sent"`))
	if got := s.over("bakery.test"); !strings.HasPrefix(got, "200") {
		t.Errorf("somebody else has stopped the site: %s", got)
	}
	b.open(attacker.URL + "/frame")
	b.run(chromedp.Poll[chromedp.Void](`document.title === "loaded"`))
	if evaluate[bool](b, `(() => { try { return frames[0].document.body.innerText.includes("Sites") } catch { return false } })()`) {
		t.Error("the page is in a frame of somebody else")
	}

	// Without a password, and by a name that DNS leads here.
	stranger := browse(t, chromedp.Flag("host-resolver-rules", "MAP rebound.example 127.0.0.1"))
	if err := chromedp.Do(stranger.ctx, chromedp.Navigate("http://"+s.page+"/")); err == nil || !strings.Contains(err.Error(), "ERR_INVALID_AUTH_CREDENTIALS") {
		t.Errorf("no password is asked for: %v", err)
	}
	stranger.open(s.open + "/")
	stranger.see("Main")
	stranger.open(strings.Replace(s.open, "127.0.0.1", "rebound.example", 1) + "/")
	stranger.see("403")
}
