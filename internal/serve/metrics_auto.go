package serve

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-iis/caddy-iis/certsel"
)

// The metrics of certificates for the hosts of bindings. The counters go on over loads
// of the configuration, as long as there is a certificate of the name.
var (
	descAutoMemory = prometheus.NewDesc("caddy_iis_binding_certificates",
		"Certificates for hosts of bindings that are in memory.", []string{"certificate"}, nil)
	descAutoHits = prometheus.NewDesc("caddy_iis_binding_certificate_hits_total",
		"Look-ups that found a certificate in memory; a handshake makes one or two.", []string{"certificate"}, nil)
	descAutoReads = prometheus.NewDesc("caddy_iis_binding_certificate_reads_total",
		"Certificates read from storage, for clients and ahead.", []string{"certificate"}, nil)
	descAutoOrders = prometheus.NewDesc("caddy_iis_binding_certificate_orders_total",
		"Orders with issuers, renewals included.", []string{"certificate"}, nil)
	descAutoFailures = prometheus.NewDesc("caddy_iis_binding_certificate_failures_total",
		"Certificates that could not be obtained, by reason.", []string{"certificate", "reason"}, nil)
)

func describeAutos(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{descAutoMemory, descAutoHits, descAutoReads, descAutoOrders, descAutoFailures} {
		ch <- desc
	}
}

func (a *Instance) collectAutos(ch chan<- prometheus.Metric) {
	for name, source := range a.certificates {
		auto, ok := source.(*certsel.Auto)
		if !ok {
			continue
		}
		stats := auto.Stats()
		count := func(desc *prometheus.Desc, n uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), append([]string{name}, labels...)...)
		}
		ch <- prometheus.MustNewConstMetric(descAutoMemory, prometheus.GaugeValue, float64(stats.Memory), name)
		count(descAutoHits, stats.Hits)
		count(descAutoReads, stats.Reads)
		count(descAutoOrders, stats.Orders)
		for i, n := range stats.Failures {
			count(descAutoFailures, n, certsel.FailureReasons[i])
		}
	}
}
