package caddyiis_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// health is a site that balancers ask.
func (l *live) health() string {
	return fmt.Sprintf("template second {\nrespond second\n}\nsite 9 Health {\nserver_bindings 127.0.0.1:%d:health.test\niis_ready /ready\nrespond 404\n}\n", l.plain)
}

// withoutSecond is a configuration whose second template has gone.
func (l *live) withoutSecond() string {
	return strings.Replace(l.config(l.health()), "template second", "template third", 1)
}

// ready checks what balancers and administrators are told.
func (l *live) ready(heldBack int, reason string) {
	l.t.Helper()
	want := 200
	if reason != "" {
		want = 503
	}
	answer, err := ts.Do(ts.Request{Addr: at("127.0.0.1", l.plain), Host: "health.test", Path: "/ready", Plain: true})
	if err != nil || answer.Status != want {
		l.t.Errorf("iis_ready: got %v, %v, want %d", answer, err, want)
	}
	var ready struct {
		adminapi.Ready
		Error string
	}
	if status := l.ask("GET", "ready?fresh=1", "", &ready); status != want || want == 200 && ready.HeldBack != heldBack || !strings.Contains(ready.Error, reason) {
		l.t.Errorf("got %d %+v, want %d with %d held back: %s", status, ready, want, heldBack, reason)
	}
}

// TestLiveReadyHeldBack: a server that cannot show more than one and more than a tenth of the
// sites of a source is not ready; a single one takes none out that has others.
func TestLiveReadyHeldBack(t *testing.T) {
	l := startLive(t, "", "")
	put := func(first, count int, template string) {
		var changes []string
		for id := first; id < first+count; id++ {
			changes = append(changes, fmt.Sprintf(`{"op":"put","id":%d,"site":%s}`, id, l.site("S", fmt.Sprintf("s%d.test", id), template)))
		}
		l.want(200, "POST", "changes", "["+strings.Join(changes, ",")+"]")
	}
	restart := func(config string) {
		t.Helper()
		if err := l.Restart(config); err != nil {
			t.Fatal(err)
		}
	}
	restart(l.config(l.health()))
	put(10, 1, `"template":"second"`)
	l.ready(0, "")
	restart(l.withoutSecond())
	l.ready(1, "")
	restart(regexp.MustCompile(`(?s)site 1 Configured \{.*(endpoint )`).ReplaceAllString(l.config(""), "$1"))
	var refused struct{ Error string }
	if status := l.ask("GET", "ready", "", &refused); status != 503 || !strings.Contains(refused.Error, `bolt: 1 of its 1 sites are held back here, such as site 10 "S": `) {
		t.Errorf("with no other site: %d %s", status, refused.Error)
	}
	restart(l.withoutSecond())
	put(100, 1, `"template":"page"`)
	l.ready(1, "")
	restart(l.config(l.health()))
	put(11, 1, `"template":"second"`)
	restart(l.withoutSecond())
	l.ready(0, `2 of its 3 sites`)
	put(101, 16, `"template":"page"`)
	l.ready(0, `2 of its 19 sites`)
	put(200, 1, `"template":"page"`)
	l.ready(2, "")
}
