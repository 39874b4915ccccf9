package cli

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// unknownName is a name that nobody has (RFC 6761 section 6.4).
const unknownName = "caddy-iis-verify.invalid"

// place says where endpoints are reached: [LOCAL=]HOST[:PORT], where LOCAL is
// the IP:port, the IP or the :port of an endpoint of the configuration. Without
// LOCAL it is for endpoints on all addresses, and for those that no other place
// is for.
type place struct {
	ip      netip.Addr // zero: any
	port    uint16     // 0: any
	general bool       // there is no LOCAL

	host   string
	toPort string // empty: the endpoint's
}

func parsePlace(text string) (place, error) {
	p := place{general: true}
	local, address, ok := strings.Cut(text, "=")
	if !ok {
		local, address = "", text
	}
	if ok {
		p.general = false
		if err := p.parseLocal(local); err != nil {
			return p, fmt.Errorf("%q: %w", text, err)
		}
	}
	if ip, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
		p.host = ip.String()
		return p, nil
	}
	p.host = address
	if strings.Contains(address, ":") {
		host, port, err := net.SplitHostPort(address)
		if err != nil || !validPort(port) {
			return p, fmt.Errorf("%q: %q is not an address, such as 10.0.0.5, server.example.com or [::1]:8443", text, address)
		}
		p.host, p.toPort = host, port
	}
	if p.host == "" {
		return p, fmt.Errorf("%q: the address is missing", text)
	}
	return p, nil
}

func validPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

func (p *place) parseLocal(text string) error {
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		p.ip = ip.Unmap()
		return nil
	}
	ip, port, err := binding.ParseEndpoint(text)
	if err != nil {
		return fmt.Errorf("before the = is no IP:port of an endpoint, such as 10.0.0.5:443, 10.0.0.5 or :443: %w", err)
	}
	p.ip, p.port = ip, port
	return nil
}

func parsePlaces(texts []string) ([]place, error) {
	var places []place
	for _, text := range texts {
		p, err := parsePlace(text)
		if err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	return places, nil
}

// fits tells how well a place is for an endpoint, 0 if it is not.
func (p place) fits(ip netip.Addr, port uint16) int {
	switch {
	case p.general:
		return 1
	case p.port != 0 && p.port != port, p.ip.IsValid() && p.ip != ip:
		return 0
	case p.ip.IsValid() && p.port != 0:
		return 4
	case p.ip.IsValid():
		return 3
	}
	return 2
}

// find returns the addresses of the places that fit best.
func find(places []place, ip netip.Addr, port uint16) []string {
	best := 0
	var found []string
	for _, p := range places {
		fit := p.fits(ip, port)
		if fit == 0 || fit < best {
			continue
		}
		if fit > best {
			best, found = fit, nil
		}
		found = append(found, net.JoinHostPort(p.host, cmp.Or(p.toPort, strconv.Itoa(int(port)))))
	}
	return found
}

// plan lists the connections to make.
func (e *Env) plan(ctx context.Context, v Verification) ([]*Comparison, error) {
	server, err := parsePlaces(v.Server)
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	against, err := parsePlaces(v.Against)
	if err != nil {
		return nil, fmt.Errorf("--against: %w", err)
	}
	names, err := e.names(ctx)
	if err != nil {
		return nil, err
	}
	var list []*Comparison
	for p, err := range e.Client.Endpoints(ctx) {
		if err != nil {
			return nil, err
		}
		if !p.Listening {
			continue
		}
		ip, port, err := binding.ParseEndpoint(p.Address)
		if err != nil {
			return nil, err
		}
		addresses := find(server, ip, port)
		if len(addresses) == 0 || ip.IsValid() && !hasLocal(server, ip, port) {
			addresses = []string{e.ownAddress(p, ip, port)}
		}
		for _, address := range addresses {
			local, err := localOf(ctx, address, ip, port)
			if err != nil {
				return nil, err
			}
			template := Comparison{Endpoint: p.Address, Address: address, Scheme: p.Protocol, local: local}
			if other := find(against, ip, port); len(other) > 0 {
				template.other = other[0]
			}
			list = append(list, template.variants(names.of(p.Protocol, ip, port))...)
		}
	}
	return list, nil
}

// hasLocal tells whether a place was named for this endpoint: an endpoint with
// an IP address is reached there unless it was.
func hasLocal(places []place, ip netip.Addr, port uint16) bool {
	return slices.ContainsFunc(places, func(p place) bool { return p.fits(ip, port) > 1 })
}

// ownAddress is where an endpoint is reached if nobody says.
func (e *Env) ownAddress(p adminapi.Endpoint, ip netip.Addr, port uint16) string {
	host := cmp.Or(e.Client.Host(), "127.0.0.1")
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	switch {
	case ip == netip.IPv6Unspecified():
		host = "::1"
	case ip.IsValid():
		host = ip.String()
	case len(p.Sockets) > 0 && !slices.ContainsFunc(p.Sockets, func(s adminapi.Socket) bool { return strings.HasPrefix(s.Address, ":") }):
		host, _, _ = net.SplitHostPort(p.Sockets[0].Address) // listen narrows it
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// localOf is the local address of the server for connections to an address:
// the endpoint's if it has one, else the one that is connected to.
func localOf(ctx context.Context, address string, ip netip.Addr, port uint16) (string, error) {
	if ip.IsValid() && !ip.IsUnspecified() {
		return netip.AddrPortFrom(ip, port).String(), nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	return netip.AddrPortFrom(ips[0].Unmap(), port).String(), nil
}

// nameList is the hosts of all bindings, in order, by where they are bound.
type nameList map[nameKey][]string

type nameKey struct {
	protocol string
	ip       netip.Addr
	port     uint16
}

// names collects the hosts of all bindings.
func (e *Env) names(ctx context.Context) (nameList, error) {
	names := make(nameList)
	for site, err := range e.Client.Sites(ctx) {
		if err != nil {
			return nil, err
		}
		for _, b := range site.Bindings {
			parsed, err := binding.Parse(b.Protocol, b.Binding)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", siteLabel(site.ID, site.Name), err)
			}
			if parsed.Host == "" {
				continue
			}
			key := nameKey{b.Protocol, parsed.IP, parsed.Port}
			// Any label stands for the asterisk.
			names[key] = append(names[key], strings.Replace(parsed.Host, "*", "caddy-iis-verify", 1))
		}
	}
	return names, nil
}

// of returns the hosts that bindings have at an endpoint: those bound to it and
// those bound to all addresses.
func (n nameList) of(protocol string, ip netip.Addr, port uint16) []string {
	names := slices.Clone(n[nameKey{protocol, ip, port}])
	if ip.IsValid() {
		names = append(names, n[nameKey{protocol, netip.Addr{}, port}]...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// variants are the connections to one endpoint: with each name, without server
// name, and with a name that nobody has.
func (c Comparison) variants(names []string) []*Comparison {
	var list []*Comparison
	add := func(sni, host string) {
		variant := c
		variant.SNI, variant.Host = sni, host
		if c.Scheme == "http" {
			variant.SNI = ""
		}
		list = append(list, &variant)
	}
	for _, name := range names {
		add(name, name)
	}
	if c.Scheme == "https" {
		host := unknownName
		if len(names) > 0 {
			host = names[0]
		}
		add("", host)
	}
	add(unknownName, unknownName)
	return list
}
