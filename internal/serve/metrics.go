package serve

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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

// siteMetrics are the counters of a site, if the configuration enables metrics
// by site. They are made when there is something to count: of very many sites
// few have traffic.
type siteMetrics struct {
	site        string
	gone        atomic.Bool    // requests that are still under way count nowhere
	classes     [6]lazyCounter // by first digit of the status
	misdirected lazyCounter

	received, sent lazyCounter // bytes of bodies
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

func (m *siteMetrics) request(class int) {
	m.add(&m.classes[class], 1, counters.requests, classLabels[class])
}

func (m *siteMetrics) misdirect() { m.add(&m.misdirected, 1, counters.misdirected, "") }

// bytesReceived and bytesSent count as they come and go: a stream may take hours.
func (m *siteMetrics) bytesReceived(n int64) {
	if n > 0 {
		m.add(&m.received, n, counters.received, "")
	}
}

func (m *siteMetrics) bytesSent(n int64) {
	if n > 0 {
		m.add(&m.sent, n, counters.sent, "")
	}
}

// add counts, unless the site has gone.
func (m *siteMetrics) add(c *lazyCounter, n int64, vec *prometheus.CounterVec, class string) {
	if m.gone.Load() {
		return
	}
	if counter := c.found.Load(); counter != nil {
		(*counter).Add(float64(n))
		return
	}
	labels := []string{m.site}
	if class != "" {
		labels = append(labels, class)
	}
	c.add(n, vec, labels...)
	if m.gone.Load() { // meanwhile: this may have brought it back
		vec.DeleteLabelValues(labels...)
	}
}

// forget drops the counters.
func (m *siteMetrics) forget() {
	m.gone.Store(true)
	for _, class := range classLabels[1:] {
		counters.requests.DeleteLabelValues(m.site, class)
	}
	counters.misdirected.DeleteLabelValues(m.site)
	counters.received.DeleteLabelValues(m.site)
	counters.sent.DeleteLabelValues(m.site)
}

var classLabels = [6]string{1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

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

// countAllPorts looks the counters of all ports up, before the configuration serves.
func (a *Instance) countAllPorts() {
	now := *a.Now()
	now.countPorts(nil)
	a.snapshot.Store(&now)
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

// metricsOf returns those of a site that is served, so that requests that are under way
// while it changes count there, too, and else new ones.
func (a *Instance) metricsOf(id uint32) *siteMetrics {
	if now := a.Now(); now != nil {
		if entry := now.Tables.SiteByID(id); entry != nil {
			if served := now.Sites.At(entry.Index); served != nil && served.metrics != nil {
				return served.metrics
			}
		}
	}
	return newSiteMetrics(id)
}

func newSiteMetrics(id uint32) *siteMetrics {
	return &siteMetrics{site: strconv.FormatUint(uint64(id), 10)}
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
	for rec := range sn.Tables.Records() {
		if rec.Kind != binding.RecordIPPort || other.ports[rec.Port] == nil || other.Tables.HasAddressRecord(rec.IP, rec.Port) {
			continue
		}
		labels := prometheus.Labels{"endpoint": rec.Key()}
		counters.fallbacks.DeletePartialMatch(labels)
		if rec.IP.IsValid() { // that for all addresses counts where there is no record
			counters.refused.DeletePartialMatch(labels)
		}
	}
}

// forgetSite drops the counters of a site.
func (sn *Snapshot) forgetSite(id uint32) {
	if entry := sn.Tables.SiteByID(id); entry != nil && sn.Sites.At(entry.Index).metrics != nil {
		sn.Sites.At(entry.Index).metrics.forget()
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

// Collect implements prometheus.Collector.
func (m *appMetrics) Collect(ch chan<- prometheus.Metric) {
	states := map[string]int{"started": 0, "stopped": 0, "offline": 0}
	now := m.app.Now()
	for _, entry := range now.Tables.Sites() {
		switch {
		case !entry.State.Started:
			states["stopped"]++
		case now.Sites.At(entry.Index).Offline:
			states["offline"]++
		default:
			states["started"]++
		}
	}
	for state, n := range states {
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

// countedResponse counts a response by the class of its status.
type countedResponse struct {
	*caddyhttp.ResponseWriterWrapper
	metrics *siteMetrics
	counted bool

	// What is written goes nowhere, or is another protocol's: that of a stream that a
	// handler takes over.
	uncounted bool
}

// WriteHeader implements http.ResponseWriter.
func (c *countedResponse) WriteHeader(status int) {
	c.count(status)
	c.ResponseWriterWrapper.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (c *countedResponse) Write(p []byte) (int, error) {
	c.count(http.StatusOK)
	n, err := c.ResponseWriterWrapper.Write(p)
	if !c.uncounted {
		c.metrics.bytesSent(int64(n))
	}
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (c *countedResponse) ReadFrom(r io.Reader) (int64, error) {
	c.count(http.StatusOK)
	n, err := c.ResponseWriterWrapper.ReadFrom(r)
	if !c.uncounted {
		c.metrics.bytesSent(n)
	}
	return n, err
}

// countedBody counts what is read of a request.
type countedBody struct {
	io.ReadCloser
	metrics *siteMetrics
}

// Read implements io.Reader.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.metrics.bytesReceived(int64(n))
	return n, err
}

// count counts the final status once; informational ones precede it.
func (c *countedResponse) count(status int) {
	if c.counted || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	c.counted = true
	if class := status / 100; class > 0 && class < len(classLabels) {
		c.metrics.request(class)
	}
}

// Interface guards
var (
	_ prometheus.Collector = (*appMetrics)(nil)
	_ http.ResponseWriter  = (*countedResponse)(nil)
)
