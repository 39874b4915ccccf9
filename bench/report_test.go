package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

func testBench(t *testing.T) *bench {
	t.Helper()
	chosen, err := peers.Choose(nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &config{reps: 3, peers: chosen, certs: sites.Shared, out: t.TempDir()}
	return &bench{
		config: cfg, log: report.NewLog(new(strings.Builder)), missing: make(map[string]bool),
		programs: peers.Programs{Caddy: "caddy", Baseline: "baseline", Nginx: "nginx", HAProxy: "haproxy"},
	}
}

// add adds a repetition with the same rate in all modes.
func (b *bench) add(t *testing.T, peer string, n, rep int, rate float64) {
	t.Helper()
	rec := report.NewRecord(compareKey(peer, n), "shared", rep)
	for _, mode := range load.Modes {
		rec.Values[string(mode)+perCPU] = rate
	}
	if err := b.log.Add(rec); err != nil {
		t.Fatal(err)
	}
}

func TestReportCompare(t *testing.T) {
	b := testBench(t)
	for rep, noise := range []float64{1, 0.7, 1.3} { // a repetition is slow or fast as a whole
		b.add(t, peers.IIS, 1, rep+1, 1000*noise)
		b.add(t, peers.IIS, 1000, rep+1, 970*noise)
		b.add(t, peers.Baseline, 1000, rep+1, 2000*noise)
		b.add(t, peers.Stock, 1, rep+1, 1000*noise)
	}
	late := report.NewRecord(compareKey(peers.Nginx, 1000), "shared", 1)
	late.Notes[startSeconds] = "> 2m0s"
	if err := b.log.Add(late); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := b.reportCompare(&out, []int{1, 1000}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"| iis at N / iis at 1 | 1 | 1 | 1 | 1 | 1 |",
		"| iis at N / iis at 1 | 1,000 | 0.97 (0.97–0.97) holds |",
		"| iis at N / stock at 1 | 1,000 | 0.97 (0.97–0.97) holds | 0.97 (0.97–0.97) holds | - (refuses) |",
		"| iis at N / baseline at N | 1,000 | 0.48 (0.48–0.48) **below** |",
		"| sites | iis | stock (refuses) | stock-flat (refuses) | nginx | haproxy | baseline |",
		"| 1,000 | - | - | - | > 2m0s | - | - |",
		"| 1 | 1,000 (700–1,300) | 1,000 (700–1,300) |",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%s is missing in\n%s", line, out.String())
		}
	}
	for _, name := range []string{"cost.svg", "resources.svg"} {
		if svg, err := os.ReadFile(filepath.Join(b.out, name)); err != nil || !strings.HasPrefix(string(svg), "<svg") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReportsWithoutResults(t *testing.T) {
	b := testBench(t)
	for _, e := range experiments() {
		var out strings.Builder
		if err := e.report(b, &out, e.sizes); err != nil || !strings.Contains(out.String(), "|---:|") {
			t.Errorf("%s: %v:\n%s", e.name, err, out.String())
		}
	}
}

func TestHeapThatGrows(t *testing.T) {
	b := testBench(t)
	const mib = 1 << 20
	for name, test := range map[string]struct {
		before, after uint64
		failures      int
	}{
		"a little": {100 * mib, 104 * mib, 0},
		"slack":    {2 * mib, 3*mib - 1, 0},
		"much":     {100 * mib, 106 * mib, 1},
	} {
		b.failures = nil
		rec := report.NewRecord(report.Key{What: "changes"}, "", 1)
		rec.Values[heapMetric(0)], rec.Values[heapMetric(7)] = float64(test.before), float64(test.after)
		b.judgeHeap(rec, 7)
		if len(b.failures) != test.failures {
			t.Errorf("%s: %v", name, b.failures)
		}
	}
}

func TestMissingPeersAreLeftOut(t *testing.T) {
	b := testBench(t)
	b.programs.Nginx = ""
	chosen, err := b.chosen()
	if err != nil || len(chosen) != 5 {
		t.Errorf("%d peers (%v)", len(chosen), err)
	}
}
