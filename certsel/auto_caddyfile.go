package certsel

import (
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// UnmarshalCaddyfile sets up the source from a certificate option. Syntax:
//
//	certificate <name> {
//		for_bindings
//		on_demand
//		default    <name>
//		issuer     <module> [...]
//		key_type   ed25519|p256|p384|rsa2048|rsa4096
//		permission <module> [...]
//		rate       <orders> <duration>
//		check_dns  [<addresses...>] {
//			resolvers <addresses...>
//		}
//		capacity   <number>
//		max_wait   <duration>
//	}
func (a *Auto) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the source
	if d.NextArg() {
		return d.Errf("a certificate for bindings takes no arguments, such as %q: expected a block with for_bindings", d.Val())
	}
	shared := new(Managed)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := a.unmarshalOption(d, shared); err != nil {
			return err
		}
	}
	a.IssuersRaw, a.KeyType = shared.IssuersRaw, shared.KeyType
	return nil
}

func (a *Auto) unmarshalOption(d *caddyfile.Dispenser, shared *Managed) error {
	switch option := d.Val(); option {
	case "for_bindings", "on_demand":
		if d.NextArg() {
			return d.Errf("%s takes no arguments, such as %q", option, d.Val())
		}
		a.OnDemand = a.OnDemand || option == "on_demand"
		return noBlock(d, option)
	case "default":
		if !d.AllArgs(&a.Default) {
			return d.Errf("default expects one name, such as www.example.com")
		}
		return noBlock(d, option)
	case "capacity":
		return unmarshalCount(d, &a.Capacity)
	case "max_wait":
		return unmarshalDuration(d, &a.MaxWait)
	case "rate":
		return a.unmarshalRate(d)
	case "check_dns":
		return a.unmarshalCheckDNS(d)
	case "permission":
		return a.unmarshalPermission(d)
	case "issuer":
		return shared.unmarshalIssuer(d)
	case "key_type":
		return shared.unmarshalKeyType(d)
	default:
		return d.Errf("unknown word %q in a certificate for bindings: expected for_bindings, on_demand, default, issuer, key_type, permission, rate, check_dns, capacity or max_wait", option)
	}
}

func unmarshalCount(d *caddyfile.Dispenser, count *int) error {
	option := d.Val()
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	var err error
	if *count, err = strconv.Atoi(text); err != nil || *count < 1 {
		return d.Errf("%s: %q is not a number from 1", option, text)
	}
	return noBlock(d, option)
}

func unmarshalDuration(d *caddyfile.Dispenser, duration *caddy.Duration) error {
	option := d.Val()
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	parsed, err := caddy.ParseDuration(text)
	if err != nil || parsed <= 0 {
		return d.Errf("%s: %q is not a duration, such as 20s", option, text)
	}
	*duration = caddy.Duration(parsed)
	return noBlock(d, option)
}

func (a *Auto) unmarshalRate(d *caddyfile.Dispenser) error {
	var orders, window string
	if !d.AllArgs(&orders, &window) {
		return d.Errf("rate expects how many orders in which time, such as 10 10s")
	}
	count, err := strconv.Atoi(orders)
	if err != nil || count < 1 {
		return d.Errf("rate: %q is not a number from 1", orders)
	}
	duration, err := caddy.ParseDuration(window)
	if err != nil || duration <= 0 {
		return d.Errf("rate: %q is not a duration, such as 10s", window)
	}
	a.Rate = &Rate{Orders: count, Window: caddy.Duration(duration)}
	return noBlock(d, "rate")
}

func (a *Auto) unmarshalCheckDNS(d *caddyfile.Dispenser) error {
	check := &DNSCheck{Addresses: d.RemainingArgs()}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "resolvers" {
			return d.Errf("unknown word %q in check_dns: expected resolvers", d.Val())
		}
		servers := d.RemainingArgs()
		if len(servers) == 0 {
			return d.Errf("resolvers expects the addresses of name servers")
		}
		check.Resolvers = append(check.Resolvers, servers...)
		if err := noBlock(d, "resolvers"); err != nil {
			return err
		}
	}
	a.CheckDNS = check
	return nil
}

func (a *Auto) unmarshalPermission(d *caddyfile.Dispenser) error {
	if a.PermissionRaw != nil {
		return d.Errf("permission is set twice")
	}
	if !d.NextArg() {
		return d.Errf("permission expects the name of a module, such as http")
	}
	name := d.Val()
	if _, err := caddy.GetModule("tls.permission." + name); err != nil {
		return d.Errf("unknown permission module %q", name)
	}
	mod, err := caddyfile.UnmarshalModule(d, "tls.permission."+name)
	if err != nil {
		return fmt.Errorf("permission %s: %w", name, err)
	}
	if _, ok := mod.(caddytls.OnDemandPermission); !ok {
		return d.Errf("module tls.permission.%s (%T) gives no permission", name, mod)
	}
	a.PermissionRaw = caddyconfig.JSONModuleObject(mod, "module", name, nil)
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Auto)(nil)
