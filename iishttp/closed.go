package iishttp

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	caddy.RegisterModule(new(Closed))
	httpcaddyfile.RegisterHandlerDirective("iis_closed", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		c := new(Closed)
		return c, c.UnmarshalCaddyfile(h.Dispenser)
	})
	httpcaddyfile.RegisterDirectiveOrder("iis_closed", httpcaddyfile.Before, "redir")
}

// Closed answers a place that is closed until somebody decides about it. caddy iis
// import writes it where IIS protects something and it is not sure how to do the same,
// and caddy iis check counts it. The answer is an error, so that error routes see it.
type Closed struct {
	// The status that is answered, from 400 to 599. Default: 403.
	Status int `json:"status,omitempty"`

	// Why the place is closed, for people. It is not sent to clients.
	Why string `json:"why,omitempty"`

	// Whether the place waits for a decision, such as which accounts may see it, as
	// opposed to one that nobody need open.
	Decide bool `json:"decide,omitempty"`

	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Closed) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.iis_closed", New: func() caddy.Module { return new(Closed) }}
}

// Provision implements caddy.Provisioner.
func (c *Closed) Provision(ctx caddy.Context) error {
	c.logger = ctx.Logger()
	if c.Status == 0 {
		c.Status = http.StatusForbidden
	}
	return nil
}

// Validate implements caddy.Validator.
func (c *Closed) Validate() error {
	if c.Status < 400 || c.Status > 599 {
		return fmt.Errorf("iis_closed: status %d does not refuse a request: expected 400 to 599", c.Status)
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (c *Closed) ServeHTTP(_ http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	c.logger.Debug("place is closed", zap.String("path", r.URL.Path), zap.Int("status", c.Status), zap.String("why", c.Why))
	return caddyhttp.Error(c.Status, errors.New("closed: "+c.Why))
}

// UnmarshalCaddyfile reads:
//
//	iis_closed [<matcher>] <status> [<why>] [decide]
func (c *Closed) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 3 {
		return d.ArgErr()
	}
	status, err := strconv.Atoi(args[0])
	if err != nil {
		return d.Errf("status %q is no number", args[0])
	}
	c.Status = status
	if err := c.Validate(); err != nil {
		return d.Err(err.Error())
	}
	if len(args) > 1 {
		c.Why = args[1]
	}
	if len(args) > 2 {
		if args[2] != "decide" {
			return d.Errf("unknown word %q: expected decide", args[2])
		}
		c.Decide = true
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("iis_closed has no block")
	}
	return nil
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (c *Closed) MarshalCaddyfile() *caddytext.Line {
	l := caddytext.New(strconv.Itoa(c.Status))
	if c.Why != "" || c.Decide {
		l.Words = append(l.Words, c.Why)
	}
	if c.Decide {
		l.Words = append(l.Words, "decide")
	}
	return l
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Closed)(nil)
	_ caddy.Validator             = (*Closed)(nil)
	_ caddyhttp.MiddlewareHandler = (*Closed)(nil)
	_ caddyfile.Unmarshaler       = (*Closed)(nil)
	_ caddytext.Marshaler         = (*Closed)(nil)
)
