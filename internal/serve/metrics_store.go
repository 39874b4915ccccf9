package serve

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/certsel/centralstore"
)

// storeMetric is a metric of the central store, and of each named store.
type storeMetric struct {
	desc  *prometheus.Desc
	named *prometheus.Desc
	kind  prometheus.ValueType
	value func(s *centralstore.Stats) float64
}

func newStoreMetric(kind prometheus.ValueType, name, help string, value func(s *centralstore.Stats) float64) storeMetric {
	return storeMetric{
		prometheus.NewDesc("caddy_iis_central_store_"+name, "Central store: "+help, nil, nil),
		prometheus.NewDesc("caddy_iis_store_"+name, "Stores by name: "+help, []string{"store"}, nil), kind, value,
	}
}

// storeMetrics are the metrics of stores. The counters go on over
// configurations that leave its settings as they are.
var storeMetrics = []storeMetric{
	newStoreMetric(prometheus.CounterValue, "hits_total", "Look-ups of names for which the store had a certificate.",
		func(s *centralstore.Stats) float64 { return float64(s.Hits) }),
	newStoreMetric(prometheus.CounterValue, "misses_total", "Look-ups of names for which it had none.",
		func(s *centralstore.Stats) float64 { return float64(s.Misses) }),
	newStoreMetric(prometheus.CounterValue, "refused_total", "Look-ups of what is no host name.",
		func(s *centralstore.Stats) float64 { return float64(s.Refused) }),
	newStoreMetric(prometheus.CounterValue, "limited_total", "Look-ups of new names above the rate, which got nothing.",
		func(s *centralstore.Stats) float64 { return float64(s.Limited) }),
	newStoreMetric(prometheus.CounterValue, "timeouts_total", "Look-ups that did not wait any longer for a file.",
		func(s *centralstore.Stats) float64 { return float64(s.Timeouts) }),
	newStoreMetric(prometheus.CounterValue, "accesses_total", "Accesses to the folder or storage.",
		func(s *centralstore.Stats) float64 { return float64(s.Accesses) }),
	newStoreMetric(prometheus.CounterValue, "reloads_total", "Files in use that were read again since they had changed.",
		func(s *centralstore.Stats) float64 { return float64(s.Reloads) }),
	newStoreMetric(prometheus.CounterValue, "evicted_total", "Certificates in memory that made room for others.",
		func(s *centralstore.Stats) float64 { return float64(s.Evicted) }),
	newStoreMetric(prometheus.GaugeValue, "certificates", "Certificates that are in memory.",
		func(s *centralstore.Stats) float64 { return float64(s.Entries) }),
	newStoreMetric(prometheus.GaugeValue, "reachable", "Whether the store answers: 0 if it does not, and serves from memory.",
		func(s *centralstore.Stats) float64 {
			if s.Unreachable.IsZero() {
				return 1
			}
			return 0
		}),
}

func describeStore(ch chan<- *prometheus.Desc) {
	for _, m := range storeMetrics {
		ch <- m.desc
		ch <- m.named
	}
}

func collectStore(ch chan<- prometheus.Metric, name string, stats centralstore.Stats) {
	for _, m := range storeMetrics {
		if name == certsel.CentralStoreName {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&stats))
		} else {
			ch <- prometheus.MustNewConstMetric(m.named, m.kind, m.value(&stats), name)
		}
	}
}
