package paged_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-iis/caddy-iis/internal/paged"
)

// TestEditsLikeSlices: whatever is changed, the slice has the values of an ordinary one,
// and the slices before keep theirs.
func TestEditsLikeSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 2000).Draw(t, "n")
		s, want := paged.Make[int](n), make([]int, n)
		for i := range n {
			s.Set(i, i)
			want[i] = i
		}
		type version struct {
			paged *paged.Slice[int]
			plain []int
		}
		versions := []version{{s, want}}
		for range rapid.IntRange(1, 5).Draw(t, "edits") {
			last := versions[len(versions)-1]
			n = max(n, rapid.IntRange(n, n+1500).Draw(t, "more"))
			edit, plain := last.paged.Edit(n), slices.Grow(slices.Clone(last.plain), n)[:n]
			clear(plain[len(last.plain):])
			for range rapid.IntRange(0, 20).Draw(t, "sets") {
				if n > 0 {
					i, v := rapid.IntRange(0, n-1).Draw(t, "i"), rapid.Int().Draw(t, "v")
					edit.Set(i, v)
					plain[i] = v
				}
			}
			versions = append(versions, version{edit.Slice(), plain})
		}
		for k, v := range versions {
			if v.paged.Len() != len(v.plain) {
				t.Fatalf("version %d has %d values, not %d", k, v.paged.Len(), len(v.plain))
			}
			for i, got := range v.paged.All() {
				if got != v.plain[i] || v.paged.At(i) != got {
					t.Fatalf("version %d has %d at %d, not %d", k, got, i, v.plain[i])
				}
			}
		}
	})
}

// TestTwoEditsOfOne: a change that is given up leaves nothing in the next one, wherever
// the last page ends.
func TestTwoEditsOfOne(t *testing.T) {
	for _, n := range []int{0, 1, 511, 512, 513, 1024, 1500} {
		values := make([]int, n)
		for i := range values {
			values[i] = i
		}
		base := paged.Of(values)
		for _, v := range []int{-1, -2} {
			edit := base.Edit(0)
			if place := edit.Append(v); place != n {
				t.Fatalf("%d values: the next is at %d", n, place)
			}
			if n > 0 {
				edit.Set(n-1, v)
			}
			grown := base.Edit(n + 600)
			next, wide := edit.Slice(), grown.Slice()
			if next.Len() != n+1 || next.At(n) != v || n > 0 && next.At(n-1) != v || n > 1 && next.At(0) != 0 {
				t.Errorf("%d values: the change is not there", n)
			}
			if base.Len() != n || n > 0 && base.At(n-1) != n-1 || wide.Len() != n+600 || wide.At(n) != 0 {
				t.Errorf("%d values: a change is seen where it was not made", n)
			}
		}
	}
}
