package certsel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/world"
)

// DNSCheck looks in DNS whether a host leads to this machine, before something is
// ordered for it that no client waits for.
type DNSCheck struct {
	// Addresses at which clients reach this machine beside its own, such as that of a
	// load balancer.
	Addresses []string `json:"addresses,omitempty"`

	// The name servers to ask, as host:port, the port being 53 if it is left out.
	// Default: those of the machine.
	Resolvers []string `json:"resolvers,omitempty"`

	here      []netip.Addr
	resolver  *net.Resolver
	elsewhere elsewhere
}

// dnsTime bounds a look-up.
const dnsTime = 10 * time.Second

func (c *DNSCheck) provision() error {
	for _, text := range c.Addresses {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("check_dns: %q is no IP address", text)
		}
		c.here = append(c.here, ip.Unmap().WithZone(""))
	}
	c.resolver = net.DefaultResolver
	if len(c.Resolvers) == 0 {
		return nil
	}
	var servers []string
	for _, text := range c.Resolvers {
		addr, err := caddy.ParseNetworkAddressWithDefaults(text, "udp", 53)
		if err != nil {
			return fmt.Errorf("check_dns: resolver %q: %w", text, err)
		}
		if addr.PortRangeSize() != 1 {
			return fmt.Errorf("check_dns: resolver %q: expected one port", text)
		}
		servers = append(servers, addr.JoinHostPort(0))
	}
	var turn atomic.Uint32 // whoever asks again asks another one
	c.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, servers[int(turn.Add(1)-1)%len(servers)])
	}}
	return nil
}

// leadsHere looks a host up. What it finds is remembered, to be told.
func (c *DNSCheck) leadsHere(ctx context.Context, host string) bool {
	if c == nil {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true // it is no name
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTime)
	defer cancel()
	why := c.look(ctx, host)
	c.elsewhere.note(host, why)
	return why == ""
}

func (c *DNSCheck) look(ctx context.Context, host string) (why string) {
	own, err := world.Addresses()
	if err != nil {
		return fmt.Sprintf("the addresses of this machine cannot be listed: %v", err)
	}
	ips, leads, err := world.Leads(ctx, c.resolver, host, append(own, c.here...))
	switch {
	case leads:
		return ""
	case errors.Is(err, world.ErrNoAddress):
		return err.Error()
	case err != nil:
		return fmt.Sprintf("no name server has answered for it: %v", err)
	}
	return fmt.Sprintf("it has the address %s in DNS, which is none of this machine's", world.Join(ips))
}

// maxElsewhere bounds how many hosts are remembered that lead elsewhere.
const maxElsewhere = 1000

// elsewhere are hosts that do not lead here, each with what DNS says.
type elsewhere struct {
	mu    sync.Mutex
	hosts map[string]string
}

func (e *elsewhere) note(host, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case why == "":
		delete(e.hosts, host)
	case len(e.hosts) < maxElsewhere:
		if e.hosts == nil {
			e.hosts = make(map[string]string)
		}
		e.hosts[host] = why
	}
}

// list returns what is remembered, without hosts that are not bound any more.
func (e *elsewhere) list(bound func(host string) bool) map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make(map[string]string, len(e.hosts))
	for host, why := range e.hosts {
		if bound(host) {
			list[host] = why
		} else {
			delete(e.hosts, host)
		}
	}
	return list
}

// Elsewhere lists hosts for which nothing is ordered ahead since they do not lead to
// this machine, up to a bound, each with what DNS says.
func (a *Auto) Elsewhere() map[string]string {
	if a.CheckDNS == nil {
		return nil
	}
	return a.CheckDNS.elsewhere.list(a.Bound)
}
