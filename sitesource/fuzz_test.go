package sitesource

import (
	"reflect"
	"strings"
	"testing"
)

func FuzzRead(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""},
		{"1 a\n2 b\n", "1 a\n\n2 B\r\n3 c"},
		{"1 a\n2 b\n3 c\n", "3 c\n2 b\n1 a\n1 b"},
		{"\uFEFF1 a\n", " \n1 a"},
		{"1 a\n", "\xff\xfe1\x00"},
		{"1 a\n1 a\n", "1 a\nx\n"},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, before, after []byte) {
		file, m := inMemory(string(before))
		var state State
		var have map[uint32]lined
		for _, data := range [][]byte{before, after, before} {
			m.data = data
			next, diff, err := file.Read(t.Context(), state)
			want, ok := naive(string(data))
			if strings.TrimPrefix(string(data), "\uFEFF") == "" {
				ok = false
			}
			if ok != (err == nil) {
				t.Fatalf("%q: %v", data, err)
			}
			if !ok {
				if next != state || !diff.Empty() {
					t.Fatalf("refused, and yet: %+v", diff)
				}
				continue
			}
			if expect := naiveDifference(have, want); !reflect.DeepEqual(normal(diff), normal(expect)) {
				t.Fatalf("%q: got %s, want %s", data, words(diff), words(expect))
			}
			checkState(t, next, want)
			state, have = next, want
		}
	})
}
