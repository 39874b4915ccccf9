//go:build unix

package serve_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/internal/testserver"
)

// TestPlaceOfWhoStays: a transaction in which a site with routes of its own stays as it is
// admits no other in its place.
func TestPlaceOfWhoStays(t *testing.T) {
	f := startFarm(t, 1)
	change := func(id int, document string) string {
		return fmt.Sprintf(`{"op":"put","id":%d,"site":%s}`, id, document)
	}
	first, second := change(10, f.own("first.test", "first")), change(5, f.own("second.test", "second"))
	if status, answer := f.api(http.MethodPost, "changes", "["+first+"]"); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	for _, together := range []string{second + "," + first, second + "," + change(10, f.own("first.test", "again"))} {
		status, answer := f.api(http.MethodPost, "changes", "["+together+"]")
		if status != http.StatusUnprocessableEntity || !strings.Contains(answer, "max_sites") || !strings.Contains(answer, `"index":0`) {
			t.Errorf("%s: %d %s", together, status, answer)
		}
	}
	f.answers("first.test", "first")
	f.answers("second.test", "wildcard")
	if status, answer := f.api(http.MethodPost, "changes", "["+second+`,{"op":"delete","id":10}]`); status != http.StatusOK {
		t.Error(status, answer)
	}
	f.answers("second.test", "second")
	if err := f.Load(f.config + "\n"); err != nil {
		t.Error(err)
	}
}

// TestPlaceOfRefused: a row that is refused beside others takes no place of max_sites.
func TestPlaceOfRefused(t *testing.T) {
	f := startFarm(t, 1)
	f.sql("%s", accepted(9, f.row("taken.test", "second")))
	f.comesTo("taken.test", "second")
	f.sql("%s", insert(10, f.own("taken.test", "first"))+insert(11, f.own("own.test", "own")))
	f.comesTo("own.test", "own")
	f.sql("delete from iis.site where id = 11; %s", insert(10, f.own("taken.test", "again")))
	f.sql("%s", insert(12, f.own("next.test", "next"))+insert(13, f.own("more.test", "more")))
	f.comesTo("next.test", "next")
	f.answers("taken.test", "second")
	f.answers("more.test", "wildcard")
}

// TestPlaceOfWhoMayNotLeave: a row that wants no routes of its own any more and is refused keeps
// its place of max_sites, and no other gets it, neither together with it nor later.
func TestPlaceOfWhoMayNotLeave(t *testing.T) {
	f := startFarm(t, 1)
	f.sql("%s", accepted(10, f.own("first.test", "first"))+accepted(11, f.row("taken.test", "second")))
	f.comesTo("first.test", "first")
	refused := func(id int) {
		t.Helper()
		f.until(fmt.Sprint(id, " is refused"), func() bool { return f.site(id).Refusal != nil })
	}
	f.sql("begin; %s commit;", insert(10, f.row("taken.test", "second"))+insert(12, f.own("more.test", "more")))
	refused(10)
	refused(12)
	f.sql("%s", insert(13, f.own("next.test", "next")))
	refused(13)
	f.answers("first.test", "first")
	f.answers("more.test", "wildcard")
	f.answers("next.test", "wildcard")
	f.sql("delete from iis.site where id = 11")
	f.comesTo("taken.test", "second")
	f.comesTo("more.test", "more") // written together with it
	f.answers("next.test", "wildcard")
}

// TestPlaceOfHeldBack: a row that is held back for what others have takes no place of
// max_sites, be it at a start or while sites serve.
func TestPlaceOfHeldBack(t *testing.T) {
	f := startFarm(t, 1)
	taken := strings.Replace(f.config, "template second {", fmt.Sprintf("site 2 Taken {\nserver_bindings :%d:taken.test\nrespond configured\n}\ntemplate second {", f.port), 1)
	f.sql("%s", accepted(10, f.own("taken.test", "first")))
	f.comesTo("taken.test", "first")
	if err := f.Restart(taken); err != nil {
		t.Fatal(err)
	}
	f.answers("taken.test", "configured")
	f.sql("%s", accepted(11, f.own("own.test", "own")))
	f.comesTo("own.test", "own")
	if err := f.Restart(taken); err != nil {
		t.Fatal(err)
	}
	f.answers("own.test", "own")
	f.sql("begin; delete from iis.site where id = 11; %s update iis.site set ok = rev, good = null where ok is distinct from rev; commit;",
		insert(10, f.own("taken.test", "again"))+insert(8, f.own("taken.test", "third"))+insert(12, f.own("next.test", "next")))
	f.comesTo("next.test", "next")
	f.answers("taken.test", "configured")
	f.sql("delete from iis.site where id = 12")
	f.until("12 is gone", func() bool { return f.site(12).ID == 0 })
	f.sql("%s", accepted(14, f.own("last.test", "last")))
	f.comesTo("last.test", "last")
}

// TestPlaceOfWhoWaits: a row that waits for a socket leaves its place of max_sites.
func TestPlaceOfWhoWaits(t *testing.T) {
	f := startFarm(t, 1)
	port := testserver.FreePort(t)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := strings.Replace(f.own("busy.test", "busy"), fmt.Sprintf(":%d:", f.port), fmt.Sprintf("127.0.0.1:%d:", port), 1)
	config := strings.Replace(f.config, "max_sites 1\n\t\t\t\t}", fmt.Sprintf("max_sites 1\n}\nallow {\nports %d %d\naddresses 127.0.0.1\n}", f.port, port), 1)
	f.sql("%s", accepted(10, busy)+accepted(11, f.own("own.test", "own")))
	if err := f.Restart(config); err != nil {
		t.Fatal(err)
	}
	f.comesTo("own.test", "own")
}
