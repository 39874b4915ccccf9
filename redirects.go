package caddyiis

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
)

const codeRedirectNowhere = "redirect-to-nowhere"

// redirects looks whether https answers where http is redirected to.
type redirects struct {
	sn *snapshot
	// The addresses that https bindings are for, by port; made when they are
	// asked for first.
	addresses map[uint16][]netip.Addr
}

// redirectFindings are about all redirects.
func (sn *snapshot) redirectFindings() []binding.Finding {
	var findings []binding.Finding
	look := redirects{sn: sn}
	for entry := range sn.tables.Bindings() {
		if f, ok := look.finding(entry); ok {
			findings = append(findings, f)
		}
	}
	return findings
}

// finding is the one about a binding, if there is any: the site redirects its
// requests to a host that no https binding has.
func (l *redirects) finding(entry *binding.BindingEntry) (binding.Finding, bool) {
	site := l.sn.sites[entry.Site.Index]
	if entry.Protocol != binding.HTTP || !entry.Site.State.Started || site.offline {
		return binding.Finding{}, false
	}
	port := site.access.overHTTP(false).port
	if port == 0 || l.sn.app.trustsProxies() && !hasHTTPS(entry.Site) || l.answered(entry.Binding, port) {
		return binding.Finding{}, false
	}
	f := binding.Finding{
		Severity: binding.Warning, Code: codeRedirectNowhere, Site: entry.Site.ID, Binding: entry.Binding.String(),
		Fix: "add an https binding for the host, or do not redirect it",
	}
	what := "requests for " + entry.Host
	if entry.Host == "" {
		f.Severity, what = binding.Info, "requests for hosts that no https binding has"
	}
	f.Message = fmt.Sprintf("%s, binding http %s redirects %s to https at port %d, where no site answers them",
		siteLabel(entry.Site.ID, entry.Site.Name), entry.Binding, what, port)
	return f, true
}

func hasHTTPS(site *binding.SiteEntry) bool {
	return slices.ContainsFunc(site.Bindings, func(b binding.BindingEntry) bool { return b.Protocol == binding.HTTPS })
}

// answered reports whether somebody answers https at a port for the host of a
// binding: at its address, or at any if it is for all.
func (l *redirects) answered(b binding.Binding, port uint16) bool {
	host := b.Host
	if rest, wildcard := strings.CutPrefix(host, "*."); wildcard {
		host = "any-name." + rest
	}
	locals := []netip.Addr{b.IP}
	if !b.IP.IsValid() || b.IP.IsUnspecified() {
		locals = append(l.at(port), netip.IPv4Unspecified(), netip.IPv6Unspecified())
	}
	return slices.ContainsFunc(locals, func(ip netip.Addr) bool {
		local := netip.AddrPortFrom(ip, port)
		match, ordinary, _ := l.sn.requestOwner(local, binding.HTTPS, host)
		if ordinary != nil {
			return true
		}
		return match.Site != nil && match.Binding.Flags&binding.FlagReject == 0 &&
			l.sn.certificateMatch(local, host).Reason != binding.ReasonRejected
	})
}

// at returns the addresses that https bindings of a port are for.
func (l *redirects) at(port uint16) []netip.Addr {
	if l.addresses == nil {
		l.addresses = make(map[uint16][]netip.Addr)
		for b := range l.sn.tables.Bindings() {
			if ips := l.addresses[b.Port]; b.Protocol == binding.HTTPS && b.IP.IsValid() && !slices.Contains(ips, b.IP) {
				l.addresses[b.Port] = append(ips, b.IP)
			}
		}
	}
	return slices.Clip(l.addresses[port])
}
