package sites

import (
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() {
	caddy.RegisterModule(new(File))
}

// File is a file with a site as JSON on each line, which is watched. It is the long
// form of the option sites_file; the API does not write it.
type File struct {
	// The file. Placeholders such as {env.SITES} are replaced.
	Path string `json:"path"`

	// Lets sites have routes of their own. Default: none may have them.
	AllowRoutes *AllowRoutes `json:"allow_routes,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*File) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "iis.sites.file", New: func() caddy.Module { return new(File) }}
}

// Validate wants the path.
func (f *File) Validate() error {
	if f.Path == "" {
		return errors.New("a file of sites needs a path")
	}
	return f.AllowRoutes.Check()
}

// UnmarshalCaddyfile sets up the source. Syntax:
//
//	file <path> {
//		allow_routes {
//			modules   <ids...>
//			max_sites <number>
//			below     <folders...>
//			to        <networks and names...>
//		}
//	}
func (f *File) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the kind
	if !d.AllArgs(&f.Path) {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "allow_routes" {
			return d.Errf("unknown word %q: expected allow_routes; the API does not change a file, which has no other settings", d.Val())
		}
		if err := unmarshalAllowRoutes(d, &f.AllowRoutes); err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Module          = (*File)(nil)
	_ caddy.Validator       = (*File)(nil)
	_ caddyfile.Unmarshaler = (*File)(nil)
)
