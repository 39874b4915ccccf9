package iishttp

import (
	"cmp"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("iis_redirect", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		d := new(Redirect)
		return d, d.UnmarshalCaddyfile(h.Dispenser)
	})
}

// UnmarshalCaddyfile reads:
//
//	iis_redirect [<matcher>] <destination>|- {
//		exact_destination
//		child_only
//		status 301|302|307|308
//		at <path>
//		wildcard <pattern> <destination>
//	}
//
// A destination that begins with a slash needs a matcher in front of it, such
// as *.
func (d *Redirect) UnmarshalCaddyfile(disp *caddyfile.Dispenser) error {
	disp.Next()
	if !disp.AllArgs(&d.Destination) {
		return disp.Err("iis_redirect needs a destination, or - for none; one that begins with a slash needs a matcher in front, such as *")
	}
	if d.Destination == "-" {
		d.Destination = ""
	}
	for nesting := disp.Nesting(); disp.NextBlock(nesting); {
		if err := d.unmarshalWord(disp); err != nil {
			return err
		}
	}
	if err := d.compile(); err != nil {
		return disp.WrapErr(err)
	}
	return nil
}

func (d *Redirect) unmarshalWord(disp *caddyfile.Dispenser) error {
	word, args, err := wordOf(disp)
	switch {
	case err != nil:
		return err
	case word == "exact_destination":
		return flag(disp, &d.ExactDestination, word, args)
	case word == "child_only":
		return flag(disp, &d.ChildOnly, word, args)
	case word == "status" && len(args) == 1:
		if d.Status, err = strconv.Atoi(args[0]); err != nil {
			return disp.Errf("status %q is no number", args[0])
		}
		return nil
	case word == "at" && len(args) == 1:
		d.At = args[0]
		return nil
	case word == "wildcard" && len(args) == 2:
		d.Wildcards = append(d.Wildcards, WildcardRedirect{args[0], args[1]})
		return nil
	case word == "status" || word == "at" || word == "wildcard":
		return disp.Errf("wrong number of arguments of %s", word)
	}
	return disp.Errf("unknown word %q of iis_redirect", word)
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (d *Redirect) MarshalCaddyfile() *caddytext.Line {
	l := caddytext.New(cmp.Or(d.Destination, "-")).Add(caddytext.FieldsOf(d, []caddytext.Field{
		{Word: "exact_destination", Path: "exact_destination", Kind: caddytext.Flag},
		{Word: "child_only", Path: "child_only", Kind: caddytext.Flag},
		{Word: "status", Path: "status"},
		{Word: "at", Path: "at"},
	})...)
	for _, w := range d.Wildcards {
		l.Add(caddytext.New("wildcard", w.Wildcard, w.Destination))
	}
	return l
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Redirect)(nil)
	_ caddytext.Marshaler   = (*Redirect)(nil)
)
