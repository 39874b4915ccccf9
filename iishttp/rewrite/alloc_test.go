//go:build !race

// With the race detector, pools lose what they hold at random.

package rewrite_test

import (
	"testing"

	"github.com/caddy-iis/caddy-iis/iishttp/rewrite"
)

// TestRunAllocates: rules that do not fit cost no memory.
func TestRunAllocates(t *testing.T) {
	all := typical("")
	few := rewrite.Config{Rules: all.Rules[35:]}
	req := get("http://h.example.com/p/last/page?x=1&id=2")
	count := func(set *rewrite.Set) float64 {
		return testing.AllocsPerRun(200, func() {
			if _, err := set.Run(req); err != nil {
				t.Fatal(err)
			}
		})
	}
	if a, b := count(compile(t, all)), count(compile(t, few)); a > b {
		t.Errorf("40 rules allocate %v times, 5 of them %v times", a, b)
	}
}
