package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
	livesites "github.com/caddy-iis/caddy-iis/sites"
)

func TestReportLive(t *testing.T) {
	b := testBench(t)
	for rep, put := range []float64{6, 8, 20} {
		for n, commit := range map[int]float64{100_000: 1, 1_000_000: 2} {
			rec := report.NewRecord(liveKey(n), "one", rep+1)
			rec.Values[livePutP50], rec.Values[liveCommitP50] = put, commit
			rec.Values[livePutCPU], rec.Values[rssAfterStart] = put, 1.1e9
			if err := b.log.Add(rec); err != nil {
				t.Fatal(err)
			}
		}
	}
	var out strings.Builder
	if err := b.reportLive(&out, []int{100_000, 1_000_000}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"| one site by `PUT`, half took less than, ms | 8 (6–20) | 7 **missed** | 8 (6–20) | 32 holds |",
		"| processor time of a `PUT`, ms | 8 (6–20) | 10 holds | 8 (6–20) |  |",
		"| memory after the start (RSS), MB | 1,100 (1,100–1,100) | 1,200 holds | 1,100 (1,100–1,100) | 1,200 holds |",
		"| search that finds one, ms | - | 50 | - |  |",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%s is missing in\n%s", line, out.String())
		}
	}
}

// TestLiveDatabase: what is written without the API is what the API would write, and the
// bare commits are of the same documents.
func TestLiveDatabase(t *testing.T) {
	b := testBench(t)
	b.work, b.sets = t.TempDir(), make(map[setKey]*sites.Set)
	s, err := b.newLive(3, "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(); err != nil {
		t.Fatal(err)
	}
	table, err := livesites.OpenBolt(s.file, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	row, ok, err := table.Row(uint32(sites.SiteID(2)))
	if want := s.set.Sites[2].Document(s.place); err != nil || !ok || string(row.Document) != string(want) {
		t.Errorf("the row is %s (%v), not %s", row.Document, err, want)
	}
	bare, err := newCommits(filepath.Join(b.work, "bare.db"), s.set, s.place)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	if took, err := bare.put(1, []byte("{}")); err != nil || took <= 0 {
		t.Errorf("a bare commit took %s (%v)", took, err)
	}
	s.rename(1)
	s.rename(1)
	if made := b.sets[setKey{sites.One, 3}]; s.set.Sites[1].Name != "host-1.example-1.test-2" || made.Sites[1].Name != "host-1.example-1.test" {
		t.Errorf("the name is %q, and for others %q", s.set.Sites[1].Name, made.Sites[1].Name)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}
