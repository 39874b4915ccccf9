package caddyiis_test

import (
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

var liveChanges = flag.Int("live.changes", 60, "how many changes TestLiveChangesUnderLoad makes")

// TestLiveChangesUnderLoad: whatever is written about some sites, the others notice
// nothing. No request of theirs fails, no connection of theirs is ended, WebSockets
// included, and nothing is left of the changes in memory.
func TestLiveChangesUnderLoad(t *testing.T) {
	added := ts.FreePort(t)
	upstream := backend(t)
	l := startLive(t, "", fmt.Sprintf(`
		template proxy {
			reverse_proxy %s
		}
		site 2 "names a port" {
			server_bindings :%d:stopped.test
			autostart off
		}
	`, upstream, added))
	l.want(201, "PUT", "sites/10", l.site("Under load", "load.test"))
	l.want(201, "PUT", "sites/11", l.site("Sockets", "sockets.test", `"template":"proxy"`))
	l.want(201, "PUT", "sites/12", l.site("Changing", "changing.test", `"template":"proxy"`))
	sockets := map[string]*socket{
		"http":   upgradePlain(t, l.plain, "sockets.test"),
		"https":  upgradeTLS(t, l.secure, "sockets.test"),
		"HTTP/3": extendedConnect(t, l.secure, "sockets.test"),
	}
	for i := range 10 { // what is made once, is
		l.changeSites(i, added)
	}
	goroutines, heap := settle(), heapWithoutLog()

	requests := loadOf(at("127.0.0.1", l.plain), at("127.0.0.1", l.secure), "load.test", "default 10", 2)
	for i := range *liveChanges {
		l.changeSites(i, added)
		for name, conn := range sockets {
			conn.echo(t, fmt.Sprint(name, " after change ", i))
		}
	}
	requests.finish(t)
	if n := requests.cuts.Load(); n > 0 {
		t.Errorf("%d kept connections of a site that was not changed were ended", n)
	}
	waitFor(t, "the goroutines of changes to end", func() bool { return settle() <= goroutines+3 })
	if grown := heapWithoutLog() - heap; grown > mega {
		t.Errorf("%d changes leave %.1f MB in memory", *liveChanges, float64(grown)/mega)
	}
	for name, conn := range sockets {
		conn.echo(t, "at last over "+name)
	}
}

// heapWithoutLog is the heap without the log that a test keeps of Caddy.
func heapWithoutLog() int64 {
	ts.Logs.Reset()
	return liveHeap()
}

// changeSites makes one of all kinds of changes. A connection of the site that is
// changed ends with it, and a port comes and goes.
func (l *live) changeSites(i, added int) {
	l.t.Helper()
	name := fmt.Sprint("N", i)
	switch i % 6 {
	case 0:
		l.want(200, "PATCH", "sites/12", fmt.Sprintf(`{"name":%q}`, name))
	case 1:
		l.want(200, "PUT", "sites/12", l.site(name, name+".test", `"template":"proxy"`))
	case 2:
		l.want(201, "PUT", "sites/13", fmt.Sprintf(`{"name":%q,"server_bindings":[":%d:%s.test"]}`, name, added, name))
	case 3:
		l.want(204, "DELETE", "sites/13", "")
	case 4:
		own := upgradePlain(l.t, l.plain, fmt.Sprint("N", i-3, ".test"))
		l.want(200, "PATCH", "sites/12", `{"offline":true}`)
		own.ends(l.t, "its site is offline")
	case 5:
		var all strings.Builder
		for id := range 20 {
			fmt.Fprintf(&all, `{"op":"put","id":%d,"site":%s}`, 100+id, l.site(name, fmt.Sprintf("%d.%s.test", id, name)))
		}
		l.want(200, "POST", "changes", all.String())
	}
	if i%6 == 2 {
		answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", added), Host: name + ".test", Plain: true})
		if err != nil || answer.Status != http.StatusOK {
			l.t.Errorf("the new port: %v, %v", answer, err)
		}
	}
}
