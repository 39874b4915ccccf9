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

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	caddy.RegisterModule(new(IPSecurity))
	httpcaddyfile.RegisterHandlerDirective("iis_ip_security", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		s := new(IPSecurity)
		return s, s.UnmarshalCaddyfile(h.Dispenser)
	})
}

// IPSecurity lets clients in by their address, as the section ipSecurity of IIS
// does: the first entry that has the address decides, then DenyUnlisted. An
// IPv4 address in IPv6 form counts as IPv4. An address that cannot be read is
// denied.
//
// The address is Caddy's client_ip: that of the connection unless the server has
// trusted_proxies. Those should be strict (trusted_proxies_strict): without, a
// client may write into X-Forwarded-For what it likes.
type IPSecurity struct {
	// The entries in their order.
	Entries []IPEntry `json:"entries,omitempty"`

	// Whether an address that no entry has is denied (allowUnlisted="false").
	DenyUnlisted bool `json:"deny_unlisted,omitempty"`

	// What a denied client gets (denyAction): "forbidden", 403.503 (default),
	// "unauthorized", 401.503, "not_found", 404.503, or "abort", which closes
	// the connection, or stream, without an answer.
	DenyAction string `json:"deny_action,omitempty"`

	// Whether the address of the connection and each in X-Forwarded-For must
	// pass as well (enableProxyMode). One that cannot be read is denied.
	ProxyMode bool `json:"proxy_mode,omitempty"`

	networks []network
}

// IPEntry allows or denies networks.
type IPEntry struct {
	// Whether the networks are allowed. Default: they are denied, as in IIS.
	Allow bool `json:"allow,omitempty"`

	// Addresses and networks, such as 10.1.2.3, 10.0.0.0/8 and fd00::/8.
	Ranges []string `json:"ranges,omitempty"`
}

type network struct {
	prefix netip.Prefix
	allow  bool
}

// CaddyModule returns the Caddy module information.
func (*IPSecurity) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_ip_security", New: func() caddy.Module { return new(IPSecurity) }}
}

// Provision implements caddy.Provisioner.
func (s *IPSecurity) Provision(caddy.Context) error {
	if err := s.compile(); err != nil {
		return fmt.Errorf("iis_ip_security: %w", err)
	}
	return nil
}

func (s *IPSecurity) compile() error {
	if err := checkDenyAction(s.DenyAction); err != nil {
		return err
	}
	s.networks = nil
	for i, entry := range s.Entries {
		if len(entry.Ranges) == 0 {
			return fmt.Errorf("entry %d has no address", i+1)
		}
		for _, text := range entry.Ranges {
			prefix, err := parseNetwork(text)
			if err != nil {
				return fmt.Errorf("entry %d: %w", i+1, err)
			}
			s.networks = append(s.networks, network{prefix, entry.Allow})
		}
	}
	return nil
}

// mappedBits is the length of the prefix that IPv4 addresses in IPv6 form have
// (RFC 4291, 2.5.5.2).
const mappedBits = 96

// parseNetwork reads an address or a prefix. Bits behind the prefix do not
// count.
func parseNetwork(text string) (netip.Prefix, error) {
	var prefix netip.Prefix
	ip, err := netip.ParseAddr(text)
	if err == nil {
		prefix = netip.PrefixFrom(ip, ip.BitLen())
	} else if prefix, err = netip.ParsePrefix(text); err != nil {
		return prefix, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", text)
	}
	if ip.Zone() != "" {
		return prefix, fmt.Errorf("%q has a zone", text)
	}
	if ip = prefix.Addr(); ip.Is4In6() {
		if prefix.Bits() < mappedBits {
			return prefix, fmt.Errorf("%q has IPv4 addresses and others: write two networks", text)
		}
		prefix = netip.PrefixFrom(ip.Unmap(), prefix.Bits()-mappedBits)
	}
	return prefix.Masked(), nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (s *IPSecurity) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if s.admits(r) {
		return next.ServeHTTP(w, r)
	}
	const listed = 503 // 403.503: denied by the list
	return deny(r, s.DenyAction, listed, "address of the client")
}

func checkDenyAction(action string) error {
	switch action {
	case "", "forbidden", "unauthorized", "not_found", "abort":
		return nil
	}
	return fmt.Errorf("deny_action %q: expected forbidden, unauthorized, not_found or abort", action)
}

// deny does what denyAction says.
func deny(r *http.Request, action string, sub int, why string) error {
	switch action {
	case "unauthorized":
		return refuse(r, http.StatusUnauthorized, sub, why)
	case "not_found":
		return refuse(r, http.StatusNotFound, sub, why)
	case "abort":
		panic(http.ErrAbortHandler)
	}
	return refuse(r, http.StatusForbidden, sub, why)
}

// admits tells whether all addresses of a request pass.
func (s *IPSecurity) admits(r *http.Request) bool {
	client, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if !ok {
		client = r.RemoteAddr
	}
	if !s.passes(client) {
		return false
	}
	if !s.ProxyMode {
		return true
	}
	if !s.passes(r.RemoteAddr) {
		return false
	}
	for _, line := range r.Header["X-Forwarded-For"] {
		for text := range strings.SplitSeq(line, ",") {
			if !s.passes(strings.TrimSpace(text)) {
				return false
			}
		}
	}
	return true
}

func (s *IPSecurity) passes(text string) bool {
	ip, ok := parseClient(text)
	if !ok {
		return false
	}
	for _, n := range s.networks {
		if n.prefix.Contains(ip) {
			return n.allow
		}
	}
	return !s.DenyUnlisted
}

// parseClient reads the address of a client, with or without a port, in IPv4
// if it is one: ARR and others write the port into X-Forwarded-For.
func parseClient(text string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(text)
	if err != nil && len(text) > 2 && text[0] == '[' && text[len(text)-1] == ']' {
		if ip, err = netip.ParseAddr(text[1 : len(text)-1]); ip.Is4() {
			return ip, false
		}
	}
	if err != nil {
		var port netip.AddrPort
		if port, err = netip.ParseAddrPort(text); err != nil {
			return ip, false
		}
		ip = port.Addr()
	}
	return ip.WithZone("").Unmap(), true
}

// UnmarshalCaddyfile reads:
//
//	iis_ip_security [<matcher>] {
//		allow|deny <address or network>...
//		unlisted allow|deny
//		deny_action forbidden|unauthorized|not_found|abort
//		proxy_mode
//	}
func (s *IPSecurity) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, args, err := wordOf(d)
		switch {
		case err != nil:
		case word == "allow" || word == "deny":
			entry := IPEntry{Allow: word == "allow"}
			err = list(d, &entry.Ranges, word, args)
			s.Entries = append(s.Entries, entry)
		case word == "unlisted":
			err = allowOrDeny(d, &s.DenyUnlisted, word, args)
		case word == "deny_action" && len(args) == 1:
			s.DenyAction = args[0]
		case word == "deny_action":
			err = d.Err("deny_action needs forbidden, unauthorized, not_found or abort")
		case word == "proxy_mode":
			err = flag(d, &s.ProxyMode, word, args)
		default:
			err = d.Errf("unknown word %q of iis_ip_security", word)
		}
		if err != nil {
			return err
		}
	}
	if err := s.compile(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (s *IPSecurity) MarshalCaddyfile() *caddytext.Line {
	l := new(caddytext.Line)
	for _, entry := range s.Entries {
		l.Add(caddytext.New(append([]string{allowDeny(!entry.Allow)}, entry.Ranges...)...))
	}
	if s.DenyUnlisted {
		l.Add(caddytext.New("unlisted", "deny"))
	}
	return l.Add(caddytext.FieldsOf(s, []caddytext.Field{
		{Word: "deny_action", Path: "deny_action"}, {Word: "proxy_mode", Path: "proxy_mode", Kind: caddytext.Flag},
	})...)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*IPSecurity)(nil)
	_ caddyhttp.MiddlewareHandler = (*IPSecurity)(nil)
	_ caddyfile.Unmarshaler       = (*IPSecurity)(nil)
	_ caddytext.Marshaler         = (*IPSecurity)(nil)
)
