package caddyiis

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// sharedMetrics shows the metrics of modules in derived contexts at Caddy's metrics
// endpoint, which only knows the registry of the configuration itself: those that are
// not there anyway. Some modules register one collector in every registry they meet.
type sharedMetrics struct {
	parent *prometheus.Registry

	mu      sync.Mutex
	derived []*prometheus.Registry
}

// shareMetrics makes what shows them.
func shareMetrics(parent caddy.Context) (*sharedMetrics, error) {
	shared := &sharedMetrics{parent: parent.GetMetricsRegistry()}
	if err := shared.parent.Register(shared); err != nil {
		return nil, fmt.Errorf("sharing metrics: %w", err)
	}
	return shared, nil
}

// standardMetrics are in the registry of every context. Collecting them takes longer
// than all others together, and each Caddy has them once.
var standardMetrics = []prometheus.Collector{
	collectors.NewBuildInfoCollector(),
	collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	collectors.NewGoCollector(),
}

// add shows the metrics of a derived context as well.
func (s *sharedMetrics) add(derived caddy.Context) {
	registry := derived.GetMetricsRegistry()
	for _, standard := range standardMetrics {
		registry.Unregister(standard)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.derived = append(s.derived, registry)
}

// forget lets go of the derived contexts: their configuration is shown no more.
func (s *sharedMetrics) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.derived = nil
}

// Describe implements prometheus.Collector. Handlers register their metrics
// later, so that nothing is known here.
func (*sharedMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *sharedMetrics) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	derived := slices.Clone(s.derived)
	s.mu.Unlock()
	known := make(map[string]struct{})
	descs := make(chan *prometheus.Desc)
	go func() {
		s.parent.Describe(descs)
		close(descs)
	}()
	for desc := range descs {
		known[desc.String()] = struct{}{}
	}
	for _, registry := range derived {
		shown := make(map[string]struct{})
		metrics := make(chan prometheus.Metric)
		go func() {
			registry.Collect(metrics)
			close(metrics)
		}()
		for metric := range metrics {
			desc := metric.Desc().String()
			if _, ok := known[desc]; !ok {
				shown[desc] = struct{}{}
				ch <- metric
			}
		}
		maps.Copy(known, shown)
	}
}
