package main

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestNothing(t *testing.T) {
	app := new(nothing)
	if err := json.Unmarshal([]byte(`{"sites":{"1":{}}}`), app); err != nil || len(app.raw) == 0 {
		t.Errorf("it took %q: %v", app.raw, err)
	}
	if err := app.Provision(caddy.Context{}); err != nil || app.raw != nil {
		t.Errorf("it keeps %q: %v", app.raw, err)
	}
}

func TestCaddyAcceptsIt(t *testing.T) {
	cfg := &caddy.Config{AppsRaw: caddy.ModuleMap{"bench_nothing": json.RawMessage(`{"any": ["thing"]}`)}}
	if err := caddy.Validate(cfg); err != nil {
		t.Error(err)
	}
}
