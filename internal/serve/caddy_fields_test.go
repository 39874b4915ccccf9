package serve

import (
	"reflect"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestCaddyFields: what this package reads by reflection is where it looks for it. Where
// Caddy has moved a field, shared ports are refused and checks of the admin endpoint are left
// out with a warning: find its new place, or a way that Caddy offers.
func TestCaddyFields(t *testing.T) {
	for _, field := range []string{"listenerWrappers", "packetConnWrappers", "connContextFuncs", "connStateFuncs"} {
		if there, known := holds(new(caddyhttp.Server), field); !known || there {
			t.Errorf("caddyhttp.Server has no list %s any more", field)
		}
	}
	cfg, ok := reflect.TypeFor[caddy.Context]().FieldByName("cfg")
	if !ok || cfg.Type != reflect.TypeFor[*caddy.Config]() {
		t.Error("caddy.Context has no configuration in cfg any more")
	}
	if cfg := loadedConfig(caddy.Context{}); cfg != nil {
		t.Errorf("a context without a configuration has %+v", cfg)
	}
	if _, known := adminListeners(caddy.Context{}); known {
		t.Error("the admin endpoints of no configuration are known")
	}
}
