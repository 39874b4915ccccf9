package serve

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
)

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

var classLabels = [6]string{1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

func newSiteMetrics(id uint32) *siteMetrics {
	return &siteMetrics{site: strconv.FormatUint(uint64(id), 10)}
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

// forgetSite drops the counters of a site.
func (sn *Snapshot) forgetSite(id uint32) {
	if entry := sn.Tables.SiteByID(id); entry != nil && sn.Sites.At(entry.Index).metrics != nil {
		sn.Sites.At(entry.Index).metrics.forget()
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

// Interface guards
var _ http.ResponseWriter = (*countedResponse)(nil)
