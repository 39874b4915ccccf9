package serve

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/idn"
)

func newOrdinaryServer(ctx caddy.Context, name string, srv *caddyhttp.Server) *OrdinaryServer {
	o := &OrdinaryServer{
		Name: name, srv: srv,
		hosts: make(map[string]struct{}), wildcards: make(map[string]struct{}),
	}
	if len(srv.TLSConnPolicies) > 0 {
		o.policies = srv.TLSConnPolicies.TLSConfig(ctx)
	}
	for _, policy := range srv.TLSConnPolicies {
		if policy.ClientAuthentication != nil {
			o.clientAuth = true
		}
	}
	for _, route := range srv.Routes {
		hosts, all := routeHosts(route)
		o.catchAll = o.catchAll || all
		for _, host := range hosts {
			o.addHost(host)
		}
	}
	return o
}

// routeHosts returns the hosts that a route is for, and whether it is also for
// requests to any other host.
func routeHosts(route caddyhttp.Route) (hosts []string, all bool) {
	if len(route.MatcherSets) == 0 {
		return nil, true
	}
	for _, set := range route.MatcherSets {
		named := false
		for _, matcher := range set {
			switch m := matcher.(type) {
			case caddyhttp.MatchProtocol:
				// The redirects of automatic HTTPS match so. Nobody wrote
				// them, so they answer only for hosts that somebody did.
				named = true
			case *caddyhttp.MatchHost:
				hosts, named = append(hosts, *m...), true
			case caddyhttp.MatchHost:
				hosts, named = append(hosts, m...), true
			}
		}
		all = all || !named
	}
	return hosts, all
}

func (o *OrdinaryServer) addHost(host string) {
	host = caddy.NewReplacer().ReplaceAll(strings.ToLower(host), "")
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		o.wildcards[rest] = struct{}{}
		return
	}
	o.hosts[host] = struct{}{}
}

// has reports whether a route of the server names the host, which is in lower
// case and has no port.
func (o *OrdinaryServer) has(host string) bool {
	if host == "" {
		return false
	}
	if _, ok := o.hosts[host]; ok {
		return true
	}
	if _, rest, ok := strings.Cut(host, "."); ok {
		_, ok = o.wildcards[rest]
		return ok
	}
	return false
}

// names reports whether a route of the server has exactly this host, and not
// only in order to redirect it to https.
func (o *OrdinaryServer) names(host string) bool {
	for _, route := range o.srv.Routes {
		for _, set := range route.MatcherSets {
			redirect := false
			var hosts caddyhttp.MatchHost
			for _, matcher := range set {
				switch m := matcher.(type) {
				case caddyhttp.MatchProtocol:
					redirect = true
				case *caddyhttp.MatchHost:
					hosts = *m
				}
			}
			if !redirect && slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
				return true
			}
		}
	}
	return false
}

// checkOrdinaryHosts refuses a host that both a binding and a site block claim
// at one address: whichever served it, somebody would be surprised.
func (sn *Snapshot) checkOrdinaryHosts(bindings iter.Seq[*binding.BindingEntry]) error {
	if len(sn.Ordinary) == 0 {
		return nil
	}
	var errs []error
	for entry := range bindings {
		if server := sn.ordinaryHas(entry.Binding); server != nil {
			errs = append(errs, fmt.Errorf(
				"%shost %s at port %d belongs to %s by its binding %s and to http server %q, a site block, as well: "+
					"remove it from one of them, or use another port or IP address",
				sn.place(entry.Site.ID), entry.Host, entry.Port, config.SiteLabel(entry.Site.ID, entry.Site.Name), entry.Binding, server.Name))
			if len(errs) == 20 {
				return errors.Join(errs...)
			}
		}
	}
	return errors.Join(errs...)
}

// ordinaryHas returns the ordinary server that has the host of a binding at its address,
// nil if there is none.
func (f *fixed) ordinaryHas(b binding.Binding) *OrdinaryServer {
	for _, o := range f.Ordinary {
		if b.Host != "" && sameAddress(b, o) && o.Server.Name != remainingRedirects && o.Server.names(b.Host) {
			return o.Server
		}
	}
	return nil
}

func sameAddress(b binding.Binding, o ordinaryAddr) bool {
	return b.Port == o.Addr.Port() && (b.Protocol == binding.HTTPS) == o.Secure &&
		(!b.IP.IsValid() || !o.Addr.Addr().IsValid() || b.IP == o.Addr.Addr())
}

// codeUnreachableHost is the finding about such a host.
const codeUnreachableHost = "host-not-as-browsers-write-it"

// hostFindings points out hosts of ordinary servers that no client asks for: Caddy
// converts them to ASCII as they are written, browsers map them first.
func (f *fixed) hostFindings() []binding.Finding {
	var findings []binding.Finding
	seen := make(map[*OrdinaryServer]bool)
	for _, addr := range f.Ordinary {
		if seen[addr.Server] {
			continue
		}
		seen[addr.Server] = true
		for _, host := range SortedKeys(addr.Server.hosts) {
			if name, ok := idn.Reachable(host); ok {
				findings = append(findings, binding.Finding{
					Severity: binding.Warning, Code: codeUnreachableHost,
					Message: fmt.Sprintf("no browser asks for host %s of http server %q: written in this way, it asks for %s", host, addr.Server.Name, name),
					Fix:     "write the host in lower case, with letters in one part (Unicode NFC), or as " + name,
				})
			}
		}
	}
	return findings
}
