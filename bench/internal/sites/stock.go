package sites

import (
	"fmt"
	"slices"
)

// cacheSpare is how much larger than the number of certificates Caddy's cache
// of certificates is made: near its capacity it throws out what is in use.
const cacheSpare = 2

// defaultCacheCapacity is Caddy's.
const defaultCacheCapacity = 10_000

// Stock is what "caddy adapt" makes of one site block per site, with
// automatic HTTPS off. It also returns the path of the last site's body in the
// configuration.
//
// Each site has a route. Each has a connection policy as well, unless it comes
// behind another with the same certificate: the adapter joins those. Sites with
// certificates of different zones take turns, so that it seldom can.
func (s *Set) Stock(p Place) (apps map[string]any, bodyPath string) {
	tags := make(map[*Certificate]string)
	owners := make(map[*Certificate]string)
	for _, site := range s.All() {
		if tags[site.Cert] == "" {
			tags[site.Cert], owners[site.Cert] = fmt.Sprintf("cert%d", len(tags)), site.Host
		}
	}
	all := s.All() // in the order of the adapter
	slices.SortStableFunc(all, func(x, y Site) int { return len(y.Host) - len(x.Host) })
	_, last := s.Last()
	var files, routes []any
	for i, site := range all {
		if owners[site.Cert] == site.Host {
			file := stockFile(site)
			file["tags"] = []string{tags[site.Cert]}
			files = append(files, file)
		}
		routes = append(routes, object{
			"match":    []any{object{"host": []string{site.Host}}},
			"handle":   []any{object{"handler": "subroute", "routes": []any{handle(site.Body())}}},
			"terminal": true,
		})
		if site.Host == last.Host {
			bodyPath = fmt.Sprintf("/apps/http/servers/srv0/routes/%d/handle/0/routes/0/handle/0/body", i)
		}
	}
	return stockApps(p, files, routes, stockPolicies(all, tags)), bodyPath
}

func stockFile(site Site) object {
	return object{"certificate": site.Cert.CertFile, "key": site.Cert.KeyFile}
}

func stockPolicies(all []Site, tags map[*Certificate]string) []any {
	var policies []any
	policy := func(tag string, names ...string) object {
		policy := object{
			"match":                 object{"sni": names},
			"certificate_selection": object{"any_tag": []string{tag}},
		}
		policies = append(policies, policy)
		return policy
	}
	var names []string
	for i, site := range all {
		if site.Host == DefaultHost {
			policy(tags[site.Cert], "", site.Host)["default_sni"] = site.Host
			continue
		}
		names = append(names, site.Host)
		if i+1 == len(all) || all[i+1].Cert != site.Cert || all[i+1].Host == DefaultHost {
			policy(tags[site.Cert], names...)
			names = nil
		}
	}
	return append(policies, object{"default_sni": DefaultHost})
}

// StockFlat is the flattest configuration that Caddy's http app has for the
// sites: one connection policy, one route per host.
func (s *Set) StockFlat(p Place) (apps map[string]any, bodyPath string) {
	var files, routes []any
	seen := make(map[*Certificate]bool)
	for _, site := range s.All() {
		if !seen[site.Cert] {
			seen[site.Cert] = true
			files = append(files, stockFile(site))
		}
		route := handle(site.Body()).(object)
		route["match"] = []any{object{"host": []string{site.Host}}}
		route["terminal"] = true
		routes = append(routes, route)
	}
	bodyPath = fmt.Sprintf("/apps/http/servers/srv0/routes/%d/handle/0/body", len(routes)-1)
	return stockApps(p, files, routes, []any{object{"default_sni": DefaultHost}}), bodyPath
}

func stockApps(p Place, files, routes, policies []any) map[string]any {
	tlsApp := object{"certificates": object{"load_files": files}}
	if capacity := cacheSpare * len(files); capacity > defaultCacheCapacity {
		tlsApp["cache"] = object{"capacity": capacity}
	}
	return object{
		"tls": tlsApp,
		"http": object{"servers": object{"srv0": object{
			"listen":                  []string{p.Addr()},
			"protocols":               protocols,
			"automatic_https":         object{"disable": true},
			"tls_connection_policies": policies,
			"routes":                  routes,
		}}},
	}
}
