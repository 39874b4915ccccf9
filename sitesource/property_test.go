package sitesource

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// edit changes lines a little, mostly such that they stay good.
func edit(t *rapid.T, lines []string) []string {
	lines = slices.Clone(lines)
	at := rapid.IntRange(0, len(lines)).Draw(t, "at")
	line := fmt.Sprintf("%d %d", rapid.IntRange(1, 30).Draw(t, "id"), rapid.IntRange(0, 5).Draw(t, "content"))
	what := rapid.SampledFrom([]string{"insert", "delete", "move", "change", "blank", "bad", "space", "double", "reverse", "clear"}).Draw(t, "edit")
	switch {
	case what == "insert":
		return slices.Insert(lines, at, line)
	case what == "blank":
		return slices.Insert(lines, at, rapid.SampledFrom([]string{"", " ", "\t", "\r"}).Draw(t, "blank"))
	case what == "bad" && rapid.IntRange(0, 3).Draw(t, "really") == 0:
		return slices.Insert(lines, at, rapid.SampledFrom([]string{"x", "0 x", "5 \x00", "5 \xff"}).Draw(t, "bad"))
	case what == "reverse":
		slices.Reverse(lines)
	case what == "clear" && rapid.IntRange(0, 9).Draw(t, "really") == 0:
		return nil
	case at == len(lines):
	case what == "delete":
		return slices.Delete(lines, at, at+1)
	case what == "move":
		moved := lines[at]
		lines = slices.Delete(lines, at, at+1)
		return slices.Insert(lines, rapid.IntRange(0, len(lines)).Draw(t, "to"), moved)
	case what == "double" && rapid.IntRange(0, 3).Draw(t, "really") == 0:
		return slices.Insert(lines, rapid.IntRange(0, len(lines)).Draw(t, "to"), lines[at])
	case what == "change":
		lines[at] = line
	case what == "space":
		lines[at] = rapid.SampledFrom([]string{" ", "\t", ""}).Draw(t, "before") + lines[at] + " "
	}
	return lines
}

// records returns what is on lines that are not blank, how often.
func records(lines []string) map[string]int {
	all := make(map[string]int)
	for _, l := range lines {
		if l = strings.Trim(l, " \t\r"); l != "" {
			all[l]++
		}
	}
	return all
}

// Whatever happens to a file, differences applied to what was there give what
// is there, and a record that was there is not decoded again.
func TestFileProperty(t *testing.T) {
	path := sitesPath(t)
	rapid.Check(t, func(t *rapid.T) {
		f, decoded := counted(path)
		var state State
		var good []string // the lines of state
		have := make(map[uint32]lined)
		lines := []string{"1 a", "2 b", "3 c"}
		for range rapid.IntRange(1, 6).Draw(t, "versions") {
			for range rapid.IntRange(0, 4).Draw(t, "edits") {
				lines = edit(t, lines)
			}
			text := rapid.SampledFrom([]string{"", "\uFEFF"}).Draw(t, "mark") +
				strings.Join(lines, rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "break")) +
				rapid.SampledFrom([]string{"", "\n"}).Draw(t, "end")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			decoded.Store(0)
			next, diff, err := f.Read(t.Context(), state)
			want, ok := naive(text)
			if ok && strings.TrimPrefix(text, "\uFEFF") == "" {
				if !errors.Is(err, errEmpty) {
					t.Fatalf("not refused: %v", err)
				}
				lines = good
				continue
			}
			if !ok {
				if err == nil || !diff.Empty() || next != state {
					t.Fatalf("not refused: %+v", diff)
				}
				if rapid.Bool().Draw(t, "repair") {
					lines = good
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if expect := naiveDifference(have, want); !reflect.DeepEqual(normal(diff), normal(expect)) {
				t.Fatalf("got %s, want %s", words(diff), words(expect))
			}
			fresh, was := 0, records(good)
			for record, n := range records(lines) {
				fresh += max(n-was[record], 0)
			}
			if n := decoded.Load(); n != int64(fresh) {
				t.Fatalf("%d lines decoded, %d are new", n, fresh)
			}
			apply(have, diff)
			for id, l := range have {
				have[id] = lined{l.value, next.Where(id)}
			}
			if !maps.Equal(have, want) {
				t.Fatalf("have %v, want %v", have, want)
			}
			checkState(t, next, want)
			state, good = next, lines
		}
	})
}

func apply(have map[uint32]lined, d Difference[string]) {
	for _, r := range d.Changed {
		have[r.ID] = lined{r.Value, r.Where}
	}
	for _, id := range d.Removed {
		delete(have, id)
	}
}

// normal makes no slice of an empty one.
func normal(d Difference[string]) Difference[string] {
	if len(d.Changed) == 0 {
		d.Changed = nil
	}
	return d
}
