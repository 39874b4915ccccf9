package iishttp

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-iis/caddy-iis/internal/caddytext"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("iis_content_types", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		c := new(ContentTypes)
		return c, c.UnmarshalCaddyfile(h.Dispenser)
	})
}

// UnmarshalCaddyfile reads:
//
//	iis_content_types [<matcher>] {
//		root <folder>
//		prefix <path>
//		types iis10|none
//		type <.ext> <mime>
//		remove <.ext>...
//		documents <name>... | off
//		browse
//		handler <answer> <path> [file|directory|either] [<verb>...]
//		scripts <path>...
//		closed <path>...
//		cache_control <value>
//		expires <value>
//	}
//
// type, remove, documents, handler, scripts and closed may be repeated and add up.
func (c *ContentTypes) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := c.unmarshalWord(d); err != nil {
			return err
		}
	}
	return nil
}

func (c *ContentTypes) unmarshalWord(d *caddyfile.Dispenser) error {
	word, args := d.Val(), d.RemainingArgs()
	if d.NextBlock(d.Nesting()) {
		return d.Errf("%s has no block", word)
	}
	single := map[string]*string{
		"root": &c.Root, "prefix": &c.Prefix, "types": &c.Types,
		"cache_control": &c.CacheControl, "expires": &c.Expires,
	}
	if value, ok := single[word]; ok {
		switch {
		case len(args) != 1 || args[0] == "":
			return d.Errf("%s takes one value", word)
		case *value != "" && *value != args[0]:
			return d.Errf("%s is there twice, with different values", word)
		}
		*value = args[0]
		return nil
	}
	lists := map[string]*[]string{"remove": &c.Remove, "scripts": &c.Scripts, "closed": &c.Closed}
	if values, ok := lists[word]; ok {
		if len(args) == 0 {
			return d.Errf("%s takes at least one value", word)
		}
		*values = append(*values, args...)
		return nil
	}
	switch word {
	case "handler":
		return c.unmarshalHandler(d, args)
	case "type":
		return c.unmarshalType(d, args)
	case "documents":
		return c.unmarshalDocuments(d, args)
	case "browse":
		if len(args) > 0 {
			return d.Err("browse takes no value")
		}
		c.Browse = true
		return nil
	}
	return d.Errf("unknown word %q of iis_content_types", word)
}

func (c *ContentTypes) unmarshalHandler(d *caddyfile.Dispenser, args []string) error {
	if len(args) < 2 {
		return d.Err("handler takes an answer and a path, then file, directory or either, and verbs")
	}
	h := ContentHandler{Answer: args[0], Path: args[1], Verbs: args[2:]}
	if len(h.Verbs) > 0 && h.Verbs[0] == strings.ToLower(h.Verbs[0]) {
		h.Resource, h.Verbs = h.Verbs[0], h.Verbs[1:]
	}
	if len(h.Verbs) == 0 {
		h.Verbs = nil
	}
	c.Handlers = append(c.Handlers, h)
	return nil
}

func (c *ContentTypes) unmarshalType(d *caddyfile.Dispenser, args []string) error {
	if len(args) != 2 {
		return d.Err("type takes an extension and a content type")
	}
	if other, ok := c.Type[args[0]]; ok && other != args[1] {
		return d.Errf("extension %s has two types, %q and %q", args[0], other, args[1])
	}
	if c.Type == nil {
		c.Type = make(map[string]string)
	}
	c.Type[args[0]] = args[1]
	return nil
}

func (c *ContentTypes) unmarshalDocuments(d *caddyfile.Dispenser, args []string) error {
	switch {
	case len(args) == 0:
		return d.Err("documents takes names, or off")
	case len(args) == 1 && args[0] == "off":
		if len(c.Documents) > 0 {
			return d.Err("documents are named and off")
		}
		c.Documents = []string{}
		return nil
	case c.Documents != nil && len(c.Documents) == 0:
		return d.Err("documents are named and off")
	}
	c.Documents = append(c.Documents, args...)
	return nil
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (c *ContentTypes) MarshalCaddyfile() *caddytext.Line {
	l := new(caddytext.Line).Add(caddytext.FieldsOf(c, []caddytext.Field{
		{Word: "root", Path: "root"},
		{Word: "prefix", Path: "prefix"},
		{Word: "types", Path: "types"},
		{Word: "type", Path: "type", Kind: caddytext.Pairs},
		{Word: "remove", Path: "remove", Kind: caddytext.List},
		{Word: "documents", Path: "documents", Kind: caddytext.List},
		{Word: "browse", Path: "browse", Kind: caddytext.Flag},
		{Word: "cache_control", Path: "cache_control"},
		{Word: "expires", Path: "expires"},
	})...)
	if c.Documents != nil && len(c.Documents) == 0 {
		l.Add(caddytext.New("documents", "off"))
	}
	for _, h := range c.Handlers {
		words := []string{"handler", h.Answer, h.Path}
		if h.Resource != "" {
			words = append(words, h.Resource)
		}
		l.Add(caddytext.New(append(words, h.Verbs...)...))
	}
	return l.Add(caddytext.FieldsOf(c, []caddytext.Field{
		{Word: "scripts", Path: "scripts", Kind: caddytext.List},
		{Word: "closed", Path: "closed", Kind: caddytext.List},
	})...)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*ContentTypes)(nil)
	_ caddytext.Marshaler   = (*ContentTypes)(nil)
)
