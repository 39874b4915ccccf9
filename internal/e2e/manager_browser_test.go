package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-iis/caddy-iis/internal/needs"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

var managerSites = flag.Int("manager.sites", 2000, "how many sites the manager page has to cope with")

// shop is a Caddy with the manager page behind a password, and sites in a source.
type shop struct {
	*ts.Server
	t             *testing.T
	plain, secure int
	page, open    string // the page, with a password and without
}

const managerPassword = "correct horse"

func startShop(t *testing.T, more string) *shop {
	t.Helper()
	s := &shop{t: t, plain: ts.FreePort(t), secure: ts.FreePort(t)}
	hash, err := bcrypt.GenerateFromPassword([]byte(managerPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	page, open := ts.FreePort(t), ts.FreePort(t)
	s.page, s.open = fmt.Sprintf("127.0.0.1:%d", page), fmt.Sprintf("http://127.0.0.1:%d", open)
	wild, wildKey := ts.PEMValid(t, -time.Hour, 200*24*time.Hour, "*.example.test", "example.test")
	own, ownKey := ts.PEMValid(t, -60*24*time.Hour, 5*24*time.Hour, "shop.example.org")
	s.Server = ts.Start(t, fmt.Sprintf(`{
	auto_https off
	iis {
		certificate wildcard %[1]q %[2]q
		certificate shop %[3]q %[4]q
		endpoint *:%[5]d {
			certificate wildcard
		}
		sites_from bolt %[6]q {
			plain_keys
		}
		template page {
			site_vars {
				greeting hello
			}
			respond "{iis.vars.greeting} from {iis.site.name}"
		}
		defaults {
			respond "{iis.site.id} {iis.site.name}"
		}
		site 1 "Main" {
			server_bindings :%[7]d:www.example.test
			secure_bindings :%[5]d:www.example.test
		}
		site 2 "Shop" {
			binding https *:%[5]d:shop.example.org {
				sni
				certificate shop
			}
			binding https *:%[5]d:shop.example.net {
				sni
				certificate shop
			}
		}
		%[11]s
	}
}
http://:%[8]d {
	basic_auth {
		alice %[10]s
	}
	iis_manager
}
http://:%[9]d {
	iis_manager
}`, wild, wildKey, own, ownKey, s.secure, filepath.Join(t.TempDir(), "sites.db"), s.plain, page, open, hash, more))
	return s
}

// put adds a site to the source.
func (s *shop) put(id int, document string) {
	s.t.Helper()
	if status, body := s.Admin(http.MethodPut, fmt.Sprintf("/iis/sites/%d", id), document); status >= 300 {
		s.t.Fatalf("%d %s", status, body)
	}
}

// customers adds many sites.
func (s *shop) customers(n int) {
	s.t.Helper()
	const step = 10_000
	for first := 0; first < n; first += step {
		var lines strings.Builder
		for i := first; i < min(n, first+step); i++ {
			fmt.Fprintf(&lines, `{"op": "put", "id": %d, "site": {"name": "Customer %[2]d", "server_bindings": [":%[3]d:c%[2]d.example.test"], "secure_bindings": [":%[4]d:c%[2]d.example.test"]}}`+"\n",
				1001+i, i+1, s.plain, s.secure)
		}
		if status, body := s.Admin(http.MethodPost, "/iis/changes", lines.String()); status != http.StatusOK {
			s.t.Fatalf("%d %s", status, body)
		}
	}
}

// tab is a window of a real browser.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // what the browser complains of
}

// browse starts a browser with a profile of its own.
func browse(t *testing.T, options ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	options = append(append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(needs.Chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("no-proxy-server", true)), options...)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which does not work for root
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(end)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil { // starts it
		t.Fatal(err)
	}
	b.listen()
	return b
}

// listen collects what the browser complains of.
func (b *tab) listen() {
	b.t.Helper()
	entries, exceptions := chromedp.Events(b.ctx, log.EntryAdded), chromedp.Events(b.ctx, runtime.ExceptionThrown)
	if _, err := chromedp.Call(b.ctx, log.Enable, cdp.Empty{}); err != nil {
		b.t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, runtime.Enable, cdp.Empty{}); err != nil {
		b.t.Fatal(err)
	}
	note := func(text string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, text)
	}
	go func() {
		for event, err := range entries {
			if err != nil {
				return
			}
			// An answer of 4xx is one that the test asks for.
			if event.Entry.Level == log.EntryLevelError && !strings.Contains(event.Entry.Text, "the server responded with a status of 4") {
				note(event.Entry.Text)
			}
		}
	}()
	go func() {
		for event, err := range exceptions {
			if err != nil {
				return
			}
			note(fmt.Sprintf("%s: %v", event.ExceptionDetails.Text, event.ExceptionDetails.Exception))
		}
	}()
}

// silent requires that the browser had nothing to complain of: no script that failed,
// nothing that the page's own policy refuses.
func (b *tab) silent() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		b.t.Errorf("the browser says: %s", problem)
	}
}

// patience bounds what a browser does.
const patience = 30 * time.Second

// value does something in a browser that has a result.
func value[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	got, err := chromedp.Run(ctx, action)
	if err != nil {
		b.fail(err)
	}
	return got
}

// run does something in a browser.
func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	value(b, chromedp.Steps(actions...))
}

// fail ends the test, and shows where the browser was.
func (b *tab) fail(err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	at, _ := chromedp.Run(ctx, chromedp.Location())
	page, _ := chromedp.Run(ctx, chromedp.OuterHTML(chromedp.CSS("body")))
	b.t.Fatalf("at %s: %v\n%s", at, err, tail(page))
}

// login opens a page with the password in its address.
func (b *tab) login(s *shop, path string) {
	b.t.Helper()
	b.open("http://alice:" + strings.ReplaceAll(managerPassword, " ", "%20") + "@" + s.page + path)
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.run(chromedp.Navigate(url))
}

// see waits until the page shows texts.
func (b *tab) see(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		b.run(chromedp.Poll[chromedp.Void](fmt.Sprintf(`document.body && document.body.innerText.includes(%q)`, text), chromedp.WithPollingTimeout(patience/2)))
	}
}

// called is a link or button by what it is called.
func called(name string) chromedp.Search {
	quoted := fmt.Sprintf("%q", name)
	return chromedp.Search(`//main//*[(self::a or self::button) and (normalize-space(.)=` + quoted + ` or @aria-label=` + quoted + `)]`)
}

// follow clicks on what leads to another page, which has the texts.
func (b *tab) follow(name string, texts ...string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(called(name), chromedp.NodeVisible)); err != nil {
		b.fail(err)
	}
	for _, text := range texts {
		b.run(chromedp.WaitVisible(chromedp.Search(fmt.Sprintf(`//main//*[contains(., %q)]`, text))))
	}
}

// fill types into a field as a person does.
func (b *tab) fill(name, text string) {
	b.t.Helper()
	field := chromedp.CSS(`[name="` + name + `"]:not([type=hidden])`)
	b.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelector(%q).value = ""`, string(field))), chromedp.SendKeys(field, text))
}

// choose selects in a list.
func (b *tab) choose(name, option string) {
	b.t.Helper()
	b.run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`{const list = document.querySelector('select[name="%s"]'); list.value = %q;
		list.dispatchEvent(new Event("input", {bubbles: true})); list.dispatchEvent(new Event("change", {bubbles: true}))}`, name, option)))
}

// evaluate returns the value of a script.
func evaluate[T any](b *tab, script string) T {
	b.t.Helper()
	return value(b, chromedp.Evaluate[T](script))
}

// over is what a client gets over http.
func (s *shop) over(host string) string {
	s.t.Helper()
	a, err := ts.Do(ts.Request{Addr: fmt.Sprintf("127.0.0.1:%d", s.plain), Plain: true, Host: host})
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", a.Status, a.Body)
}
