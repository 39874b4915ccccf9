package matcher

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	caddy.RegisterModule(MatchSite{})
}

// MatchSite matches requests that the bindings of the iis app route to one of
// the given sites, by local address, port and Host. Sites are given by id or
// by name.
type MatchSite struct {
	// The sites' ids, such as "1", or names. At least one is required.
	Sites []string `json:"sites,omitempty"`

	app *app
}

// CaddyModule returns the Caddy module information.
func (MatchSite) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.iis_site",
		New: func() caddy.Module { return new(MatchSite) },
	}
}

// Provision remembers the configuration that the matcher belongs to.
func (m *MatchSite) Provision(ctx caddy.Context) error {
	m.app = &app{ctx: ctx}
	return nil
}

// Match reports whether the request belongs to one of the sites.
func (m *MatchSite) Match(r *http.Request) bool {
	match, err := m.MatchWithError(r)
	return err == nil && match
}

// MatchWithError reports whether the request belongs to one of the sites.
func (m *MatchSite) MatchWithError(r *http.Request) (bool, error) {
	decider, err := m.app.decider()
	if err != nil || decider == nil {
		return false, err
	}
	id, name, ok := decider.SiteOf(r)
	if !ok {
		return false, nil
	}
	return slices.Contains(m.Sites, strconv.FormatUint(uint64(id), 10)) || name != "" && slices.Contains(m.Sites, name), nil
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Syntax:
//
//	iis_site <id|name>...
func (m *MatchSite) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		sites := d.RemainingArgs()
		if len(sites) == 0 {
			return d.Err("iis_site expects the id or name of at least one site, such as iis_site 1")
		}
		m.Sites = append(m.Sites, sites...)
		if d.NextBlock(d.Nesting()) {
			return d.Err("iis_site takes no block: the ids or names follow in its line")
		}
	}
	return nil
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (m *MatchSite) MarshalCaddyfile() *caddytext.Line { return caddytext.New(m.Sites...) }

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchSite)(nil)
	_ caddyfile.Unmarshaler             = (*MatchSite)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchSite)(nil)
	_ caddytext.Marshaler               = (*MatchSite)(nil)
)
