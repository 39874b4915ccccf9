package caddyiis

import "github.com/prometheus/client_golang/prometheus"

// The metrics of the sources of sites.
var (
	descSourceRevision = prometheus.NewDesc("caddy_iis_source_revision",
		"The revision of a source of sites that is served.", []string{"source"}, nil)
	descSourceSites = prometheus.NewDesc("caddy_iis_source_sites",
		"The sites that a source has.", []string{"source"}, nil)
	descSourceHeldBack = prometheus.NewDesc("caddy_iis_source_sites_held_back",
		"The sites of a source that are not served, since they contradict others or name what is not there.", []string{"source"}, nil)
)

func describeSources(ch chan<- *prometheus.Desc) {
	ch <- descSourceRevision
	ch <- descSourceSites
	ch <- descSourceHeldBack
}

func (a *App) collectSources(ch chan<- prometheus.Metric) {
	for _, source := range a.live {
		f := source.follower
		if f == nil {
			continue // it is not open yet
		}
		head, count := f.size()
		source.mu.Lock()
		held := len(source.held)
		source.mu.Unlock()
		gauge := func(desc *prometheus.Desc, value float64) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, source.Name)
		}
		gauge(descSourceRevision, float64(head.Revision))
		gauge(descSourceSites, float64(count))
		gauge(descSourceHeldBack, float64(held))
	}
}
