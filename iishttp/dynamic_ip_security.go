package iishttp

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	caddy.RegisterModule(new(DynamicIPSecurity))
	httpcaddyfile.RegisterHandlerDirective("iis_dynamic_ip_security", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		s := new(DynamicIPSecurity)
		return s, s.UnmarshalCaddyfile(h.Dispenser)
	})
}

// DynamicIPSecurity denies clients that make too many requests, as the section
// dynamicIpSecurity of IIS does. A client is an IPv4 address, or the /64 network of
// an IPv6 address, within which it may choose. Each load of the configuration counts anew.
type DynamicIPSecurity struct {
	// How many requests a client may have at a time (maxConcurrentRequests): one more is
	// denied, 403.501. Default: 0, any number.
	MaxConcurrent int `json:"max_concurrent,omitempty"`

	// How many requests a client may make in Interval (maxRequests): further ones are denied
	// until it is over, 403.502. Default: 0, any number.
	MaxRequests int `json:"max_requests,omitempty"`

	// The time of MaxRequests (requestIntervalInMilliseconds); it begins with the first
	// request of a client. Default: 200ms.
	Interval caddy.Duration `json:"interval,omitempty"`

	// Whether requests are only logged that would be denied (enableLoggingOnlyMode).
	LoggingOnly bool `json:"logging_only,omitempty"`

	// Whether the client is Caddy's client_ip, which trusted_proxies tell, and not the
	// address of the connection (enableProxyMode).
	ProxyMode bool `json:"proxy_mode,omitempty"`

	// What a denied client gets (denyAction): "forbidden", 403 (default), "unauthorized",
	// 401, "not_found", 404, or "abort", which closes the connection, or stream, without
	// an answer.
	DenyAction string `json:"deny_action,omitempty"`

	clients *clientTable
	logger  *zap.Logger
}

// The sub-statuses of the two limits.
const (
	tooManyAtATime = 501
	tooOften       = 502
)

const defaultRateInterval = 200 * time.Millisecond

// CaddyModule returns the Caddy module information.
func (*DynamicIPSecurity) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_dynamic_ip_security", New: func() caddy.Module { return new(DynamicIPSecurity) }}
}

// Provision implements caddy.Provisioner.
func (s *DynamicIPSecurity) Provision(ctx caddy.Context) error {
	s.logger = ctx.Logger()
	if err := s.check(); err != nil {
		return fmt.Errorf("iis_dynamic_ip_security: %w", err)
	}
	if s.Interval == 0 {
		s.Interval = caddy.Duration(defaultRateInterval)
	}
	s.clients = newClientTable(s.MaxConcurrent, s.MaxRequests, time.Duration(s.Interval))
	return nil
}

func (s *DynamicIPSecurity) check() error {
	if s.MaxConcurrent < 0 || s.MaxRequests < 0 || s.Interval < 0 {
		return errors.New("a limit is below 0")
	}
	if s.MaxConcurrent == 0 && s.MaxRequests == 0 {
		return errors.New("it has no limit: expected max_concurrent <number> or max_requests <number> [<interval>]")
	}
	return checkDenyAction(s.DenyAction)
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (s *DynamicIPSecurity) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	from := r.RemoteAddr
	if client, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok && s.ProxyMode {
		from = client
	}
	ip, ok := parseClient(from)
	if !ok && s.LoggingOnly {
		s.logger.Warn("address of the client cannot be read", zap.String("address", quote(from)))
		return next.ServeHTTP(w, r)
	}
	if !ok {
		return deny(r, s.DenyAction, tooManyAtATime, "the address of the client cannot be read")
	}
	client := clientOf(ip)
	sub := s.clients.enter(client, time.Now())
	defer func() { s.clients.leave(client, time.Now()) }()
	if sub == 0 {
		return next.ServeHTTP(w, r)
	}
	if s.LoggingOnly {
		s.logger.Info("client makes too many requests", zap.Stringer("client", ip), zap.Int("sub_status", sub))
		return next.ServeHTTP(w, r)
	}
	return deny(r, s.DenyAction, sub, "too many requests of the client")
}

// clientBits are those of an IPv6 address that a client does not choose.
const clientBits = 64

// clientOf is what counts as one client.
func clientOf(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return ip
	}
	network, err := ip.Prefix(clientBits)
	if err != nil {
		return ip
	}
	return network.Addr()
}

// UnmarshalCaddyfile reads:
//
//	iis_dynamic_ip_security [<matcher>] {
//		max_concurrent <number>
//		max_requests   <number> [<interval>]
//		logging_only
//		proxy_mode
//		deny_action    forbidden|unauthorized|not_found|abort
//	}
func (s *DynamicIPSecurity) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, args, err := wordOf(d)
		switch {
		case err != nil:
		case word == "max_concurrent" && len(args) == 1:
			err = above0(&s.MaxConcurrent, args[0])
		case word == "max_requests" && (len(args) == 1 || len(args) == 2):
			if err = above0(&s.MaxRequests, args[0]); err == nil && len(args) == 2 {
				var interval time.Duration
				interval, err = caddy.ParseDuration(args[1])
				s.Interval = caddy.Duration(interval)
			}
		case word == "logging_only":
			err = flag(d, &s.LoggingOnly, word, args)
		case word == "proxy_mode":
			err = flag(d, &s.ProxyMode, word, args)
		case word == "deny_action" && len(args) == 1:
			s.DenyAction = args[0]
		default:
			err = d.Errf("%s: no word of iis_dynamic_ip_security, or with wrong arguments", word)
		}
		if err != nil {
			return d.WrapErr(err)
		}
	}
	if err := s.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// above0 reads a number above 0.
func above0(dst *int, text string) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is no number above 0", text)
	}
	*dst = int(n)
	return nil
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (s *DynamicIPSecurity) MarshalCaddyfile() *caddytext.Line {
	l := new(caddytext.Line).Add(caddytext.FieldsOf(s, []caddytext.Field{{Word: "max_concurrent", Path: "max_concurrent"}})...)
	if s.MaxRequests > 0 {
		requests := caddytext.New("max_requests", strconv.Itoa(s.MaxRequests))
		if s.Interval != 0 {
			requests.Words = append(requests.Words, caddytext.DurationText(time.Duration(s.Interval)))
		}
		l.Add(requests)
	}
	return l.Add(caddytext.FieldsOf(s, []caddytext.Field{
		{Word: "logging_only", Path: "logging_only", Kind: caddytext.Flag},
		{Word: "proxy_mode", Path: "proxy_mode", Kind: caddytext.Flag},
		{Word: "deny_action", Path: "deny_action"},
	})...)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*DynamicIPSecurity)(nil)
	_ caddyhttp.MiddlewareHandler = (*DynamicIPSecurity)(nil)
	_ caddyfile.Unmarshaler       = (*DynamicIPSecurity)(nil)
	_ caddytext.Marshaler         = (*DynamicIPSecurity)(nil)
)
