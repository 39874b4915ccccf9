package serve

import (
	"maps"
	"strings"
	"testing"
)

// TestTexts: texts stay what they are, however many come after them, and one that is in
// another one of the same row is there once.
func TestTexts(t *testing.T) {
	var kept texts
	long := strings.Repeat("x", 2*pieceSize)
	var got, want []string
	for range 3 * pieceSize / 10 {
		for _, text := range []string{"/srv/sites/a.test", "a.test", "", "b.test"} {
			if len(got)%4 == 0 {
				kept.row()
			}
			got, want = append(got, kept.keep(strings.Clone(text))), append(want, text)
		}
	}
	got, want = append(got, kept.keep(long), kept.keep("c.test")), append(want, long, "c.test")
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("text %d is %q, not %q", i, got[i], want[i])
		}
	}
	kept.row()
	one := kept.piece.Len()
	kept.keep("www.d.test")
	kept.keep("d.test")
	if size := kept.piece.Len() - one; size != len("www.d.test") {
		t.Errorf("a row takes %d bytes", size)
	}
	if kept.same("") != "" || kept.same("php") != "php" || kept.same("php") != "php" || len(kept.often) != 1 {
		t.Errorf("texts that rows have alike: %q", kept.often)
	}
}

// TestVarsOf: what variables are made of comes out of them.
func TestVarsOf(t *testing.T) {
	for _, values := range []map[string]string{
		{},
		{"root": "/srv/sites/a.test"},
		{"a": "", "b": "\x00\x00", "c": strings.Repeat("y", 1024), "root": "ü"},
	} {
		v := varsOf(values)
		if got := maps.Collect(v.all()); !maps.Equal(got, values) {
			t.Errorf("%q became %q", values, got)
		}
		for name, value := range values {
			if got, ok := v.get(name); !ok || got != value {
				t.Errorf("%s is %q", name, got)
			}
		}
		if _, ok := v.get("other"); ok {
			t.Errorf("%q have another one", values)
		}
	}
}
