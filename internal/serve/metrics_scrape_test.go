package serve

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddy-iis/caddy-iis/config"
)

// TestScrapeWalksNoSites: a look at the metrics tells how many sites there are, and goes
// through none of them: here are neither tables nor sites to go through.
func TestScrapeWalksNoSites(t *testing.T) {
	a := New(new(config.App), nil)
	a.snapshot.Store(&Snapshot{fixed: a.fixed, states: siteStates{started: 1_000_000, stopped: 2, offline: 3}})
	shown := make(chan prometheus.Metric, 1000)
	(&appMetrics{a}).Collect(shown)
	close(shown)
	sites := 0.0
	for m := range shown {
		var is dto.Metric
		if err := m.Write(&is); err != nil {
			t.Fatal(err)
		}
		if m.Desc() == descSites {
			sites += is.GetGauge().GetValue()
		}
	}
	if sites != 1_000_005 {
		t.Errorf("%v sites", sites)
	}
}
