//go:build unix

package caddyiis_test

import (
	"fmt"
	"testing"
	"time"
)

// TestPostgresRefusedIsShown: what others have written and nobody accepts is in every list,
// in explain and in verify, with the reason; also what serves as it was before.
func TestPostgresRefusedIsShown(t *testing.T) {
	n := startFarmNode(t, "")
	n.want(201, "PUT", "sites/10", n.site("A", "a.test"))
	n.want(201, "PUT", "sites/20", n.site("B", "b.test"))
	n.sql("%s", insert(20, n.site("B", "new.test", `"template":"nowhere"`))+insert(30, n.site("C", "c.test", `"template":"nowhere"`))+insert(31, `{"server_bindings":5}`))
	eventually(t, "all is judged", 20*time.Second, func() bool { s := n.source(); return s.Open == 0 && s.Refused == 3 })
	n.lists(map[string][]string{
		"":                  {"1 started", "10 started", "20 started", "30 refused", "31 refused"},
		"&state=refused":    {"20 started", "30 refused", "31 refused"},
		"&state=open":       nil,
		"&findings=error":   {"30 refused", "31 refused"},
		"&host=c.test":      {"30 refused"},
		"&host=new.test":    {"20 started"},
		"&host=b.test":      {"20 started"},
		"&template=nowhere": {"20 started", "30 refused"},
	})
	n.prints(0, []string{"list", "--state", "refused"}, "B started (as before: refused)", "C refused")
	n.prints(0, []string{"list", "--findings"}, "20 B", "30 C")
	n.prints(0, []string{"show", "C"}, "refused", `template "nowhere"`, "It would have these bindings", "change it, or what it contradicts")
	n.prints(0, []string{"show", "20"}, "started (as before: refused)", "It is served without these bindings", "new.test", `template "nowhere"`)
	n.prints(0, []string{"endpoints"}, "not served")
	at := fmt.Sprintf("127.0.0.1:%d", n.plain)
	n.prints(0, []string{"explain", at, "--host", "c.test", "--scheme", "http"}, `site 30 "C" of postgres would answer`, `template "nowhere"`)
	n.prints(0, []string{"explain", at, "--host", "new.test", "--scheme", "http"}, `site 20 "B" of postgres would answer`, "not served as it is written")
	const broken = `{"class":"broken","cause":"a site is not served`
	n.prints(2, []string{"verify", "--json"}, broken+`: it is refused","message":"site 30 \"C\" is refused: template`, broken+`: it is refused","message":"site 31 is refused`,
		broken+` as its source has it","message":"site 20 \"B\" is not served as its source has it: template`)
	n.sql("%s", insert(20, n.site("B", "b.test", `"template":"nowhere"`)))
	eventually(t, "all is judged again", 20*time.Second, func() bool { s := n.source(); return s.Open == 0 && s.Refused == 3 && s.Revision >= 5 })
	n.prints(2, []string{"verify", "--json"}, `{"class":"differs","cause":"a site is not served as its source has it","message":"site 20`)
}
