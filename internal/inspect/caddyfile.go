package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-iis/caddy-iis/config"
	"github.com/caddy-iis/caddy-iis/internal/cli"
	"github.com/caddy-iis/caddy-iis/internal/commands"
	"github.com/caddy-iis/caddy-iis/internal/jsondoc"
)

// Functions are those that commands need without a running app.
var Functions = commands.Functions{Check: CheckFile, Caddyfile: Caddyfile}

var errNoApp = errors.New("no iis app is configured: add the iis option, or apps.iis, to the configuration")

// Caddyfile writes the iis app of a configuration as the Caddyfile that will be a file. It
// has Caddy adapt it, and compares.
func Caddyfile(raw json.RawMessage, file string) (cli.Caddyfile, error) {
	var whole map[string]json.RawMessage
	var apps map[string]json.RawMessage
	loaded, err := asLoaded(raw)
	if err != nil {
		return cli.Caddyfile{}, err
	}
	if err := json.Unmarshal(loaded, &whole); err != nil {
		return cli.Caddyfile{}, err
	}
	if whole["apps"] != nil {
		if err := json.Unmarshal(whole["apps"], &apps); err != nil {
			return cli.Caddyfile{}, err
		}
	}
	if apps["iis"] == nil {
		return cli.Caddyfile{}, errNoApp
	}
	app, err := readApp(apps["iis"])
	if err != nil {
		return cli.Caddyfile{}, err
	}
	text, count, err := app.Caddyfile(file)
	if nature, ok := errors.AsType[config.InexpressibleError](err); ok {
		return cli.Caddyfile{}, nature
	}
	if err != nil {
		return cli.Caddyfile{}, fmt.Errorf("the configuration cannot be written as a Caddyfile; please report this: %w", err)
	}
	adapted, err := adaptedApp(text, file)
	if err != nil {
		return cli.Caddyfile{}, err
	}
	again, err := readApp(adapted.app)
	if err != nil {
		return cli.Caddyfile{}, err
	}
	if differs := app.Differences(again, file); len(differs) > 0 {
		return cli.Caddyfile{}, fmt.Errorf("nothing is written: as a Caddyfile the configuration would be another one; please report this. It differs in:\n  %s", strings.Join(differs, "\n  "))
	}
	return cli.Caddyfile{Text: text, Adapted: adapted.whole, Left: left(whole, apps, raw), Handlers: count.Handlers, AsJSON: count.AsJSON}, nil
}

// asLoaded is a configuration as Caddy keeps it: without @id, and of fields that are there
// twice the last one, where a decoder would put one object into the other.
func asLoaded(raw json.RawMessage) (json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(caddy.RemoveMetaFields(raw)))
	decoder.UseNumber()
	var whole any
	if err := decoder.Decode(&whole); err != nil {
		return nil, fmt.Errorf("the configuration: %w", jsondoc.Plain(err))
	}
	return json.Marshal(whole)
}

func readApp(raw json.RawMessage) (*config.App, error) {
	app := new(config.App)
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(app); err != nil {
		return nil, fmt.Errorf("the iis app: %w", jsondoc.PlainFor(err, app))
	}
	return app, nil
}

type adaptedConfig struct{ whole, app json.RawMessage }

// adaptedApp is what Caddy makes of a Caddyfile.
func adaptedApp(text []byte, file string) (adaptedConfig, error) {
	adapter := caddyconfig.GetAdapter("caddyfile")
	if adapter == nil {
		return adaptedConfig{}, errors.New("this Caddy has no adapter for Caddyfiles")
	}
	raw, _, err := adapter.Adapt(text, map[string]any{"filename": file})
	if err != nil {
		return adaptedConfig{}, fmt.Errorf("the Caddyfile that was written is refused; please report this: %w", err)
	}
	var cfg struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return adaptedConfig{}, err
	}
	return adaptedConfig{raw, cfg.Apps["iis"]}, nil
}

// left names what a configuration has beside the iis app.
func left(whole, apps map[string]json.RawMessage, raw json.RawMessage) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(apps)) {
		if name != "iis" {
			names = append(names, "the app "+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		if name != "apps" {
			names = append(names, name)
		}
	}
	if !bytes.Equal(caddy.RemoveMetaFields(raw), raw) {
		names = append(names, "the names that @id gives")
	}
	return names
}
