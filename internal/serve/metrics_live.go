package serve

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-iis/caddy-iis/internal/live"
	"github.com/caddy-iis/caddy-iis/sites"
)

// The metrics of the sources of sites.
var (
	descSourceRevision = prometheus.NewDesc("caddy_iis_source_revision",
		"The revision of a source of sites that is served.", []string{"source"}, nil)
	descSourceSites = prometheus.NewDesc("caddy_iis_source_sites",
		"The sites that a source has.", []string{"source"}, nil)
	descSourceHeldBack = prometheus.NewDesc("caddy_iis_source_sites_held_back",
		"The sites of a source that are not served, or not with all of their bindings, since they contradict others or name what is not there.", []string{"source"}, nil)
	descSourceDamaged = prometheus.NewDesc("caddy_iis_source_damaged",
		"Whether the file of a source of sites was found damaged since it is open.", []string{"source"}, nil)
)

// The metrics of sources that others write as well.
var (
	descSourceHead = prometheus.NewDesc("caddy_iis_source_head_revision",
		"The newest revision of a source of sites that was seen.", []string{"source"}, nil)
	descSourceUp = prometheus.NewDesc("caddy_iis_source_up",
		"Whether the engine of a source of sites is reached.", []string{"source"}, nil)
	descSourceOpen = prometheus.NewDesc("caddy_iis_source_sites_open",
		"The sites of a source that wait for a verdict.", []string{"source"}, nil)
	descSourceRefused = prometheus.NewDesc("caddy_iis_source_sites_refused",
		"The sites of a source that are refused as they are written.", []string{"source"}, nil)
	descSourceContact = prometheus.NewDesc("caddy_iis_source_contact_age_seconds",
		"The time since the engine of a source of sites has answered.", []string{"source"}, nil)
	descSourceSnapshot = prometheus.NewDesc("caddy_iis_source_snapshot_age_seconds",
		"The time since the local copy of a source of sites was written; missing while there is none.", []string{"source"}, nil)
	descSourceSaved = prometheus.NewDesc("caddy_iis_source_snapshot_revision",
		"The revision of a source of sites that its local copy has; missing while there is none.", []string{"source"}, nil)
	descSourceLag = prometheus.NewDesc("caddy_iis_source_lag_seconds",
		"The time since a revision of a source of sites was seen that is not served yet.", []string{"source"}, nil)
)

func describeSources(ch chan<- *prometheus.Desc) {
	ch <- descSourceRevision
	ch <- descSourceSites
	ch <- descSourceHeldBack
	ch <- descSourceDamaged
	for _, desc := range []*prometheus.Desc{descSourceHead, descSourceUp, descSourceOpen, descSourceRefused, descSourceContact, descSourceLag, descSourceSnapshot, descSourceSaved} {
		ch <- desc
	}
}

func (a *Instance) collectSources(ch chan<- prometheus.Metric) {
	for _, source := range a.Live {
		f := source.Follower
		if f == nil {
			continue // it is not open yet
		}
		_, count := f.Size()
		gauge := func(desc *prometheus.Desc, value float64) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, source.Name)
		}
		gauge(descSourceRevision, float64(f.Served().Revision))
		gauge(descSourceSites, float64(count))
		gauge(descSourceHeldBack, float64(a.Now().HeldCount(source)))
		if checked, ok := f.Table.(sites.Checked); ok {
			gauge(descSourceDamaged, oneIf(checked.Damage() != nil))
		}
		collectShared(f, gauge)
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// collectShared tells how a table is reached that others write as well. Times are by the
// clock of this server alone, which does not go back.
func collectShared(f *live.Follower, gauge func(*prometheus.Desc, float64)) {
	if f.Shared == nil {
		return
	}
	status := f.Shared.Status()
	lag := 0.0
	if f.Served().Revision != status.Seen && !status.SeenAt.IsZero() {
		lag = time.Since(status.SeenAt).Seconds()
	}
	waiting, refused := f.CountOpen()
	gauge(descSourceHead, float64(status.Seen))
	gauge(descSourceUp, oneIf(status.Up))
	gauge(descSourceOpen, float64(waiting))
	gauge(descSourceRefused, float64(refused))
	gauge(descSourceContact, time.Since(f.LastContact(&status)).Seconds())
	gauge(descSourceLag, lag)
	if !status.SavedAt.IsZero() {
		gauge(descSourceSnapshot, max(0, time.Since(status.SavedAt).Seconds()))
		gauge(descSourceSaved, float64(status.SavedRevision))
	}
}
