package caddyiis

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// shareMetrics shows the metrics of modules in a derived context at Caddy's
// metrics endpoint, which only knows the registry of the configuration itself.
func shareMetrics(parent, derived caddy.Context) error {
	shared := sharedMetrics{parent: parent.GetMetricsRegistry(), derived: derived.GetMetricsRegistry()}
	if err := shared.parent.Register(shared); err != nil {
		return fmt.Errorf("sharing metrics: %w", err)
	}
	return nil
}

// sharedMetrics collects what is registered in the derived registry only. Some
// modules register one collector in every registry they meet.
type sharedMetrics struct{ parent, derived *prometheus.Registry }

// Describe implements prometheus.Collector. Handlers register their metrics
// later, so that nothing is known here.
func (sharedMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s sharedMetrics) Collect(ch chan<- prometheus.Metric) {
	known := make(map[string]struct{})
	descs := make(chan *prometheus.Desc)
	go func() {
		s.parent.Describe(descs)
		close(descs)
	}()
	for desc := range descs {
		known[desc.String()] = struct{}{}
	}
	metrics := make(chan prometheus.Metric)
	go func() {
		s.derived.Collect(metrics)
		close(metrics)
	}()
	for metric := range metrics {
		if _, ok := known[metric.Desc().String()]; !ok {
			ch <- metric
		}
	}
}
