package report

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

var key = Key{What: "compare", Peer: "iis", Sites: 1000}

func TestLog(t *testing.T) {
	var out strings.Builder
	log := NewLog(&out)
	for rep, v := range []float64{1500, 1000, 2000} {
		rec := NewRecord(key, "shared", rep+1)
		rec.Values["rate"] = v
		if err := log.Add(rec); err != nil {
			t.Fatal(err)
		}
	}
	late := NewRecord(Key{"compare", "nginx", 1000}, "shared", 1)
	late.Notes["rate"] = "> 2m0s"
	if err := log.Add(late); err != nil {
		t.Fatal(err)
	}
	if got := log.ByRep(key, "rate"); !maps.Equal(got, map[int]float64{1: 1500, 2: 1000, 3: 2000}) {
		t.Errorf("values by repetition: %v", got)
	}
	for _, test := range []struct {
		key    Key
		metric string
		want   string
	}{
		{key, "rate", "1,500 (1,000–2,000)"},
		{key, "other", "-"},
		{late.Key, "rate", "> 2m0s"},
		{Key{"compare", "iis", 1}, "rate", "-"},
	} {
		if got := log.Cell(test.key, test.metric, 1); got != test.want {
			t.Errorf("%v %s: %q, not %q", test.key, test.metric, got, test.want)
		}
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var rec Record
	if err := json.Unmarshal([]byte(lines[0]), &rec); err != nil || len(lines) != 4 || rec.Key != key || rec.Values["rate"] != 1500 {
		t.Errorf("%d lines, the first %s (%v)", len(lines), lines[0], err)
	}
}

func TestCellWithValueAndNote(t *testing.T) {
	log := NewLog(new(strings.Builder))
	rec := NewRecord(key, "", 1)
	rec.Values["rate"], rec.Notes["rate"] = 2500, "WRONG ANSWERS"
	if err := log.Add(rec); err != nil {
		t.Fatal(err)
	}
	if got := log.Cell(key, "rate", 1000); got != "2.50; WRONG ANSWERS" {
		t.Errorf("%q", got)
	}
}

func TestTable(t *testing.T) {
	table := Table{Head: []string{"server", "sites"}, Left: 1}
	table.Add("iis", "1,000")
	var out strings.Builder
	if _, err := table.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if want := "| server | sites |\n|---|---:|\n| iis | 1,000 |\n\n"; out.String() != want {
		t.Errorf("%q, not %q", out.String(), want)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 20: "20", 1234567: "1,234,567", -1234.5: "-1,234", 123.4: "123", 12.345: "12.3", 1.2345: "1.23",
		0.12345: "0.123", 0.0012345: "0.00123", 0.95: "0.950",
	} {
		if got := Number(v); got != want {
			t.Errorf("%v: %s, not %s", v, got, want)
		}
	}
}
