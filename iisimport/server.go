package iisimport

import (
	"fmt"
	"slices"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// serverSettings reports what the whole server has beside its sites.
func (b *builder) serverSettings() {
	rep := b.plan.Report
	for _, farm := range b.server.WebFarms {
		rep.decide(farm.Source, "web farm "+farm.Name, "look at lb_policy, health_uri and timeouts of iis_proxy",
			"%d servers, to which rules lead that name it; others lead nowhere", len(farm.Servers))
	}
	used := make(map[*iisconfig.ApplicationPool]bool)
	for _, s := range b.plan.Sites {
		for _, app := range s.source.Applications {
			used[b.pool(app.Pool)] = true
		}
	}
	for _, pool := range b.server.ApplicationPools {
		if used[pool] {
			rep.dropped(pool.Source, fmt.Sprintf("application pool %q", pool.Name), "there are no worker processes")
			continue
		}
		rep.dropped(pool.Source, fmt.Sprintf("application pool %q", pool.Name), "no application uses it")
	}
	if p := b.server.Settings; p != nil && p.Proxy != nil && p.Proxy.Enabled {
		rep.dropped(p.Proxy.Source, "proxy", "reverse_proxy needs no switch")
	}
	web := slices.ContainsFunc(b.server.Inputs, func(in iisconfig.Input) bool { return in.Kind == iisconfig.WebConfig })
	if !web && len(b.plan.Sites) > 0 {
		rep.decide(iisconfig.Source{}, "web.config", "copy the web.config files with their folders, and import them too",
			"none is among the files: sites are taken to serve files, and which of them need a worker process is not known")
	}
}
