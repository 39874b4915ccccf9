package config

import (
	"encoding/json"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-iis/caddy-iis/sites"
)

// TestRouteModulesAreThere: what rows could be allowed is registered under that id, and no
// app or module that hands requests on to places of its own is among it.
func TestRouteModulesAreThere(t *testing.T) {
	for id := range routeModules {
		if _, err := caddy.GetModule(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for _, id := range []string{"http.handlers.templates", "http.handlers.vars", "http.handlers.authentication", "http.matchers.expression", "http.matchers.vars", "http.reverse_proxy.transport.fastcgi"} {
		if routeModules[id] != nil {
			t.Errorf("%s can be allowed", id)
		}
	}
}

// TestRouteModulesByKind: an asterisk stands for the modules of one kind.
func TestRouteModulesByKind(t *testing.T) {
	rules, err := NewRouteRules(&sites.AllowRoutes{Modules: []string{"http.matchers.*", "http.handlers.error"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"http.handlers.error", "http.reverse_proxy.transport.http"}
	for id := range routeModules {
		if strings.HasPrefix(id, "http.matchers.") {
			want = append(want, id)
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(rules.modules)); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// FuzzRouteRules: whatever a row has for routes, nothing panics; what is taken has allowed
// handlers only, tells nothing of the machine, and is taken again as it is.
func FuzzRouteRules(f *testing.F) {
	for _, seed := range []string{
		`{"routes":[{"handle":[{"handler":"static_response","body":"{http.request.host}"}]}]}`,
		`{"routes":[{"match":[{"not":[{"path":["/x"]}]}],"handle":[{"handler":"subroute","routes":[{"handle":[{"handler":"error"}]}]}]}]}`,
		`{"routes":[{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"10.0.0.1:80"}]}]}],"errors":{"routes":[]}}`,
		`{"routes":[{"match":[{"path_regexp":{"pattern":"(a{9}){9}"}}]}]}`,
		`{"routes":[{"handle":[{"handler":"file_server","root":"/srv/x"}]}]}`,
		`{"routes":null,"errors":{"routes":[{"handle":[null]}]}}`,
	} {
		f.Add(seed)
	}
	rules, err := NewRouteRules(&sites.AllowRoutes{
		Modules: []string{"http.matchers.*", "http.handlers.*", "http.encoders.*"}, Below: []string{"/srv"}, To: []string{"10.0.0.0/8"},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, document string) {
		cfg := new(Site)
		if json.Unmarshal([]byte(document), cfg) != nil || rules.Take([]byte(document), cfg) != nil || cfg.OwnRoutes == nil {
			return
		}
		text := string(cfg.OwnRoutes)
		for _, bad := range []string{"{env.", "{file.", "{system.", "{http.request.body"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s is taken", text)
			}
		}
		again := new(Site)
		if err := json.Unmarshal(cfg.OwnRoutes, &again.Content); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if err := rules.Take(cfg.OwnRoutes, again); err != nil || string(again.OwnRoutes) != text {
			t.Errorf("%s is taken, and then %s, %v", text, again.OwnRoutes, err)
		}
		for _, node := range handlersIn(cfg.OwnRoutes, t) {
			if routeModules["http.handlers."+node] == nil {
				t.Errorf("%s has the handler %s", text, node)
			}
		}
	})
}

// handlersIn lists the handlers of the routes that Caddy reads in JSON.
func handlersIn(raw json.RawMessage, t *testing.T) (names []string) {
	t.Helper()
	var content Content
	if err := json.Unmarshal(raw, &content); err != nil {
		t.Fatal(err)
	}
	routes := content.Routes
	if content.Errors != nil {
		routes = append(routes, content.Errors.Routes...)
	}
	for _, route := range routes {
		for _, handler := range route.HandlersRaw {
			var named struct{ Handler string }
			_ = json.Unmarshal(handler, &named)
			names = append(names, named.Handler)
		}
	}
	return names
}

// TestOwnAddresses: addresses of this machine in a network that rows may send requests to
// are no upstreams, since its admin endpoint and its sites listen there.
func TestOwnAddresses(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil || len(addrs) == 0 {
		t.Fatalf("%v, %v", addrs, err)
	}
	for _, addr := range addrs {
		ip := netip.MustParsePrefix(addr.String()).Addr()
		if !isOwn(netip.AddrPortFrom(ip, 80).String()) {
			t.Errorf("%s is not known", ip)
		}
		if ip.IsLoopback() || !ip.Is4() {
			continue
		}
		network, _ := ip.Prefix(24)
		for to, allowed := range map[string]bool{network.String(): false, netip.AddrPortFrom(ip, 8080).String(): true} {
			r, err := NewRouteRules(&sites.AllowRoutes{Modules: []string{"http.handlers.reverse_proxy"}, MaxSites: 1, To: []string{to}})
			if err != nil {
				t.Fatal(err)
			}
			routes := map[string]any{"routes": []any{map[string]any{"handle": []any{map[string]any{
				"handler": "reverse_proxy", "upstreams": []any{map[string]any{"dial": netip.AddrPortFrom(ip, 8080).String()}},
			}}}}}
			if err := r.check(routes); (err == nil) != allowed {
				t.Errorf("to %s: %v", to, err)
			}
		}
	}
	if isOwn("192.0.2.1:80") {
		t.Error("192.0.2.1 is documentation's")
	}
}
