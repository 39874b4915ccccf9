package serve

import (
	"crypto/x509"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-iis/caddy-iis/certsel"
)

// The metrics of certificates, by their names in the configuration.
var (
	descExpiry = prometheus.NewDesc("caddy_iis_certificate_expiry_timestamp_seconds",
		"When a certificate expires, by its name in the configuration; the first to expire if there are several.", []string{"certificate"}, nil)
	descLifetime = prometheus.NewDesc("caddy_iis_certificate_lifetime_seconds",
		"How long the certificate that expires first is valid from its beginning to its end.", []string{"certificate"}, nil)
	descFailing = prometheus.NewDesc("caddy_iis_certificate_failing_hosts",
		"Hosts for which Caddy could not obtain or renew a certificate when it last tried, up to 20.", []string{"certificate"}, nil)
	descUpToDate = prometheus.NewDesc("caddy_iis_certificate_up_to_date",
		"Whether a certificate is served as its files, or whoever is asked for it, have it: 0 if they cannot be read or asked, and what was there before serves.",
		[]string{"certificate"}, nil)
)

func describeCertificates(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{descExpiry, descLifetime, descFailing, descUpToDate} {
		ch <- desc
	}
}

func (a *Instance) collectCertificates(ch chan<- prometheus.Metric) {
	for name, source := range a.certificates {
		collectCertificate(ch, name, source)
	}
	for name, source := range a.keptTogether() {
		collectCertificate(ch, name, source)
	}
	if a.CentralStore != nil {
		collectCertificate(ch, certsel.CentralStoreName, a.CentralStore)
	}
}

func collectCertificate(ch chan<- prometheus.Metric, name string, source certsel.Source) {
	gauge := func(desc *prometheus.Desc, value float64) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, name)
	}
	if first := firstToExpire(source); first != nil {
		gauge(descExpiry, float64(first.NotAfter.Unix()))
		gauge(descLifetime, first.NotAfter.Sub(first.NotBefore).Seconds())
	}
	if renewer, ok := source.(certsel.Renewer); ok {
		gauge(descFailing, float64(len(renewer.Failures())))
	}
	if reloader, ok := source.(certsel.Reloader); ok {
		valid := 1.0
		if !upToDate(reloader) {
			valid = 0
		}
		gauge(descUpToDate, valid)
	}
}

// firstToExpire returns the certificate of a source that expires first, nil if it has
// none.
func firstToExpire(source certsel.Source) (first *x509.Certificate) {
	for _, cert := range source.Current() {
		if leaf := cert.Leaf; leaf != nil && (first == nil || leaf.NotAfter.Before(first.NotAfter)) {
			first = leaf
		}
	}
	return first
}

// upToDate reports whether a source serves what it would serve after a start. A store
// answers for each file in memory.
func upToDate(source certsel.Reloader) bool {
	if source.Status().LastError != nil {
		return false
	}
	if store, ok := source.(FileStore); ok {
		for _, file := range store.Files() {
			if file.Err != nil {
				return false
			}
		}
	}
	return true
}
