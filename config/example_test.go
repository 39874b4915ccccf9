package config_test

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-iis/caddy-iis/config"
)

// An iis block of a Caddyfile becomes the JSON of the app.
func ExampleApp_UnmarshalCaddyfile() {
	var app config.App
	err := app.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`iis {
		sni_unmatched reject
		site 1 Shop {
			server_bindings :80:shop.example.com
			offline
		}
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	site := app.Sites["1"]
	fmt.Println(site.Name, site.ServerBindings, site.Offline)

	options, err := app.ParseOptions()
	fmt.Println(options.UnknownHost, options.Drain, err)

	app.Conflicts = "first"
	_, err = app.ParseOptions()
	fmt.Println(err)
	// Output:
	// Shop [:80:shop.example.com] true
	// 400 1m30s <nil>
	// conflicts: unknown word "first": expected one of ["first_wins" "reject"]
}
