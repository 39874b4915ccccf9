package caddyiis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// listed returns the ids of the sites that a query lists, and their states.
func (l *live) listed(query string) (list []string) {
	l.t.Helper()
	for after := ""; ; {
		var page adminapi.Page[adminapi.Site]
		if status := l.ask("GET", "sites?limit=1"+query+after, "", &page); status != 200 {
			l.t.Fatalf("sites?%s: %d", query, status)
		}
		for _, s := range page.Items {
			list = append(list, fmt.Sprint(s.ID, " ", s.State))
		}
		if page.Next == "" {
			return list
		}
		after = "&after=" + page.Next
	}
}

// lists checks what queries list.
func (l *live) lists(want map[string][]string) {
	l.t.Helper()
	for query, ids := range want {
		if got := l.listed(query); !slices.Equal(got, ids) {
			l.t.Errorf("sites?%s: got %q, want %q", query, got, ids)
		}
	}
}

// prints checks that a command ends with a code and says something.
func (l *live) prints(code int, command []string, texts ...string) {
	l.t.Helper()
	out, more := l.run(code, command...)
	for _, text := range texts {
		if !strings.Contains(strings.Join(strings.Fields(out+more), " "), text) {
			l.t.Errorf("caddy iis %q: %q is not in\n%s%s", command, text, out, more)
		}
	}
}

// TestLiveHeldBackIsShown: what a source has and this server does not serve is in every
// list, in explain and in verify, with the reason.
func TestLiveHeldBackIsShown(t *testing.T) {
	alone := ts.FreePort(t)
	l := startLive(t, "", "template second {\nrespond second\n}")
	second := strings.Replace(l.config(""), fmt.Sprintf("%q {", l.file), fmt.Sprintf("%q {\nallow {\nports %d %d %d\n}", l.file, l.plain, l.secure, alone), 1)
	if err := l.Load(second); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/10", l.site("Held", "a.test", `"template":"second"`))
	l.want(201, "PUT", "sites/11", fmt.Sprintf(`{"name":"Alone","template":"second","server_bindings":[":%d:b.test"]}`, alone))
	l.want(201, "PUT", "sites/12", `{"name":"Empty","template":"second"}`)
	l.want(201, "PUT", "sites/13", l.site("Serves", "c.test"))
	l.want(201, "PUT", "sites/14", l.site("Last", "d.test", `"template":"second"`))
	if err := l.Restart(strings.Replace(second, "template second", "template third", 1)); err != nil {
		t.Fatal(err)
	}
	held := []string{"10 held_back", "11 held_back", "12 held_back", "14 held_back"}
	l.lists(map[string][]string{
		"":                               {"1 started", held[0], held[1], held[2], "13 started", held[3]},
		"&state=held_back":               held,
		"&state=held_back&source=bolt":   held,
		"&state=started":                 {"1 started", "13 started"},
		"&state=refused":                 nil,
		"&findings=error":                held,
		"&host=a.test":                   held[:1],
		"&host=b.test&state=held_back":   held[1:2],
		"&q=alone":                       held[1:2],
		"&source=":                       {"1 started"},
		"&certificate=other.test&q=held": nil,
		"&template=second":               held,
		"&template=third":                nil,
	})
	var sources adminapi.Page[adminapi.Source]
	if l.ask("GET", "sources", "", &sources); sources.Items[0].HeldBack != len(held) {
		t.Errorf("%+v", sources)
	}
	l.prints(0, []string{"list"}, "Held held back", "Alone held back")
	l.prints(0, []string{"list", "--state", "held_back"}, "Held", "Alone", "Empty")
	l.prints(0, []string{"list", "--findings"}, "Held", "Alone")
	l.prints(0, []string{"list", "--host", "a.test"}, "Held")
	l.prints(0, []string{"list", "--template", "second"}, "Held", "Alone", "Empty", "Last")
	for _, name := range []string{"10", "Held"} {
		l.prints(0, []string{"show", name}, "held back", `template "second"`, "It would have these bindings", fmt.Sprintf("*:%d:a.test", l.plain), "change the site, or what it names")
	}
	l.prints(0, []string{"show", "12"}, "held back", "No binding can be read")
	l.prints(0, []string{"endpoints"}, fmt.Sprintf("*:%d http no: no site that is served needs it: site 11", alone), "0, 1 not served")
	l.prints(0, []string{"explain", fmt.Sprintf("127.0.0.1:%d", alone), "--host", "b.test", "--scheme", "http"}, `site 11 "Alone" of bolt would answer`, `template "second"`)
	l.prints(0, []string{"explain", fmt.Sprintf("127.0.0.1:%d", l.plain), "--host", "a.test", "--scheme", "http"}, `site 10 "Held" has the request`)
	const broken = `{"class":"broken","cause":"a site is not served: it is held back","message":"site `
	l.prints(2, []string{"verify", "--json"}, broken+`10 \"Held\" is held back: template \"second\"`, broken+`11 \"Alone\" is held`, broken+`12 \"Empty\" is held`, `"not_tried":true`)
	l.prints(0, []string{"add", "site", "New", "--http", fmt.Sprintf(":%d:new.test", l.plain), "--proxy", "127.0.0.1:1"})
	l.lists(map[string][]string{"&host=new.test": {"15 started"}}) // no id of a site that waits
	l.run(0, "delete", "/w3svc/15")
	if err := l.Load(second); err != nil {
		t.Fatal(err)
	}
	l.lists(map[string][]string{"&state=held_back": nil, "&host=a.test": {"10 started"}})
}
