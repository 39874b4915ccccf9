package caddyiis

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel"
)

// parseCentralStore parses the central certificate store. Syntax:
//
//	central_store <folder>|storage <prefix> {
//		password <password>
//		poll     <duration>
//	}
func parseCentralStore(d *caddyfile.Dispenser, dst **certsel.CentralStore) error {
	const usage = "expected: central_store <folder>, or central_store storage <prefix>"
	here := atToken(d.Token())
	if *dst != nil {
		return here.Errf("central_store is configured twice: IIS has one as well")
	}
	args := d.RemainingArgs()
	if err := gluedBrace(d); err != nil {
		return err
	}
	store := new(certsel.CentralStore)
	switch {
	case len(args) == 1 && args[0] != "storage":
		store.Path = args[0]
	case len(args) == 2 && args[0] == "storage":
		store.Storage = args[1]
	default:
		return here.Errf(usage)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := parseStoreOption(d, store); err != nil {
			return err
		}
	}
	*dst = store
	return nil
}

func parseStoreOption(d *caddyfile.Dispenser, store *certsel.CentralStore) error {
	switch word := d.Val(); word {
	case "password":
		if store.Password != "" {
			return d.Errf("password is set twice")
		}
		args := d.RemainingArgs()
		if len(args) != 1 || args[0] == "" {
			// The argument is not shown.
			return d.Errf("password takes one argument, or better a placeholder such as {env.PFX_PASSWORD}")
		}
		store.Password = args[0]
		return noBlock(d, word)
	case "poll":
		arg, err := oneArg(d, "poll <duration>, such as poll 300s")
		if err != nil {
			return err
		}
		dur, err := caddy.ParseDuration(arg)
		if err != nil || dur <= 0 {
			return d.Errf("poll: %q is not a duration above zero, such as 300s", arg)
		}
		store.Poll = caddy.Duration(dur)
		return nil
	default:
		return d.Errf("unknown word %q in central_store: expected password or poll", word)
	}
}
