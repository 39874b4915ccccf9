package serve

import (
	"strconv"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/w3clog"
)

// counters are the counters of the process: like all counters they go on while
// configurations come and go. Each configuration shows them in its registry.
// Labels come from configurations only, never from what clients send.
var counters = struct {
	handshakes, refused, fallbacks, requests, received, sent, unknownHosts, misdirected *prometheus.CounterVec
}{
	handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "iis", Name: "handshakes_total",
		Help: "TLS handshakes by port, by what the client's server name selects (matched, unmatched, missing), and by who serves them (site, ordinary, challenge, refused).",
	}, []string{"port", "server_name", "result"}),
	refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "iis", Name: "refused_handshakes_total",
		Help: "TLS handshakes that are refused, by port, by endpoint (the record of the address that the client came to) and by reason.",
	}, []string{"port", "endpoint", "reason"}),
	fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "iis", Name: "fallback_handshakes_total",
		Help: "TLS handshakes that an endpoint serves to clients whose server name is unmatched or missing, by port and endpoint: those that reject would refuse.",
	}, []string{"port", "endpoint", "server_name"}),
	requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "iis", Name: "requests_total",
		Help: "Requests by site and class of status.",
	}, []string{"site", "class"}),
	received: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "iis", Name: "request_bytes_total",
		Help: "Bytes of the bodies of requests that handlers have read, by site.",
	}, []string{"site"}),
	sent: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "iis", Name: "response_bytes_total",
		Help: "Bytes of the bodies of responses, by site.",
	}, []string{"site"}),
	unknownHosts: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "iis", Name: "unknown_host_requests_total",
		Help: "Requests for hosts that no site has, by port.",
	}, []string{"port"}),
	misdirected: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "iis", Name: "misdirected_requests_total",
		Help: "Requests answered with 421 since their connection was made for another host, by site.",
	}, []string{"site"}),
}

// What a client's server name selects, and who serves its handshake.
const (
	nameMatched = iota
	nameUnmatched
	nameMissing
	nameKinds
)

const (
	resultSite = iota
	resultOrdinary
	resultChallenge
	resultRefused
	resultKinds
)

var (
	nameLabels   = [nameKinds]string{"matched", "unmatched", "missing"}
	resultLabels = [resultKinds]string{"site", "ordinary", "challenge", "refused"}
)

// portMetrics are the counters of a port, looked up when the configuration is
// loaded.
type portMetrics struct {
	secure       bool                                       // it has https bindings
	handshakes   [nameKinds][resultKinds]prometheus.Counter // if so
	unknownHosts prometheus.Counter
}

// lazyCounter is a counter that is looked up once.
type lazyCounter struct {
	found atomic.Pointer[prometheus.Counter]
}

// count counts one more, if the counter has been found before.
func (c *lazyCounter) count() bool {
	counter := c.found.Load()
	if counter != nil {
		(*counter).Inc()
	}
	return counter != nil
}

func (c *lazyCounter) inc(vec *prometheus.CounterVec, labels ...string) { c.add(1, vec, labels...) }

func (c *lazyCounter) add(n int64, vec *prometheus.CounterVec, labels ...string) {
	counter := c.found.Load()
	if counter == nil {
		made := vec.WithLabelValues(labels...)
		counter = &made
		c.found.Store(counter)
	}
	(*counter).Add(float64(n))
}

// appMetrics are the metrics of one configuration.
type appMetrics struct{ app *Instance }

var (
	descSites = prometheus.NewDesc("caddy_iis_sites", "Configured sites by state.", []string{"state"}, nil)
	descFile  = prometheus.NewDesc("caddy_iis_sites_file_valid", "Whether the sites file is served as it is: 0 if it is refused, and its sites are served as they were before.", nil, nil)
)

// provisionMetrics registers the metrics of this configuration.
func (a *Instance) provisionMetrics() error {
	a.metrics = &appMetrics{a}
	registry := a.ctx.GetMetricsRegistry()
	for _, collector := range []prometheus.Collector{
		counters.handshakes, counters.refused, counters.fallbacks, counters.requests, counters.received, counters.sent, counters.unknownHosts, counters.misdirected, a.metrics,
	} {
		if err := registry.Register(collector); err != nil {
			return err
		}
	}
	a.countAllPorts()
	return nil
}

// countAllPorts looks the counters of all ports up. What is published meanwhile stays.
func (a *Instance) countAllPorts() {
	for {
		before := a.Now()
		next := *before
		next.countPorts(nil)
		if a.snapshot.CompareAndSwap(before, &next) {
			return
		}
	}
}

// countPorts looks the counters of all ports up, those of the snapshot before
// excepted.
func (sn *Snapshot) countPorts(before *Snapshot) {
	secure := make(map[uint16]bool)
	for _, endpoint := range sn.state.Endpoints {
		port := endpoint.Addr.Port()
		secure[port] = secure[port] || endpoint.TLS
	}
	sn.ports = make(map[uint16]*portMetrics)
	for port, secure := range secure {
		if before != nil && before.ports[port] != nil && before.ports[port].secure == secure {
			sn.ports[port] = before.ports[port]
		} else {
			sn.ports[port] = newPortMetrics(strconv.Itoa(int(port)), secure)
		}
	}
}

func newPortMetrics(port string, secure bool) *portMetrics {
	m := &portMetrics{unknownHosts: counters.unknownHosts.WithLabelValues(port), secure: secure}
	if !secure {
		return m
	}
	for name := range m.handshakes {
		for result := range m.handshakes[name] {
			m.handshakes[name][result] = counters.handshakes.WithLabelValues(port, nameLabels[name], resultLabels[result])
		}
	}
	return m
}

// forgetRemoved drops the counters of ports and sites that the active
// configuration has and this one, which takes its place, has not: labels must
// not pile up over the years.
func (m *appMetrics) forgetRemoved() {
	if active := servingApp(); active != nil && active != m.app {
		active.Now().forgetBut(m.app.Now())
	}
}

// forgetRefused drops what this configuration, which never served, has and the
// active one has not.
func (m *appMetrics) forgetRefused() {
	if active := servingApp(); active == nil {
		m.app.Now().forgetBut(nil)
	} else if active != m.app {
		m.app.Now().forgetBut(active.Now())
	}
}

// servingApp returns the app of the active configuration, nil if it has none.
func servingApp() *Instance {
	active, err := Of(caddy.ActiveContext())
	if err != nil {
		return nil
	}
	return active
}

// forgetBut drops the counters of ports and sites that the other has not.
func (sn *Snapshot) forgetBut(other *Snapshot) {
	sn.forgetPortsBut(other)
	if !sn.bySite {
		return
	}
	for _, s := range sn.Sites.All() {
		if s != nil && (other == nil || !other.bySite || other.Tables.SiteByID(s.id) == nil) {
			s.metrics.forget()
		}
	}
}

func (sn *Snapshot) forgetPortsBut(other *Snapshot) {
	for port, m := range sn.ports {
		labels := prometheus.Labels{"port": strconv.Itoa(int(port))}
		gone := other == nil || other.ports[port] == nil
		if gone {
			counters.unknownHosts.DeletePartialMatch(labels)
		}
		if gone || m.secure && !other.ports[port].secure {
			counters.handshakes.DeletePartialMatch(labels)
			counters.refused.DeletePartialMatch(labels)
			counters.fallbacks.DeletePartialMatch(labels)
		}
	}
	if other == nil {
		return
	}
	for rec := range sn.Tables.AddressRecords() {
		if other.ports[rec.Port] == nil || other.Tables.HasAddressRecord(rec.IP, rec.Port) {
			continue
		}
		labels := prometheus.Labels{"endpoint": rec.Key()}
		counters.fallbacks.DeletePartialMatch(labels)
		if rec.IP.IsValid() { // that for all addresses counts where there is no record
			counters.refused.DeletePartialMatch(labels)
		}
	}
}

func (sn *Snapshot) countHandshake(port uint16, match binding.CertificateMatch, serverName string, result int) {
	name := nameUnmatched
	switch {
	case serverName == "":
		name = nameMissing
	case match.Known || result == resultOrdinary:
		name = nameMatched
	}
	if p := sn.ports[port]; p != nil && p.secure {
		p.handshakes[name][result].Inc()
	}
}

func (sn *Snapshot) countUnknownHost(port uint16) {
	if p := sn.ports[port]; p != nil {
		p.unknownHosts.Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *appMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- descSites
	ch <- descFile
	describeCertificates(ch)
	describeStore(ch)
	describeSources(ch)
	describeAutos(ch)
	ch <- w3clog.DescLines
}

// siteStates counts sites by their states. A change counts what it changes: nobody goes
// through all sites for a look at the metrics.
type siteStates struct{ started, stopped, offline int }

func (c *siteStates) count(entry *binding.SiteEntry, s *site, n int) {
	switch {
	case !entry.State.Started:
		c.stopped += n
	case s.Offline:
		c.offline += n
	default:
		c.started += n
	}
}

// Collect implements prometheus.Collector.
func (m *appMetrics) Collect(ch chan<- prometheus.Metric) {
	states := m.app.Now().states
	for state, n := range map[string]int{"started": states.started, "stopped": states.stopped, "offline": states.offline} {
		ch <- prometheus.MustNewConstMetric(descSites, prometheus.GaugeValue, float64(n), state)
	}
	if m.app.sitesFile.source != nil {
		valid := 1.0
		if m.app.sitesFile.problem.Load() != nil {
			valid = 0
		}
		ch <- prometheus.MustNewConstMetric(descFile, prometheus.GaugeValue, valid)
	}
	m.app.collectSources(ch)
	m.app.collectAutos(ch)
	m.app.collectCertificates(ch)
	m.app.w3c.Collect(ch)
	for name, store := range m.app.Stores() {
		if store, ok := store.(FileStore); ok {
			collectStore(ch, name, store.Stats())
		}
	}
}

// Interface guards
var _ prometheus.Collector = (*appMetrics)(nil)
