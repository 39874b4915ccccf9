package live

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/certsel"
	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/near"
	"github.com/caddy-iis/caddy-iis/sites"
)

// claimed is the compiled form of what the rows of a source may claim.
type claimed struct {
	ports        map[uint16]bool
	addresses    map[netip.Addr]bool
	hosts        []string // nil: all
	templates    []string // nil: all
	certificates []string // nil: all
	wildcards    bool
	catchAll     bool
	everywhere   map[hostAt]string // the sites of the configuration that have a host at all addresses
}

// hostAt is a host on a port of all addresses.
type hostAt struct {
	host string
	port uint16
}

// standardPorts are open to rows where nothing else is said.
var standardPorts = []uint16{80, 443}

// CompileClaims makes what the rows of the sources may claim, given the sites, the endpoints
// and the addresses of the configuration.
func (l Sources) CompileClaims(inputs []binding.Site, endpoints []binding.Endpoint, listen []netip.Addr) {
	own := claimed{ports: make(map[uint16]bool), addresses: make(map[netip.Addr]bool), everywhere: make(map[hostAt]string)}
	name := func(ip netip.Addr, port uint16) {
		own.ports[port] = true
		if ip.IsValid() {
			own.addresses[ip] = true
		}
	}
	for _, site := range inputs {
		for _, b := range site.Bindings {
			name(b.IP, b.Port)
			if !b.IP.IsValid() {
				own.everywhere[hostAt{b.Host, b.Port}] = cmp.Or(site.Name, fmt.Sprint(site.ID))
			}
		}
	}
	for _, endpoint := range endpoints {
		name(endpoint.IP, endpoint.Port)
	}
	for _, ip := range listen {
		own.addresses[ip] = true
	}
	for _, port := range standardPorts {
		own.ports[port] = true
	}
	for _, source := range l {
		source.claims = own.narrowed(source.Allow)
	}
}

// Permits refuses a site that claims what rows of the source may not.
func (s *Source) Permits(cfg *config.Site, site *binding.Site) error {
	return s.claims.check(cfg, site)
}

// Ports are those that rows of the source may have bindings on.
func (s *Source) Ports() map[uint16]bool { return s.claims.ports }

func (c claimed) narrowed(allow *sites.Allow) claimed {
	if allow == nil {
		return c
	}
	if allow.Ports != nil {
		c.ports = make(map[uint16]bool)
		for _, port := range allow.Ports {
			c.ports[port] = true
		}
	}
	if allow.Addresses != nil {
		c.addresses = make(map[netip.Addr]bool)
		for _, text := range allow.Addresses {
			if ip, err := netip.ParseAddr(text); err == nil { // it was checked
				c.addresses[ip.Unmap()] = true
			}
		}
	}
	for _, host := range allow.Hosts {
		c.hosts = append(c.hosts, strings.ToLower(host))
	}
	c.templates, c.certificates = allow.Templates, allow.Certificates
	c.wildcards, c.catchAll = allow.Wildcards, allow.CatchAll
	return c
}

// check refuses a site that claims what it may not.
func (c *claimed) check(cfg *config.Site, site *binding.Site) error {
	if c.templates != nil && cfg.OwnRoutes == nil && !slices.Contains(c.templates, cfg.Template) {
		return fmt.Errorf("template %q is not one that sites of this source may name: %s", cfg.Template, near.Expected(c.templates))
	}
	for _, b := range site.Bindings {
		if err := c.checkBinding(&b); err != nil {
			return fmt.Errorf("%s binding %s: %w", b.Protocol, b.Binding, err)
		}
	}
	return nil
}

func (c *claimed) checkBinding(b *binding.SiteBinding) error {
	switch {
	case !c.ports[b.Port]:
		return fmt.Errorf("port %d is not one that sites of this source may use (allow ports)", b.Port)
	case b.IP.IsValid() && !c.addresses[b.IP]:
		return fmt.Errorf("address %s is not one that sites of this source may use (allow addresses)", b.IP)
	case b.IP.IsValid() && c.everywhere[hostAt{b.Host, b.Port}] != "":
		// The binding with an address comes first: the other site would get nothing there.
		return fmt.Errorf("it would take this host at %s from site %q of the configuration, which has it at all addresses of port %d: leave it to that site",
			b.IP, c.everywhere[hostAt{b.Host, b.Port}], b.Port)
	case b.Host == "" && !c.catchAll:
		return fmt.Errorf("it has no host name, and so would take what no other site has: sites of this source may not (allow catch_all)")
	case strings.Contains(b.Host, "*") && !c.wildcards:
		return fmt.Errorf("sites of this source may have no wildcard host names (allow wildcards)")
	case b.Host != "" && c.hosts != nil && !slices.ContainsFunc(c.hosts, func(pattern string) bool { return covers(pattern, b.Host) }):
		return fmt.Errorf("host %s is not one that sites of this source may use (allow hosts)", b.Host)
	case b.Flags&binding.FlagCentralStore != 0 && c.certificates != nil && !slices.Contains(c.certificates, certsel.CentralStoreName):
		return fmt.Errorf("sites of this source may not take their certificates from the central store (allow certificates %q)", certsel.CentralStoreName)
	case b.Certificate != "" && c.certificates != nil && !slices.Contains(c.certificates, b.Certificate):
		return fmt.Errorf("certificate %q is not one that sites of this source may name (allow certificates)", b.Certificate)
	}
	return nil
}

// covers reports whether a pattern of allow stands for a host: itself or, with an
// asterisk, all below.
func covers(pattern, host string) bool {
	rest, wildcard := strings.CutPrefix(pattern, "*")
	if !wildcard {
		return strings.EqualFold(pattern, host)
	}
	return len(host) > len(rest) && strings.EqualFold(host[len(host)-len(rest):], rest)
}
