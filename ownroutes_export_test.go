package caddyiis

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-iis/caddy-iis/internal/serve"
)

// OwnRoutes counts the routes of rows that are provisioned, and the sites that have them.
func OwnRoutes() (contents, sites int) {
	app, err := serve.Of(caddy.ActiveContext())
	if err != nil {
		return 0, 0
	}
	return app.CountOwnRoutes()
}

// ProvisionOwnRoutes provisions routes as those of a row are.
func ProvisionOwnRoutes(routes string) error {
	app, err := serve.Of(caddy.ActiveContext())
	if err != nil {
		return err
	}
	return app.TryOwnRoutes(json.RawMessage(routes))
}
