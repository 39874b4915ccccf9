package iishttp

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(IPSecurity))
	httpcaddyfile.RegisterHandlerDirective("iis_ip_security", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		s := new(IPSecurity)
		return s, s.UnmarshalCaddyfile(h.Dispenser)
	})
}

// IPSecurity lets clients in by their address, as the section ipSecurity of IIS does:
// the first entry that has the address decides, then DenyUnlisted. The address is that
// of the connection; an IPv4 address in IPv6 form counts as IPv4.
type IPSecurity struct {
	// The entries in their order.
	Entries []IPEntry `json:"entries,omitempty"`

	// Whether an address that no entry has is denied: allowUnlisted="false".
	DenyUnlisted bool `json:"deny_unlisted,omitempty"`

	// What a denied client gets: forbidden (403, the default), unauthorized (401),
	// not_found (404) or abort, which closes the connection.
	DenyAction string `json:"deny_action,omitempty"`

	// Whether each address in the header X-Forwarded-For must pass as well as that of
	// the connection: enableProxyMode. One that cannot be read is denied.
	ProxyMode bool `json:"proxy_mode,omitempty"`
}

// IPEntry allows or denies networks.
type IPEntry struct {
	Allow bool `json:"allow,omitempty"`
	// Addresses and networks, such as 10.1.2.3, 10.0.0.0/8 and fd00::/8.
	Ranges []string `json:"ranges,omitempty"`

	prefixes []netip.Prefix
}

// CaddyModule returns the Caddy module information.
func (*IPSecurity) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_ip_security", New: func() caddy.Module { return new(IPSecurity) }}
}

// Provision implements caddy.Provisioner.
func (s *IPSecurity) Provision(caddy.Context) error {
	for i := range s.Entries {
		e := &s.Entries[i]
		for _, text := range e.Ranges {
			p, err := parsePrefix(text)
			if err != nil {
				return fmt.Errorf("iis_ip_security: %w", err)
			}
			e.prefixes = append(e.prefixes, p)
		}
	}
	return nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return p, err
		}
		if p.Addr().Is4In6() {
			return p, fmt.Errorf("%q is an IPv4 network in IPv6 form: write it as IPv4", text)
		}
		return p.Masked(), nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if ip.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q has a zone", text)
	}
	ip = ip.Unmap()
	return netip.PrefixFrom(ip, ip.BitLen()), nil
}

// Validate implements caddy.Validator.
func (s *IPSecurity) Validate() error {
	switch s.DenyAction {
	case "", "forbidden", "unauthorized", "not_found", "abort":
		return nil
	}
	return fmt.Errorf("iis_ip_security: deny_action %q: expected forbidden, unauthorized, not_found or abort", s.DenyAction)
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (s *IPSecurity) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if s.admits(r) {
		return next.ServeHTTP(w, r)
	}
	const why = "address of the client"
	switch s.DenyAction {
	case "unauthorized":
		return refuse(r, http.StatusUnauthorized, 503, why)
	case "not_found":
		return refuse(r, http.StatusNotFound, 503, why)
	case "abort":
		panic(http.ErrAbortHandler)
	}
	return refuse(r, http.StatusForbidden, 503, why)
}

// admits tells whether all addresses of a request pass.
func (s *IPSecurity) admits(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !s.passes(peer.Addr()) {
		return false
	}
	if !s.ProxyMode {
		return true
	}
	for _, line := range r.Header["X-Forwarded-For"] {
		for text := range strings.SplitSeq(line, ",") {
			if ip, ok := forwardedAddr(strings.TrimSpace(text)); !ok || !s.passes(ip) {
				return false
			}
		}
	}
	return true
}

// forwardedAddr reads an entry of X-Forwarded-For, which may have a port.
func forwardedAddr(text string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return ip, true
	}
	ap, err := netip.ParseAddrPort(text)
	return ap.Addr(), err == nil
}

func (s *IPSecurity) passes(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	for i := range s.Entries {
		for _, p := range s.Entries[i].prefixes {
			if p.Contains(ip) {
				return s.Entries[i].Allow
			}
		}
	}
	return !s.DenyUnlisted
}

// UnmarshalCaddyfile reads:
//
//	iis_ip_security {
//		allow|deny <address or network>...
//		unlisted deny|allow
//		deny_action forbidden|unauthorized|not_found|abort
//		proxy_mode
//	}
func (s *IPSecurity) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		word, args := d.Val(), d.RemainingArgs()
		switch {
		case (word == "allow" || word == "deny") && len(args) > 0:
			s.Entries = append(s.Entries, IPEntry{Allow: word == "allow", Ranges: args})
		case word == "unlisted" && len(args) == 1 && (args[0] == "deny" || args[0] == "allow"):
			s.DenyUnlisted = args[0] == "deny"
		case word == "deny_action" && len(args) == 1:
			s.DenyAction = args[0]
		case word == "proxy_mode" && len(args) == 0:
			s.ProxyMode = true
		default:
			return d.Errf("%s %s: expected allow, deny, unlisted, deny_action or proxy_mode", word, strings.Join(args, " "))
		}
	}
	return s.Validate()
}

// Interface guards
var (
	_ caddy.Provisioner           = (*IPSecurity)(nil)
	_ caddy.Validator             = (*IPSecurity)(nil)
	_ caddyhttp.MiddlewareHandler = (*IPSecurity)(nil)
	_ caddyfile.Unmarshaler       = (*IPSecurity)(nil)
)
