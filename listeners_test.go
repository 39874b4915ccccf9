package caddyiis_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	ts "github.com/caddy-iis/caddy-iis/internal/testserver"
)

// edited adapts a Caddyfile and changes its JSON.
func edited(t *testing.T, s *ts.Server, caddyfile string, edit func(map[string]any)) []byte {
	t.Helper()
	raw, err := s.Adapt(caddyfile)
	if err != nil {
		t.Fatal(err)
	}
	var cfg map[string]any
	if err := json.Unmarshal(raw, &cfg); err != nil {
		t.Fatal(err)
	}
	edit(cfg)
	raw, err = json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestOthersOnOurPorts: what listens by itself on a binding's port, in the same
// configuration, is refused by name; what does not is loaded.
func TestOthersOnOurPorts(t *testing.T) {
	httpPort, httpsPort, free := ts.FreePort(t), ts.FreePort(t), ts.FreePort(t)
	config := func(listen string) string {
		return iisConfig(certificates(t, "D") + listen + fmt.Sprintf(`
			site 1 Main {
				server_bindings :%d:
				secure_bindings :%d:
				certificate D
			}
		`, httpPort, httpsPort) + exampleDefaults)
	}
	s := ts.Start(t, config(""))
	listening := func(listen ...any) func(map[string]any) {
		return func(cfg map[string]any) {
			cfg["apps"].(map[string]any)["test_listening"] = map[string]any{
				"servers": map[string]any{"echo": map[string]any{"listen": listen}},
			}
		}
	}
	admin := func(settings map[string]any) func(map[string]any) {
		return func(cfg map[string]any) {
			maps.Copy(cfg["admin"].(map[string]any), settings)
		}
	}
	network := func(addr caddy.NetworkAddress) func(map[string]any) {
		return func(cfg map[string]any) {
			cfg["apps"].(map[string]any)["test_listening"] = map[string]any{"address": addr}
		}
	}
	all, one := config(""), config("listen 127.0.0.1\n")
	port := fmt.Sprint(httpPort)
	for name, c := range map[string]struct {
		config string
		edit   func(map[string]any)
		reason []string // none: it is loaded
	}{
		"all addresses":        {all, listening(":" + port), []string{"app test_listening (servers.echo.listen)", port, `site 1 "Main"`}},
		"one of ours":          {all, listening("127.0.0.1:" + port), []string{"app test_listening"}},
		"a name":               {all, listening("localhost:" + port), []string{"app test_listening"}},
		"a placeholder":        {all, listening("{env.NOBODY_HAS_SET_THIS}:" + port), []string{"app test_listening"}},
		"a range":              {all, listening(fmt.Sprintf("127.0.0.1:%d-%d", httpPort-2, httpPort+1)), []string{"app test_listening", port}},
		"the second":           {all, listening(fmt.Sprintf(":%d", free), "tcp4/:"+port), []string{"app test_listening"}},
		"the one that listens": {one, listening(":" + port), []string{"app test_listening"}},
		"udp of https":         {all, listening(fmt.Sprintf("udp/:%d", httpsPort)), []string{"app test_listening", fmt.Sprint(httpsPort)}},
		"network address":      {all, network(caddy.NetworkAddress{Network: "tcp", StartPort: uint(httpPort), EndPort: uint(httpPort)}), []string{"app test_listening (address)"}},
		"admin":                {all, admin(map[string]any{"listen": "localhost:" + port}), []string{"Caddy's admin endpoint", `site 1 "Main"`, port}},
		"admin at one":         {one, admin(map[string]any{"listen": "127.0.0.1:" + port}), []string{"Caddy's admin endpoint"}},
		"remote admin":         {all, admin(map[string]any{"remote": map[string]any{"listen": ":" + port}}), []string{"Caddy's remote admin endpoint"}},
		"another port":         {all, listening(fmt.Sprintf(":%d", free)), nil},
		"udp of http":          {all, listening("udp/:" + port), nil},
		"another address":      {one, listening("127.0.0.2:" + port), nil},
		"another network":      {all, listening("unix/" + t.TempDir() + "/" + port + ".sock"), nil},
	} {
		err := s.LoadJSON(edited(t, s, c.config, c.edit))
		if c.reason == nil {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: the configuration is accepted", name)
			continue
		}
		for _, reason := range c.reason {
			if !strings.Contains(err.Error(), reason) {
				t.Errorf("%s: the error does not mention %q: %v", name, reason, err)
			}
		}
	}

	// Without settings the admin endpoint is at its standard address.
	raw := edited(t, s, iisConfig("site 1 Main {\nserver_bindings :2019:\n}\n"), func(cfg map[string]any) {
		delete(cfg["admin"].(map[string]any), "listen")
	})
	if err := caddy.Validate(configOf(t, raw)); err == nil || !strings.Contains(err.Error(), "Caddy's admin endpoint") {
		t.Errorf("a binding to the port of the admin endpoint: %v", err)
	}
	raw = edited(t, s, iisConfig("site 1 Main {\nserver_bindings :2019:\n}\n"), func(cfg map[string]any) { delete(cfg, "admin") })
	if err := caddy.Validate(configOf(t, raw)); err == nil || !strings.Contains(err.Error(), "Caddy's admin endpoint") {
		t.Errorf("a binding to the port of the admin endpoint, without settings: %v", err)
	}
	raw = edited(t, s, iisConfig("site 1 Main {\nserver_bindings :2019:\n}\n"), func(cfg map[string]any) {
		cfg["admin"] = map[string]any{"disabled": true}
	})
	if err := caddy.Validate(configOf(t, raw)); err != nil {
		t.Errorf("without admin endpoint: %v", err)
	}
}

func configOf(t *testing.T, raw []byte) *caddy.Config {
	t.Helper()
	cfg := new(caddy.Config)
	if err := json.Unmarshal(raw, cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestOtherTakesPortOver: a port passes between bindings and another app, or an
// ordinary server, in one load, whether or not the configuration still has sites.
func TestOtherTakesPortOver(t *testing.T) {
	port, second := ts.FreePort(t), ts.FreePort(t)
	site := func(id, port int) string { return fmt.Sprintf("site %d {\nserver_bindings :%d:\n}\n", id, port) }
	both := iisConfig(site(1, port) + site(2, second) + exampleDefaults)
	s := ts.Start(t, both)
	for name, without := range map[string]string{
		"app beside sites": iisConfig(site(2, second) + exampleDefaults),
		"app alone":        "{\n}\n",
	} {
		raw := edited(t, s, without, func(cfg map[string]any) {
			if cfg["apps"] == nil {
				cfg["apps"] = map[string]any{}
			}
			cfg["apps"].(map[string]any)["test_listening"] = map[string]any{
				"servers": map[string]any{"echo": map[string]any{"listen": []any{fmt.Sprintf(":%d", port)}}},
			}
		})
		if err := s.LoadJSON(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Load(both); err != nil {
			t.Fatalf("%s, back: %v", name, err)
		}
	}
	ordinary := fmt.Sprintf("{\n}\nhttp://:%d {\nrespond ordinary\n}\n", port)
	if err := s.Load(ordinary); err != nil {
		t.Errorf("ordinary server alone: %v", err)
	}
	if err := s.Load(both); err != nil {
		t.Errorf("back from an ordinary server: %v", err)
	}
}

// TestStockCaddyDoesNotJoin: another process of the same user that asks for a
// share of a port, as a stock Caddy does, is refused, also after loads.
func TestStockCaddyDoesNotJoin(t *testing.T) {
	httpPort, httpsPort := ts.FreePort(t), ts.FreePort(t)
	s := ts.Start(t, changeConfig(httpPort, httpsPort, ""))
	for range 3 {
		if err := s.Load(changeConfig(httpPort, httpsPort, "")); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := ts.Adapt(fmt.Sprintf("{\nadmin off\npersist_config off\n}\nhttp://:%d {\nrespond stock\n}\n", httpPort), "")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), secondCaddy+"="+string(raw))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "address already in use") {
		t.Errorf("a stock Caddy on a port of ours: %v\n%s", err, out)
	}
}
