package inspect

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/internal/many"
	"github.com/caddy-iis/caddy-iis/internal/world"
)

// codeAddressNotHere is the finding about addresses that this machine does not have.
const codeAddressNotHere = "address-not-here"

// absentAddresses are the addresses of bindings and certificates that this machine
// does not have: nobody can connect to them. One that comes is served at once, since
// sockets are for all addresses unless listen names some, which must be there.
type absentAddresses struct {
	used   map[netip.Addr]*addressUse
	absent []netip.Addr
	here   []netip.Addr
}

// addressUse is who has an address.
type addressUse struct {
	site  *binding.SiteEntry // the first; nil if only endpoints have it
	label string             // of its first binding or endpoint
	more  int
}

// absentAddresses looks which of the addresses are not here. Where a listener wrapper
// says what address a client came to, as that for the PROXY protocol does, they need
// not be.
func (sn view) absentAddresses() *absentAddresses {
	a := &absentAddresses{used: make(map[netip.Addr]*addressUse)}
	if slices.ContainsFunc(sn.App.ListenerWrappers(), mayReplaceAddress) {
		return a
	}
	use := func(ip netip.Addr, site *binding.SiteEntry, label func() string) {
		switch known := a.used[ip]; {
		case !ip.IsValid() || ip.IsUnspecified():
		case known == nil:
			a.used[ip] = &addressUse{site: site, label: label()}
		default:
			known.more++
		}
	}
	for b := range sn.Tables.Bindings() {
		if b.Site.State.Started {
			use(b.IP, b.Site, func() string { return placeOf(b) })
		}
	}
	for _, e := range sn.App.BoundEndpoints {
		use(e.IP, nil, func() string { return "endpoint " + endpointKey{ip: e.IP, port: e.Port}.String() })
	}
	ips := make([]netip.Addr, 0, len(a.used))
	for ip := range a.used {
		ips = append(ips, ip)
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	a.absent, a.here = world.Absent(ips)
	return a
}

// mayReplaceAddress reports whether connections may have another local address behind
// a listener wrapper.
func mayReplaceAddress(w caddy.ListenerWrapper) bool {
	_, harmless := w.(*caddyhttp.HTTPRedirectListenerWrapper)
	return !harmless
}

func (a *absentAddresses) has(ip netip.Addr) bool {
	return ip.IsValid() && slices.Contains(a.absent, ip)
}

// addressFindings warns of addresses that this machine does not have.
func (sn view) addressFindings() []binding.Finding {
	a := sn.absentAddresses()
	var findings []binding.Finding
	for i, ip := range a.absent {
		if i == many.Max {
			findings = append(findings, binding.Finding{
				Severity: binding.Info, Code: codeAddressNotHere,
				Message: fmt.Sprintf("and %d more addresses that this machine does not have", len(a.absent)-many.Max),
			})
			break
		}
		use := a.used[ip]
		f := binding.Finding{
			Severity: binding.Warning, Code: codeAddressNotHere,
			Message: fmt.Sprintf("nobody reaches %s (%s): this machine does not have the address %s; it has %s", use.label, others(use.more), ip, world.Join(a.here)),
			Fix:     "configure the address, which is served as soon as it is there, or name one of these or *; behind address translation, the address counts that connections have when they arrive here",
		}
		if use.more == 0 {
			f.Message = fmt.Sprintf("nobody reaches %s: this machine does not have the address %s; it has %s", use.label, ip, world.Join(a.here))
		}
		if use.site != nil {
			f.Site = use.site.ID
		}
		findings = append(findings, f)
	}
	return findings
}

func others(n int) string {
	if n == 1 {
		return "and one more"
	}
	return fmt.Sprintf("and %d more", n)
}
