//go:build unix

package caddyiis_test

import "testing"

// TestPostgresReadyHeldBack: rows that are refused take no server out, nor do those that serve
// as they were before; a start that can show none of the rows does.
func TestPostgresReadyHeldBack(t *testing.T) {
	n := startFarmNode(t, "")
	if err := n.Load(n.config(n.health())); err != nil {
		t.Fatal(err)
	}
	second := `"template":"second"`
	n.want(201, "PUT", "sites/10", n.site("A", "a.test", second))
	n.want(201, "PUT", "sites/11", n.site("B", "b.test", second))
	n.sql("%s", insert(12, n.site("C", "a.test"))+insert(13, n.site("D", "b.test")))
	n.reaches(3)
	n.ready(0, "")
	if err := n.Restart(n.withoutSecond()); err != nil {
		t.Fatal(err)
	}
	n.ready(0, "2 of its 2 sites are held back here")
	if err := n.Restart(n.config(n.health())); err != nil {
		t.Fatal(err)
	}
	seen := n.source().Seen
	for _, statement := range []string{insert(10, n.site("A", "a.test", `"template":"elsewhere"`)), insert(11, n.site("B", "b.test", `"template":"elsewhere"`))} {
		n.sql("%s", "begin; "+statement+" update iis.site set ok = rev, good = null, refusal = null where id in (10, 11); commit") // by another server
	}
	n.reaches(seen + 2) // both, not only what it has seen so far
	n.serves("a.test", "second")
	n.ready(2, "")
}
