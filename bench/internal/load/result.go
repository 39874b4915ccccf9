package load

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/bench/internal/stats"
)

// Result is what a load came to.
type Result struct {
	Mode Mode `json:"mode"`
	tally
	Dialed    int64   `json:"dialed,omitempty"`     // kept connections opened while it counted
	Elapsed   float64 `json:"elapsed_s"`            // seconds
	ServerCPU float64 `json:"server_cpu_s"`         // seconds; 0 if nobody measured it
	P50       float64 `json:"p50_us"`               // microseconds
	P99       float64 `json:"p99_us"`               // microseconds
	PerCPU    float64 `json:"per_cpu_s,omitempty"`  // operations per second of server CPU
	PerWall   float64 `json:"per_wall_s,omitempty"` // operations per second
}

// tally counts operations.
type tally struct {
	Count int64 `json:"count"`
	OK    int64 `json:"ok"`

	Wrong    int64            `json:"wrong,omitempty"`    // another certificate or answer, also while it did not count
	Failed   int64            `json:"failed,omitempty"`   // no answer, likewise
	Problems map[string]int64 `json:"problems,omitempty"` // what was wrong or failed
}

// maxProblems is how many different problems are told apart.
const maxProblems = 20

// variable is what differs between problems of the same kind.
var variable = regexp.MustCompile(`127\.0\.0\.1:\d+|nobody-\d+|host-\d+\.example-\d+|site-\d+`)

func (t *tally) add(err error) {
	t.Count++
	if err == nil {
		t.OK++
		return
	}
	if wrong := new(WrongError); errors.As(err, &wrong) {
		t.Wrong++
	} else {
		t.Failed++
	}
	text := variable.ReplaceAllString(err.Error(), "*")
	if _, ok := t.Problems[text]; !ok && len(t.Problems) >= maxProblems {
		text = "others"
	}
	t.Problems[text]++
}

// merge adds the counts of another tally.
func (t *tally) merge(other *tally) {
	t.Count += other.Count
	t.OK += other.OK
	t.Wrong += other.Wrong
	t.Failed += other.Failed
	for text, n := range other.Problems {
		t.Problems[text] += n
	}
}

// Err returns an error unless every single answer was right.
func (t *tally) Err() error {
	if t.Wrong == 0 && t.Failed == 0 && t.Count > 0 && t.OK == t.Count {
		return nil
	}
	var problems []string
	for _, text := range slices.Sorted(maps.Keys(t.Problems)) {
		problems = append(problems, fmt.Sprintf("%d times %s", t.Problems[text], text))
	}
	return fmt.Errorf("%d of %d answers were right, %d wrong, %d operations failed: %s",
		t.OK, t.Count, t.Wrong, t.Failed, strings.Join(problems, "; "))
}

func newResult(mode Mode, workers []*worker, elapsed, cpu time.Duration) Result {
	r := Result{Mode: mode, Elapsed: elapsed.Seconds(), ServerCPU: cpu.Seconds()}
	r.Problems = make(map[string]int64)
	var latencies []float64
	for _, w := range workers {
		r.merge(&w.tally)
		r.Dialed += w.dialed
		for _, l := range w.latencies {
			latencies = append(latencies, float64(l.Nanoseconds())/1e3)
		}
	}
	slices.Sort(latencies)
	r.P50, r.P99 = stats.Quantile(latencies, 0.5), stats.Quantile(latencies, 0.99)
	r.PerWall = float64(r.Count) / elapsed.Seconds()
	if cpu > 0 {
		r.PerCPU = float64(r.Count) / cpu.Seconds()
	}
	return r
}
