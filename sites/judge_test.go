package sites

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// letters is a court in which documents are sets of letters, and contradict each other
// if they have one in common. An X is wrong by itself.
type letters struct {
	wanted map[uint32]string // of open rows
	served map[uint32]string // of all
}

func (l *letters) Alone(id uint32) *Refusal {
	if slices.Contains([]rune(l.wanted[id]), 'X') {
		return &Refusal{Code: "invalid"}
	}
	return nil
}

func meet(a, b string) bool {
	return slices.ContainsFunc([]rune(a), func(r rune) bool { return slices.Contains([]rune(b), r) })
}

func (l *letters) Beside(candidates, accepted []uint32) (taken, among map[uint32]*Refusal) {
	taken, among = make(map[uint32]*Refusal), make(map[uint32]*Refusal)
	serving := make(map[uint32]string)
	maps.Copy(serving, l.served)
	for _, id := range accepted {
		serving[id] = l.wanted[id]
	}
	for i, id := range candidates {
		for other, doc := range serving {
			if !slices.Contains(candidates, other) && meet(l.wanted[id], doc) {
				taken[id] = &Refusal{Code: "conflict", Other: other}
			}
		}
		for _, other := range candidates[:i] {
			if meet(l.wanted[id], l.wanted[other]) {
				among[id] = &Refusal{Code: "conflict", Other: other}
			}
		}
	}
	return taken, among
}

// plainly judges as the protocol says it, without a thought for what that costs.
func plainly(open []Open, court Court) (accepted []uint32) {
	byAge := func(a, b Open) int { return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.ID, b.ID)) }
	slices.SortFunc(open, byAge)
	for {
		before := len(accepted)
		for _, group := range groups(slices.DeleteFunc(slices.Clone(open), func(o Open) bool { return slices.Contains(accepted, o.ID) })) {
			kept := slices.DeleteFunc(group, func(o Open) bool { return slices.Contains(accepted, o.ID) || court.Alone(o.ID) != nil })
			for {
				taken, among := court.Beside(idsOf(kept), accepted)
				if len(taken) == 0 {
					taken = among
				}
				if len(taken) == 0 {
					break
				}
				kept = slices.DeleteFunc(kept, func(o Open) bool { return taken[o.ID] != nil })
			}
			accepted = append(accepted, idsOf(kept)...)
		}
		if before == len(accepted) {
			return accepted
		}
	}
}

func TestJudge(t *testing.T) {
	tests := map[string]struct {
		served, wanted map[uint32]string
		revisions      map[uint32]uint64
		want           []uint32
	}{
		"free":                              {nil, map[uint32]string{1: "a"}, map[uint32]uint64{1: 9}, []uint32{1}},
		"wrong by itself":                   {map[uint32]string{1: "a"}, map[uint32]string{1: "X"}, map[uint32]uint64{1: 9}, nil},
		"who serves keeps":                  {map[uint32]string{2: "a"}, map[uint32]string{1: "a"}, map[uint32]uint64{1: 1}, nil},
		"an exchange in one revision":       {map[uint32]string{1: "a", 2: "b"}, map[uint32]string{1: "b", 2: "a"}, map[uint32]uint64{1: 9, 2: 9}, []uint32{1, 2}},
		"an exchange in two":                {map[uint32]string{1: "a", 2: "b"}, map[uint32]string{1: "b", 2: "a"}, map[uint32]uint64{1: 9, 2: 10}, []uint32{1, 2}},
		"the older of two":                  {nil, map[uint32]string{1: "a", 2: "a"}, map[uint32]uint64{1: 9, 2: 8}, []uint32{2}},
		"the lower id in one":               {nil, map[uint32]string{1: "a", 2: "a"}, map[uint32]uint64{1: 9, 2: 9}, []uint32{1}},
		"freed by another that is accepted": {map[uint32]string{2: "a"}, map[uint32]string{1: "a", 2: "b"}, map[uint32]uint64{1: 8, 2: 9}, []uint32{1, 2}},
		"a wrong one stops no other":        {map[uint32]string{3: "c"}, map[uint32]string{1: "a", 2: "bc"}, map[uint32]uint64{1: 9, 2: 9}, []uint32{1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var open []Open
			for id, revision := range test.revisions {
				open = append(open, Open{id, revision})
			}
			accepted, refused := Judge(open, &letters{wanted: test.wanted, served: test.served})
			slices.Sort(accepted)
			if !slices.Equal(accepted, test.want) || len(refused) != len(open)-len(accepted) {
				t.Errorf("accepted %v, refused %v; want %v", accepted, refused, test.want)
			}
		})
	}
}

// TestJudgePlainly: the short ways lead where the long one does, to a set without
// contradictions, and each row has a verdict.
func TestJudgePlainly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &letters{wanted: make(map[uint32]string), served: make(map[uint32]string)}
		free := []rune("abcdef")
		for id := uint32(1); id <= 6; id++ { // what serves does not contradict itself
			n := rapid.IntRange(0, min(2, len(free))).Draw(t, "served")
			l.served[id], free = string(free[:n]), free[n:]
		}
		var open []Open
		for id := uint32(1); id <= 6; id++ {
			if rapid.Bool().Draw(t, "open") {
				open = append(open, Open{id, rapid.Uint64Range(1, 4).Draw(t, "revision")})
				l.wanted[id] = rapid.StringOfN(rapid.RuneFrom([]rune("abcdefX")), 1, 2, -1).Draw(t, "document")
			}
		}
		accepted, refused := Judge(open, l)
		want := plainly(slices.Clone(open), l)
		slices.Sort(accepted)
		slices.Sort(want)
		if !slices.Equal(accepted, want) {
			t.Fatalf("accepted %v, want %v", accepted, want)
		}
		if len(accepted)+len(refused) != len(open) {
			t.Fatalf("%d rows, accepted %v, refused %v", len(open), accepted, refused)
		}
		serving := maps.Clone(l.served)
		for _, id := range accepted {
			serving[id] = l.wanted[id]
		}
		for a, x := range serving {
			for b, y := range serving {
				if a < b && meet(x, y) {
					t.Fatalf("%d and %d serve %s and %s", a, b, x, y)
				}
			}
		}
	})
}
