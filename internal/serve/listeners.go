package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/front"
)

// foreignListener is an address at which something else of the same
// configuration listens by itself: another app, or Caddy's admin endpoints.
// Caddy's own sockets let others have the same address, and the kernel then
// deals the connections out among them.
type foreignListener struct {
	who  string // as in messages
	text string // the address as it was written
	addr caddy.NetworkAddress
}

// harmlessApps do not listen: what they are made of can be very much. The http
// app's servers are shared with, and checked, one by one.
var harmlessApps = map[string]bool{"iis": true, "http": true, "tls": true, "pki": true, "events": true}

// foreignListeners finds the listen addresses of another app in its JSON form:
// whatever is named "listen...", as in Caddy's own apps, and whatever is a
// caddy.NetworkAddress.
func foreignListeners(name string, app any) []foreignListener {
	if harmlessApps[name] {
		return nil
	}
	raw, err := json.Marshal(app)
	if err != nil {
		return nil // it has no configuration that could name an address
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil
	}
	var found []foreignListener
	add := func(path []string, text string) {
		text = caddy.NewReplacer().ReplaceAll(text, "")
		if addr, err := caddy.ParseNetworkAddress(text); err == nil && addr.StartPort > 0 {
			found = append(found, foreignListener{
				who: fmt.Sprintf("app %s (%s)", name, strings.Join(path, ".")), text: text, addr: addr,
			})
		}
	}
	walkListeners(nil, tree, add)
	return found
}

// walkListeners calls add for every text that is a listen address by its name.
func walkListeners(path []string, node any, add func(path []string, text string)) {
	switch v := node.(type) {
	case string:
		if namesListener(path) {
			add(path, v)
		}
	case []any:
		for _, element := range v {
			walkListeners(path, element, add)
		}
	case map[string]any:
		if text, ok := networkAddress(v); ok {
			add(path, text)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			walkListeners(append(slices.Clip(path), key), v[key], add)
		}
	}
}

// namesListener reports whether the value at a path is a listen address:
// listen, listen_address, listener.address and so on.
func namesListener(path []string) bool {
	if len(path) == 0 {
		return false
	}
	listen := func(key string) bool { return strings.HasPrefix(strings.ToLower(key), "listen") }
	last := path[len(path)-1]
	return listen(last) || strings.HasPrefix(strings.ToLower(last), "addr") && slices.ContainsFunc(path, listen)
}

// networkAddress reads the JSON form of a caddy.NetworkAddress.
func networkAddress(object map[string]any) (string, bool) {
	var addr caddy.NetworkAddress
	if len(object) != reflect.TypeFor[caddy.NetworkAddress]().NumField() || object["StartPort"] == nil || object["EndPort"] == nil {
		return "", false
	}
	raw, err := json.Marshal(object)
	if err != nil || json.Unmarshal(raw, &addr) != nil {
		return "", false
	}
	return addr.String(), true
}

// loadedConfig is the configuration that is being loaded. Caddy shows it to
// nobody, so it is found by reflection, in order to find what has to be refused
// and for nothing else. It is nil if Caddy keeps it elsewhere one day.
func loadedConfig(ctx caddy.Context) *caddy.Config {
	cfg := reflect.ValueOf(ctx).FieldByName("cfg")
	if !cfg.IsValid() || cfg.Type() != reflect.TypeFor[*caddy.Config]() {
		return nil
	}
	return (*caddy.Config)(cfg.UnsafePointer())
}

// configures reports whether the configuration that is being loaded has an app.
// If it cannot be seen, known is false.
func configures(ctx caddy.Context, app string) (there, known bool) {
	cfg := loadedConfig(ctx)
	if cfg == nil {
		return false, false
	}
	_, there = cfg.AppsRaw[app]
	return there, true
}

// adminListeners are the addresses of Caddy's admin endpoints. If the
// configuration cannot be seen, known is false.
func adminListeners(ctx caddy.Context) (found []foreignListener, known bool) {
	cfg := loadedConfig(ctx)
	if cfg == nil {
		return nil, false
	}
	add := func(who, listen, standard string) {
		text := caddy.NewReplacer().ReplaceAll(listen, "")
		if text == "" {
			text = standard
		}
		if addr, err := caddy.ParseNetworkAddress(text); err == nil {
			found = append(found, foreignListener{who: who, text: text, addr: addr})
		}
	}
	const local, remote = "Caddy's admin endpoint", "Caddy's remote admin endpoint"
	admin := cfg.Admin
	if admin == nil {
		admin = new(caddy.AdminConfig)
	}
	if !admin.Disabled {
		add(local, admin.Listen, caddy.DefaultAdminListen)
	}
	if admin.Remote != nil {
		add(remote, admin.Remote.Listen, caddy.DefaultRemoteAdminListen)
	}
	return found, true
}

// findListeners finds who else listens in this configuration. The other apps
// have been provisioned.
func (a *Instance) findListeners() {
	admin, known := adminListeners(a.ctx)
	if !known {
		a.logger.Warn("this version of Caddy does not show where its admin endpoints listen: make sure that it is on no port of a binding; please report this")
	}
	a.foreign = admin
	for _, mod := range caddy.GetModules("") {
		name := string(mod.ID)
		if there, known := configures(a.ctx, name); harmlessApps[name] || known && !there {
			continue
		}
		app, err := a.ctx.AppIfConfigured(name)
		if err != nil {
			continue // provisionOtherApps has had its say
		}
		a.foreign = append(a.foreign, foreignListeners(name, app)...)
	}
}

// checkListeners refuses endpoints on which something else of the configuration
// listens as well.
func (a *Instance) checkListeners(endpoints []front.Endpoint) error {
	for _, l := range a.foreign {
		for i := range endpoints {
			if port, ok := l.collides(&endpoints[i]); ok {
				return sharedError(endpoints[i].Owner, l, port)
			}
		}
	}
	return nil
}

// has reports whether the listener has a port, on some network.
func (l *foreignListener) has(port uint16) bool {
	return l.addr.StartPort <= uint(port) && uint(port) <= l.addr.EndPort
}

func sharedError(owner string, l foreignListener, port uint16) error {
	return fmt.Errorf("%s and %s, which listens on %s, both want port %d: connections would reach one or the other; "+
		"use another port or IP address for one of them", owner, l.who, l.text, port)
}

// collides reports whether somebody who connects to the endpoint could reach
// the other listener.
func (l *foreignListener) collides(e *front.Endpoint) (port uint16, collides bool) {
	port = e.Addr.Port()
	switch l.addr.Network {
	case "tcp", "tcp4", "tcp6":
	case "udp", "udp4", "udp6":
		if !e.TLS || !e.Settings.H3 {
			return 0, false
		}
	default:
		return 0, false // unix and fd sockets, and networks of plugins, are nobody else's
	}
	if !l.has(port) {
		return 0, false
	}
	ips, err := ordinaryIPs(l.addr)
	if err != nil {
		return port, true // who knows where it will listen
	}
	return port, slices.ContainsFunc(ips, func(ip netip.Addr) bool { return Overlap(ip, e.Addr.Addr().Unmap()) })
}

// lendSockets lets what listens by itself in this configuration have ports that
// are still open here, until the configuration serves or is given up: a port
// can pass from bindings to another app in one load.
func (a *Instance) lendSockets() {
	a.takeBack = fronts.Lend(func(port uint16) bool {
		if slices.ContainsFunc(a.Ordinary, func(o ordinaryAddr) bool { return o.Addr.Port() == port }) {
			return false // the front has it
		}
		return a.otherPorts[port] != "" || slices.ContainsFunc(a.foreign, func(l foreignListener) bool { return l.has(port) })
	})
}

// BeforeLoad is called at the beginning of each load, before the admin endpoint
// listens. In a load without iis nothing else
// is there to let other apps have the ports that bindings had until now.
func BeforeLoad(ctx caddy.Context) error {
	if there, known := configures(ctx, "iis"); !there || !known {
		if known && len(loadedConfig(ctx).AppsRaw) > 0 { // else the configuration is still to come
			fronts.NotUsed()
		}
		context.AfterFunc(ctx, fronts.Lend(func(uint16) bool { return true }))
		return nil
	}
	admin, _ := adminListeners(ctx)
	for _, socket := range fronts.Listening() {
		e := front.Endpoint{Addr: socket.Addr, Owner: socket.Owner}
		for _, l := range admin {
			switch port, collides := l.collides(&e); {
			case !collides || socket.Network != "tcp":
			case socket.Status == "closing":
				context.AfterFunc(ctx, fronts.Lend(func(p uint16) bool { return p == port }))
			default:
				return sharedError(socket.Owner, l, port)
			}
		}
	}
	return nil
}
