package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/caddy-iis/caddy-iis/bench/internal/load"
	"github.com/caddy-iis/caddy-iis/bench/internal/peers"
	"github.com/caddy-iis/caddy-iis/bench/internal/report"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
	"github.com/caddy-iis/caddy-iis/bench/internal/stats"
)

// nothing is the app that does nothing, as a peer of the app iis.
const nothing = "bench_nothing"

// loadMeasures are the metrics of the experiment load.
var loadMeasures = []measureTitle{
	{"post_wall_s", 1, "POST /load, seconds"},
	{"post_cpu_s", 1, "POST /load, seconds of processor time"},
	{"post_cpu_all_s", 1, "the same with what goes on behind it"},
	{"cold_wall_s", 1, "start with the configuration, seconds"},
	{"cold_cpu_s", 1, "start, seconds of processor time"},
	{"cold_cpu_all_s", 1, "the same with what goes on behind it"},
	{"heap_bytes", 1 << 20, "heap after the load, MiB"},
	{"heap_site_bytes", 1, "heap per site, bytes"},
	{"patch_wall_s", 1e-3, "PATCH of one site's binding, milliseconds"},
	{"patch_cpu_s", 1e-3, "PATCH, milliseconds of processor time"},
	{"patch_cpu_all_s", 1e-3, "the same with what goes on behind it"},
}

// loadCost loads the same configuration as one of the app iis and as one of an
// app that does nothing. The sites share a certificate and defaults.
func (b *bench) loadCost(ctx context.Context, sizes []int) error {
	for rep := range b.reps {
		for _, n := range sizes {
			set, err := b.set(sites.One, n)
			if err != nil {
				return err
			}
			for _, app := range []string{peers.IIS, nothing} {
				fmt.Printf("%d/%d: load of %s with %d sites\n", rep+1, b.reps, app, n)
				rec := report.NewRecord(report.Key{What: "load", Peer: app, Sites: n}, string(sites.One), rep+1)
				if err := b.loadOne(ctx, rec, set); err != nil {
					if err := b.late(ctx, rec, "post_wall_s", err); err != nil {
						return err
					}
				}
				if err := b.log.Add(rec); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (b *bench) loadOne(ctx context.Context, rec *report.Record, set *sites.Set) error {
	if err := b.coldStart(ctx, rec, set); err != nil {
		return err
	}
	place, err := peers.NewPlace(b.work)
	if err != nil {
		return err
	}
	c, _, err := b.startCaddy(ctx, place, map[string]any{})
	if err != nil {
		return err
	}
	defer stop(c, "Caddy")
	empty, err := c.admin.Heap(ctx)
	if err != nil {
		return err
	}
	if err := b.post(ctx, rec, c, set); err != nil {
		return err
	}
	heap, err := c.admin.Heap(ctx)
	if err != nil {
		return err
	}
	rec.Values["heap_bytes"] = float64(heap)
	rec.Values["heap_site_bytes"] = (float64(heap) - float64(empty)) / float64(rec.Sites)
	return b.patch(ctx, rec, c, set)
}

// coldStart measures the start of a Caddy that has the configuration.
func (b *bench) coldStart(ctx context.Context, rec *report.Record, set *sites.Set) error {
	place, err := peers.NewPlace(b.work)
	if err != nil {
		return err
	}
	c, took, err := b.startCaddy(ctx, place, map[string]any{rec.Peer: set.IIS(place, sites.ByPort)})
	if err != nil {
		return err
	}
	defer stop(c, "Caddy")
	took.record(rec, "cold")
	return serves(rec.Peer, place, set)
}

// post measures the load into a Caddy that is empty.
func (b *bench) post(ctx context.Context, rec *report.Record, c *caddy, set *sites.Set) error {
	config, err := json.Marshal(c.place.CaddyConfig(map[string]any{rec.Peer: set.IIS(c.place, sites.ByPort)}))
	if err != nil {
		return err
	}
	took, err := c.spend(ctx, b.limit, func(ctx context.Context) error {
		return c.admin.Load(ctx, config)
	})
	if err != nil {
		return err
	}
	took.record(rec, "post")
	return serves(rec.Peer, c.place, set)
}

// patch measures the change of one site's binding.
func (b *bench) patch(ctx context.Context, rec *report.Record, c *caddy, set *sites.Set) error {
	last, site := set.Last()
	site.Host = fmt.Sprintf("changed.example-%d.test", last%sites.Zones)
	path := fmt.Sprintf("/apps/%s/sites/%d/secure_bindings", rec.Peer, sites.SiteID(last))
	took, err := c.spend(ctx, b.limit, func(ctx context.Context) error {
		return c.admin.Patch(ctx, path, []string{fmt.Sprintf(":%d:%s", c.place.Port, site.Host)})
	})
	if err != nil {
		return err
	}
	took.record(rec, "patch")
	if rec.Peer == nothing {
		return nil
	}
	return load.Probe(c.place.Addr(), site)
}

// serves reports an error unless the last site answers; the app that does
// nothing need not.
func serves(app string, place sites.Place, set *sites.Set) error {
	if app == nothing {
		return nil
	}
	_, last := set.Last()
	return load.Probe(place.Addr(), last)
}

func (s spent) record(rec *report.Record, name string) {
	rec.Values[name+"_wall_s"] = s.wall.Seconds()
	rec.Values[name+"_cpu_s"] = s.cpu.Seconds()
	rec.Values[name+"_cpu_all_s"] = s.all.Seconds()
}

// reportLoadCost writes a table with both apps side by side.
func (b *bench) reportLoadCost(w io.Writer, sizes []int) error {
	fmt.Fprintf(w, "Sites that share a certificate and defaults. The app %s gets the same JSON and keeps nothing: it shows what the core of\n"+
		"Caddy needs. Medians of %d repetitions (least–greatest); differences are within a repetition.\n\n", nothing, b.reps)
	table := report.Table{Head: []string{"what", "sites", peers.IIS, nothing, "difference"}, Left: 1}
	for _, m := range loadMeasures {
		for _, n := range sizes {
			of, to := report.Key{What: "load", Peer: peers.IIS, Sites: n}, report.Key{What: "load", Peer: nothing, Sites: n}
			differences := stats.Differences(b.log.ByRep(of, m.metric), b.log.ByRep(to, m.metric))
			for i := range differences {
				differences[i] /= m.unit
			}
			table.Add(m.title, report.Count(n), b.log.Cell(of, m.metric, m.unit), b.log.Cell(to, m.metric, m.unit), report.Spread(stats.Of(differences)))
		}
	}
	_, err := table.WriteTo(w)
	return err
}
