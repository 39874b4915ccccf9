package config

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/certsel"
)

// parseCentralStore parses the central certificate store.
func parseCentralStore(d *caddyfile.Dispenser, dst **certsel.CentralStore) error {
	here := atToken(d.Token())
	segment := d.NextSegment()
	if *dst != nil {
		return here.Errf("central_store is configured twice: IIS has one as well")
	}
	if err := gluedBrace(atToken(segment[len(segment)-1])); err != nil {
		return err
	}
	*dst = new(certsel.CentralStore)
	return (*dst).UnmarshalCaddyfile(caddyfile.NewDispenser(segment))
}

// parseStore parses a store of certificates by host name. Syntax:
//
//	store <name> <module> [...]
func (a *App) parseStore(d *caddyfile.Dispenser) error {
	const namespace = "iis.stores"
	here := atToken(d.Token())
	segment := d.NextSegment()
	if err := gluedBrace(atToken(segment[len(segment)-1])); err != nil {
		return err
	}
	if len(segment) < 3 || opensBlock(segment[1]) || opensBlock(segment[2]) {
		return here.Errf("expected: store <name> <module> ..., where the module is one of %s, such as store web folder /srv/certs", strings.Join(modulesIn(namespace), ", "))
	}
	name, module := segment[1].Text, segment[2].Text
	if _, ok := a.StoresRaw[name]; ok {
		return here.Errf("store %q is configured twice: give one of them another name, or remove it", name)
	}
	if _, err := caddy.GetModule(namespace + "." + module); err != nil {
		return here.Errf("store %q: unknown module %q: expected one of %s", name, module, strings.Join(modulesIn(namespace), ", "))
	}
	sd := caddyfile.NewDispenser(segment[2:])
	sd.Next()
	mod, err := caddyfile.UnmarshalModule(sd, namespace+"."+module)
	if err != nil {
		return fmt.Errorf("store %q: %w", name, err)
	}
	if a.StoresRaw == nil {
		a.StoresRaw = make(map[string]json.RawMessage)
	}
	a.StoresRaw[name] = caddyconfig.JSONModuleObject(mod, "store", module, nil)
	return nil
}

// modulesIn lists the modules of a namespace by their names in it.
func modulesIn(namespace string) (names []string) {
	for _, mod := range caddy.GetModules(namespace) {
		names = append(names, mod.ID.Name())
	}
	return names
}

func parseStoreName(d *caddyfile.Dispenser, dst *string) error {
	name, err := oneArg(d, "store <name>, the name of a store option of iis")
	if err != nil {
		return err
	}
	return setOnce(d, dst, "store", name)
}
