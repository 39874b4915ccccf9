package inspect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddy-iis/caddy-iis/binding"
	"github.com/caddy-iis/caddy-iis/config"
)

// The codes of findings about redirects from http to https.
const (
	codeRedirectNowhere = "redirect-to-nowhere"
	codeNoRedirect      = "no-redirect-to-https"
)

// redirects looks whether https answers where http is redirected to.
type redirects struct {
	sn view
	// The addresses that https bindings are for, by port; made when they are
	// asked for first.
	addresses map[uint16][]netip.Addr
}

// addRedirects looks at all redirects.
func (sn view) addRedirects(all *remarks) {
	look := redirects{sn: sn}
	for entry := range sn.Tables.Bindings() {
		if remark, ok := look.remark(entry); ok {
			all.add(remark)
		}
	}
}

// finding is the one about a binding, if there is any.
func (l *redirects) finding(entry *binding.BindingEntry) (binding.Finding, bool) {
	r, ok := l.remark(entry)
	if !ok {
		return binding.Finding{}, false
	}
	return r.text(), true
}

// remark is the one about a binding, if there is any: the site redirects its
// requests to a host that no https binding has.
func (l *redirects) remark(entry *binding.BindingEntry) (remark, bool) {
	site := l.sn.Sites.At(entry.Site.Index)
	if entry.Protocol != binding.HTTP || !entry.Site.State.Started || site.Offline {
		return remark{}, false
	}
	port := site.Access.OverHTTP(false).Port
	if port == 0 || l.sn.App.TrustsProxies() && !hasHTTPS(entry.Site) || l.answered(entry.Binding, port) {
		return remark{}, false
	}
	severity, what := binding.Warning, "requests for "+entry.Host
	if entry.Host == "" {
		severity, what = binding.Info, "requests for hosts that no https binding has"
	}
	return remark{severity, func() binding.Finding {
		return binding.Finding{
			Severity: severity, Code: codeRedirectNowhere, Site: entry.Site.ID, Binding: entry.Binding.String(),
			Message: fmt.Sprintf("%s, binding http %s redirects %s to https at port %d, where no site answers them",
				config.SiteLabel(entry.Site.ID, entry.Site.Name), entry.Binding, what, port),
			Fix: "add an https binding for the host, or do not redirect it",
		}
	}}, true
}

// plainFindings is one remark about all hosts that a site has on http and on https,
// and does not redirect: as in IIS, no site does so by itself. Behind a proxy the
// redirect may be the proxy's.
func (sn view) plainFindings() []binding.Finding {
	if sn.App.TrustsProxies() {
		return nil
	}
	var first *binding.BindingEntry
	sites := 0
	for _, entry := range sn.Tables.Sites() {
		site := sn.Sites.At(entry.Index)
		if !entry.State.Started || site.Offline || site.Content.May.Redirects || site.Access.OverHTTP(false).Status != 0 {
			continue
		}
		if both := onBoth(entry); both != nil {
			if sites++; first == nil {
				first = both
			}
		}
	}
	if sites == 0 {
		return nil
	}
	who := config.SiteLabel(first.Site.ID, first.Site.Name) + " answers"
	if sites > 1 {
		who = fmt.Sprintf("%s and %d more sites answer", config.SiteLabel(first.Site.ID, first.Site.Name), sites-1)
	}
	return []binding.Finding{{
		Severity: binding.Info, Code: codeNoRedirect, Site: first.Site.ID, Binding: first.Binding.String(),
		Message: who + " http as well as https for the same host, and nothing redirects clients to https",
		Fix:     "require_ssl redirect in the site does it; nothing need be done if clients are to have both",
	}}
}

// onBoth returns an http binding whose host the site has on https too.
func onBoth(site *binding.SiteEntry) *binding.BindingEntry {
	for i := range site.Bindings {
		b := &site.Bindings[i]
		if b.Protocol == binding.HTTP && slices.ContainsFunc(site.Bindings, func(o binding.BindingEntry) bool {
			return o.Protocol == binding.HTTPS && o.Host == b.Host && o.Flags&binding.FlagReject == 0
		}) {
			return b
		}
	}
	return nil
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
		match, ordinary, _ := l.sn.RequestOwner(local, binding.HTTPS, host)
		if ordinary != nil {
			return true
		}
		return match.Site != nil && !match.Binding.HeldBack() && match.Binding.Flags&binding.FlagReject == 0 &&
			l.sn.CertificateMatch(local, host).Reason != binding.ReasonRejected
	})
}

// at returns the addresses that https bindings of a port are for.
func (l *redirects) at(port uint16) []netip.Addr {
	if l.addresses == nil {
		l.addresses = make(map[uint16][]netip.Addr)
		for b := range l.sn.Tables.Bindings() {
			if ips := l.addresses[b.Port]; b.Protocol == binding.HTTPS && b.IP.IsValid() && !slices.Contains(ips, b.IP) {
				l.addresses[b.Port] = append(ips, b.IP)
			}
		}
	}
	return slices.Clip(l.addresses[port])
}
