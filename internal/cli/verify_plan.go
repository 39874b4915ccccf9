package cli

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// unknownName is a name that nobody has (RFC 6761 section 6.4).
const unknownName = "caddy-iis-verify.invalid"

// destination is where connections go, and with which names.
type destination struct {
	Comparison
	names  []boundName
	faults map[string][]Reason // why what a name is for is not served; "": what has none
}

// plan lists the connections to make.
func (e *Env) plan(ctx context.Context, v Verification) ([]*Comparison, error) {
	names, list, err := e.names(ctx)
	if err != nil {
		return nil, err
	}
	targets, settled, err := e.targets(ctx, v, names)
	if err != nil {
		return nil, err
	}
	list = append(list, settled...)
	used := make([]bool, len(v.paths))
	for _, t := range targets {
		list = append(list, t.variants(v, used)...)
	}
	for i, ok := range used {
		if !ok {
			return nil, fmt.Errorf("--paths: %s: no binding has the host %q at an endpoint that listens: caddy iis list shows the bindings", v.paths[i].where, v.paths[i].host)
		}
	}
	return list, nil
}

// targets lists the endpoints. Two of them for which the same connections would be
// made are one: listen may leave no other address of a binding to all addresses
// than the one that another binding is for. To bindings of an endpoint that does not
// listen there is nothing to connect: what comes of them is settled.
func (e *Env) targets(ctx context.Context, v Verification, names nameList) (list []*destination, settled []*Comparison, err error) {
	server, err := parsePlaces(v.Server)
	if err != nil {
		return nil, nil, fmt.Errorf("--server: %w", err)
	}
	against, err := parsePlaces(v.Against)
	if err != nil {
		return nil, nil, fmt.Errorf("--against: %w", err)
	}
	type key struct{ address, local, scheme, other string }
	known := make(map[key]*destination)
	for p, err := range e.Client.Endpoints(ctx) {
		if err != nil {
			return nil, nil, err
		}
		ip, port, err := binding.ParseEndpoint(p.Address)
		if err != nil {
			return nil, nil, err
		}
		if !p.Listening && !p.Absent { // what is absent here may be known by another address
			settled = append(settled, names[nameKey{p.Protocol, ip, port}].unreachable(p)...)
			continue
		}
		addresses := find(server, ip, port)
		if len(addresses) == 0 || ip.IsValid() && !hasLocal(server, ip, port) {
			addresses = []string{e.ownAddress(p, ip, port)}
		}
		other := cmp.Or(append(find(against, ip, port), "")...)
		here := names.of(p.Protocol, ip, port)
		for _, address := range addresses {
			local, err := localOf(ctx, address, ip, port)
			if err != nil {
				return nil, nil, err
			}
			k := key{address, local, p.Protocol, other}
			t := known[k]
			if t == nil {
				t = &destination{Comparison: Comparison{Endpoint: p.Address, Address: address, Scheme: p.Protocol, local: local, other: other}, faults: make(map[string][]Reason)}
				known[k], list = t, append(list, t)
			}
			for _, n := range here {
				if n.host != "" {
					t.names = append(t.names, n)
				}
				if n.fault != nil && !slices.Contains(t.faults[n.host], *n.fault) {
					t.faults[n.host] = append(t.faults[n.host], *n.fault)
				}
			}
		}
	}
	for _, t := range list {
		t.names = distinct(t.names)
	}
	return list, settled, nil
}

// variants are the connections to one endpoint: with each name, without server
// name, and with a name that nobody has. used tells which lines of --paths are for
// any of them.
func (t *destination) variants(v Verification, used []bool) []*Comparison {
	var list []*Comparison
	add := func(c Comparison, sni, host string) {
		c.SNI, c.Host = sni, host
		if c.Scheme == "http" {
			c.SNI = ""
		}
		list = append(list, &c)
	}
	for _, name := range t.names {
		for _, c := range t.requests(v, name, used) {
			c.faults = t.faults[name.host]
			add(c, name.host, name.host)
		}
	}
	plain := t.Comparison
	plain.Protocol, plain.Path = protocolH1, v.Path
	if t.Scheme == "https" {
		add(plain, "", cmp.Or(append(slices.Clone(t.names), boundName{host: unknownName})...).host)
	}
	plain.faults = t.faults[""]
	add(plain, unknownName, unknownName)
	return list
}

// requests are those for a host of a binding, each over each protocol.
func (t *destination) requests(v Verification, name boundName, used []bool) []Comparison {
	lines := []pathLine{{path: v.Path}}
	var named []pathLine
	for i, line := range v.paths {
		if line.fits(t.Scheme, name.host) {
			used[i] = true
			named = append(named, line)
		}
	}
	if len(named) > 0 {
		lines = named
	}
	protocols := v.Protocols
	if t.Scheme == "http" {
		protocols = []string{protocolH1}
	}
	var list []Comparison
	for i, protocol := range protocols {
		for _, line := range lines {
			c := t.Comparison
			c.named, c.idle, c.Protocol, c.Path, c.status = true, name.idle, protocol, line.path, line.status
			if i > 0 {
				c.other = "" // once is enough
			}
			list = append(list, c)
		}
	}
	return list
}

// ownAddress is where an endpoint is reached if nobody says.
func (e *Env) ownAddress(p adminapi.Endpoint, ip netip.Addr, port uint16) string {
	if p.Local != "" {
		return p.Local
	}
	host := cmp.Or(e.Client.Host(), "127.0.0.1")
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	if ip == netip.IPv6Unspecified() {
		host = "::1"
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
