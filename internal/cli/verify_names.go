package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// nameList is the hosts of all bindings, by where they are bound.
type nameList map[nameKey]nameGroup

type nameKey struct {
	protocol string
	ip       netip.Addr
	port     uint16
}

// boundName is the host of a binding.
type boundName struct {
	host  string  // empty: all hosts
	idle  bool    // of a site that is meant to be stopped
	fault *Reason // why it is not served, nil if it is
}

type nameGroup []boundName

// distinct sorts names, and leaves of equal ones the one of a site that is to serve.
func distinct(names []boundName) []boundName {
	slices.SortFunc(names, func(a, b boundName) int {
		switch {
		case a.host != b.host:
			return cmp.Compare(a.host, b.host)
		case a.idle == b.idle:
			return 0
		case b.idle:
			return -1
		}
		return 1
	})
	return slices.CompactFunc(names, func(a, b boundName) bool { return a.host == b.host })
}

// names collects the hosts of all bindings, those of sites that should serve and do not
// among them. Such a site of which no binding is missing, or known, is settled.
func (e *Env) names(ctx context.Context) (names nameList, settled []*Comparison, err error) {
	names = make(nameList)
	for site, err := range e.Client.Sites(ctx) {
		if err != nil {
			return nil, nil, err
		}
		fault := faultOf(site)
		for i, b := range slices.Concat(site.Bindings, site.Waiting) {
			parsed, err := binding.Parse(b.Protocol, b.Binding)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", siteLabel(site.ID, site.Name), err)
			}
			// Any label stands for the asterisk.
			name := boundName{host: strings.Replace(parsed.Host, "*", "caddy-iis-verify", 1), idle: site.State == adminapi.StateStopped && site.Code == ""}
			if !serves(site) || i >= len(site.Bindings) {
				name.fault = fault
			}
			key := nameKey{b.Protocol, parsed.IP, parsed.Port}
			names[key] = append(names[key], name)
		}
		if fault != nil && len(site.Waiting) == 0 && (serves(site) || len(site.Bindings) == 0) {
			settled = append(settled, &Comparison{what: siteLabel(site.ID, site.Name), settled: true, faults: []Reason{*fault}})
		}
	}
	return names, settled, nil
}

// serves reports whether a site serves by its bindings, or is not to.
func serves(site adminapi.Site) bool { return site.IsServed() && site.Code == "" }

// faultOf says why a site does not serve as it should, nil if it does.
func faultOf(site adminapi.Site) *Reason {
	label := siteLabel(site.ID, site.Name)
	switch {
	case site.State == adminapi.StateStopped && site.Code != "":
		return &Reason{ClassDiffers, "a site is stopped, and was to start", fmt.Sprintf("%s is stopped: %s", label, site.Reason)}
	case !site.IsServed():
		state := strings.ReplaceAll(site.State, "_", " ")
		return &Reason{ClassBroken, "a site is not served: it is " + state, fmt.Sprintf("%s is %s: %s", label, state, site.Reason)}
	case site.HeldBack || site.Open:
		why := "nobody has judged it yet"
		if site.Refusal != nil {
			why = site.Refusal.Message
		}
		for _, f := range site.Findings {
			if f.Severity == adminapi.SeverityError {
				why = strings.TrimPrefix(f.Message, label+": ")
			}
		}
		class := ClassBroken
		if len(site.Waiting) == 0 {
			class = ClassDiffers
		}
		return &Reason{class, "a site is not served as its source has it", fmt.Sprintf("%s is not served as its source has it: %s", label, why)}
	}
	return nil
}

// of returns the hosts that bindings have at an endpoint: those bound to it and
// those bound to all addresses.
func (n nameList) of(protocol string, ip netip.Addr, port uint16) nameGroup {
	names := slices.Clone(n[nameKey{protocol, ip, port}])
	if ip.IsValid() {
		names = append(names, n[nameKey{protocol, netip.Addr{}, port}]...)
	}
	return names
}

// unreachable are the bindings of an endpoint that does not listen, except those of sites
// that are stopped.
func (g nameGroup) unreachable(p adminapi.Endpoint) (settled []*Comparison) {
	for _, n := range g {
		if n.idle {
			continue
		}
		c := &Comparison{Endpoint: p.Address, Scheme: p.Protocol, Host: n.host, settled: true, faults: []Reason{{
			ClassBroken, "nothing listens: " + p.Reason, fmt.Sprintf("nothing listens at %s: %s", p.Address, p.Reason),
		}}}
		if n.fault != nil {
			c.faults = []Reason{*n.fault}
		}
		if p.Protocol == "https" {
			c.SNI = n.host
		}
		settled = append(settled, c)
	}
	return settled
}
