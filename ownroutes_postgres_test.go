//go:build unix

package caddyiis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	caddyiis "github.com/caddy-iis/caddy-iis"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// TestPostgresOwnRoutes: rows that are written by SQL are judged with their routes: those
// that may not be, or cannot be provisioned, are refused with the reason, and serve as they
// were; a node that does not allow routes holds them back.
func TestPostgresOwnRoutes(t *testing.T) {
	settings := fmt.Sprintf(allowSome, "max_sites 2")
	n := startFarmNode(t, settings)
	refusal := func(id int, mentions string) {
		t.Helper()
		var s adminapi.Site
		eventually(t, fmt.Sprint(id, " is refused"), 10*time.Second, func() bool {
			return n.ask("GET", fmt.Sprint("sites/", id), "", &s) == 200 && s.Refusal != nil
		})
		if !strings.Contains(s.Refusal.Message, mentions) {
			t.Errorf("%d: %+v, want %q", id, s.Refusal, mentions)
		}
	}
	n.sql("%s", insert(10, n.says("a.test", "hello from {iis.site.id}"))+insert(11, n.says("b.test", "hello from {iis.site.id}")))
	n.reaches(2)
	n.serves("a.test", "hello from 10")
	n.serves("b.test", "hello from 11")
	if contents, sites := caddyiis.OwnRoutes(); contents != 1 || sites != 2 {
		t.Errorf("%d contents of %d sites", contents, sites)
	}
	bad := n.site("", "a.test", `"routes":[{"match":[{"remote_ip":{"ranges":["nonsense"]}}],"handle":[{"handler":"static_response"}]}]`)
	n.sql("%s", insert(10, bad)+insert(12, n.says("c.test", "{env.HOME}"))+insert(13, n.says("d.test", "one too many")))
	refusal(10, "nonsense")
	refusal(12, "placeholder")
	refusal(13, "max_sites")
	n.serves("a.test", "hello from 10")
	n.serves("b.test", "hello from 11")
	contentsLeft(t, 1)
	// There is room again: who was one too many is accepted.
	n.want(204, "DELETE", "sites/11", "")
	eventually(t, "13 serves", 10*time.Second, func() bool { return n.body("d.test") == "one too many" })
	n.want(204, "DELETE", "sites/13", "")
	n.want(201, "PUT", "sites/11", n.says("b.test", "hello from {iis.site.id}"))
	// In one transaction one gives its place to another.
	n.sql("begin; delete from iis.site where id in (10, 12, 13); %s commit", insert(14, n.says("a.test", "fourteen")))
	eventually(t, "14 serves", 10*time.Second, func() bool { return n.body("a.test") == "fourteen" })
	contentsLeft(t, 2)
	// A configuration that allows none is refused while it would lose them; a start holds
	// them back, and with them again they serve.
	without := strings.Replace(n.config(""), settings, "", 1)
	if err := n.Load(without); err == nil || !strings.Contains(err.Error(), "allow_routes") {
		t.Errorf("a load without allow_routes: %v", err)
	}
	n.serves("a.test", "fourteen")
	if err := n.Restart(without); err != nil {
		t.Fatal(err)
	}
	var s adminapi.Site
	n.ask("GET", "sites/14", "", &s)
	if s.State != adminapi.StateHeldBack || !strings.Contains(s.Reason, "allow_routes") {
		t.Errorf("%+v", s)
	}
	if err := n.Restart(n.config("")); err != nil {
		t.Fatal(err)
	}
	n.serves("a.test", "fourteen")
	n.serves("b.test", "hello from 11")
	contentsLeft(t, 2)
}
