package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var (
	managerPictures = flag.String("manager.pictures", "", "folder for pictures of the manager's pages, such as ../../docs/manager")
	managerAxe      = flag.String("manager.axe", "", "axe.min.js of the npm package axe-core, to look for what keeps people out of the manager's pages")
)

// tour are the main pages of the manager, and what they show.
var tour = []struct {
	name, path, text string
	picture          bool
}{
	{"sites", "/", "Customer 2", true},
	{"site", "/sites/1001", "What clients get", true},
	{"bindings", "/sites/1001/bindings", "Add a binding", true},
	{"certificates", "/certificates", "shop.example.org", true},
	{"endpoints", "/endpoints", "Without SNI", false},
	{"explain", "/explain?local=10.0.0.5:%d&sni=shop.example.net", "D2 row", true},
	{"check", "/check", "Way out", false},
	{"changes", "/changes", "Revert", false},
	{"missing", "/sites/77", "there is no site 77", false},
}

// TestManagerTour looks at each page in light and dark and at 360 px: nothing is wider
// than the window, the browser complains of nothing, all can be reached by the keyboard.
//
//	go test -run TestManagerTour . -args -manager.pictures=../../docs/manager
//	npm pack axe-core && tar xf axe-core-*.tgz
//	go test -run TestManagerTour . -args -manager.axe=package/axe.min.js
func TestManagerTour(t *testing.T) {
	s := startShop(t, "")
	s.customers(200)
	s.put(1001, fmt.Sprintf(`{"name": "Bakery", "server_bindings": [":%d:bakery.example.test"], "secure_bindings": [":%d:bakery.example.test"]}`, s.plain, s.secure))
	s.put(1003, fmt.Sprintf(`{"name": "Florist", "autostart": false, "server_bindings": [":%d:florist.example.test"]}`, s.plain))
	b := browse(t)
	for _, scheme := range []string{"light", "dark"} {
		b.media(scheme)
		for _, page := range tour {
			path := page.path
			if strings.Contains(path, "%d") {
				path = fmt.Sprintf(path, s.secure)
			}
			b.run(chromedp.EmulateViewport(1280, 800))
			b.login(s, path)
			b.run(chromedp.WaitVisible(chromedp.Search(fmt.Sprintf(`//main//*[contains(., %q)]`, page.text))))
			if page.picture {
				b.picture(page.name + "-" + scheme)
			}
			b.axe(page.name + ", " + scheme)
			b.run(chromedp.EmulateViewport(360, 740))
			if wide := evaluate[int](b, `document.documentElement.scrollWidth`); wide > 360 {
				t.Errorf("%s needs %d px", page.name, wide)
			}
			if page.name == "sites" {
				b.picture("narrow-" + scheme)
			}
			b.axe(page.name + ", " + scheme + ", narrow")
		}
	}
	b.keyboard(s)
	b.silent()
}

// media chooses light or dark.
func (b *tab) media(scheme string) {
	b.t.Helper()
	params := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, params); err != nil {
		b.t.Fatal(err)
	}
}

// picture writes what the window shows, if pictures are asked for.
func (b *tab) picture(name string) {
	b.t.Helper()
	if *managerPictures == "" {
		return
	}
	if err := os.MkdirAll(*managerPictures, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*managerPictures, name+".png"), value(b, chromedp.CaptureScreenshot()), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// axe requires that axe-core finds nothing serious, if there is one.
func (b *tab) axe(where string) {
	b.t.Helper()
	if *managerAxe == "" {
		return
	}
	script, err := os.ReadFile(*managerAxe)
	if err != nil {
		b.t.Fatal(err)
	}
	b.run(chromedp.Evaluate[chromedp.Void](string(script) + "; undefined"))
	found := value(b, chromedp.Evaluate[string](`axe.run().then(r => JSON.stringify({passes: r.passes.length, violations: r.violations.map(v => ({id: v.id, impact: v.impact, html: v.nodes.slice(0, 3).map(n => n.html + " " + n.failureSummary)}))}))`, chromedp.EvalAwaitPromise))
	var result struct {
		Passes     int
		Violations []struct {
			ID, Impact string
			HTML       []string
		}
	}
	if err := json.Unmarshal([]byte(found), &result); err != nil || result.Passes < 10 {
		b.t.Fatalf("axe has looked at nothing: %v, %s", err, found)
	}
	for _, v := range result.Violations {
		text := fmt.Sprintf("%s: %s (%s): %s", where, v.ID, v.Impact, strings.Join(v.HTML, "\n"))
		if v.Impact == "serious" || v.Impact == "critical" {
			b.t.Error(text)
		} else {
			b.t.Log(text)
		}
	}
}

// keyboard uses the page without a mouse: the first stop leads past the navigation, and
// the focus can be seen at each one.
func (b *tab) keyboard(s *shop) {
	b.t.Helper()
	b.run(chromedp.EmulateViewport(1280, 800))
	b.login(s, "/sites")
	b.run(chromedp.KeyEvent(kb.Tab))
	if got := evaluate[string](b, `document.activeElement.className`); got != "skip" {
		b.t.Errorf("the first stop is %q", got)
	}
	b.run(chromedp.KeyEvent(kb.Enter))
	b.stop(`document.activeElement.name === "q" && getComputedStyle(document.activeElement).outlineStyle !== "none"`)
	b.run(chromedp.KeyEvent("bakery"))
	b.see("1 site\n")
	b.stop(`document.activeElement.innerText === "Bakery"`)
	b.run(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.Search(`//main//h2[contains(., "What clients get")]`)))
}

// stop goes from stop to stop of the keyboard until one is as wanted.
func (b *tab) stop(wanted string) {
	b.t.Helper()
	for range 30 {
		b.run(chromedp.KeyEvent(kb.Tab))
		if evaluate[bool](b, wanted) {
			return
		}
	}
	b.t.Fatalf("no stop of the keyboard has %s", wanted)
}
