package config

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// tlsWords are the options of Caddy's connection policies that a binding or an
// endpoint takes. Caddy's own parser reads them.
var tlsWords = []string{"protocols", "ciphers", "curves", "alpn", "client_auth"}

// tlsOptions collects the TLS options of a binding or an endpoint.
type tlsOptions struct {
	segments []caddyfile.Segment
}

// add takes over an option if it is one of tlsWords.
func (o *tlsOptions) add(d *caddyfile.Dispenser) (bool, error) {
	word := d.Val()
	if !slices.Contains(tlsWords, word) {
		return false, nil
	}
	for _, segment := range o.segments {
		if segment[0].Text == word {
			return true, d.Errf("%s is set twice", word)
		}
	}
	o.segments = append(o.segments, d.NextSegment())
	return true, nil
}

// policy has Caddy's parser read the options, as one connection_policy block.
func (o *tlsOptions) policy() (*caddytls.ConnectionPolicy, error) {
	if len(o.segments) == 0 {
		return nil, nil
	}
	word := func(like caddyfile.Token, text string, line int) caddyfile.Token {
		like.Text, like.Line = text, line
		return like
	}
	first := o.segments[0][0]
	tokens := []caddyfile.Token{word(first, "connection_policy", first.Line-1), word(first, "{", first.Line-1)}
	for _, segment := range o.segments {
		tokens = append(tokens, segment...)
	}
	last := tokens[len(tokens)-1]
	tokens = append(tokens, word(last, "}", last.Line+1))
	policy := new(caddytls.ConnectionPolicy)
	return policy, policy.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens))
}
