package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddy-iis/caddy-iis/internal/adminapi"
)

// maxLookups bounds how long the look-ups of all hosts may take.
const maxLookups = 2 * time.Minute

// Hosts keeps the hosts of bindings, each with its first site.
type Hosts struct{ list collection }

// Add adds the host of a binding. Wildcards and addresses have no entry in DNS that
// could be asked for.
func (h *Hosts) Add(site uint32, owner, host string) {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || host == "" || strings.HasPrefix(host, "*") {
		return
	}
	h.list.add(Part{Value: strings.ToLower(host), Site: site, Owner: owner})
}

// DNS looks which hosts lead to none of the addresses.
func (h *Hosts) DNS(ctx context.Context, resolver *net.Resolver, here []netip.Addr) []adminapi.Finding {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, maxLookups)
	defer cancel()
	findings := each(ctx, h.list.parts, func(ctx context.Context, p Part) (adminapi.Finding, bool) {
		ips, leads, err := Leads(ctx, resolver, p.Value, here)
		switch {
		case leads:
			return adminapi.Finding{}, false
		case errors.Is(err, ErrNoAddress):
			return warning(CodeNoAddress, p, "add the name to DNS, or correct the host of the binding",
				"%s (%s) has no address in DNS: nobody can find it", p.Value, p.owners()), true
		case err != nil:
			return adminapi.Finding{Code: CodeNotLooked, Message: p.Value}, true
		}
		return warning(CodeOtherAddress, p, "correct DNS or the host of the binding; if clients reach this machine at that address, --here names it",
			"%s (%s) has the address %s in DNS, which is none of this machine's", p.Value, p.owners(), Join(ips)), true
	})
	var failed []string
	findings = slices.DeleteFunc(findings, func(f adminapi.Finding) bool {
		if f.Code == CodeNotLooked {
			failed = append(failed, f.Message)
		}
		return f.Code == CodeNotLooked
	})
	if len(failed) > 0 && parent.Err() == nil {
		findings = append(findings, adminapi.Finding{
			Severity: adminapi.SeverityInfo, Code: CodeNotLooked,
			Message: fmt.Sprintf("no name server has answered for %d of %d hosts, such as %s", len(failed), len(h.list.parts), failed[0]),
			Fix:     "try again when the name servers of this machine answer",
		})
	}
	return findings
}

// ErrNoAddress says that DNS knows no address of a host.
var ErrNoAddress = errors.New("it has no address in DNS")

// Leads looks a host up in DNS, and reports whether one of its addresses is among those
// that are here.
func Leads(ctx context.Context, resolver *net.Resolver, host string, here []netip.Addr) (ips []netip.Addr, leads bool, err error) {
	ips, err = resolver.LookupNetIP(ctx, "ip", host+".")
	var unknown *net.DNSError
	switch {
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return nil, false, ErrNoAddress
	case err != nil:
		return nil, false, err
	}
	for i := range ips {
		ips[i] = ips[i].Unmap().WithZone("")
	}
	return ips, slices.ContainsFunc(ips, func(ip netip.Addr) bool { return slices.Contains(here, ip) }), nil
}
