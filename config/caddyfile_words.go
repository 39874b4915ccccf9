package config

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/internal/near"
)

// atToken returns a dispenser that stands on a token, for errors at its line: a
// dispenser that has read a block stands behind it.
func atToken(token caddyfile.Token) *caddyfile.Dispenser {
	d := caddyfile.NewDispenser([]caddyfile.Token{token})
	d.Next()
	return d
}

// oneWord parses an option with one argument out of a few.
func oneWord(d *caddyfile.Dispenser, dst *string, accepted ...string) error {
	option := d.Val()
	usage := option + " " + strings.Join(accepted, "|")
	word, err := oneArg(d, usage)
	if err != nil {
		return err
	}
	if !slices.Contains(accepted, word) {
		return d.Errf("%s: unknown word %q, expected: %s%s", option, word, usage, near.Hint(word, accepted))
	}
	return setOnce(d, dst, option, word)
}

// oneArg parses the one argument of an option that takes no block.
func oneArg(d *caddyfile.Dispenser, usage string) (string, error) {
	option := d.Val()
	if !d.NextArg() {
		return "", d.Errf("%s needs an argument, expected: %s", option, usage)
	}
	arg := d.Val()
	if d.NextArg() {
		return "", d.Errf("%s takes one argument, not %q as well, expected: %s", option, d.Val(), usage)
	}
	return arg, noBlock(d, option)
}

// setOnce sets what may be set to one value only.
func setOnce(d *caddyfile.Dispenser, dst *string, option, value string) error {
	if *dst != "" && *dst != value {
		return d.Errf("%s is set twice: first %s, now %s", option, *dst, value)
	}
	*dst = value
	return nil
}

// bareWord parses an option that is a word and nothing else.
func bareWord(d *caddyfile.Dispenser) error {
	option := d.Val()
	if d.NextArg() {
		return d.Errf("%s stands alone, without %q", option, d.Val())
	}
	return noBlock(d, option)
}

// noBlock refuses a block, even an empty one, after an option that takes
// none: its lines would be read as the next options.
func noBlock(d *caddyfile.Dispenser, option string) error {
	here := d.Token()
	if d.NextBlock(d.Nesting()) || d.Val() == "}" && !d.Token().Quoted() {
		return atToken(here).Errf("%s takes no block", option)
	}
	return nil
}

// gluedBrace refuses a last argument that ends with a brace: it opens no block.
func gluedBrace(d *caddyfile.Dispenser) error {
	if word := d.Val(); len(word) > 1 && strings.HasSuffix(word, "{") && !d.Token().Quoted() {
		return d.Errf("put a blank before the { of %q", word)
	}
	return nil
}

func opensBlock(token caddyfile.Token) bool { return token.Text == "{" && !token.Quoted() }
