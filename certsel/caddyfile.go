package certsel

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// atToken returns a dispenser that stands on a token, for errors at its line:
// a dispenser that has read a block stands behind it.
func atToken(token caddyfile.Token) *caddyfile.Dispenser {
	d := caddyfile.NewDispenser([]caddyfile.Token{token})
	d.Next()
	return d
}

// noBlock refuses a block, even an empty one, where none is taken: its lines
// would be read as the next options.
func noBlock(d *caddyfile.Dispenser, option string) error {
	here := d.Token()
	if d.NextBlock(d.Nesting()) || d.Val() == "}" && !d.Token().Quoted() {
		return atToken(here).Errf("%s takes no block", option)
	}
	return nil
}
