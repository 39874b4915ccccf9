package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddy-iis/caddy-iis/bench/internal/admin"
	"github.com/caddy-iis/caddy-iis/bench/internal/proc"
	"github.com/caddy-iis/caddy-iis/bench/internal/sites"
)

func configureIIS(by sites.Binding) func(Programs, *sites.Set, sites.Place) (launch, error) {
	return func(programs Programs, set *sites.Set, place sites.Place) (launch, error) {
		args, err := CaddyArgs(programs, place, map[string]any{"iis": set.IIS(place, by)})
		last, _ := set.Last()
		path := fmt.Sprintf("/apps/iis/sites/%d/name", sites.SiteID(last))
		return launch{args, patch(place, path, func(name string) string { return name })}, err
	}
}

func configureStock(apps func(*sites.Set, sites.Place) (map[string]any, string)) func(Programs, *sites.Set, sites.Place) (launch, error) {
	return func(programs Programs, set *sites.Set, place sites.Place) (launch, error) {
		stock, path := apps(set, place)
		args, err := CaddyArgs(programs, place, stock)
		return launch{args, patch(place, path, func(name string) string { return sites.Site{Name: name}.Body() })}, err
	}
}

// CaddyArgs writes a configuration for Caddy and returns the command that runs
// with it.
func CaddyArgs(programs Programs, place sites.Place, apps map[string]any) ([]string, error) {
	config, err := json.Marshal(place.CaddyConfig(apps))
	if err != nil {
		return nil, err
	}
	file := filepath.Join(place.Dir, "caddy.json")
	return []string{programs.Caddy, "run", "--config", file}, os.WriteFile(file, config, 0o600)
}

// patch changes one value of the configuration by the admin API.
func patch(place sites.Place, path string, value func(name string) string) func(string) (func(context.Context, *proc.Process) error, error) {
	return func(name string) (func(context.Context, *proc.Process) error, error) {
		return func(ctx context.Context, _ *proc.Process) error {
			return admin.New(place.Admin).Patch(ctx, path, value(name))
		}, nil
	}
}
