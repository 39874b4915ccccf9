package serve

import (
	"fmt"
	"testing"
)

// TestSharedIsBounded: what sites share is forgotten when there is far more of it than
// sites, and what they share then is theirs alone.
func TestSharedIsBounded(t *testing.T) {
	a := &Instance{demands: make(demands), commons: make(commons)}
	plain := new(content)
	for i := range 10 * sharedAtLeast {
		a.letGoOfShared(3)
		demand := a.demands.get(access{hsts: fmt.Sprint("max-age=", i)})
		if one := a.commons.get(common{Content: plain, Access: demand}); one.Access.hsts != demand.hsts {
			t.Fatalf("%q is %q", demand.hsts, one.Access.hsts)
		}
		if most := 2*3 + sharedAtLeast + 1; len(a.commons) > most || len(a.demands) > most {
			t.Fatalf("%d and %d are shared by 3 sites", len(a.commons), len(a.demands))
		}
	}
}
