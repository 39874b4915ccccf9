package iisimport

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/iisconfig"
)

// farmOf is the web farm that a rule names as its host; nil if it is none.
func (w *siteWriter) farmOf(origin string) *iisconfig.WebFarm {
	_, host, _ := strings.Cut(origin, "://")
	i := slices.IndexFunc(w.b.server.WebFarms, func(f *iisconfig.WebFarm) bool { return strings.EqualFold(f.Name, host) })
	if i < 0 {
		return nil
	}
	return w.b.server.WebFarms[i]
}

// deadFarm tells whether an origin is a web farm without a server: IIS answers 502.
func (w *siteWriter) deadFarm(origin string) bool {
	return w.farmOf(origin) != nil && w.farm(origin) == nil
}

// members are the servers of a web farm that take part.
func members(f *iisconfig.WebFarm) (list []iisconfig.WebFarmServer) {
	if f == nil || !f.Enabled {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(f.Servers), func(s iisconfig.WebFarmServer) bool { return !s.Enabled || !expressible(s.Address) })
}

// farm returns the servers of the web farm that a rule names as its host.
func (w *siteWriter) farm(origin string) (out []string) {
	scheme, _, _ := strings.Cut(origin, "://")
	for _, s := range members(w.farmOf(origin)) {
		port := s.HTTPPort
		if scheme == "https" {
			port = s.HTTPSPort
		}
		out = append(out, fmt.Sprintf("%s://%s:%d", scheme, s.Address, port))
	}
	return out
}

// balancing says how a web farm chooses its servers, and how it looks after them.
func (w *siteWriter) balancing(origin string) []*Directive {
	farm := w.farmOf(origin)
	servers := members(farm)
	out := w.health(farm)
	if len(servers) < 2 {
		return out
	}
	what := "web farm " + farm.Name
	if farm.Cookie != "" && reCookieName.MatchString(farm.Cookie) {
		w.report().translated(farm.Source, what, "lb_policy cookie %s; clients are given out anew once", farm.Cookie)
		return append(out, directive("lb_policy", "cookie", farm.Cookie))
	}
	policy := []string{"lb_policy"}
	switch strings.ToLower(farm.Algorithm) {
	case "", "leastrequests":
		policy = append(policy, "least_conn")
	case "weightedroundrobin":
		policy = append(policy, "weighted_round_robin")
		for _, s := range servers {
			policy = append(policy, strconv.Itoa(s.Weight))
		}
	case "requesthash":
		policy = append(policy, "uri_hash")
	default:
		w.report().decide(farm.Source, what, "choose an lb_policy of reverse_proxy", "its algorithm %s has no counterpart: servers are chosen at random", farm.Algorithm)
		return out
	}
	w.report().translated(farm.Source, what, "%s", strings.Join(policy, " "))
	return append(out, directive(policy...))
}

var reCookieName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// health is how the servers of a web farm are asked whether they are well: those that are
// not get no requests. What is not said is as in IIS.
func (w *siteWriter) health(farm *iisconfig.WebFarm) []*Directive {
	if farm == nil || farm.Health == nil || farm.Health.URL == "" {
		return nil
	}
	h, what := farm.Health, "health check of the web farm "+farm.Name
	u, err := url.Parse(h.URL)
	if err != nil || !expressible(u.RequestURI()) {
		w.report().decide(h.Source, what, "write health_uri", "its URL is not understood")
		return nil
	}
	out := []*Directive{directive("health_uri", u.RequestURI())}
	for _, word := range []struct{ name, value string }{{"health_interval", h.Interval}, {"health_timeout", h.Timeout}} {
		seconds := 30
		if word.value != "" {
			var ok bool
			if seconds, ok = timeSpan(word.value); !ok || seconds == 0 {
				w.report().decide(h.Source, what, "write "+word.name, "%q is no time", word.value)
				seconds = 30
			}
		}
		out = append(out, directive(word.name, strconv.Itoa(seconds)+"s"))
	}
	switch status := strings.TrimSpace(h.Status); {
	case status == "", status == "200-399": // as reverse_proxy has it
	case reOneStatus.MatchString(status):
		out = append(out, directive("health_status", status))
	default:
		w.report().decide(h.Source, what, "write health_status", "any status from 200 to 399 is well, not %q", status)
	}
	if h.Text != "" {
		if pattern := regexp.QuoteMeta(h.Text); expressible(pattern) {
			out = append(out, directive("health_body", pattern))
		} else {
			w.report().decide(h.Source, what, "write health_body", "the text of an answer that is well has no form in a Caddyfile")
		}
	}
	w.report().translated(h.Source, what, "health_uri %s", u.RequestURI())
	return out
}

var reOneStatus = regexp.MustCompile(`^[1-5][0-9][0-9]$`)
