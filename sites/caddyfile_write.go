package sites

import "github.com/caddy-iis/caddy-iis/internal/caddytext"

var allowRoutesField = caddytext.Field{Word: "allow_routes", Path: "allow_routes", Kind: caddytext.Block, Fields: []caddytext.Field{
	{Word: "modules", Path: "modules", Kind: caddytext.List},
	{Word: "max_sites", Path: "max_sites"},
	{Word: "below", Path: "below", Kind: caddytext.List},
	{Word: "to", Path: "to", Kind: caddytext.List},
}}

// commonFields are the words that all sources have.
var commonFields = []caddytext.Field{
	{Word: "name", Path: "name"},
	{Word: "require_if_match", Path: "require_if_match", Kind: caddytext.Flag},
	{Word: "keep_log", Path: "keep_log", Kind: caddytext.Duration},
	{Word: "certificate_key", Path: "certificate_keys", Kind: caddytext.List},
	{Word: "plain_keys", Path: "plain_keys", Kind: caddytext.Flag},
	{Word: "allow", Path: "allow", Kind: caddytext.Block, Fields: []caddytext.Field{
		{Word: "ports", Path: "ports", Kind: caddytext.List},
		{Word: "hosts", Path: "hosts", Kind: caddytext.List},
		{Word: "wildcards", Path: "wildcards", Kind: caddytext.Flag},
		{Word: "catch_all", Path: "catch_all", Kind: caddytext.Flag},
		{Word: "addresses", Path: "addresses", Kind: caddytext.List},
		{Word: "templates", Path: "templates", Kind: caddytext.List},
		{Word: "certificates", Path: "certificates", Kind: caddytext.List},
	}},
	allowRoutesField,
}

// MarshalBlock writes the settings as UnmarshalBlock reads them.
func (s *CommonSettings) MarshalBlock() []*caddytext.Line {
	return caddytext.FieldsOf(s, commonFields)
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (b *Bolt) MarshalCaddyfile() *caddytext.Line {
	l := new(caddytext.Line).Add(b.MarshalBlock()...)
	if b.Path != "" {
		l.Words = []string{b.Path}
	}
	return l
}

// MarshalCaddyfile implements caddytext.Marshaler.
func (f *File) MarshalCaddyfile() *caddytext.Line {
	return caddytext.New(f.Path).Add(caddytext.FieldsOf(f, []caddytext.Field{allowRoutesField})...)
}
