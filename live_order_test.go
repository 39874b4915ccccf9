package caddyiis_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// withSource is a configuration with a second source, in front of the first.
func (l *live) withSource(file, iis string) string {
	return strings.Replace(l.config(iis), "sites_from bolt", fmt.Sprintf("sites_from bolt %q {\nname second\n}\nsites_from bolt", file), 1)
}

// TestLiveSourceBefore: a source that comes with a load takes nothing from sites that are
// served, wherever the list has it. At a start the list decides, and who had to wait
// serves when the site in its way goes, in whichever source that is.
func TestLiveSourceBefore(t *testing.T) {
	l := startLive(t, "", "")
	both := l.withSource(filepath.Join(t.TempDir(), "second.db"), "")
	if err := l.Load(both); err != nil {
		t.Fatal(err)
	}
	l.want(201, "PUT", "sites/20?source=second", l.site("Second", "a.test"))
	if err := l.Load(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.serves("a.test", "")
	l.want(201, "PUT", "sites/10", l.site("First", "a.test"))
	more := ts.FreePort(t)
	withPort := strings.Replace(both, "site 1 Configured", fmt.Sprintf("site 2 More {\nserver_bindings :%d:more.test\nrespond more\n}\nsite 1 Configured", more), 1)
	refusedLoad(t, l.Server, "a source before the one that serves", withPort, `site 10 "First"`)
	if _, metrics := l.Admin("GET", "/metrics", ""); !strings.Contains(metrics, fmt.Sprintf(`port="%d"`, l.plain)) || strings.Contains(metrics, fmt.Sprintf(`port="%d"`, more)) {
		t.Error("the metrics have another port than what serves")
	}
	l.serves("a.test", "default 10")
	if err := l.Restart(both); err != nil {
		t.Fatal(err)
	}
	l.serves("a.test", "default 20")
	var held adminapi.Site
	if l.ask("GET", "sites/10", "", &held); held.State != adminapi.StateHeldBack || !strings.Contains(held.Reason, `site 20 "Second"`) {
		t.Errorf("got %+v", held)
	}
	l.want(200, "PATCH", "sites/20", `{"name":"Renamed"}`)
	if l.ask("GET", "sites/10", "", &held); !strings.Contains(held.Reason, `site 20 "Renamed"`) {
		t.Errorf("the reason is an old one: %+v", held)
	}
	l.want(204, "DELETE", "sites/20", "")
	l.serves("a.test", "default 10")
}

// TestLiveAcceptedKeeps: what is accepted does not depend on what a configuration can
// show. A site that is held back keeps its bindings among those of its source.
func TestLiveAcceptedKeeps(t *testing.T) {
	l := startLive(t, "", "template second {\nrespond second\n}")
	l.want(201, "PUT", "sites/10", l.site("A", "a.test", `"template":"second"`))
	if err := l.Restart(strings.Replace(l.config(""), "template second", "template third", 1)); err != nil {
		t.Fatal(err)
	}
	e := l.refused(409, "PUT", "sites/11", l.site("B", "a.test"), "site 10 is held back")
	if e.ID != 11 || e.Other == nil || e.Other.ID != 10 || e.Other.Name != "A" || e.Other.Source != "bolt" {
		t.Errorf("got %+v, %+v", e, e.Other)
	}
	swap := fmt.Sprintf(`[{"op":"put","id":10,"site":%s},{"op":"put","id":11,"site":%s}]`, l.site("A", "b.test"), l.site("B", "a.test"))
	l.want(200, "POST", "changes?dry_run=1", swap)
	l.want(201, "PUT", "sites/11", l.site("B", "b.test"))
	if err := l.Restart(l.config("")); err != nil {
		t.Fatal(err)
	}
	l.serves("a.test", "second")
	l.serves("b.test", "default 11")
}
