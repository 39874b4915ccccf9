// Package sharedmetrics shows what modules in derived contexts count.
package sharedmetrics

import (
	"fmt"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

// Shared shows the metrics of modules in derived contexts at Caddy's metrics
// endpoint, which only knows the registry of the configuration itself: those that are
// not there anyway. Some modules register one collector in every registry they meet.
type Shared struct {
	parent *prometheus.Registry

	mu      sync.Mutex
	derived []*prometheus.Registry
}

// New makes what shows them.
func New(parent caddy.Context) (*Shared, error) {
	shared := &Shared{parent: parent.GetMetricsRegistry()}
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

// Leave leaves what modules in a derived context count out.
func (*Shared) Leave(derived caddy.Context) {
	registry := derived.GetMetricsRegistry()
	for _, standard := range standardMetrics {
		registry.Unregister(standard)
	}
}

// Add shows the metrics of a derived context as well.
func (s *Shared) Add(derived caddy.Context) {
	s.Leave(derived)
	registry := derived.GetMetricsRegistry()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.derived = append(s.derived, registry)
}

// Forget lets go of the derived contexts: their configuration is shown no more.
func (s *Shared) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.derived = nil
}

// Describe implements prometheus.Collector. Handlers register their metrics
// later, so that nothing is known here.
func (*Shared) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *Shared) Collect(ch chan<- prometheus.Metric) {
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
	shown := make(map[string]*summedMetric)
	for _, registry := range derived {
		metrics := make(chan prometheus.Metric)
		go func() {
			registry.Collect(metrics)
			close(metrics)
		}()
		for metric := range metrics {
			name := metric.Desc().String()
			if _, ok := known[name]; ok {
				continue
			}
			var values dto.Metric
			if metric.Write(&values) != nil {
				ch <- metric // whoever collects tells what is wrong with it
				continue
			}
			for _, label := range values.GetLabel() {
				name += "\xff" + label.GetValue()
			}
			if sum := shown[name]; sum == nil {
				shown[name] = &summedMetric{metric}
			} else {
				sum.Add(metric)
			}
		}
	}
	for _, sum := range shown {
		ch <- sum
	}
}

// summedMetric is what the modules of several contexts count under one name, as if they
// had registered in one registry and shared it.
type summedMetric []prometheus.Metric

// Add adds what is counted elsewhere. One collector may be in several registries: then
// it is the same metric, or a value that was made to be collected.
func (s *summedMetric) Add(metric prometheus.Metric) {
	if _, counts := metric.(prometheus.Collector); counts && !slices.Contains(*s, metric) {
		*s = append(*s, metric)
	}
}

// Desc implements prometheus.Metric.
func (s *summedMetric) Desc() *prometheus.Desc { return (*s)[0].Desc() }

// Write implements prometheus.Metric.
func (s *summedMetric) Write(out *dto.Metric) error {
	if err := (*s)[0].Write(out); err != nil {
		return err
	}
	for _, metric := range (*s)[1:] {
		var more dto.Metric
		if err := metric.Write(&more); err != nil {
			return err
		}
		switch {
		case out.Counter != nil:
			out.Counter.Value = new(out.GetCounter().GetValue() + more.GetCounter().GetValue())
		case out.Gauge != nil:
			out.Gauge.Value = new(out.GetGauge().GetValue() + more.GetGauge().GetValue())
		case out.Untyped != nil:
			out.Untyped.Value = new(out.GetUntyped().GetValue() + more.GetUntyped().GetValue())
		case out.Histogram != nil:
			addHistogram(out.GetHistogram(), more.GetHistogram())
		case out.Summary != nil:
			out.Summary.SampleCount = new(out.GetSummary().GetSampleCount() + more.GetSummary().GetSampleCount())
			out.Summary.SampleSum = new(out.GetSummary().GetSampleSum() + more.GetSummary().GetSampleSum())
			out.Summary.Quantile = nil // there is no telling
		}
	}
	return nil
}

func addHistogram(sum, more *dto.Histogram) {
	sum.SampleCount = new(sum.GetSampleCount() + more.GetSampleCount())
	sum.SampleSum = new(sum.GetSampleSum() + more.GetSampleSum())
	for i, bucket := range sum.GetBucket() {
		if i < len(more.GetBucket()) {
			bucket.CumulativeCount = new(bucket.GetCumulativeCount() + more.GetBucket()[i].GetCumulativeCount())
		}
	}
}

// Interface guards
var (
	_ prometheus.Collector = (*Shared)(nil)
	_ prometheus.Metric    = (*summedMetric)(nil)
)
