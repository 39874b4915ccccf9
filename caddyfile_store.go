package caddyiis

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel"
)

// parseCentralStore parses the central certificate store. Syntax:
//
//	central_store <folder>|storage <prefix> {
//		password <password>
//		poll     <duration>
//		entries  <number>
//		rate     <names a second>
//		timeout  <duration>
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
		return parseStoreDuration(d, &store.Poll)
	case "timeout":
		return parseStoreDuration(d, &store.Timeout)
	case "entries":
		return parseStoreNumber(d, &store.Entries)
	case "rate":
		return parseStoreNumber(d, &store.Rate)
	default:
		return d.Errf("unknown word %q in central_store: expected password, poll, entries, rate or timeout", word)
	}
}

func parseStoreDuration(d *caddyfile.Dispenser, dst *caddy.Duration) error {
	word := d.Val()
	if *dst != 0 {
		return d.Errf("%s is set twice", word)
	}
	arg, err := oneArg(d, word+" <duration>, such as "+word+" 5s")
	if err != nil {
		return err
	}
	dur, err := caddy.ParseDuration(arg)
	if err != nil || dur <= 0 {
		return d.Errf("%s: %q is not a duration above zero, such as 5s", word, arg)
	}
	*dst = caddy.Duration(dur)
	return nil
}

func parseStoreNumber(d *caddyfile.Dispenser, dst *int) error {
	word := d.Val()
	if *dst != 0 {
		return d.Errf("%s is set twice", word)
	}
	arg, err := oneArg(d, word+" <number>")
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n <= 0 {
		return d.Errf("%s: %q is not a number above zero", word, arg)
	}
	*dst = n
	return nil
}
